"""Raw RFC 822 bytes as Gmail shows them: the payload tree, the snippet, what threading and `q` need.

What is decided here, from answers of the live API: partIds are positions ("" the root, "0.1"); every
`message/*` part but `message/global` opens the one message inside; a leaf with a filename, and every unnamed
leaf that is not text, has an attachmentId and no data; so has an opened message, whose bytes can be fetched
whole; text leaves carry their data as UTF-8 in padded base64url; a body without bytes is `{"size": 0}`.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gmail_client.emulator.mail.headers import date_ms, message_ids
from gmail_client.emulator.mail.mime import parse
from gmail_client.emulator.mail.text import SearchFields, html_text, snippet_of

__all__ = ["MessageSummary", "MimeNode", "ParsedContent", "RawContent", "payload_of", "summary_of"]


# The snippet is looked for in this many characters of a text: style sheets can come first.
_SNIPPET_SOURCE = 8_000


class MimeNode(Protocol):
    """A message or a part as far as Gmail's view of it goes; `mime.Entity` and `parts.Part` are some."""

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """Names and shown values, in order."""
        ...

    @property
    def mime_type(self) -> str:
        """Lower-case type/subtype."""
        ...

    @property
    def filename(self) -> str:
        """The name of the file that the part is, or ""."""
        ...

    @property
    def children(self) -> Sequence[MimeNode]:
        """The parts inside, or the one message inside."""
        ...

    @property
    def is_multipart(self) -> bool:
        """Whether the children are the parts of a multipart."""
        ...

    def header(self, name: str) -> str:
        """The first header of that name (lower-case), "" when absent."""
        ...

    def decoded(self) -> bytes:
        """The body with its transfer encoding undone."""
        ...

    def decoded_size(self) -> int:
        """The length of `decoded()`."""
        ...

    def text(self) -> str:
        """The body as text."""
        ...

    def utf8(self) -> bytes:
        """The body as text in UTF-8."""
        ...


@dataclass(frozen=True, slots=True)
class MessageSummary:
    """The small facts of a message that outlive its parsed form."""

    size: int
    snippet: str
    date_ms: int
    message_id: str
    references: tuple[str, ...]
    subject: str
    mime_type: str


def is_attachment(entity: MimeNode) -> bool:
    """Whether Gmail gives the part's bytes by id instead of inline."""
    if entity.is_multipart:
        return False
    if entity.children:
        return True
    return bool(entity.filename) or not entity.mime_type.startswith(("text/", "multipart/"))


def payload_of(entity: MimeNode, attachment_id: Callable[[str], str], part_id: str = "") -> dict[str, Any]:
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


def _body(entity: MimeNode, attachment_id: Callable[[str], str], part_id: str) -> dict[str, Any]:
    if entity.is_multipart:
        return {"size": 0}
    if is_attachment(entity):
        return {"attachmentId": attachment_id(part_id), "size": entity.decoded_size()}
    data = entity.utf8()
    return {"size": len(data), "data": urlsafe_b64encode(data).decode("ascii")} if data else {"size": 0}


def summary_of(entity: MimeNode, size: int) -> MessageSummary:
    """The small facts of a parsed message of `size` raw bytes."""
    return MessageSummary(
        size=size,
        snippet=snippet(entity),
        date_ms=date_ms(entity.header("date")),
        message_id=next(iter(message_ids(entity.header("message-id"))), entity.header("message-id")),
        references=message_ids(entity.header("references"), entity.header("in-reply-to")),
        subject=entity.header("subject"),
        mime_type=entity.mime_type,
    )


def snippet(entity: MimeNode) -> str:
    """Gmail's snippet of a parsed message: how its first text that is not empty begins."""
    return next((found for found in map(snippet_of, _texts(entity, _SNIPPET_SOURCE)) if found), "")


def visible_text(entity: MimeNode) -> str:
    """The text a reader sees: of an alternative its plainest form, no attached files or messages."""
    return "\n".join(_texts(entity))


def _texts(entity: MimeNode, limit: int | None = None) -> Iterator[str]:
    """The texts of the text parts, each from its beginning up to `limit` characters of its source."""
    if entity.is_multipart:
        for child in entity.children:
            texts = [text for text in _texts(child, limit) if text and not text.isspace()]
            yield from texts
            if texts and entity.mime_type == "multipart/alternative":
                return
    elif not is_attachment(entity):
        text = entity.text()[:limit]
        yield html_text(text) if entity.mime_type == "text/html" else text


def filenames(entity: MimeNode) -> Iterator[str]:
    """The names of all parts that have one, in order."""
    if entity.filename:
        yield entity.filename
    for child in entity.children:
        yield from filenames(child)


def find(entity: MimeNode, part_id: str) -> MimeNode:
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
    """A `MessageContent` over whatever gives the raw bytes: parsed anew each time, only the summary may be kept."""

    __slots__ = ()

    def raw(self) -> bytes:
        """The RFC 822 bytes."""
        raise NotImplementedError

    def node(self) -> MimeNode:
        """The message taken apart."""
        return parse(self.raw())

    def summary(self) -> MessageSummary:
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
        return payload_of(self.node(), attachment_id)

    def headers(self) -> list[dict[str, str]]:
        """The root's headers."""
        return [{"name": name, "value": value} for name, value in self.node().headers]

    def attachment(self, part_id: str) -> bytes:
        """The decoded bytes of a part that has an attachmentId.

        Raises:
            KeyError: There is no such part, or its data is not an attachment.
        """
        part = find(self.node(), part_id)
        if not is_attachment(part):
            raise KeyError(part_id)
        return part.decoded()

    def search_text(self) -> SearchFields:
        """What `q` looks at."""
        entity = self.node()
        headers = [{"name": name, "value": value} for name, value in entity.headers]
        return SearchFields(headers, tuple(filenames(entity)), lambda: visible_text(entity))


class RawContent(ParsedContent):
    """A message held as its raw bytes."""

    __slots__ = ("_raw", "_summary")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._summary: MessageSummary | None = None

    def raw(self) -> bytes:
        """The RFC 822 bytes, as they came in."""
        return self._raw

    def summary(self) -> MessageSummary:
        """The small facts, worked out once."""
        if self._summary is None:
            self._summary = summary_of(parse(self._raw), len(self._raw))
        return self._summary
