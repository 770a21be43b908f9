"""A mailbox of the emulator in which every column of the ten tables has a value somewhere: `enrich`."""

from __future__ import annotations

from email.encoders import encode_base64
from email.message import EmailMessage
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from gmail_client.emulator import Emulator

__all__ = ["CLASSIFICATION", "enrich"]

CLASSIFICATION = [{"labelId": "sensitivity", "fields": [{"fieldId": "level", "selection": "internal"}]}]

_LEVELS = 7
"""Nested containers of the deepest mail: more than the typed levels of `payload.parts`."""


def enrich(gmail: Emulator) -> None:
    """Add to the first mailbox what a generated mailbox lacks: deep parts, whole mails that are a file, forwarding."""
    mailbox = gmail.mailbox()
    forward = next(
        one["forwardingEmail"]
        for one in mailbox.settings.forwarding_addresses.values()
        if one["verificationStatus"] == "accepted"
    )
    mailbox.update_settings(
        "autoForwarding", {"enabled": True, "emailAddress": forward, "disposition": "leaveInInbox"}
    )
    mailbox.create_filter({"from": "invoices@shop.example.com"}, {"forward": forward})
    for mail in (_nested(), _file_alone(), _text()):
        mailbox.insert(mail, ["INBOX"], classification=CLASSIFICATION)
        mailbox.create_draft(mail, classification=CLASSIFICATION)


def _headed(message: MIMEBase | EmailMessage | MIMEMultipart, subject: str) -> bytes:
    message["Subject"] = subject
    message["From"] = "Bo <bo@example.com>"
    message["To"] = "ada@example.com"
    return message.as_bytes()


def _file() -> MIMEBase:
    part = MIMEBase("application", "pdf")
    part.set_payload(b"%PDF-1.7 " * 400)
    encode_base64(part)
    part.add_header("Content-Disposition", "attachment", filename="report.pdf")
    return part


def _nested() -> bytes:
    inner = MIMEMultipart("mixed")
    inner.attach(MIMEText("the innermost text"))
    inner.attach(_file())
    for level in range(_LEVELS):
        outer = MIMEMultipart("mixed")
        outer.attach(MIMEText(f"text of level {level}"))
        outer.attach(_file())
        outer.attach(inner)
        inner = outer
    return _headed(inner, "Forwarded again and again")


def _file_alone() -> bytes:
    """A mail without a container, as scanners send it."""
    return _headed(_file(), "Scan")


def _text() -> bytes:
    message = EmailMessage()
    message.set_content("Only text.")
    return _headed(message, "Note")
