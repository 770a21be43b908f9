"""Text that is safe to show."""

from __future__ import annotations

import json
import logging
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from gmail_client.errors import GmailError
from gmail_client.printable import PrintableFormatter, printable, printable_json, printable_line, short_repr

HOSTILE = "\x1b]8;;http://evil\x1b\\\x1b]52;c;eA==\x07\x9b2J\x00\r\n\x7f\u202e\u2066\u2028\ud800"
ANY = st.text(st.characters(exclude_categories=()))


def unsafe(text: str) -> list[str]:
    """Characters that control a terminal or the order of text."""
    bidirectional = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    marks = "\u200e\u200f\u061c\u2028\u2029"
    return [
        one
        for one in text
        if (unicodedata.category(one) in ("Cc", "Cs") and one not in "\t\n")
        or unicodedata.bidirectional(one) in bidirectional
        or one in marks
    ]


@given(ANY)
@example(HOSTILE)
def test_control_characters_are_escaped_and_others_kept(text: str) -> None:
    shown = printable(text)
    assert unsafe(shown) == []
    assert printable(shown) == shown
    kept = [one for one in text if not unsafe(one)]
    remaining = iter(shown)
    assert all(one in remaining for one in kept)
    if not unsafe(text):
        assert shown == text


@given(ANY)
@example(HOSTILE)
@example("a\nb")
def test_one_line_stays_one_line(text: str) -> None:
    assert "\n" not in printable_line(text)
    assert unsafe(printable_line(text)) == []


@given(st.dictionaries(ANY, ANY | st.lists(ANY)))
@example({HOSTILE: HOSTILE})
def test_json_keeps_its_values(document: dict[str, object]) -> None:
    text = printable_json(json.dumps(document, ensure_ascii=False, indent=2))
    assert unsafe(text) == []
    assert json.loads(text) == document


@given(st.recursive(ANY | st.integers() | st.none(), lambda one: st.lists(one) | st.dictionaries(ANY, one)))
@example([HOSTILE])
@example("x" * 10_000)
def test_a_short_repr_is_short_and_safe(value: object) -> None:
    text = short_repr(value)
    assert unsafe(text) == []
    assert len(text) <= 260


@given(ANY, ANY)
@example(HOSTILE, HOSTILE)
def test_an_error_is_two_safe_lines_at_most(what: str, fix: str) -> None:
    error = GmailError(what, fix=fix)
    assert unsafe(str(error)) == []
    assert len(str(error).split("\n")) <= 2


def test_a_log_line_is_safe_with_its_traceback() -> None:
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        record = logging.LogRecord(
            "n", logging.ERROR, "f", 1, "said %s", (HOSTILE,), (ValueError, error, error.__traceback__)
        )
    text = PrintableFormatter("%(message)s").format(record)
    assert "evil" in text
    assert unsafe(text) == []
