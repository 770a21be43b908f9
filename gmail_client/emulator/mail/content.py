"""The immutable content of a message: the protocol `MessageContent`, and `from_raw`, which makes one from bytes.

Generated mail (`generate/outline.py`) and mail in files (`mail/files.py`) are subclasses of `ParsedContent`. Labels,
ids and the date of arrival are not content: they belong to the mailbox.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gmail_client.emulator.mail.mime import parse
from gmail_client.emulator.mail.payload import (
    MessageSummary,
    MimeNode,
    filenames,
    find,
    is_attachment,
    payload_of,
    summary_of,
    visible_text,
)
from gmail_client.emulator.mail.snippet import DEFAULT_STYLE, SnippetStyle, snippet_of
from gmail_client.emulator.mail.text import SearchFields

__all__ = ["MessageContent", "ParsedContent", "RawContent", "SearchFields", "from_raw"]


class MessageContent(Protocol):
    """The immutable content of one message. Only `attachment` raises."""

    @property
    def size(self) -> int:
        """Gmail's `sizeEstimate`: the length of `raw()`; for a chat, the length of the raw form it would have."""
        ...

    def snippet(self, style: SnippetStyle = DEFAULT_STYLE) -> str:
        """The start of the visible text, escaped for HTML."""
        ...

    @property
    def date_ms(self) -> int:
        """The Date header in epoch milliseconds; 0 when it is missing or invalid."""
        ...

    @property
    def message_id(self) -> str:
        """The Message-ID header with its angle brackets, "" when absent."""
        ...

    @property
    def references(self) -> tuple[str, ...]:
        """Message-IDs of References and In-Reply-To, oldest first, without duplicates."""
        ...

    @property
    def subject(self) -> str:
        """The Subject header, unfolded and decoded."""
        ...

    @property
    def mime_type(self) -> str:
        """MIME type of the root, lower-case."""
        ...

    def raw(self) -> bytes:
        """The RFC 822 bytes, unchanged; b"" for a chat."""
        ...

    def payload(self, attachment_id: Callable[[str], str]) -> dict[str, Any]:
        """Gmail's MessagePart tree as `format=full` shows it.

        Args:
            attachment_id: Called with a partId, returns the value of `body.attachmentId`.

        Returns:
            A new dict that the caller may change.
        """
        ...

    def headers(self) -> list[dict[str, str]]:
        """The root's headers in order, as `{"name", "value"}`: what `format=metadata` shows."""
        ...

    def attachment(self, part_id: str) -> bytes:
        """The decoded bytes of a part with an attachmentId.

        Raises:
            KeyError: There is no such part, or it has no attachmentId.
        """
        ...

    def search_text(self) -> SearchFields:
        """The text that `q` searches."""
        ...


class ParsedContent:
    """A `MessageContent` of raw bytes that are parsed on demand; subclasses can cache the summary."""

    __slots__ = ()

    def raw(self) -> bytes:
        """The RFC 822 bytes."""
        raise NotImplementedError

    def node(self) -> MimeNode:
        """The parsed message."""
        return parse(self.raw())

    def summary(self) -> MessageSummary:
        """The summary of the parsed message."""
        raw = self.raw()
        return summary_of(parse(raw), len(raw))

    @property
    def size(self) -> int:
        """Bytes of `raw()`."""
        return self.summary().size

    def snippet(self, style: SnippetStyle = DEFAULT_STYLE) -> str:
        """The start of the visible text, escaped for HTML."""
        return snippet_of(self.node(), style)

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
            KeyError: There is no such part, or it has no attachmentId.
        """
        part = find(self.node(), part_id)
        if not is_attachment(part):
            raise KeyError(part_id)
        return part.decoded()

    def search_text(self) -> SearchFields:
        """The text that `q` searches."""
        node = self.node()
        headers = [{"name": name, "value": value} for name, value in node.headers]
        return SearchFields(headers, tuple(filenames(node)), lambda: visible_text(node))


class RawContent(ParsedContent):
    """A message stored as its raw bytes."""

    __slots__ = ("_raw", "_summary")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._summary: MessageSummary | None = None

    def raw(self) -> bytes:
        """The RFC 822 bytes, unchanged."""
        return self._raw

    def summary(self) -> MessageSummary:
        """The summary, computed once."""
        if self._summary is None:
            self._summary = summary_of(parse(self._raw), len(self._raw))
        return self._summary


def from_raw(raw: bytes) -> MessageContent:
    """The content of an RFC 822 message, valid or not."""
    return RawContent(raw)
