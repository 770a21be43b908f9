"""Text as Gmail searches it: visible text of HTML, words, and `SearchFields`, the fields that `q` searches.

Words are compared without case, width variants or punctuation. Each Chinese, Japanese or Korean character is a
separate word, so that a phrase is found anywhere in a text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cached_property
from html import unescape

__all__ = ["SearchFields", "escape", "html_text", "words"]

# An unclosed alternative extends to the end of the text, so that the run time is linear for any input.
_MARKUP = re.compile(
    r"<!--(?:[^-]|-(?!->))*(?:-->|\Z)"
    r"|<(style|script|title|head)\b(?:[^<]|<(?!/\1))*(?:</\1[^>]*(?:>|\Z)|\Z)"
    r"|</?[a-zA-Z!?][^>]*(?:>|\Z)",
    re.IGNORECASE,
)
_ESCAPES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#39;"))
_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힯豈-﫿]|[^\W_぀-ヿ㐀-鿿가-힯豈-﫿]+")


def html_text(html: str) -> str:
    """The visible text of an HTML document, tags replaced by spaces, entities resolved."""
    return unescape(_MARKUP.sub(" ", html))


def escape(text: str) -> str:
    """Text with the five reserved characters of HTML escaped, as Gmail writes them."""
    for character, reference in _ESCAPES:
        text = text.replace(character, reference)
    return text


def words(text: str) -> str:
    """The normalized words of a text with one space before, between and after them.

    So `words(a) in words(b)` says whether the phrase `a` occurs in `b`.
    """
    folded = text.casefold() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return f" {' '.join(_WORD.findall(folded))} "


class SearchFields:
    """The fields of one message that `q` searches, each as `words` returns it; file names in lower case.

    Args:
        headers: Every header of the root, decoded, in order.
        filenames: The names of all parts with a file name.
        body: Returns the visible text of the message: text parts, no attached messages.
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
        """Everything that a word without an operator is searched in, as words."""
        names = words("\n".join(self.filenames))
        return f"{self.sender}\n{self.to}\n{self.cc}\n{self.bcc}\n{self.subject}\n{names}\n{self.body}"
