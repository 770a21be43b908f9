"""Converts messages that were read as raw bytes (`format: raw`) to the form of messages with parts."""

from __future__ import annotations

import email
from collections.abc import Mapping
from email.errors import MessageError
from email.message import Message
from typing import Any

from gmail_client.views.parts import NOTHING, content_level
from gmail_client.views.text import decode_base64url

__all__ = ["payload_of", "with_payload"]

Row = dict[str, Any]

_DEEPEST = 100


def with_payload(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """The message with a payload made from `raw`, where it has only that; else the message itself."""
    raw = message.get("raw")
    if raw is None or content_level(message.get("payload")) != NOTHING:
        return message
    return {**message, "payload": payload_of(decode_base64url(raw))}


def payload_of(raw: bytes) -> Row:
    """A payload from the bytes of a mail: its parts carry `content` in place of `body.data`.

    Header values stay encoded (RFC 2047), as sent.
    """
    return _part(email.message_from_bytes(raw), "", 0)


def _part(message: Message, part_id: str, depth: int) -> Row:
    content_type = message.get_content_type()
    part: Row = {
        "partId": part_id,
        "mimeType": content_type,
        "filename": _filename(message),
        "headers": [{"name": name, "value": _unfolded(value)} for name, value in message.raw_items()],
        "body": {"size": 0},
    }
    children = message.get_payload() if message.is_multipart() else None
    if isinstance(children, list):
        prefix = f"{part_id}." if part_id else ""
        if depth < _DEEPEST:
            inner = [child for child in children if isinstance(child, Message)]
            part["parts"] = [_part(child, f"{prefix}{n}", depth + 1) for n, child in enumerate(inner)]
        if not content_type.startswith("multipart/"):
            part["content"] = _bytes_of_message(children)
    else:
        part["content"] = _content(message)
    part["body"]["size"] = len(part.get("content") or b"")
    return part


def _unfolded(value: Any) -> str:
    """A header as the parser kept it, its 8-bit bytes as UTF-8 or Latin-1."""
    data = str(value).encode("utf-8", "surrogateescape")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace("\r", "").replace("\n", "")


def _filename(message: Message) -> str:
    try:
        return message.get_filename() or ""
    except (MessageError, ValueError, LookupError, TypeError):
        return ""


def _content(message: Message) -> bytes:
    try:
        content = message.get_payload(decode=True)
    except (MessageError, ValueError, LookupError):
        content = None
    return content if isinstance(content, bytes) else b""


def _bytes_of_message(children: list[Any]) -> bytes:
    try:
        return b"".join(child.as_bytes() for child in children if isinstance(child, Message))
    except (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return b""
