"""Rows of `attachments` from messages, and where the bytes of each attachment are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gmail_client.views.parts import (
    STRUCTURE,
    attachment_parts,
    attachments_with_parts,
    content_level,
    content_of,
)
from gmail_client.views.raw import with_payload

__all__ = ["AttachmentSource", "attachment_rows", "attachment_sources"]

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
    payload = _structure_of(message)
    if payload is None:
        return []
    return [
        {"message_id": message["id"], **{name: getattr(part, name) for name in _COLUMNS}}
        for part in attachment_parts(payload)
    ]


@dataclass(frozen=True, slots=True)
class AttachmentSource:
    """Where the bytes of an attachment are.

    Attributes:
        part_id: The attachment's key in its message.
        attachment_id: Id for attachments.get; None if the message holds the bytes, or does not name them.
        content: The bytes, where the message holds them.
    """

    part_id: str
    attachment_id: str | None
    content: bytes | None


def attachment_sources(message: Mapping[str, Any]) -> list[AttachmentSource]:
    """Where the bytes of each attachment of a message are, in the order of `attachment_rows`.

    Args:
        message: A message as Gmail sends it, or a row of `messages`.
    """
    payload = _structure_of(message)
    if payload is None:
        return []
    return [
        AttachmentSource(found.part_id, found.attachment_id, content_of(part))
        for found, part in attachments_with_parts(payload)
    ]


def _structure_of(message: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The payload of a message; None where the message was read without its parts."""
    payload = with_payload(message).get("payload")
    return payload if payload is not None and content_level(payload) == STRUCTURE else None
