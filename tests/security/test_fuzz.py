"""Fuzzing of all parsers of external input. `make fuzz` draws many new inputs, `make test` a few fixed ones.

The seeds are inputs that caused bugs, or that a review found suspicious.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.fake_gmail import API, OAUTH, FakeGmail, FakeResponse, ManualClock, connect, message_response
from support.mail import any_message

from gmail_client.auth.credentials import Credentials
from gmail_client.auth.tokens import TokenSource
from gmail_client.directory import Directory
from gmail_client.discovery import discover
from gmail_client.errors import ConfigurationError, GmailError, ResponseError
from gmail_client.http.error_mapping import error_from_response, redact
from gmail_client.http.multipart import decode_batch
from gmail_client.parsing import parse_json, parse_response
from gmail_client.printable import printable
from gmail_client.schema import SCHEMAS, json_row, to_batch
from gmail_client.settings import Settings
from gmail_client.spec import Spec
from gmail_client.tables import CATALOGUE
from gmail_client.views import attachment_rows, email_row, to_table

LOGIN_FIELDS = ("address", "client_id", "client_secret", "refresh_token", "api_root", "oauth_root")
KIND = "multipart/mixed; boundary=b"


def fuzz(count: int) -> settings:
    """Hypothesis settings for `count` fixed examples; with FUZZ, for that many new ones."""
    many = os.environ.get("FUZZ")
    return settings(
        deadline=None,
        max_examples=int(many or count),
        derandomize=not many,
        suppress_health_check=list(HealthCheck),
    )


def outcome(run: Callable[[], Any], kind: type[GmailError]) -> tuple[Any, Any]:
    """The result of a call, or the error of this kind that it raises. Other exceptions are not caught."""
    try:
        return run(), None
    except kind as error:
        return None, error


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
NUMBERS = (
    st.sampled_from([0, -1, 2**63, -(2**63) - 1, 10**400, 1e308, float("inf"), float("nan")]) | st.integers()
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=20,
)


def batch_bytes() -> st.SearchStrategy[bytes]:
    """Pieces of batch responses in any order, and bytes of any kind between them."""
    pieces = st.sampled_from(
        [
            b"--b\r\n", b"--b--\r\n", b"\r\n", b"\n", b"\r\n\r\n", b"--b", b"--", b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 99", b"Content-Type: application/http\r\n", b"Content-ID: <response-part-0>\r\n",
            b"content-id: response-part-7", b"Content-ID: <response-part-" + b"9" * 5_000 + b">\r\n",
            b"Content-Length: 3\r\n", b"Content-Length: -3\r\n", b"Content-Length: " + b"9" * 5_000 + b"\r\n",
            b'{"id": "a"}', b"\x00" * 9, b"eyJ-" * 50, b"a" * 400,
        ]
    )  # fmt: skip
    return st.lists(pieces | st.binary(max_size=30), max_size=40).map(b"".join)


BATCH_SEEDS = (
    b"--b\r\n\r\n\r\n",
    b"--b\r\nContent-ID: <response-part-" + b"9" * 5_000 + b">\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}\r\n--b--",
    b"--b\r\nContent-ID: <response-part-0>\r\n\r\nHTTP/1.1 " + b"2" * 5_000 + b" OK\r\n\r\n{}\r\n--b--",
    b"--b\n--b\n--b\n--b--",
    b"--b\r\nContent-ID: <response-part-0>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}\r\n--b--",
    b"--b\r\n" + b"\r\n" * 5_000,
)


@fuzz(150)
@given(content=batch_bytes(), kind=st.just(KIND) | ANY_TEXT)
@example(content=BATCH_SEEDS[0], kind=KIND)
@example(content=BATCH_SEEDS[1], kind=KIND)
@example(content=BATCH_SEEDS[2], kind=KIND)
@example(content=BATCH_SEEDS[3], kind=KIND)
@example(content=BATCH_SEEDS[4], kind=KIND)
@example(content=BATCH_SEEDS[5], kind='multipart/mixed; boundary="' + "\\" * 99)
def test_any_batch_response_gives_parts_or_nothing(content: bytes, kind: str) -> None:
    for number, part in decode_batch(content, kind).items():
        assert number >= 0
        assert 100 <= part.status <= 999
        assert part.content in content
        assert all(name == name.lower() for name in part.headers)


@fuzz(60)
@given(content=batch_bytes())
@example(content=BATCH_SEEDS[1])
def test_a_client_survives_any_batch_response(content: bytes) -> None:
    wire = FakeGmail(message_response)
    # The first response is broken, the next ones are correct: the calls are retried, and each has a result.
    broken = iter([FakeResponse(raw=content, headers={"Content-Type": KIND})])
    work = wire._batch

    def handler(request: Any, token: str) -> Any:
        wire.batch_handler = lambda: (
            response if (response := next(broken, None)) else _worked(wire, request, work, token)
        )
        return work(request, token)

    wire._batch = handler  # type: ignore[method-assign]
    mailbox = connect(wire, ManualClock()).mailbox()
    calls = [mailbox.api.message_call(f"a{number}", "minimal") for number in range(3)]
    results = {result.call.item_id: result for result in mailbox.api.get_many(calls)}
    assert set(results) == {"a0", "a1", "a2"}


def _worked(wire: FakeGmail, request: Any, work: Any, token: str) -> FakeResponse:
    wire.batch_handler = None
    response = work(request, token)
    return FakeResponse(raw=response.raw.read(), headers=dict(response.headers))


@fuzz(150)
@given(document=any_message)
@example(document={"id": "18c2a0", "historyId": "9" * 19, "payload": {"partsJson": "[" * 900}})
@example(
    document={"id": "18c2a0", "internalDate": str(-(2**60)), "payload": {"headers": [{"value": "\ud83d"}]}}
)
@example(document={"id": "18c2a0", "payload": {"mimeType": "text/html", "body": {"data": "PHNjcmlwdD4"}}})
def test_any_message_is_a_row_of_every_table_or_a_response_error(document: dict[str, Any]) -> None:
    parsed, error = outcome(
        lambda: parse_response("messages.get", json.loads(json.dumps(document)), "18c2a0"), ResponseError
    )
    if error is not None:
        assert error.fix
        return
    assert to_batch("messages", [parsed]).schema == SCHEMAS["messages"]
    thread = {"id": "t", "historyId": "5", "messages": [parsed]}
    assert to_batch("threads", [thread]).num_rows == 1
    assert json_row("messages", parsed)["id"] == "18c2a0"
    assert to_table("emails", [email_row(parsed, {})]).num_rows == 1
    rows = attachment_rows(parsed)
    assert to_table("attachments", rows).num_rows == len(rows)


@fuzz(150)
@given(content=st.binary(max_size=200) | ANY_JSON.map(lambda value: json.dumps(value).encode()))
@example(content=b"[" * 100_000)
@example(content=b'{"a":' * 50_000)
@example(content=b'{"a": ' + b"9" * 5_000 + b"}")
@example(content=b"\xff\xfe{\x00")
@example(content=b'{"a": NaN, "b": "\xed\xa0\x80"}')
def test_any_body_is_an_object_or_null_or_a_response_error(content: bytes) -> None:
    for method in ("messages.get", "messages.list", "history.list", "labels.list", "getProfile"):
        document, error = outcome(lambda: parse_json(content, method), ResponseError)  # noqa: B023
        if document is not None:
            document, error = outcome(lambda: parse_response(method, document), ResponseError)  # noqa: B023
        assert error is None or len(str(error)) < 2_000


@fuzz(150)
@given(
    status=st.sampled_from([400, 401, 403, 404, 408, 429, 500, 503]),
    content=st.binary(max_size=200) | ANY_JSON.map(lambda value: json.dumps({"error": value}).encode()),
    retry=ANY_TEXT | st.just("9" * 5_000),
)
@example(status=403, content=b'{"error": {"message": "' + b"eyJ-" * 20_000 + b'"}}', retry="")
@example(status=429, content=b'{"error": {"message": "Retry after 9999-99-99T99:99:99.9Z"}}', retry="inf")
@example(status=403, content=b'{"error": {"errors": [[]], "details": [{"metadata": 5}]}}', retry="nan")
def test_any_error_response_is_a_gmail_error(status: int, content: bytes, retry: str) -> None:
    error = error_from_response(
        status, content, method="messages.get", headers={"retry-after": retry}, now=1e9
    )
    assert isinstance(error, GmailError)
    assert len(str(error)) < 2_000
    assert error.retry_at is None or 0 < error.retry_at < 1e12


@fuzz(100)
@given(
    parts=st.lists(
        st.sampled_from(["eyJ-", "eyJ", "ya29.", "1//", "-----BEGIN", "Bearer ", "https://", " ", "a.b"])
    )
)
@example(parts=["eyJ-"] * 20_000)
@example(parts=["-----BEGIN"] * 2_000)
@example(parts=["https://"] * 2_000)
@example(parts=["ya29.secret", " ", "1//secret"])
def test_redaction_is_short_and_leaves_no_token(parts: list[str]) -> None:
    text = redact("".join(parts))
    assert len(text) <= 300
    assert not re.search(r"ya29\.\w|\b1//\w", text)


NAMES = st.sampled_from(
    [*CATALOGUE, "emails", "attachments", "message_labels", "attachment_contents", "nothing"]
)
_KEYS = """
    source_table destination_table destination_schema deletes scd_type primary_keys sequence_by table_configuration
    options labelIds q startDate format connection_name objects table maxBytes types shared
"""
KEYS = st.sampled_from(_KEYS.split())
SPEC_VALUES = st.recursive(
    ANY_JSON
    | NAMES
    | st.sampled_from(["remove", "keep", "SCD_TYPE_2", "id", "historyId", "historySequence", "../x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | ANY_TEXT, inner, max_size=5),
    max_leaves=15,
)
TABLE = st.fixed_dictionaries(
    {"source_table": NAMES}, optional=dict.fromkeys(("table_configuration",), SPEC_VALUES)
)


@fuzz(200)
@given(
    value=st.dictionaries(KEYS | ANY_TEXT, SPEC_VALUES, max_size=4)
    | st.fixed_dictionaries(
        {"objects": st.lists(TABLE | st.fixed_dictionaries({"table": TABLE | SPEC_VALUES}), max_size=4)}
    )
)
@example(value={"objects": [{"table": None}]})
@example(value={"objects": [{"source_table": "emails", "table_configuration": 5}]})
@example(value={"objects": [{"source_table": "messages", "table_configuration": {"labelIds": {"a": [{}]}}}]})
@example(value={"objects": [{"source_table": "messages", "destination_table": "../../etc"}]})
@example(value={"objects": [{"source_table": "messages", "primary_keys": 10**5000}]})
@example(
    value={"objects": [{"source_table": "attachment_contents", "table_configuration": {"maxBytes": 10**400}}]}
)
@example(
    value={"objects": [{"source_table": "attachment_contents", "table_configuration": {"types": "\ud800/*"}}]}
)
def test_any_spec_is_valid_or_a_configuration_error(value: dict[str, Any]) -> None:
    spec, error = outcome(lambda: Spec.parse(value), ConfigurationError)
    if error is not None:
        assert error.fix
        assert len(str(error)) < 2_000
        return
    for entry in spec.entries:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", entry.table_name)


@fuzz(100)
@given(
    text=st.binary(max_size=120)
    | SPEC_VALUES.map(lambda value: yaml.safe_dump(value).encode("utf-8", "replace"))
)
@example(text=b"[" * 5_000)
@example(text=b"a: &a [*a]")
@example(text=b"!!python/object/apply:os.system ['true']")
@example(text=b"a: 2026-99-99")
@example(text=b"&a [&b [&c [*a, *b]]]")
@example(text=b"objects: " + b"9" * 5_000)
def test_any_spec_file_is_valid_or_a_configuration_error(
    tmp_path_factory: pytest.TempPathFactory, text: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "spec.yaml"
    path.write_bytes(text)
    spec, error = outcome(lambda: Spec.load(path), ConfigurationError)
    assert spec is not None or error.fix


@fuzz(150)
@given(
    status=st.sampled_from([200, 200, 200, 204, 301, 400, 401, 403, 429, 500, 503]),
    content=st.binary(max_size=100)
    | ANY_JSON.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {"access_token": ANY_JSON},
        optional={"expires_in": ANY_JSON, "scope": ANY_JSON, "id_token": ANY_JSON, "error": ANY_JSON},
    ).map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries({"error": ANY_TEXT | ANY_JSON}, optional={"error_description": ANY_JSON}).map(
        lambda value: json.dumps(value).encode()
    ),
)
@example(status=200, content=b'{"access_token": "a\\r\\nX-Evil: 1", "expires_in": 9}')
@example(status=200, content=b'{"access_token": "\\u202e", "expires_in": 1e999}')
@example(status=200, content=b'{"access_token": "ok", "expires_in": -5}')
@example(status=200, content=b'{"access_token": {"a": 1}}')
@example(
    status=400, content=b'{"error": "invalid_grant", "error_description": "hush-secret 1//hush-refresh"}'
)
@example(status=400, content=b"[" * 100_000)
@example(status=400, content=b'{"error": ["invalid_grant"]}')
def test_any_token_response_is_a_token_or_a_gmail_error(status: int, content: bytes) -> None:
    wire = FakeGmail(message_response)
    wire.token_handler = lambda _: FakeResponse(status, raw=content)
    client = connect(wire, ManualClock())
    profile, error = outcome(client.mailbox().api.profile, GmailError)
    if profile is not None:
        assert re.fullmatch(r"Bearer [\x21-\x7e]+", wire.requests[-1].headers["Authorization"])
    else:
        assert not [secret for secret in ("s3cret", "1//refresh") if secret in f"{error} {error!r}"]
        assert len(str(error)) < 2_000
    assert str(wire.requests[0].url).startswith(OAUTH)
    assert len(wire.token_requests) <= 20


@given(
    document=st.dictionaries(st.sampled_from(LOGIN_FIELDS), ANY_JSON | ANY_TEXT) | ANY_JSON,
    cut=st.integers(0, 40),
)
@example(document=dict.fromkeys(LOGIN_FIELDS, "x"), cut=0)
@example(document=dict.fromkeys(LOGIN_FIELDS, "\ud800"), cut=0)
@fuzz(60)
def test_any_login_file_is_a_login_or_a_configuration_error(document: Any, cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(document)
        Path(folder, "a.json").write_text(text[: len(text) - cut], "utf-8")
        logins, error = outcome(lambda: Credentials.from_logins(folder), ConfigurationError)
    assert error is None or error.fix
    assert logins is None or all(login.refresh_token.get_secret_value() for login in logins.logins.values())


@given(
    content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
)
@example(content=b"ada@b.test\r\n# x\nben@b.test # y\n")
@example(content=b"a\x00@b.test")
@fuzz(60)
def test_any_file_of_mailboxes_is_a_list_of_addresses_or_a_configuration_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mailboxes")
        path.write_bytes(content)
        settings = Settings(mailboxes_file=path)
        found, error = outcome(lambda: discover(settings), ConfigurationError)
    assert error is None or error.fix
    assert found is None or all("@" in name and printable(name) == name for name in found.mailboxes)


@given(
    document=st.fixed_dictionaries(
        {}, optional={"users": ANY_JSON, "members": ANY_JSON, "nextPageToken": ANY_JSON}
    )
    | ANY_JSON
)
@example(document={"users": [{"primaryEmail": "a@b.test"}], "members": [{"email": "a@b.test"}]})
@example(document={"users": [{"primaryEmail": "a@b.test"}], "nextPageToken": "again"})
@fuzz(60)
def test_any_page_of_the_directory_is_a_list_or_a_gmail_error(document: Any) -> None:
    gmail, clock = FakeGmail(lambda _: FakeResponse(json=document)), ManualClock()
    session = gmail.session()
    tokens = TokenSource(Credentials.from_access_token("x"), session=lambda: session, clock=clock)
    directory = Directory(tokens, session=lambda: session, api_root=API, clock=clock)
    users, failure = outcome(directory.users, GmailError)
    assert failure is None or failure.fix
    assert users is None or all("@" in user.address for user in users)
    members, failure = outcome(lambda: directory.members("g@b.test"), GmailError)
    assert failure is None or failure.fix
    assert members is None or all("@" in address for address in members.addresses)
