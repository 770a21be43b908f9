"""What a message is to the emulator's server: immutable content, however it came about.

`MessageContent` is the protocol; `from_raw` makes one of RFC 822 bytes (`mail.py`), `generate.py` makes
them of a few numbers, `importers.py` of files read on demand. Labels, ids and dates of arrival are
not content: they belong to the mailbox.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gmail_client.emulator.mail.payload import RawContent
from gmail_client.emulator.mail.text import SearchFields

__all__ = ["MessageContent", "SearchFields", "from_raw"]


class MessageContent(Protocol):
    """The immutable content of one message. No method ever raises but `attachment`."""

    @property
    def size(self) -> int:
        """Bytes of the message, Gmail's `sizeEstimate`: the length of `raw()`, of a chat what that would be."""
        ...

    @property
    def snippet(self) -> str:
        """The beginning of the text: at most 200 characters, then HTML-escaped."""
        ...

    @property
    def date_ms(self) -> int:
        """The Date header in epoch milliseconds; 0 when there is none that can be read."""
        ...

    @property
    def message_id(self) -> str:
        """The Message-ID header with its angle brackets, "" when absent."""
        ...

    @property
    def references(self) -> tuple[str, ...]:
        """Message-IDs of References and In-Reply-To, oldest first, without repeats."""
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
        """The RFC 822 bytes, exactly as they came in; b"" for a chat, which has none."""
        ...

    def payload(self, attachment_id: Callable[[str], str]) -> dict[str, Any]:
        """Gmail's MessagePart tree as `format=full` shows it.

        Args:
            attachment_id: Called with a partId, returns the id to put into `body.attachmentId`.

        Returns:
            A fresh dict that the caller may change.
        """
        ...

    def headers(self) -> list[dict[str, str]]:
        """The root's headers in order, as `{"name", "value"}`: what `format=metadata` shows."""
        ...

    def attachment(self, part_id: str) -> bytes:
        """The decoded bytes of the part that was given an attachmentId.

        Raises:
            KeyError: There is no such part, or its data is not an attachment.
        """
        ...

    def search_text(self) -> SearchFields:
        """What `q` looks at, made on demand."""
        ...


def from_raw(raw: bytes) -> MessageContent:
    """The content of an RFC 822 message, broken or not."""
    return RawContent(raw)
