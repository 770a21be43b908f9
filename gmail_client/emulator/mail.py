"""Raw RFC 822 bytes as Gmail shows them: the payload tree, the snippet, what threading and `q` need.

What is decided here, from answers of the live API: partIds are positions ("" the root, "0.1"); every
`message/*` part but `message/global` opens the one message inside; a leaf with a filename, and every unnamed
leaf that is not text, has an attachmentId and no data; so has an opened message, whose bytes can be fetched
whole; text leaves carry their data as UTF-8 in padded base64url; a body without bytes is `{"size": 0}`.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gmail_client.emulator.headers import date_ms, message_ids
from gmail_client.emulator.mime import Entity, parse
from gmail_client.emulator.text import SearchFields, html_text, snippet_of

__all__ = ["ParsedContent", "RawContent", "Summary", "payload_of", "summary_of"]


@dataclass(frozen=True, slots=True)
class Summary:
    """The small facts of a message that outlive its parsed form."""

    size: int
    snippet: str
    date_ms: int
    message_id: str
    references: tuple[str, ...]
    subject: str
    mime_type: str


def is_attachment(entity: Entity) -> bool:
    """Whether Gmail gives the part's bytes by id instead of inline."""
    if entity.is_multipart:
        return False
    if entity.children:
        return True
    return bool(entity.filename) or not entity.mime_type.startswith(("text/", "multipart/"))


def payload_of(entity: Entity, attachment_id: Callable[[str], str], part_id: str = "") -> dict[str, Any]:
    """One MessagePart of `format=full`, with its parts at any depth."""
    part: dict[str, Any] = {
        "partId": part_id,
        "mimeType": entity.mime_type,
        "filename": entity.filename,
        "headers": [{"name": name, "value": value} for name, value in entity.headers],
        "body": _body(entity, attachment_id, part_id),
    }
    if entity.children:
        prefix = f"{part_id}." if part_id else ""
        part["parts"] = [
            payload_of(child, attachment_id, f"{prefix}{number}")
            for number, child in enumerate(entity.children)
        ]
    return part


def _body(entity: Entity, attachment_id: Callable[[str], str], part_id: str) -> dict[str, Any]:
    if entity.is_multipart:
        return {"size": 0}
    if is_attachment(entity):
        return {"attachmentId": attachment_id(part_id), "size": len(entity.decoded())}
    data = entity.text().encode("utf-8", "replace")
    return {"size": len(data), "data": urlsafe_b64encode(data).decode("ascii")} if data else {"size": 0}


def summary_of(entity: Entity, size: int) -> Summary:
    """The small facts of a parsed message of `size` raw bytes."""
    return Summary(
        size=size,
        snippet=snippet_of(visible_text(entity, first_only=True)),
        date_ms=date_ms(entity.header("date")),
        message_id=next(iter(message_ids(entity.header("message-id"))), entity.header("message-id")),
        references=message_ids(entity.header("references"), entity.header("in-reply-to")),
        subject=entity.header("subject"),
        mime_type=entity.mime_type,
    )


def visible_text(entity: Entity, *, first_only: bool = False) -> str:
    """The text a reader sees: of an alternative its plainest form, no attached files or messages."""
    texts: list[str] = []
    for text in _texts(entity):
        if text.strip():
            texts.append(text)
            if first_only:
                break
    return "\n".join(texts)


def _texts(entity: Entity) -> Iterator[str]:
    if entity.is_multipart:
        if entity.mime_type == "multipart/alternative":
            for child in entity.children:
                text = visible_text(child)
                if text.strip():
                    yield text
                    return
            return
        for child in entity.children:
            yield from _texts(child)
    elif not is_attachment(entity):
        yield html_text(entity.text()) if entity.mime_type == "text/html" else entity.text()


def filenames(entity: Entity) -> Iterator[str]:
    """The names of all parts that have one, in order."""
    if entity.filename:
        yield entity.filename
    for child in entity.children:
        yield from filenames(child)


def find(entity: Entity, part_id: str) -> Entity:
    """The part with that partId.

    Raises:
        KeyError: There is none.
    """
    for step in part_id.split(".") if part_id else ():
        if not step.isdecimal() or int(step) >= len(entity.children):
            raise KeyError(part_id)
        entity = entity.children[int(step)]
    return entity


class ParsedContent:
    """A `Content` over whatever gives the raw bytes: parsed anew each time, only the summary may be kept."""

    __slots__ = ()

    def raw(self) -> bytes:
        """The RFC 822 bytes."""
        raise NotImplementedError

    def summary(self) -> Summary:
        """The small facts; subclasses keep them."""
        raw = self.raw()
        return summary_of(parse(raw), len(raw))

    @property
    def size(self) -> int:
        """Bytes of `raw()`."""
        return self.summary().size

    @property
    def snippet(self) -> str:
        """The beginning of the text, escaped."""
        return self.summary().snippet

    @property
    def date_ms(self) -> int:
        """The Date header in epoch milliseconds, or 0."""
        return self.summary().date_ms

    @property
    def message_id(self) -> str:
        """The Message-ID with its brackets, or ""."""
        return self.summary().message_id

    @property
    def references(self) -> tuple[str, ...]:
        """Message-IDs of References and In-Reply-To."""
        return self.summary().references

    @property
    def subject(self) -> str:
        """The decoded Subject."""
        return self.summary().subject

    @property
    def mime_type(self) -> str:
        """MIME type of the root."""
        return self.summary().mime_type

    def payload(self, attachment_id: Callable[[str], str]) -> dict[str, Any]:
        """The MessagePart tree."""
        return payload_of(parse(self.raw()), attachment_id)

    def headers(self) -> list[dict[str, str]]:
        """The root's headers."""
        return [{"name": name, "value": value} for name, value in parse(self.raw()).headers]

    def attachment(self, part_id: str) -> bytes:
        """The decoded bytes of a part that has an attachmentId.

        Raises:
            KeyError: There is no such part, or its data is not an attachment.
        """
        part = find(parse(self.raw()), part_id)
        if not is_attachment(part):
            raise KeyError(part_id)
        return part.decoded()

    def search_text(self) -> SearchFields:
        """What `q` looks at."""
        entity = parse(self.raw())
        headers = [{"name": name, "value": value} for name, value in entity.headers]
        return SearchFields(headers, tuple(filenames(entity)), lambda: visible_text(entity))


class RawContent(ParsedContent):
    """A message held as its raw bytes."""

    __slots__ = ("_raw", "_summary")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._summary: Summary | None = None

    def raw(self) -> bytes:
        """The RFC 822 bytes, as they came in."""
        return self._raw

    def summary(self) -> Summary:
        """The small facts, worked out once."""
        if self._summary is None:
            self._summary = summary_of(parse(self._raw), len(self._raw))
        return self._summary
