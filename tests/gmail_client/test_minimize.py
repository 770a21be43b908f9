"""Minimization: excluded and hashed values are in no row, in any format; other values are unchanged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gmail_client import GmailClient
from gmail_client.auth.credentials import Credentials
from gmail_client.emulator import Emulator
from gmail_client.errors import ConfigurationError, OptionError
from gmail_client.minimize import HASH_DOMAIN, HASH_KEY, ContentPolicy, pseudonym, sender_matches
from gmail_client.options import TableOptions
from gmail_client.quota import preset
from gmail_client.schema import to_batch
from gmail_client.tables import CATALOGUE

KEY = "k" * 32
BODY = "U2VjcmV0IGJvZHk="


def part(level: int) -> dict[str, Any]:
    """A payload with bodies and addresses at every level, deeper than the schema has typed levels."""
    found: dict[str, Any] = {
        "partId": str(level),
        "mimeType": "multipart/mixed",
        "filename": f"name{level}",
        "headers": [
            {"name": "From", "value": 'Ada "The" Lovelace <ada@example.com>, <Bob@Example.com>'},
            {"name": "Received", "value": "from x (x [1.2.3.4]) for <ada@example.com>; Mon"},
            {"name": "Subject", "value": "plain"},
        ],
        "body": {"size": 11, "data": BODY, "attachmentId": "a1"},
    }
    if level < 8:
        found["parts"] = [part(level + 1)]
    return found


MESSAGE = {
    "id": "m1",
    "threadId": "t1",
    "labelIds": ["INBOX"],
    "snippet": "Secret snippet",
    "historyId": "9",
    "internalDate": "1700000000000",
    "payload": part(0),
}


def text_of(policy: ContentPolicy | None) -> str:
    """A row of `messages` as text, after the policy."""
    assert policy is not None
    message = policy.message(MESSAGE)
    assert message is not None
    return json.dumps(to_batch("messages", [message]).to_pylist()[0])


def options(**given: Any) -> TableOptions:
    return TableOptions.parse("messages", given)


def test_excluded_columns_are_gone_at_every_level() -> None:
    text = text_of(options(excludeColumns="snippet, payload.body").policy)
    assert "Secret" not in text
    assert BODY not in text
    assert "name8" in text
    text = text_of(
        options(excludeColumns=["payload.body.data", "payload.filename", "payload.headers"]).policy
    )
    assert BODY not in text
    assert "name0" not in text
    assert "name8" not in text
    assert "ada@" not in text
    assert '"a1"' in text
    assert "Secret snippet" in text
    row = json.loads(text_of(options(excludeColumns="payload").policy))
    assert row["payload"] is None
    assert row["id"] == "m1"


def test_addresses_become_pseudonyms_that_are_the_same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HASH_KEY, KEY)
    text = text_of(options(hash="addresses").policy)
    assert "example.com" not in text.lower()
    assert "Lovelace" not in text
    ada, bob = (pseudonym(address, KEY.encode()) for address in ("ADA@example.com ", "bob@example.com"))
    assert f"{ada}, {bob}" in text
    assert f"for <{ada}>; Mon" in text
    assert text.count(ada) == 2 * 9
    policy = TableOptions.parse("filters", {"hash": "addresses"}).policy
    assert policy is not None
    row = policy.row(
        "filters", {"id": "a@b", "criteria": {"from": "ada@example.com"}, "action": {"addLabelIds": ["x@y"]}}
    )
    assert row == {"id": "a@b", "criteria": {"from": ada}, "action": {"addLabelIds": ["x@y"]}}


@given(st.text(max_size=60), st.text('abc.@<>", ()', max_size=40))
@example("x ada@example.com", '"Ada" <ada@example.com>')
@example("", "@@@@ ada@example.com")
def test_no_address_is_left_in_any_context(name: str, value: str) -> None:
    policy = ContentPolicy(hashed=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(HASH_KEY, KEY)
        for header in ("To", "X-Other"):
            payload = {"headers": [{"name": header, "value": f"{name} <zoe.q@private.example> {value}"}]}
            message = policy.message({**MESSAGE, "payload": payload})
            assert message is not None
            assert "private.example" not in json.dumps(message)


def test_pseudonyms_depend_on_the_required_key(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = options(hash=["addresses"])
    found = set()
    for key in (KEY, "o" * 32):
        monkeypatch.setenv(HASH_KEY, key)
        found.add((hashed.fingerprint, hashed.content_format, pseudonym("a@b", key.encode())))
        assert key not in str(found)
    assert len({fingerprint for fingerprint, _, _ in found}) == len(found) == 2
    for key in ("", "short"):
        monkeypatch.setenv(HASH_KEY, key)
        with pytest.raises(ConfigurationError, match=HASH_KEY):
            _ = hashed.fingerprint


def test_senders_are_addresses_or_domains() -> None:
    senders = options(excludeFrom="Ada@Example.com, @lists.example").exclude_from
    assert senders == ("ada@example.com", "@lists.example")
    for value in ('"Ada" <ADA@example.com>', "x@lists.example", "y <y@news.lists.example>"):
        assert sender_matches(value, senders)
    for value in ("nada@example.com", "ada@example.com.evil.test", "x@mylists.example", "", "undisclosed"):
        assert not sender_matches(value, senders)
    policy = options(excludeFrom="bob@example.com").policy
    assert policy is not None
    assert policy.message(MESSAGE) is None


def test_without_the_options_nothing_changes() -> None:
    plain = options()
    assert plain.policy is None
    assert (plain.fingerprint, plain.content_format) == ("all", "full")
    labels = options(excludeLabels="SPAM")
    assert labels.content_format == "full"
    assert labels.fingerprint != "all"
    assert not labels.is_visible(["INBOX", "SPAM"])
    assert options(includeSpamTrash=True).is_visible(["SPAM"])


@pytest.mark.parametrize(
    ("table", "given"),
    [
        ("messages", {"excludeColumns": "id"}),
        ("messages", {"excludeColumns": "payload.parts"}),
        ("messages", {"excludeColumns": "payload.parts.body"}),
        ("messages", {"excludeColumns": "nothing"}),
        ("threads", {"excludeColumns": "messages"}),
        ("send_as", {"excludeColumns": "sendAsEmail"}),
        ("messages", {"excludeColumns": "payload.body", "format": "raw"}),
        ("messages", {"hash": "addresses", "format": "raw"}),
        ("messages", {"excludeFrom": "ada@example.com", "format": "minimal"}),
        ("messages", {"excludeFrom": "ada"}),
        ("messages", {"excludeFrom": "from:ada@example.com OR"}),
        ("messages", {"hash": "subjects"}),
        ("labels", {"excludeLabels": "INBOX"}),
    ],
)
def test_contradictory_options_are_refused(table: str, given: dict[str, str]) -> None:
    with pytest.raises(OptionError):
        TableOptions.parse(table, given)


def test_every_table_read_from_the_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HASH_KEY, KEY)
    with Emulator(messages=30, seed=5) as gmail:
        client = GmailClient(
            Credentials.from_access_token(gmail.access_token()),
            quota=preset("1200000"),
            api_root=gmail.url,
            oauth_root=gmail.url,
        )
        mailbox = client.mailbox()
        for table in CATALOGUE:
            if table == "delegates":
                continue
            text = json.dumps(list(mailbox.rows(table, {"hash": "addresses", **_texts(table)})))
            assert gmail.addresses[0] not in text, table
        mails = gmail.truth("messages")
        sender = next(h["value"] for h in mails[0]["payload"]["headers"] if h["name"] == "From")
        excluded = sender.rpartition("<")[2].strip("<> ").lower()
        kept = [m for m in mails if not sender_matches(_from(m), (excluded,))]
        rows = list(mailbox.rows("messages", {"excludeFrom": excluded}))
        assert {row["id"] for row in rows} == {m["id"] for m in kept}
        assert len(kept) < len(mails)
        threads = list(mailbox.rows("threads", {"excludeFrom": excluded}))
        assert {m["id"] for thread in threads for m in thread["messages"]} == {m["id"] for m in kept}
        unread = list(mailbox.rows("messages", {"excludeLabels": "UNREAD"}))
        assert {row["id"] for row in unread} == {
            m["id"] for m in mails if "UNREAD" not in m.get("labelIds", ())
        }


def _texts(table: str) -> dict[str, str]:
    """Texts are not hashed: they are excluded."""
    if table in ("messages", "threads", "drafts"):
        return {"excludeColumns": "snippet, payload.body"}
    return {"excludeColumns": "signature"} if table == "send_as" else {}


def _from(message: dict[str, Any]) -> str:
    return ", ".join(h["value"] for h in message["payload"]["headers"] if h["name"] == "From")


def test_a_pseudonym_has_the_form_of_an_address() -> None:
    found = pseudonym("ada@example.com", b"key")
    local, _, domain = found.partition("@")
    assert domain == HASH_DOMAIN
    assert len(local) == 20
