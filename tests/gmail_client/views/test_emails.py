"""Rows of `emails`: the source of every column, and a row for any message."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from support.mail import any_message, leaf, mail, multipart

from gmail_client.schema import message_row, to_batch
from gmail_client.views import LABEL_COLUMNS, VIEWS, Label, email_row, label_columns, to_table

LABELS = {"INBOX": Label("INBOX", "system"), "Label_1": Label("Work/Plans", "user")}
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def row_with(**headers: str) -> dict[str, Any]:
    return email_row(mail(headers={name.replace("_", "-"): value for name, value in headers.items()}), LABELS)


def test_a_whole_row() -> None:
    payload = multipart("alternative", leaf("text/plain", "Hello\r\n"), leaf("text/html", "<b>Hello</b>"))
    message = mail(
        multipart("mixed", payload, leaf("application/pdf", filename="a.pdf", attachment="x", size=9)),
        headers={
            "From": '"Lee, Ann" <Ann@Example.com>',
            "To": "bo@example.com, Cy <cy@example.org>",
            "Cc": "Team: dee@example.com;",
            "Reply-To": "ann@reply.example",
            "Subject": "=?utf-8?q?Gr=C3=BC=C3=9Fe?=",
            "Date": "Wed, 25 Nov 2020 15:16:07 +0100",
            "Message-ID": "<m1@example.com>",
            "In-Reply-To": "<m0@example.com>",
            "References": "<a@example.com> <m0@example.com>",
        },
        labelIds=["INBOX", "Label_1", "UNREAD", "CATEGORY_UPDATES"],
        snippet="Tom &amp; Ann",
    )
    row = email_row(message, LABELS)
    assert list(row.keys() - VIEWS["emails"].schema.names) == []
    assert row == {
        "message_id": "18c2a0",
        "thread_id": "18c29f",
        "rfc822_message_id": "m1@example.com",
        "in_reply_to": "m0@example.com",
        "reference_ids": ["a@example.com", "m0@example.com"],
        "received_at": datetime(2020, 11, 25, 14, 16, 8, 977_000, tzinfo=UTC),
        "sent_at": datetime(2020, 11, 25, 14, 16, 7, tzinfo=UTC),
        "from_email": "ann@example.com",
        "from_name": "Lee, Ann",
        "from_domain": "example.com",
        "subject": "Grüße",
        "to_recipients": [
            {"name": None, "email": "bo@example.com"},
            {"name": "Cy", "email": "cy@example.org"},
        ],
        "cc_recipients": [{"name": None, "email": "dee@example.com"}],
        "bcc_recipients": [],
        "reply_to": [{"name": None, "email": "ann@reply.example"}],
        "label_ids": ["INBOX", "Label_1", "UNREAD", "CATEGORY_UPDATES"],
        "label_names": ["INBOX", "Work/Plans", "UNREAD", "CATEGORY_UPDATES"],
        "is_unread": True,
        "is_starred": False,
        "is_important": False,
        "is_sent": False,
        "is_draft": False,
        "is_inbox": True,
        "is_spam": False,
        "is_trash": False,
        "category": "updates",
        "body_text": "Hello",
        "body_html": "<b>Hello</b>",
        "snippet": "Tom & Ann",
        "list_id": None,
        "is_bulk": False,
        "is_auto_submitted": False,
        "size_bytes": 1234,
        "attachment_count": 1,
        "history_id": 500,
    }


def test_missing_values_are_null_and_empty_values_are_empty() -> None:
    minimal = email_row(mail(), LABELS)
    assert (minimal["to_recipients"], minimal["subject"], minimal["is_bulk"]) == (None, None, None)
    assert (minimal["body_text"], minimal["attachment_count"]) == (None, None)
    assert minimal["is_inbox"] is True
    metadata = mail()
    metadata["payload"] = {"mimeType": "text/plain", "headers": [{"name": "Subject", "value": "Hi"}]}
    row = email_row(metadata, LABELS)
    assert (row["subject"], row["to_recipients"], row["attachment_count"]) == ("Hi", [], None)
    full = row_with(Subject="  ")
    assert (full["subject"], full["to_recipients"], full["attachment_count"]) == (None, [], 0)


@pytest.mark.parametrize(
    ("headers", "bulk", "automatic"),
    [
        ({}, False, False),
        ({"Precedence": "Bulk"}, True, False),
        ({"Precedence": "first-class"}, False, False),
        ({"List_Unsubscribe": "<mailto:x@y>"}, True, False),
        ({"List_Id": "<a.b>"}, True, False),
        ({"Auto_Submitted": "no"}, False, False),
        ({"Auto_Submitted": "auto-replied; owner=x"}, False, True),
        ({"Precedence": "auto_reply"}, False, True),
        ({"X_Autoreply": "yes"}, False, True),
    ],
)
def test_bulk_and_automatic_mail(headers: dict[str, str], bulk: bool, automatic: bool) -> None:
    row = row_with(**headers)
    assert (row["is_bulk"], row["is_auto_submitted"]) == (bulk, automatic)


@pytest.mark.parametrize(
    ("value", "list_id"),
    [
        ("Announcements <news.example.com>", "news.example.com"),
        ("news.example.com", "news.example.com"),
        ("<>", None),
        ("> <", "> <"),
        ("", None),
    ],
)
def test_list_ids(value: str, list_id: str | None) -> None:
    assert row_with(List_Id=value)["list_id"] == list_id


def test_the_sender_is_the_first_with_an_address() -> None:
    row = row_with(From="The Team <>, ann@example.com")
    assert (row["from_name"], row["from_email"]) == (None, "ann@example.com")
    row = row_with(From="The Team <>")
    assert (row["from_name"], row["from_email"], row["from_domain"]) == ("The Team", None, None)


def test_five_thousand_recipients() -> None:
    row = row_with(To=", ".join(f"P{n} <p{n}@example.com>" for n in range(5_000)))
    assert len(to_table("emails", [row])["to_recipients"][0]) == 5_000


def test_label_columns_are_those_of_the_row() -> None:
    message = mail(labelIds=["SENT", "Label_1"], historyId="77")
    changed = label_columns(message["labelIds"], message["historyId"], LABELS)
    assert tuple(sorted(changed)) == tuple(sorted(LABEL_COLUMNS))
    row = email_row(message, LABELS)
    assert {name: row[name] for name in LABEL_COLUMNS} == changed
    assert changed["label_names"] == ["SENT", "Work/Plans"]


@settings(deadline=None)
@given(any_message)
def test_any_message_has_a_row(message: dict[str, Any]) -> None:
    row = email_row(message, LABELS)
    table = to_table("emails", [row])
    assert table.schema.equals(VIEWS["emails"].schema)
    for name, value in row.items():
        text = str(value).replace("\\n", "").replace("\\t", "")
        assert not CONTROL.search(text.replace("\n", "").replace("\t", "")), name
        if isinstance(value, str) and not name.startswith("body"):
            assert len(value.splitlines()) <= 1, name


@settings(deadline=None)
@given(any_message)
def test_a_row_of_messages_gives_the_same_as_what_gmail_sends(message: dict[str, Any]) -> None:
    try:
        stored = to_batch("messages", [message]).to_pylist()[0]
    except (TypeError, ValueError, OverflowError):
        return  # too broken for the table itself
    direct = email_row(message_row(message), LABELS)
    assert to_table("emails", [email_row(stored, LABELS)]) == to_table("emails", [direct])
