"""Text as Gmail shows and searches it: visible text of HTML, snippets, words, and the fields of `q`.

Words are compared without case, width variants or punctuation; a Chinese, Japanese or Korean
character is a word of its own, so that a phrase finds it wherever it stands.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cached_property
from html import unescape

__all__ = ["SearchFields", "escape", "html_text", "snippet_of", "words"]

SNIPPET_LENGTH = 200
_SNIPPET_SOURCE = 4096

# Each alternative runs to the end of the text when it is not closed, so that no input makes it slow.
_MARKUP = re.compile(
    r"<!--(?:[^-]|-(?!->))*(?:-->|\Z)"
    r"|<(style|script|title|head)\b(?:[^<]|<(?!/\1))*(?:</\1[^>]*(?:>|\Z)|\Z)"
    r"|</?[a-zA-Z!?][^>]*(?:>|\Z)",
    re.IGNORECASE,
)
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})
_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힯豈-﫿]|[^\W_぀-ヿ㐀-鿿가-힯豈-﫿]+")


def html_text(html: str) -> str:
    """The visible text of an HTML document, tags replaced by spaces, entities resolved."""
    return unescape(_MARKUP.sub(" ", html))


def escape(text: str) -> str:
    """Text with the five characters that HTML reserves written as Gmail writes them."""
    return text.translate(_ESCAPES)


def snippet_of(text: str) -> str:
    """The first 200 characters of a text, its white space collapsed, escaped for HTML."""
    return escape(" ".join(text[:_SNIPPET_SOURCE].split())[:SNIPPET_LENGTH].rstrip())


def words(text: str) -> str:
    """The words of a text with one space before, between and after them, made comparable.

    `f" {a} " in words(b)` then says whether the phrase `a` (itself made of words) stands in `b`.
    """
    folded = text.casefold() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return f" {' '.join(_WORD.findall(folded))} "


class SearchFields:
    """What `q` looks at in one message. Text fields are lower-case; `*_words` are as `words` makes them.

    Args:
        headers: Every header of the root, decoded, in order.
        filenames: The names of all parts that have one.
        body: Makes the visible text of the message (text parts, attached messages left out).
    """

    def __init__(
        self, headers: list[dict[str, str]], filenames: tuple[str, ...], body: Callable[[], str]
    ) -> None:
        fields: dict[str, list[str]] = {}
        for header in headers:
            fields.setdefault(header["name"].lower(), []).append(header["value"])
        self._fields = fields
        self._body = body
        self.filenames = tuple(name.lower() for name in filenames)

    def _joined(self, *names: str) -> str:
        return "\n".join(value for name in names for value in self._fields.get(name, ()))

    @cached_property
    def sender(self) -> str:
        """From, as words."""
        return words(self._joined("from"))

    @cached_property
    def to(self) -> str:
        """To, as words."""
        return words(self._joined("to"))

    @cached_property
    def cc(self) -> str:
        """Cc, as words."""
        return words(self._joined("cc"))

    @cached_property
    def bcc(self) -> str:
        """Bcc, as words."""
        return words(self._joined("bcc"))

    @cached_property
    def subject(self) -> str:
        """Subject, as words."""
        return words(self._joined("subject"))

    @cached_property
    def delivered_to(self) -> str:
        """Delivered-To, as words."""
        return words(self._joined("delivered-to"))

    @cached_property
    def mailing_list(self) -> str:
        """List-Id and List-Post, as words."""
        return words(self._joined("list-id", "list-post"))

    @cached_property
    def body(self) -> str:
        """The visible text, as words."""
        return words(self._body())

    @cached_property
    def anywhere(self) -> str:
        """Everything a bare word is looked for in, as words."""
        names = words("\n".join(self.filenames))
        return f"{self.sender}\n{self.to}\n{self.cc}\n{self.bcc}\n{self.subject}\n{names}\n{self.body}"
