"""Text that is safe to show: `printable` for text from elsewhere, `short_repr` for values in error messages.

All text for a terminal, a log or Dagster's UI is passed through `printable` (or `printable_line`, `printable_json`)
when it is written: the outputs of the commands, log records, metadata and messages of runs, and `GmailError` itself.

Mail, labels, settings and server responses may contain control characters and bidirectional overrides, with which text
can rewrite a terminal's screen, forge a log line, or show a file name backwards.
"""

from __future__ import annotations

import logging
import re
import reprlib

__all__ = ["PrintableFormatter", "printable", "printable_json", "printable_line", "short_repr"]

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 (but tab and newline), DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional marks, embeddings, overrides and isolates
    "\u2028\u2029"  # line and paragraph separator
    "\ud800-\udfff]"  # lone surrogates, which no output encoding accepts
)

_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
_SHORT.maxstring = _SHORT.maxother = 120
_SHORT.maxlong = 60
_LONGEST = 250


def printable(text: str) -> str:
    r"""`text` with control characters, bidirectional controls and lone surrogates as escapes (`\x1b`, `\u202e`).

    Tabs and newlines stay. Idempotent.
    """
    return _UNSAFE.sub(_escaped, text)


def printable_line(text: str) -> str:
    r"""`printable` text in one line, so that it can't look like another line of a table or log: `\n` is escaped too."""
    return printable(text).replace("\n", "\\n")


def printable_json(document: str) -> str:
    r"""A JSON document with these characters as JSON escapes (`\u202e`): the same values, safe on a terminal."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", document)


class PrintableFormatter(logging.Formatter):
    """A log formatter whose lines are safe to show, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as printable text."""
        return printable(super().format(record))


def short_repr(value: object) -> str:
    """`repr(value)` in bounded time and length, however large or nested the value is, and safe to show."""
    try:
        text = printable(_SHORT.repr(value))
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
    except (ValueError, RecursionError):  # an integer of too many digits
        return f"<{type(value).__name__}>"


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
