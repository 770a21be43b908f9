"""Fields that Gmail adds: no value of a response gets lost on the way to a row."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gmail_client import unknown_fields
from gmail_client.auth.credentials import Credentials
from gmail_client.client import GmailClient, Mailbox
from gmail_client.emulator import Emulator, Fault
from gmail_client.parsing import parse_response
from gmail_client.schema import SCHEMAS, json_row, to_batch
from gmail_client.unknown_fields import COLUMN, joined, prefixed, projected, split

METHODS = {
    "messages": "messages.get",
    "threads": "threads.get",
    "drafts": "drafts.get",
    "labels": "labels.get",
    "profile": "getProfile",
}
with Emulator(messages=30, seed=11) as emulator:
    RESOURCES = {table: emulator.truth(table) for table in METHODS}
RESOURCES["drafts"].append({"id": "draft", "message": RESOURCES["messages"][0]})
RESOURCES["messages"].append(
    {
        "id": "deep",
        "payload": {"parts": [{"parts": [{"parts": [{"parts": [{"parts": [{"parts": [{}]}]}]}]}]}]},
    }
)


@pytest.fixture(autouse=True)
def nothing_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unknown_fields, "_noted", set())
    monkeypatch.setattr(unknown_fields, "_seen", set())


def leaves(value: Any, pointer: str = "", *, stored: bool = False) -> Iterator[tuple[str, Any]]:
    """Every value of a JSON document with its pointer; messages of a thread by id. Empty objects count as absent."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name == "partsJson" and stored:
                yield from leaves(json.loads(item or "[]"), f"{pointer}/parts")
            else:
                yield from leaves(
                    item, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}", stored=stored
                )
    elif isinstance(value, list):
        for number, item in enumerate(value):
            by_id = pointer == "/messages" and isinstance(item, dict) and "id" in item
            place = item["id"] if by_id else number
            yield from leaves(item, f"{pointer}/{place}", stored=stored)
    elif value is not None:
        yield pointer, value


def whole(row: dict[str, Any]) -> dict[str, Any]:
    """The values of a stored row and of its unknown fields, by pointer."""
    row = dict(row)
    text = row.pop(COLUMN)
    row.pop("historySequence", None)
    unknown = json.loads(text or "{}")
    found = dict(leaves(row, stored=True))
    for pointer, value in unknown.items():
        added = dict(leaves(value, pointer))
        assert not added.keys() & found.keys()
        found |= added
    return found


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(item)


JSON = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["language", "a/b", "~1", "", "0", COLUMN, "historySequence", "partsJson", "messages"]
) | st.text(max_size=6).map("x".__add__)
ADDITIONS = st.lists(st.tuples(st.integers(0, 10_000), NAMES, JSON), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60)
@given(table=st.sampled_from(sorted(METHODS)), index=st.integers(0, 1_000), additions=ADDITIONS)
@example(table="messages", index=-1, additions=[(at, f"x{at}", {"y": [at]}) for at in range(7)])
@example(
    table="threads", index=0, additions=[(0, "", 1), (1, "a/b", [{"c": "\ud83d"}]), (3, "partsJson", "[5]")]
)
@example(table="drafts", index=0, additions=[(at, "partsJson", "[7]") for at in range(1, 6)])
def test_no_value_of_a_response_gets_lost(
    table: str, index: int, additions: list[tuple[int, str, Any]]
) -> None:
    known = RESOURCES[table]
    response = copy.deepcopy(known[index % len(known)])
    for at, name, value in additions:
        nodes = list(objects(response))
        node = nodes[at % len(nodes)]
        if name == "messages" and table == "threads":
            name = "message"
        node.setdefault(name, value)
    parsed = parse_response(METHODS[table], copy.deepcopy(response))
    (row,) = to_batch(table, [parsed]).to_pylist()
    expected = dict(leaves(response))
    assert whole(row) == expected
    assert whole(json_row(table, parsed)) == expected


def fields(emulator: Emulator, **added: dict[str, Any]) -> None:
    emulator.faults.add(Fault(kind="add-fields", patch=added))


@pytest.fixture
def gmail() -> Iterator[Emulator]:
    with Emulator(messages=40, seed=7) as running:
        yield running


def mailbox(gmail: Emulator) -> Mailbox:
    credentials = Credentials.from_access_token(gmail.access_token(delegated=True))
    return GmailClient(credentials, api_root=gmail.url, oauth_root=gmail.url).mailbox()


@pytest.mark.parametrize("table", sorted(SCHEMAS))
def test_every_table_keeps_a_field_of_every_object(gmail: Emulator, table: str) -> None:
    names = {
        "messages": ["Message", "MessagePart", "MessagePartHeader", "MessagePartBody"],
        "threads": ["Thread", "Message", "MessagePartHeader"],
        "drafts": ["Draft", "Message", "MessagePartHeader"],
        "labels": ["Label", "LabelColor"],
        "profile": ["Profile"],
        "settings": ["AutoForwarding", "ImapSettings", "PopSettings", "LanguageSettings", "VacationSettings"],
        "filters": ["Filter", "FilterAction", "FilterCriteria"],
        "forwarding_addresses": ["ForwardingAddress"],
        "send_as": ["SendAs", "SmtpMsa"],
        "delegates": ["Delegate"],
    }[table]
    before = {pointer: value for row in mailbox(gmail).rows(table) for pointer, value in whole_of(table, row)}
    fields(gmail, **{name: {"novelty": {"of": [name]}} for name in names})
    after = {pointer: value for row in mailbox(gmail).rows(table) for pointer, value in whole_of(table, row)}
    added = {pointer: value for pointer, value in after.items() if "/novelty/of/0" in pointer}
    assert set(added.values()) == set(names)
    assert stable(after.keys() - added.keys()) == stable(before.keys())
    assert all(after[pointer] == before[pointer] for pointer in stable(before.keys()))


def whole_of(table: str, row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    stored = to_batch(table, [row]).to_pylist()[0]
    key = str(next(iter(stored.values())))
    yield from ((f"{key}{pointer}", value) for pointer, value in whole(stored).items())


def stable(pointers: Iterable[str]) -> set[str]:
    return {pointer for pointer in pointers if not pointer.endswith("/attachmentId")}


def test_secrets_of_an_smtp_relay_are_not_kept() -> None:
    relay = {"host": "smtp.example", "port": 25, "securityMode": "none", "username": "u", "password": "p"}
    answer = {"sendAs": [{"sendAsEmail": "a@b.test", "smtpMsa": relay}]}
    (row,) = parse_response("settings.sendAs.list", answer)["sendAs"]
    assert COLUMN not in row
    (stored,) = to_batch("send_as", [row]).to_pylist()
    assert stored["smtpMsa"] == {"host": "smtp.example", "port": 25, "securityMode": "none"}


@pytest.mark.parametrize("relay", [[{"host": "smtp.example", "password": "p"}], "u:p@smtp.example"])
def test_secrets_of_an_smtp_relay_of_another_type_are_not_kept(relay: Any) -> None:
    answer = {"sendAs": [{"sendAsEmail": "a@b.test", "smtpMsa": relay}]}
    assert parse_response("settings.sendAs.list", answer) == {"sendAs": [{"sendAsEmail": "a@b.test"}]}


@pytest.mark.parametrize(
    "options", [{"excludeColumns": "snippet"}, {"hash": "addresses"}], ids=lambda given: next(iter(given))
)
def test_they_are_not_kept_where_content_is_excluded(
    gmail: Emulator, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GMAIL_HASH_KEY", "k" * 20)
    fields(gmail, Message={"preview": "dear diary"}, Thread={"preview": "dear diary"})
    for table in ("messages", "threads", "drafts"):
        rows = list(mailbox(gmail).rows(table, options))
        assert rows
        assert "dear diary" not in str(rows)


def test_a_field_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def message(number: int) -> dict[str, Any]:
        header = {"name": "To", "value": "x", "mood\x1b[31m": "content"}
        parts = [{"headers": [header], "parts": [{"headers": [header]}]}]
        return {"id": str(number), "payload": {"headers": [header], "parts": parts}}

    for number in range(3):
        parse_response("messages.get", message(number))
    (record,) = caplog.records
    assert record.getMessage() == (
        r"Gmail sends the field 'payload.headers.mood\x1b[31m' of messages, for which this version has no column: "
        "it is kept in unknownFields."
    )
    parse_response("messages.get", {"id": "1", "sizeEstimate": "content"})
    assert caplog.records[1].getMessage() == (
        "Gmail sends the field 'sizeEstimate' of messages as text, another type than its column's: "
        "it is kept in unknownFields."
    )
    parse_response("messages.list", {"messages": [{"id": "1", "threadId": "1", "rank": 1}]})
    assert caplog.records[2].getMessage() == (
        "Gmail sends the field 'messages.rank' of messages.list, for which this version has no column: "
        "it is not stored."
    )
    parse_response("labels.get", {"id": "1", **{f"x{n}": n for n in range(1_000)}})
    assert len(caplog.records) == 50


def test_fields_of_google_are_not_logged(caplog: pytest.LogCaptureFixture, gmail: Emulator) -> None:
    for table in SCHEMAS:
        assert not any(COLUMN in row for row in mailbox(gmail).rows(table))
    assert caplog.records == []


def test_a_thread_names_messages_by_id() -> None:
    message = {"id": "1~/2", COLUMN: '{"/a~1b":1}'}
    thread = {"id": "t", COLUMN: '{"/mood":"good"}', "messages": [message, {"id": "3"}]}
    (row,) = to_batch("threads", [thread]).to_pylist()
    assert row[COLUMN] == '{"/mood":"good","/messages/1~0~12/a~1b":1}'
    assert split(row[COLUMN]) == {"": '{"/mood":"good"}', "1~/2": '{"/a~1b":1}'}
    assert joined([prefixed('{"/a":1}', "messages", "x"), prefixed(None)]) == '{"/messages/x/a":1}'
    assert joined([]) is None


def test_smaller_formats_have_fewer_fields() -> None:
    text = '{"/a":1,"/payload/b":2,"/payload/headers/0/c":3,"/payload/parts/0/d":4}'
    assert projected(text, "full") == text
    assert projected(text, "metadata") == '{"/a":1,"/payload/headers/0/c":3}'
    assert projected(text, "minimal") == '{"/a":1}'
    assert projected('{"/payload/b":2}', "minimal") is None


def test_a_number_out_of_range_is_kept_as_text() -> None:
    parsed = parse_response("labels.get", json.loads('{"id": "1", "x": [1e999, 2.5]}'))
    assert parsed[COLUMN] == '{"/x":["inf",2.5]}'
