"""Ready-made text to write mail from: per language, paragraphs in four dresses that any number of mails share.

A paragraph exists as plain text, quoted (`> `), as HTML and as a newsletter's row with its long links.
Chapters are many paragraphs in one piece, so that a body of several hundred kilobytes is a handful of pieces.
"""

from __future__ import annotations

import textwrap
from functools import lru_cache
from random import Random

from gmail_client.emulator.generate.languages import LANGUAGES, Language
from gmail_client.emulator.generate.mime_parts import TextPiece
from gmail_client.emulator.mail.text import escape

__all__ = ["NEWSLETTER_HEAD", "TextStock", "text_stock", "tokens"]

_PARAGRAPHS = 24
_CHAPTERS = 6
_CHAPTER_LENGTH = 12
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

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


class TextStock:
    """One language's stock. The four lists run parallel: entry n says the same in each of them."""

    def __init__(self, language: Language) -> None:
        rng = Random(f"writing {language.code}")  # noqa: S311
        noise = tokens()
        self.language = language
        self.plain: list[TextPiece] = []
        self.quoted: list[TextPiece] = []
        self.html: list[TextPiece] = []
        self.rows: list[TextPiece] = []
        for number in range(_PARAGRAPHS):
            chosen = rng.sample(language.sentences, k=2 + int(rng.random() * 4))
            text = ("" if language.code in ("zh", "ja", "th") else " ").join(chosen)
            lines = textwrap.wrap(text, 74, break_long_words=False, break_on_hyphens=False)
            start = int(rng.random() * (len(noise) - 400))
            link = f"https://click.news.example.com/t/{noise[start : start + 160]}"
            picture = f"https://img.news.example.com/{noise[start + 200 : start + 240]}.png"
            marked = "\r\n".join(textwrap.wrap(escape(text), 90, break_long_words=False))
            self.plain.append(TextPiece("\r\n".join(lines) + "\r\n\r\n"))
            self.quoted.append(TextPiece("".join(f"> {line}\r\n" for line in lines) + ">\r\n"))
            self.html.append(TextPiece(f'<p style="margin:0 0 1em 0">{marked}</p>\r\n'))
            self.rows.append(
                TextPiece(
                    '<table role="presentation" width="600" cellpadding="0" cellspacing="0" border="0" '
                    f'class="wide"><tr>\r\n<td class="lead{number % 6 + 1}" width="160" valign="top">'
                    f'<a href="{link}" target="_blank">\r\n<img src="{picture}" width="140" height="105" '
                    f'alt="" style="display:block;border:0"></a></td>\r\n<td class="text{number % 6 + 1}" '
                    f'style="font-family:Georgia,serif;font-size:15px;line-height:1.5">{marked}\r\n'
                    f'<br><a href="{link}" style="color:#1a5fb4">example.com</a></td></tr></table>\r\n'
                )
            )
        # Entries after the paragraphs are chapters: many paragraphs in one piece.
        orders = [[int(rng.random() * _PARAGRAPHS) for _ in range(_CHAPTER_LENGTH)] for _ in range(_CHAPTERS)]
        for pieces in (self.plain, self.quoted, self.html, self.rows):
            pieces += [TextPiece("".join(pieces[number].text for number in order)) for order in orders]

    def choose(self, rng: Random, size: int, dress: list[TextPiece]) -> list[int]:
        """Numbers of entries whose texts in `dress` come to about `size` bytes, at least one."""
        chosen: list[int] = []
        while size > 0 or not chosen:
            number = int(rng.random() * _PARAGRAPHS)
            if size > len(dress[_PARAGRAPHS].utf8):
                number = _PARAGRAPHS + number % _CHAPTERS
            chosen.append(number)
            size -= len(dress[number].utf8)
        return chosen


@lru_cache(maxsize=len(LANGUAGES))
def text_stock(number: int) -> TextStock:
    """The stock of language `number`, made when it is first needed."""
    return TextStock(LANGUAGES[number])


@lru_cache(maxsize=1)
def tokens() -> str:
    """A long run of random characters that ids, links and signatures are cut from."""
    rng = Random(17)  # noqa: S311
    return "".join(_ALPHABET[int(rng.random() * 64)] for _ in range(1 << 15))
