"""Rows of the corpus of mails, compared with Python's `email` package where possible."""

from __future__ import annotations

import base64
import email
import email.policy
import re
from collections import Counter
from datetime import UTC
from typing import Any

import pytest
from support.corpus import CORPUS, corpus_files, message_of, needs_corpus

from gmail_client.views import attachment_rows, email_row, to_table
from gmail_client.views.text import clean_line

pytestmark = needs_corpus

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
DIFFERENT = {
    "date": {"mikel_mail/077"},  # the year 3609
    "html": {
        "enmime/036",
        "enmime/043",
        "mikel_mail/020",
    },  # two parts; broken charsets, by the emulator's reading
    "filenames": {
        *("mikel_mail/011", "mikel_mail/014", "mikel_mail/050"),  # unquoted names, names in Content-Location
        *("stalwart/036", "stalwart/040"),  # the parser reads a backslash as an escape
    },
    "to_recipients": set[str](),
    "cc_recipients": set[str](),
    "from": set[str](),
    "subject": set[str](),
}
"""Mails whose values differ from the parser's, by column."""


@pytest.fixture(scope="module")
def mails() -> dict[str, bytes]:
    return {str(path.relative_to(CORPUS).with_suffix("")): path.read_bytes() for path in corpus_files()}


def squeezed(text: str | None) -> str:
    return re.sub(r"\s+", "", text or "")


def parsed(raw: bytes) -> Any:
    return email.message_from_bytes(raw, policy=email.policy.default)


def addresses(headers: list[Any]) -> list[tuple[str, str]] | None:
    """Names and addresses as the parser reads them; None if it finds a header defective."""
    if any(header.defects for header in headers):
        return None
    return [
        (squeezed(clean_line(one.display_name)), one.addr_spec.lower())
        for header in headers
        for one in header.addresses
    ]


def parser_values(raw: bytes) -> dict[str, Any]:
    """The values that the parser reads, by the names of `DIFFERENT`; without those that it can't read."""
    mail = parsed(raw)
    read: dict[str, Any] = {}
    subject = mail["subject"]
    if subject is not None and not subject.defects and "\N{REPLACEMENT CHARACTER}" not in subject:
        read["subject"] = squeezed(clean_line(str(subject)))
    date = mail["date"]
    if date is not None and date.datetime is not None:
        read["date"] = date.datetime if date.datetime.tzinfo else date.datetime.replace(tzinfo=UTC)
    for column, name in (("to_recipients", "to"), ("cc_recipients", "cc"), ("from", "from")):
        found = addresses(mail.get_all(name, []))
        if found is not None and "\N{REPLACEMENT CHARACTER}" not in str(found):
            read[column] = found[:1] if name == "from" else found
    html = mail.get_body(("html",))
    if html is not None and html.get_content().strip():
        read["html"] = squeezed(html.get_content())
    names = (part.get_filename() for part in mail.walk() if part.get_content_maintype() != "multipart")
    filenames = sorted(clean_line(name) for name in names if name)
    if "\N{REPLACEMENT CHARACTER}" not in str(filenames):
        read["filenames"] = filenames
    return read


def raw_message(raw: bytes) -> dict[str, Any]:
    return {"id": "1", "raw": base64.urlsafe_b64encode(raw).decode()}


def product_values(raw: bytes) -> dict[str, Any]:
    """The headers as sent, read from the raw bytes; bodies and file names as Gmail returns them."""
    row, attachments = email_row(raw_message(raw), {}), attachment_rows(message_of(raw))
    people = {
        column: [(squeezed(one["name"]), one["email"] or "") for one in row[column]]
        for column in ("to_recipients", "cc_recipients")
    }
    sender = (squeezed(row["from_name"]), row["from_email"] or "")
    return {
        "subject": squeezed(row["subject"]),
        "date": row["sent_at"],
        "html": squeezed(email_row(message_of(raw), {})["body_html"]),
        "from": [sender] if any(sender) else [],
        "filenames": sorted(one["filename"] for one in attachments if one["filename"]),
        **people,
    }


def alike(found: Any, right: Any) -> bool:
    """Equal, except for names in comments and odd phrases that only the product finds."""
    if isinstance(right, list) and len(right) == len(found) and all(isinstance(one, tuple) for one in right):
        pairs = zip(found, right, strict=True)
        return all(one == other or (one[1] == other[1] and not other[0]) for one, other in pairs)
    return bool(found == right)


def test_columns_equal_an_independent_parser(mails: dict[str, bytes]) -> None:
    compared: Counter[str] = Counter()
    different: dict[str, set[str]] = {column: set() for column in DIFFERENT}
    for name, raw in mails.items():
        try:
            right = parser_values(raw)
        except (LookupError, ValueError, TypeError, AttributeError, IndexError):
            continue  # the parser itself fails on a few
        found = product_values(raw)
        for column, value in right.items():
            compared[column] += 1
            if not alike(found[column], value):
                different[column].add(name)
    assert different == DIFFERENT
    assert min(compared.values()) > 60
    assert compared["subject"] > 250


def test_the_text_part_is_in_the_body(mails: dict[str, bytes]) -> None:
    compared, missing = 0, set()
    for name, raw in mails.items():
        try:
            part = parsed(raw).get_body(("plain",))
            text = squeezed(part.get_content()) if part is not None and not part.get_filename() else ""
        except (LookupError, ValueError, TypeError, AttributeError):
            continue
        if text and not CONTROL.search(text) and "\N{REPLACEMENT CHARACTER}" not in text:
            compared += 1
            if text not in squeezed(email_row(message_of(raw), {})["body_text"]):
                missing.add(name)
    assert compared > 180
    # Charsets that the emulator, not the table, reads in another way.
    assert missing <= {"mikel_mail/061", "stalwart/002", "stalwart/006", "stalwart/035", "stalwart/092"}


def test_every_mail_has_a_row_without_control_characters(mails: dict[str, bytes]) -> None:
    assert len(mails) == 326
    for name, raw in mails.items():
        for message in (message_of(raw), raw_message(raw)):
            row, attachments = email_row(message, {}), attachment_rows(message)
            assert row["attachment_count"] == len(attachments), name
            assert len({one["part_id"] for one in attachments}) == len(attachments), name
            assert to_table("emails", [row]).to_pylist()[0] == row, name
            to_table("attachments", attachments)
            assert not CONTROL.search(str({**row, "body_text": "", "body_html": ""})), name
            assert not CONTROL.search(row["body_text"] or ""), name
            assert not CONTROL.search(row["body_html"] or ""), name


def test_raw_and_full_give_the_same_row(mails: dict[str, bytes]) -> None:
    same: Counter[str] = Counter()
    columns = (
        "from_email",
        "from_name",
        "sent_at",
        "rfc822_message_id",
        "reference_ids",
        "list_id",
        "is_bulk",
    )
    loose = ("subject", "to_recipients", "body_text", "body_html", "attachment_count")
    for name, raw in mails.items():
        full = email_row(message_of(raw), {})
        by_raw = email_row(raw_message(raw), {})
        for column in columns:
            assert by_raw[column] == full[column], (name, column)
        same.update(
            column for column in loose if squeezed(str(by_raw[column])) == squeezed(str(full[column]))
        )
    # What is left are mails that the emulator reads in another way than Python's `email`.
    assert min(same[column] for column in loose) >= 316
