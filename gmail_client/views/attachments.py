"""Rows of `attachments` from messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gmail_client.views.parts import STRUCTURE, attachment_parts, content_level
from gmail_client.views.raw import with_payload

__all__ = ["attachment_rows"]

Row = dict[str, Any]

_COLUMNS = (
    "part_id",
    "filename",
    "extension",
    "mime_type",
    "size_bytes",
    "content_id",
    "is_inline",
    "sha256",
)


def attachment_rows(message: Mapping[str, Any]) -> list[Row]:
    """The rows of one message: one for each attachment, none where the message was read without its parts.

    Args:
        message: A message as Gmail sends it, or a row of `messages`.
    """
    message = with_payload(message)
    payload = message.get("payload")
    if payload is None or content_level(payload) != STRUCTURE:
        return []
    return [
        {"message_id": message["id"], **{name: getattr(part, name) for name in _COLUMNS}}
        for part in attachment_parts(payload)
    ]
