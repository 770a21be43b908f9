"""`truth` equals a complete read through the API."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from support.gmail_api import Caller

from gmail_client.emulator import Emulator
from gmail_client.emulator.truth import TRUTH_TABLES

Start = Callable[..., Emulator]
Call = Callable[..., Caller]


def without_attachment_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_attachment_ids(inner) for key, inner in value.items() if key != "attachmentId"}
    if isinstance(value, list):
        return [without_attachment_ids(inner) for inner in value]
    return value


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"include_spam_trash": True},
        {"label_ids": ["INBOX", "UNREAD"]},
        {"q": "in:inbox OR from:example"},
        {"q": "has:attachment", "include_spam_trash": True},
    ],
)
def test_messages_and_threads(start: Start, call: Call, filters: dict[str, Any]) -> None:
    gmail = start(messages=80)
    me = call(gmail)
    params: dict[str, Any] = {"maxResults": 30, "labelIds": filters.get("label_ids", [])}
    if "q" in filters:
        params["q"] = filters["q"]
    if filters.get("include_spam_trash"):
        params["includeSpamTrash"] = "true"
    listed = me.pages("messages", "messages", **params)
    assert listed, "an empty listing shows nothing"
    read = {item["id"]: me.me(f"messages/{item['id']}") for item in listed}
    truth = {row["id"]: row for row in gmail.truth("messages", **filters)}
    assert without_attachment_ids(read) == without_attachment_ids(truth)
    threads = {row["id"]: row for row in gmail.truth("threads", **filters)}
    hidden = {"SPAM", "TRASH"} if not filters.get("include_spam_trash") else set()
    for item in me.pages("threads", "threads", **params):
        row = me.me(f"threads/{item['id']}")
        row["messages"] = [one for one in row["messages"] if hidden.isdisjoint(one.get("labelIds", []))]
        row["snippet"] = item["snippet"]
        assert without_attachment_ids(row) == without_attachment_ids(threads.pop(item["id"]))
    assert threads == {}


def test_the_other_eight_tables(start: Start, call: Call) -> None:
    gmail = start(messages=40)
    me = call(gmail)
    labels = [me.me(f"labels/{label['id']}") for label in me.me("labels")["labels"]]
    assert gmail.truth("labels") == sorted(labels, key=lambda row: str(row["id"]))
    drafts = [me.me(f"drafts/{draft['id']}") for draft in me.me("drafts").get("drafts", [])]
    by_id = sorted(without_attachment_ids(drafts), key=lambda row: str(row["id"]))
    assert without_attachment_ids(gmail.truth("drafts")) == by_id
    assert gmail.truth("profile") == [me.me("profile")]
    (settings,) = gmail.truth("settings")
    for part in ("autoForwarding", "imap", "pop", "language", "vacation"):
        assert settings[part] == me.me(f"settings/{part}")
    for table, path, key, name in (
        ("filters", "filters", "filter", "id"),
        ("forwarding_addresses", "forwardingAddresses", "forwardingAddresses", "forwardingEmail"),
        ("send_as", "sendAs", "sendAs", "sendAsEmail"),
        ("delegates", "delegates", "delegates", "delegateEmail"),
    ):
        rows = me.me(f"settings/{path}").get(key, [])
        assert gmail.truth(table) == sorted(rows, key=lambda row: str(row[name]))


def test_every_table_and_no_other(start: Start) -> None:
    gmail = start(messages=10, mailboxes=2)
    for table in TRUTH_TABLES:
        assert json.dumps(gmail.truth(table, gmail.addresses[1]))
    with pytest.raises(ValueError, match="no table 'mails'; there are messages, threads"):
        gmail.truth("mails")


@pytest.mark.parametrize("form", ["metadata", "minimal", "raw"])
def test_formats(start: Start, form: Any) -> None:
    gmail = start(messages=10)
    for row in gmail.truth("messages", format=form):
        assert ("payload" in row) == (form == "metadata")
        assert row["sizeEstimate"] >= 0


def test_the_truth_is_not_counted(start: Start) -> None:
    gmail = start(messages=10)
    gmail.truth("messages")
    assert gmail.usage.total_calls == 0
    assert gmail.usage.fetched == 0
