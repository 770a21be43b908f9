"""Minimization in Lakeflow's reads and streams: the same options as in Dagster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.lakeflow import connector_of

from gmail_client.emulator import Emulator
from gmail_client.errors import ConfigurationError, OptionError
from gmail_client.minimize import HASH_KEY

OPTIONS = {
    "excludeColumns": "snippet, payload.body",
    "excludeLabels": "STARRED",
    "excludeFrom": "mallory@shady.example",
    "hash": "addresses",
}
MAIL = b"From: Mallory <mallory@shady.example>\r\nSubject: hello\r\n\r\nUNIQUE-BODY"


@pytest.fixture
def gmail(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    monkeypatch.setenv(HASH_KEY, "k" * 32)
    with Emulator(messages=25, seed=6) as emulator:
        emulator.mailbox().insert(MAIL, ["INBOX"])
        yield emulator


def drained(gmail: Emulator, table: str, rows: dict[str, Any], offset: Any, *, deletes: bool = False) -> Any:
    """Apply every batch of a flow to the rows; returns the last offset."""
    connector = connector_of(gmail)
    read = connector.read_table_deletes if deletes else connector.read_table
    while True:
        records, end = read(table, offset, dict(OPTIONS))
        for row in list(records):
            if deletes:
                rows.pop(row["id"], None)
            else:
                rows[row["id"]] = row
        if end == offset:
            return end
        offset = end


@pytest.mark.parametrize("table", ["messages", "threads"])
def test_a_stream_has_only_what_the_options_include(gmail: Emulator, table: str) -> None:
    rows: dict[str, Any] = {}
    offset = drained(gmail, table, rows, None)
    gone = drained(gmail, table, {}, None, deletes=True)
    mailbox = gmail.mailbox()
    plain = [m["id"] for m in gmail.truth("messages") if "STARRED" not in m.get("labelIds", ())]
    mailbox.modify(plain[0], add=["STARRED"])
    mailbox.insert(MAIL, ["INBOX"])
    arrived = mailbox.insert(b"From: ada@example.com\r\n\r\nUNIQUE-BODY", ["INBOX"])
    drained(gmail, table, rows, offset)
    drained(gmail, table, rows, gone, deletes=True)
    truth = {
        m["id"]
        for m in gmail.truth("messages")
        if "STARRED" not in m.get("labelIds", ())
        and "mallory@shady.example" not in json.dumps(m["payload"]["headers"])
    }
    members = [m for row in rows.values() for m in row["messages"]] if table == "threads" else rows.values()
    assert {m["id"] for m in members} == truth
    assert arrived in truth
    text = json.dumps(list(rows.values()))
    assert "shady.example" not in text
    assert "ada@example.com" not in text
    assert "VU5JUVVFLUJPRFk" not in text
    assert gmail.addresses[0] not in text
    assert all(m.get("snippet") is None for m in members)


def test_snapshots_are_minimized_too(gmail: Emulator) -> None:
    records, _ = connector_of(gmail).read_table(
        "send_as", None, {"hash": "addresses", "excludeColumns": "signature"}
    )
    rows = list(records)
    assert rows
    assert all(row["signature"] is None and row["sendAsEmail"].endswith("@hashed.invalid") for row in rows)


def test_without_a_key_or_with_a_wrong_option_nothing_is_read(
    gmail: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    gmail.usage.reset()
    with pytest.raises(OptionError):
        connector_of(gmail).read_table("messages", None, {"excludeColumns": "id"})
    monkeypatch.delenv(HASH_KEY)
    with pytest.raises(ConfigurationError, match=HASH_KEY):
        list(connector_of(gmail).read_table("messages", None, {"hash": "addresses"})[0])
    assert not gmail.usage.units["messages.get"]
