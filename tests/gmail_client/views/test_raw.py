"""Messages read with `format: raw` give the rows of those read with their parts."""

from __future__ import annotations

import base64
import hashlib
from email.message import EmailMessage

from hypothesis import given, settings
from hypothesis import strategies as st
from support.corpus import message_of

from gmail_client.views import attachment_rows, email_row
from gmail_client.views.raw import payload_of


def composed() -> bytes:
    message = EmailMessage()
    message["From"] = "Jörg Müller <j@example.com>"
    message["To"] = "a@example.com"
    message["Subject"] = "Grüße aus 東京"
    message["Date"] = "Wed, 25 Nov 2020 15:16:07 +0100"
    message.set_content("Schöne Grüße\n", charset="iso-8859-1")
    message.add_alternative("<p>Schöne Grüße</p>\n", subtype="html")
    message.add_attachment(b"\x00\x01\x02", maintype="application", subtype="zip", filename="Übersicht.zip")
    return message.as_bytes()


def test_raw_equals_full() -> None:
    raw = composed()
    message = {"id": "18c2a0", "raw": base64.urlsafe_b64encode(raw).decode()}
    full, row = email_row(message_of(raw), {}), email_row(message, {})
    for column in (
        "subject",
        "from_name",
        "from_email",
        "sent_at",
        "body_text",
        "body_html",
        "attachment_count",
    ):
        assert row[column] == full[column]
    assert row["subject"] == "Grüße aus 東京"
    (attachment,) = attachment_rows(message)
    assert attachment["filename"] == "Übersicht.zip"
    assert attachment["sha256"] == hashlib.sha256(b"\x00\x01\x02").hexdigest()
    assert attachment["size_bytes"] == 3


@settings(deadline=None)
@given(
    st.binary()
    | st.lists(
        st.sampled_from(
            [
                b"Content-Type: ",
                b"multipart/mixed; boundary=a",
                b"\n--a",
                b"\n",
                b"message/rfc822",
                b"--",
                b"\xff",
            ]
        )
    ).map(b"".join)
)
def test_any_bytes_have_a_payload(raw: bytes) -> None:
    message = {"id": "1", "payload": payload_of(raw)}
    assert email_row(message, {})["attachment_count"] == len(attachment_rows(message))
