"""Gmail's snippet: the first 200 characters of a message's visible text, escaped for HTML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from gmail_client.emulator.mail.payload import MimeNode, is_attachment
from gmail_client.emulator.mail.text import escape, html_text

__all__ = ["DEFAULT_STYLE", "SnippetStyle", "snippet_of"]

_LENGTH = 200
_SHORTEST_CUT = 100
# Characters of a part's source that are read: a style sheet can precede the text.
_SOURCE_LENGTH = 8_000
_BYTE_ORDER_MARK = "\ufeff"


class SnippetStyle(NamedTuple):
    """How a snippet is made, see the fields `snippet_source` and `snippet_cut` of `Behavior`."""

    source: Literal["html", "plain"] = "html"
    cut: Literal["word", "character"] = "word"


DEFAULT_STYLE = SnippetStyle()


def snippet_of(message: MimeNode, style: SnippetStyle) -> str:
    """The snippet of a message: the start of its first text part that is not empty."""
    for text in _texts(message, html_first=style.source == "html"):
        words = " ".join(text.removeprefix(_BYTE_ORDER_MARK).split())
        if words:
            return escape(_shortened(words, style.cut))
    return ""


def _shortened(text: str, cut: str) -> str:
    if len(text) <= _LENGTH:
        return text
    space = text.rfind(" ", _SHORTEST_CUT, _LENGTH + 1)
    end = space if cut == "word" and space > 0 else _LENGTH
    return text[:end].rstrip()


def _texts(node: MimeNode, *, html_first: bool) -> Iterator[str]:
    """The visible texts of the text parts, each from the start of its source; only the preferred alternative."""
    if node.is_multipart:
        children = list(node.children)
        if html_first and node.mime_type == "multipart/alternative":
            children.sort(key=lambda child: not _holds_html(child))
        for child in children:
            yield from _texts(child, html_first=html_first)
    elif not node.children and not is_attachment(node):
        text = node.text()[:_SOURCE_LENGTH]
        yield html_text(text) if node.mime_type == "text/html" else text


def _holds_html(node: MimeNode) -> bool:
    if node.is_multipart:
        return any(map(_holds_html, node.children))
    return node.mime_type == "text/html" and not is_attachment(node)
