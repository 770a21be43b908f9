"""The MIME tree of a message: its body's texts and its attachments, at any depth.

A part is a dict as Gmail sends it or as `messages.payload` holds it (`partsJson` below the typed levels); a part made
from raw bytes carries `content` (bytes) in place of `body.data`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from gmail_client.views.headers import collect, decode_words, parameter
from gmail_client.views.text import (
    clean_line,
    clean_text,
    decode_base64url,
    decode_clean,
    decode_text,
    html_to_text,
)

__all__ = [
    "HEADERS",
    "NOTHING",
    "PART_HEADERS",
    "STRUCTURE",
    "AttachmentPart",
    "Body",
    "attachment_parts",
    "attachments_with_parts",
    "body_of",
    "content_level",
    "content_of",
    "count_attachments",
]

Part = Mapping[str, Any]

NOTHING, HEADERS, STRUCTURE = range(3)

_DEEPEST = 100
PART_HEADERS = frozenset({"content-disposition", "content-id", "content-type"})
_DISPOSITION = "content-disposition"
_DISPOSITION_LENGTH = len(_DISPOSITION)
_NO_BODY = frozenset(
    {"text/calendar", "text/rfc822-headers", "text/vcard", "text/x-vcard", "text/x-amp-html"}
)
_LONGEST_EXTENSION = 12


def content_level(payload: Part | None) -> int:
    """How much of the message was read: `NOTHING`, `HEADERS` (`format: metadata`) or `STRUCTURE` (parts and bodies)."""
    if payload is None:
        return NOTHING
    if payload.get("partId") is not None or (payload.get("body") or {}).get("size") is not None:
        return STRUCTURE
    return NOTHING if payload.get("mimeType") is None else HEADERS


def children_of(part: Part) -> list[Part]:
    """The parts inside, those in `partsJson` included; none where that can't be read."""
    children = part.get("parts")
    if not children and part.get("partsJson"):
        try:
            children = json.loads(part["partsJson"])
        except (ValueError, RecursionError):
            return []
    if not isinstance(children, list):
        return []
    return [child for child in children if isinstance(child, Mapping)]


def _mime_type(part: Part) -> str:
    return _clean_type(part.get("mimeType") or "")


@lru_cache(maxsize=1024)
def _clean_type(text: str) -> str:
    return clean_line(text).lower()


def content_of(part: Part) -> bytes | None:
    """The part's bytes where the message holds them; None if they have to be fetched."""
    content: bytes | None = part.get("content")
    if content is not None:
        return content
    data = (part.get("body") or {}).get("data")
    return None if data is None else decode_base64url(data)


# Bodies


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a message: what its text parts say, and its HTML; None if it has none."""

    text: str | None
    html: str | None


@dataclass(slots=True)
class _Section:
    """A stretch of the body in its forms: one leaf, or an alternative with the plain and the HTML form of the same."""

    plain: list[str] = field(default_factory=list)
    html: list[str] = field(default_factory=list)

    def text(self) -> str:
        plain = "\n".join(self.plain)
        return plain if plain or not self.html else "\n".join(map(html_to_text, self.html))


def body_of(payload: Part) -> Body:
    """The texts that a reader sees, without attachments and attached messages."""
    sections = _sections(payload, 0)
    texts = [text for section in sections if (text := section.text())]
    html = "\n".join(html for section in sections for html in section.html)
    return Body("\n".join(texts) or None, html or None)


def _sections(part: Part, depth: int) -> list[_Section]:
    mime_type = _mime_type(part)
    children = children_of(part)
    if not children:
        return _leaf(part, mime_type)
    if mime_type.startswith("message/") or depth == _DEEPEST:
        return []
    if mime_type == "multipart/alternative":
        return _alternative(children, depth)
    found = (_sections(child, depth + 1) for child in children)
    if mime_type == "multipart/related":
        return next(filter(None, found), [])
    return [section for sections in found for section in sections]


def _alternative(children: list[Part], depth: int) -> list[_Section]:
    """One section of the first child with plain text and the last with HTML; of other forms the first."""
    forms = [_sections(child, depth + 1) for child in children]
    plain = next((form for form in forms if any(s.plain and not s.html for s in form)), [])
    rich = next((form for form in reversed(forms) if any(s.html for s in form)), [])
    return (
        [
            _Section(
                [text for section in plain for text in section.plain],
                [html for section in rich for html in section.html],
            )
        ]
        if plain or rich
        else next(filter(None, forms), [])
    )


def _leaf(part: Part, mime_type: str) -> list[_Section]:
    if not mime_type.startswith("text/") or mime_type in _NO_BODY or part.get("filename"):
        return []
    data = content_of(part)
    if not data:
        return []
    if _marked_attachment(part):
        return []
    text = _text_of(part, data).rstrip()
    if not text or text.isspace():
        return []
    return [_Section(html=[text])] if mime_type == "text/html" else [_Section(plain=[text])]


def _text_of(part: Part, data: bytes) -> str:
    """Gmail sends text as UTF-8, independent of the part's headers; raw bytes are in the charset of the headers."""
    if part.get("content") is None:
        return decode_clean(data)
    headers = collect(part.get("headers"), PART_HEADERS)
    return clean_text(decode_text(data, parameter(_first(headers, "content-type"), "charset")))


# Attachments


@dataclass(frozen=True, slots=True)
class AttachmentPart:
    """One attachment of a message.

    Attributes:
        part_id: Gmail's position of the part, unique within its message.
        filename: The decoded name; None if it has none.
        extension: What follows the name's last dot, in lower case.
        mime_type: In lower case; None if the part names none.
        size_bytes: Bytes of the content, decoded.
        content_id: Without angle brackets.
        is_inline: Whether it is shown within the body.
        sha256: Of the content, in hex; None if the message doesn't hold it.
        attachment_id: Id for attachments.get; differs from read to read.
    """

    part_id: str
    filename: str | None
    extension: str | None
    mime_type: str | None
    size_bytes: int | None
    content_id: str | None
    is_inline: bool
    sha256: str | None
    attachment_id: str | None


def attachment_parts(payload: Part) -> list[AttachmentPart]:
    """The attachments of a message, those of attached messages included, in the order of the mail."""
    return [attachment for attachment, _ in attachments_with_parts(payload)]


def attachments_with_parts(payload: Part) -> list[tuple[AttachmentPart, Part]]:
    """The attachments of a message, each with its part, which `content_of` reads."""
    found: dict[str, tuple[AttachmentPart, Part]] = {}
    for position, part, has_children in _walk(payload):
        attachment = _attachment(part, position, has_children)
        if attachment is None:
            continue
        if attachment.part_id in found:
            attachment = _attachment({**part, "partId": None}, f"position {position}", has_children)
        if attachment is not None:
            found[attachment.part_id] = attachment, part
    return list(found.values())


def count_attachments(payload: Part) -> int:
    """How many attachments `attachment_parts` finds, without reading them."""
    found = 0
    stack = [payload]
    while stack:
        part = stack.pop()
        children = children_of(part)
        found += _is_attachment(part, bool(children))
        stack += children
    return found


def _walk(payload: Part) -> Iterator[tuple[str, Part, bool]]:
    """Every part with its position, in the order of the mail, without recursion."""
    stack: list[tuple[str, Part]] = [("", payload)]
    while stack:
        position, part = stack.pop()
        children = children_of(part)
        yield position, part, bool(children)
        prefix = f"{position}." if position else ""
        stack.extend((f"{prefix}{n}", children[n]) for n in range(len(children) - 1, -1, -1))


def _is_attachment(part: Part, has_children: bool) -> bool:
    mime_type = _mime_type(part)
    if mime_type.startswith("multipart/"):
        return False
    body = part.get("body") or {}
    if part.get("filename") or body.get("attachmentId") or mime_type.startswith("message/"):
        return True
    if has_children:
        return False
    if mime_type and not mime_type.startswith("text/"):
        return bool(body.get("size") or part.get("content"))
    return _marked_attachment(part)


def _marked_attachment(part: Part) -> bool:
    for header in part.get("headers") or ():
        name = header.get("name")
        if name and len(name) == _DISPOSITION_LENGTH and name.lower() == _DISPOSITION:
            value = header.get("value") or ""
            return value.partition(";")[0].strip().lower() == "attachment"
    return False


def _attachment(part: Part, position: str, has_children: bool) -> AttachmentPart | None:
    if not _is_attachment(part, has_children):
        return None
    headers = collect(part.get("headers"), PART_HEADERS)
    body = part.get("body") or {}
    filename = clean_line(decode_words(part.get("filename") or "")) or None
    content_id = clean_line(_first(headers, "content-id")).strip("<> ") or None
    disposition = _disposition(headers)
    content = content_of(part)
    part_id = part.get("partId")
    return AttachmentPart(
        part_id=clean_line(part_id) if part_id is not None else position,
        filename=filename,
        extension=_extension(filename),
        mime_type=_mime_type(part) or None,
        size_bytes=body.get("size") if content is None else len(content),
        content_id=content_id,
        is_inline=disposition == "inline" or (not disposition and content_id is not None),
        sha256=None if content is None else hashlib.sha256(content).hexdigest(),
        attachment_id=body.get("attachmentId"),
    )


def _extension(filename: str | None) -> str | None:
    stem, dot, extension = (filename or "").rpartition(".")
    fits = stem and dot and extension.isalnum() and len(extension) <= _LONGEST_EXTENSION
    return extension.lower() if fits else None


def _first(headers: Mapping[str, list[str]], name: str) -> str:
    return headers.get(name, [""])[0]


def _disposition(headers: Mapping[str, list[str]]) -> str:
    return _first(headers, "content-disposition").partition(";")[0].strip().lower()
