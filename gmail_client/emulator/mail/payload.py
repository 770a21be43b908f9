"""A parsed message as Gmail's payload: `payload_of`, and other functions on the tree of its parts.

Seen in real responses: partIds are positions ("" is the root, "0.1"); every `message/*` part but `message/global`
opens the message inside; a leaf with a filename, and every unnamed leaf that is not text, has an attachmentId
and no data, and so has an opened message with a filename; an opened message without one has the body
`{"size": 0}`; text leaves carry their data as UTF-8 in padded base64url, without a byte-order mark that `size`
counts; an empty body is `{"size": 0}`.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gmail_client.emulator.mail.headers import date_ms, message_ids
from gmail_client.emulator.mail.text import html_text

__all__ = [
    "MessageSummary",
    "MimeNode",
    "filenames",
    "find",
    "is_attachment",
    "payload_of",
    "summary_of",
    "visible_text",
]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class MimeNode(Protocol):
    """A message or a part, with what Gmail shows of it; implemented by `MimeEntity` and `MimePart`."""

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
        """The file name, or ""."""
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
        """The body with its transfer encoding decoded."""
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
    """The cached properties of a parsed message that listings, threading and searches need most."""

    size: int
    date_ms: int
    message_id: str
    references: tuple[str, ...]
    subject: str
    mime_type: str


def is_attachment(node: MimeNode) -> bool:
    """Whether Gmail returns the bytes of the part by attachmentId instead of inline."""
    if node.is_multipart:
        return False
    return bool(node.filename) or not (node.children or node.mime_type.startswith(("text/", "multipart/")))


def payload_of(node: MimeNode, attachment_id: Callable[[str], str], part_id: str = "") -> dict[str, Any]:
    """The MessagePart of `format=full`, with its parts at any depth."""
    part: dict[str, Any] = {
        "partId": part_id,
        "mimeType": node.mime_type,
        "filename": node.filename,
        "headers": [{"name": name, "value": value} for name, value in node.headers],
        "body": _body(node, attachment_id, part_id),
    }
    if node.children:
        prefix = f"{part_id}." if part_id else ""
        part["parts"] = [
            payload_of(child, attachment_id, f"{prefix}{number}")
            for number, child in enumerate(node.children)
        ]
    return part


def _body(node: MimeNode, attachment_id: Callable[[str], str], part_id: str) -> dict[str, Any]:
    if is_attachment(node):
        return {"attachmentId": attachment_id(part_id), "size": node.decoded_size()}
    if node.children:
        return {"size": 0}
    data = node.utf8()
    body: dict[str, Any] = {"size": len(data)}
    if shown := data.removeprefix(_BYTE_ORDER_MARK):
        body["data"] = urlsafe_b64encode(shown).decode("ascii")
    return body


def summary_of(node: MimeNode, size: int) -> MessageSummary:
    """The summary of a parsed message of `size` raw bytes."""
    return MessageSummary(
        size=size,
        date_ms=date_ms(node.header("date")),
        message_id=next(iter(message_ids(node.header("message-id"))), node.header("message-id")),
        references=message_ids(node.header("references"), node.header("in-reply-to")),
        subject=node.header("subject"),
        mime_type=node.mime_type,
    )


def visible_text(node: MimeNode) -> str:
    """The text that a reader sees: the first alternative, without attached files and messages."""
    return "\n".join(_texts(node))


def _texts(node: MimeNode) -> Iterator[str]:
    if node.is_multipart:
        for child in node.children:
            texts = [text for text in _texts(child) if text and not text.isspace()]
            yield from texts
            if texts and node.mime_type == "multipart/alternative":
                return
    elif not node.children and not is_attachment(node):
        text = node.text()
        yield html_text(text) if node.mime_type == "text/html" else text


def filenames(node: MimeNode) -> Iterator[str]:
    """The names of all parts that have one, in order."""
    if node.filename:
        yield node.filename
    for child in node.children:
        yield from filenames(child)


def find(node: MimeNode, part_id: str) -> MimeNode:
    """The part with that partId.

    Raises:
        KeyError: There is none.
    """
    for step in part_id.split(".") if part_id else ():
        if not step.isdecimal() or int(step) >= len(node.children):
            raise KeyError(part_id)
        node = node.children[int(step)]
    return node
