"""Rows of `attachments`: the parts that are attachments, at any depth."""

from __future__ import annotations

import hashlib
from typing import Any

from hypothesis import given, settings
from support.mail import any_message, leaf, mail, multipart

from gmail_client.schema import PARTS_DEPTH, message_row
from gmail_client.views import VIEWS, attachment_rows, email_row, to_table


def names(payload: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(row["part_id"], row["filename"]) for row in attachment_rows(mail(payload))]


PDF = leaf("Application/PDF", filename="Report.Final.PDF", attachment="a1", size=9)


def test_a_row_has_what_the_part_says() -> None:
    image = leaf("image/png", filename="=?utf-8?q?Gr=C3=BC=C3=9Fe=2Epng?=", attachment="a2", size=4)
    image["headers"] = [{"name": "Content-Id", "value": "<logo@example.com>"}]
    assert attachment_rows(mail(multipart("mixed", leaf("text/plain", "Hello"), PDF, image))) == [
        {
            "message_id": "18c2a0",
            "part_id": "1",
            "filename": "Report.Final.PDF",
            "extension": "pdf",
            "mime_type": "application/pdf",
            "size_bytes": 9,
            "content_id": None,
            "is_inline": False,
            "sha256": None,
        },
        {
            "message_id": "18c2a0",
            "part_id": "2",
            "filename": "Grüße.png",
            "extension": "png",
            "mime_type": "image/png",
            "size_bytes": 4,
            "content_id": "logo@example.com",
            "is_inline": True,
            "sha256": None,
        },
    ]


def test_content_in_the_message_has_a_digest() -> None:
    part = leaf("text/csv", "a,b\r\n", filename="t.csv", headers={"Content-Disposition": "ATTACHMENT; x=y"})
    (row,) = attachment_rows(mail(multipart("mixed", leaf("text/plain", "Hello"), part)))
    assert row["sha256"] == hashlib.sha256(b"a,b\r\n").hexdigest()
    assert row["size_bytes"] == 5


def test_which_parts_are_attachments() -> None:
    attached = multipart("rfc822", multipart("mixed", leaf("text/plain", "in"), PDF), mime_type="message")
    payload = multipart(
        "mixed",
        multipart(
            "alternative", leaf("text/plain", "Hello"), leaf("text/html", "<p>"), leaf("text/calendar", "X")
        ),
        attached,
        leaf("text/plain", "by disposition", headers={"Content-Disposition": "attachment"}),
        leaf("image/gif", attachment="unnamed", size=3),
        leaf("application/octet-stream", size=0),
        leaf("text/plain", "footer"),
    )
    assert names(payload) == [("1", None), ("1.0.1", "Report.Final.PDF"), ("2", None), ("3", None)]
    assert email_row(mail(payload), {})["attachment_count"] == 4


def test_a_message_that_is_an_attachment_itself() -> None:
    assert names(PDF) == [("", "Report.Final.PDF")]


def test_attachments_below_the_typed_levels() -> None:
    payload = PDF
    for _ in range(PARTS_DEPTH + 3):
        payload = multipart("mixed", leaf("text/plain", "x"), payload)
    row = message_row(mail(payload))
    assert [one["part_id"] for one in attachment_rows(row)] == [".".join("1" * (PARTS_DEPTH + 3))]
    assert email_row(row, {})["body_text"] == "\n".join("x" * (PARTS_DEPTH + 3))


def test_extensions() -> None:
    def extension(filename: str) -> str | None:
        return attachment_rows(mail(leaf("image/png", filename=filename, attachment="x")))[0]["extension"]

    named = ["a.TAR", ".profile", "a.", "a.b c", "a.verylongextension", "a", "ä.ÄÖ"]
    assert list(map(extension, named)) == ["tar", None, None, None, None, None, "äö"]


def test_parts_with_one_id_are_told_apart() -> None:
    message = mail(multipart("mixed", PDF, PDF, PDF))
    for part in message["payload"]["parts"]:
        part["partId"] = "1"
    assert len({row["part_id"] for row in attachment_rows(message)}) == 3


@settings(deadline=None)
@given(any_message)
def test_any_message_has_as_many_rows_as_emails_says(message: dict[str, Any]) -> None:
    rows = attachment_rows(message)
    assert to_table("attachments", rows).schema.equals(VIEWS["attachments"].schema)
    assert len({row["part_id"] for row in rows}) == len(rows)
    assert len(rows) == (email_row(message, {})["attachment_count"] or 0)
