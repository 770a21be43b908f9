"""Rows of `emails` from messages: `email_row` for a whole row, `label_columns` for what changes with labels.

A row always comes out; what can't be read is None. Lists are None if their headers were not read (`format: minimal`)
and empty if the mail has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gmail_client.views.addresses import Address, domain_of, parse_addresses
from gmail_client.views.headers import collect, decode_words, from_milliseconds, message_ids, parse_date
from gmail_client.views.parts import NOTHING, STRUCTURE, body_of, content_level, count_attachments
from gmail_client.views.raw import with_payload
from gmail_client.views.text import clean_line, plain_snippet

__all__ = ["EMAIL_HEADERS", "Label", "Labels", "email_row", "label_columns"]

Row = dict[str, Any]


class Label(NamedTuple):
    """What `labels` says of a label."""

    name: str
    type: str | None


Labels = Mapping[str, Label]
"""The labels of one mailbox by id."""

EMAIL_HEADERS = frozenset(
    {
        "auto-submitted",
        "bcc",
        "cc",
        "date",
        "from",
        "in-reply-to",
        "list-id",
        "list-unsubscribe",
        "message-id",
        "precedence",
        "references",
        "reply-to",
        "subject",
        "to",
        "x-autoreply",
    }
)
_BULK = frozenset({"bulk", "junk", "list"})
_CATEGORY = "CATEGORY_"
_FLAGS = (
    ("is_unread", "UNREAD"),
    ("is_starred", "STARRED"),
    ("is_important", "IMPORTANT"),
    ("is_sent", "SENT"),
    ("is_draft", "DRAFT"),
    ("is_inbox", "INBOX"),
    ("is_spam", "SPAM"),
    ("is_trash", "TRASH"),
)


def email_row(message: Mapping[str, Any], labels: Labels) -> Row:
    """One row of `emails`.

    Args:
        message: A message as Gmail sends it, or a row of `messages`.
        labels: The mailbox's labels.
    """
    message = with_payload(message)
    payload = message.get("payload") or {}
    level = content_level(payload)
    size = message.get("sizeEstimate")
    return {
        "message_id": message["id"],
        "thread_id": message.get("threadId"),
        "received_at": from_milliseconds(message.get("internalDate")),
        "snippet": plain_snippet(message.get("snippet") or "") or None,
        "size_bytes": int(size) if size is not None else None,
        **label_columns(message.get("labelIds") or (), message.get("historyId"), labels),
        **(
            _NO_HEADERS
            if level == NOTHING
            else _header_columns(collect(payload.get("headers"), EMAIL_HEADERS))
        ),
        **(_content_columns(payload) if level == STRUCTURE else _NO_CONTENT),
    }


def label_columns(label_ids: Iterable[str], history_id: str | int | None, labels: Labels) -> Row:
    """The columns that change with a message's labels (`schemas.LABEL_COLUMNS`)."""
    ids = list(label_ids)
    held = set(ids)
    row: Row = {name: label in held for name, label in _FLAGS}
    row["label_ids"] = ids
    row["label_names"] = [label_name(label, labels) for label in ids]
    category = next((label for label in ids if label.startswith(_CATEGORY)), None)
    row["category"] = category and category.removeprefix(_CATEGORY).lower()
    row["history_id"] = int(history_id) if history_id else None
    return row


def label_name(label_id: str, labels: Labels) -> str:
    """The label's name on one line, its id where it is not known."""
    label = labels.get(label_id)
    return clean_line(label.name) if label is not None else label_id


def _header_columns(headers: Mapping[str, list[str]]) -> Row:
    senders = parse_addresses(headers.get("from", ()))
    sender = next((one for one in senders if one.email), senders[0] if senders else Address(None, None))
    lists = [clean_line(value) for value in headers.get("list-id", ())]
    precedence = _words(headers, "precedence")
    submitted = _words(headers, "auto-submitted")
    return {
        "rfc822_message_id": next(iter(message_ids(headers.get("message-id", ()))), None),
        "in_reply_to": next(iter(message_ids(headers.get("in-reply-to", ()))), None),
        "reference_ids": message_ids(headers.get("references", ())),
        "sent_at": next(filter(None, map(parse_date, headers.get("date", ()))), None),
        "from_email": sender.email,
        "from_name": sender.name,
        "from_domain": domain_of(sender.email),
        "subject": next((text for value in headers.get("subject", ()) if (text := _subject(value))), None),
        "to_recipients": _people(headers, "to"),
        "cc_recipients": _people(headers, "cc"),
        "bcc_recipients": _people(headers, "bcc"),
        "reply_to": _people(headers, "reply-to"),
        "list_id": _list_id(lists[0]) if lists else None,
        "is_bulk": bool(lists) or "list-unsubscribe" in headers or not _BULK.isdisjoint(precedence),
        "is_auto_submitted": bool(submitted - {"no"})
        or "auto_reply" in precedence
        or "x-autoreply" in headers,
    }


def _subject(value: str) -> str:
    return clean_line(decode_words(value))


def _people(headers: Mapping[str, list[str]], name: str) -> list[dict[str, str | None]]:
    return [{"name": one.name, "email": one.email} for one in parse_addresses(headers.get(name, ()))]


def _words(headers: Mapping[str, list[str]], name: str) -> set[str]:
    """The first word of each value of a header, in lower case."""
    return {clean_line(value).partition(";")[0].strip().lower() for value in headers.get(name, ())} - {""}


def _list_id(value: str) -> str | None:
    start, end = value.rfind("<"), value.rfind(">")
    inner = value[start + 1 : end] if 0 <= start < end else value
    return clean_line(decode_words(inner)) or None


_NO_HEADERS: Row = dict.fromkeys(
    (
        "rfc822_message_id",
        "in_reply_to",
        "reference_ids",
        "sent_at",
        "from_email",
        "from_name",
        "from_domain",
        "subject",
        "to_recipients",
        "cc_recipients",
        "bcc_recipients",
        "reply_to",
        "list_id",
        "is_bulk",
        "is_auto_submitted",
    )
)


def _content_columns(payload: Mapping[str, Any]) -> Row:
    body = body_of(payload)
    return {
        "body_text": body.text,
        "body_html": body.html,
        "attachment_count": count_attachments(payload),
    }


_NO_CONTENT: Row = dict.fromkeys(("body_text", "body_html", "attachment_count"))
