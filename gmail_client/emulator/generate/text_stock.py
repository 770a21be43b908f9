"""Text that generated mail is composed of: per language, paragraphs in four forms that any number of mails share.

A paragraph exists as plain text, quoted (`> `), as HTML and as a row of a newsletter with its long links. Chapters are
many paragraphs in one piece, so that a body of several hundred kilobytes is a handful of pieces. Pieces are made when
they are first used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random

from gmail_client.emulator.generate.languages import LANGUAGES, Language
from gmail_client.emulator.generate.mime_parts import TextPiece
from gmail_client.emulator.generate.vocabulary import Vocabulary
from gmail_client.emulator.mail.text import escape

__all__ = ["NEWSLETTER_HEAD", "PieceList", "TextStock", "base64_token", "text_stock", "token"]

_LEAST_PARAGRAPHS = 160
_PARAGRAPHS_PER_WEIGHT = 40
_CHAPTER_LENGTH = 12
_CHARACTERS = 1 << 20
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
# Lines as long as possible; a language without spaces has longer ones.
_PLAIN_LINES = re.compile(r"(\S{75,}|.{1,74})(?: |$)")
_HTML_LINES = re.compile(r"(\S{91,}|.{1,90})(?: |$)")

NEWSLETTER_HEAD = TextPiece(
    '<!DOCTYPE html>\r\n<html><head><meta http-equiv="Content-Type" content="text/html">\r\n'
    '<title>Newsletter</title>\r\n<style type="text/css">\r\n'
    + "".join(
        f".{name}{number} {{ font-family: Georgia, 'Times New Roman', serif; font-size: {12 + number}px; "
        f"line-height: 1.{number}; color: #2{number}3{number}4{number}; padding: {number}px {number * 2}px; }}\r\n"
        for name in ("title", "lead", "text", "note")
        for number in range(1, 7)
    )
    + "@media only screen and (max-width: 600px) { .wide { width: 100% !important; } }\r\n</style></head>\r\n"
    '<body bgcolor="#f4f4f4" style="margin:0;padding:0">\r\n'
)


class PieceList(Sequence[TextPiece]):
    """The paragraphs of a stock in one form, then its chapters; each is generated at its first use.

    Args:
        paragraphs: How many paragraphs there are.
        form: Makes the text of one paragraph.
    """

    def __init__(self, paragraphs: int, form: Callable[[int], str]) -> None:
        self._paragraphs = paragraphs
        self._form = form
        self._pieces: list[TextPiece | None] = [None] * (paragraphs + paragraphs // _CHAPTER_LENGTH)

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, number: int) -> TextPiece:  # type: ignore[override]
        piece = self._pieces[number]
        if piece is None:
            piece = self._pieces[number] = TextPiece(self._text(number))
        return piece

    def _text(self, number: int) -> str:
        if number < self._paragraphs:
            return self._form(number)
        first = (number - self._paragraphs) * _CHAPTER_LENGTH
        return "".join([self[paragraph].text for paragraph in range(first, first + _CHAPTER_LENGTH)])


class TextStock:
    """The texts of one language. The four lists are parallel: entry n has the same text in each of them."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._vocabulary = Vocabulary(language)
        self._count = max(_LEAST_PARAGRAPHS, int(language.weight * _PARAGRAPHS_PER_WEIGHT))
        self._rng = Random()  # noqa: S311
        self._texts: list[str] = [""] * self._count
        self.plain = PieceList(self._count, self._plain)
        self.quoted = PieceList(self._count, self._quoted)
        self.html = PieceList(self._count, self._html)
        self.rows = PieceList(self._count, self._row)

    def choose(self, rng: Random, size: int, form: PieceList) -> list[int]:
        """Numbers of entries whose texts in `form` add up to about `size` bytes, at least one."""
        chapters = len(form) - self._count
        chosen: list[int] = []
        while size > 0 or not chosen:
            number = int(rng.random() * self._count)
            if size > len(form[self._count].utf8):
                number = self._count + number % chapters
            chosen.append(number)
            size -= len(form[number].utf8)
        return chosen

    def _paragraph(self, number: int) -> str:
        text = self._texts[number]
        if not text:
            self._rng.seed(number)
            text = self._texts[number] = self._vocabulary.paragraph(self._rng)
        return text

    def _plain(self, number: int) -> str:
        return "\r\n".join(_PLAIN_LINES.findall(self._paragraph(number))) + "\r\n\r\n"

    def _quoted(self, number: int) -> str:
        return "> " + "\r\n> ".join(_PLAIN_LINES.findall(self._paragraph(number))) + "\r\n>\r\n"

    def _marked_up(self, number: int) -> str:
        return "\r\n".join(_HTML_LINES.findall(escape(self._paragraph(number))))

    def _html(self, number: int) -> str:
        return f'<p style="margin:0 0 1em 0">{self._marked_up(number)}</p>\r\n'

    def _row(self, number: int) -> str:
        rng = self._rng
        rng.seed(-1 - number)
        link = f"https://click.news.example.com/t/{token(rng, 160)}"
        picture = f"https://img.news.example.com/{token(rng, 40)}.png"
        kind = number % 6 + 1
        return (
            '<table role="presentation" width="600" cellpadding="0" cellspacing="0" border="0" '
            f'class="wide"><tr>\r\n<td class="lead{kind}" width="160" valign="top">'
            f'<a href="{link}" target="_blank">\r\n<img src="{picture}" width="140" height="105" '
            f'alt="" style="display:block;border:0"></a></td>\r\n<td class="text{kind}" '
            f'style="font-family:Georgia,serif;font-size:15px;line-height:1.5">{self._marked_up(number)}\r\n'
            f'<br><a href="{link}" style="color:#1a5fb4">example.com</a></td></tr></table>\r\n'
        )


@lru_cache(maxsize=len(LANGUAGES))
def text_stock(number: int) -> TextStock:
    """The texts of language `number`, generated when they are first needed."""
    return TextStock(LANGUAGES[number])


_RANDOM_BYTES = Random(17).randbytes(_CHARACTERS)  # noqa: S311
_URL_SAFE = _RANDOM_BYTES.translate(_ALPHABET * 4).decode("ascii")
_BASE64 = _URL_SAFE.replace("-", "+").replace("_", "/")


def token(rng: Random, length: int) -> str:
    """`length` random characters of base64url (at most 400), as in ids and links."""
    start = int(rng.random() * (_CHARACTERS - 400))
    return _URL_SAFE[start : start + length]


def base64_token(rng: Random, length: int) -> str:
    """`length` random characters of base64 (at most 400), as in signatures."""
    start = int(rng.random() * (_CHARACTERS - 400))
    return _BASE64[start : start + length]
