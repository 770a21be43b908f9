"""Gmail searches (`q`) as text: balanced quotes and brackets, date terms, searches within a window of time.

A search is never evaluated here: Gmail does that. Adjacent terms mean AND, `OR` and `|` join the adjacent terms,
braces mean OR, a minus negates. A *top-level date term* is `after:`, `before:`, `newer:`, `older:`, `newer_than:` or
`older_than:` that is next to the other terms, perhaps in parentheses, but not inside OR, braces or a negation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "MARGIN",
    "as_of",
    "date_terms",
    "has_dates",
    "search_within",
    "unbalanced",
    "waits_for_age",
    "without_dates",
]

MARGIN = 86_400
"""Seconds that a listing reaches further back than needed: which date Gmail's search compares is not documented."""

_MOST_NESTED = 50
_CLOSING = {"(": ")", "{": "}"}
_NAMES = {"(": "parenthesis", ")": "parenthesis", "{": "brace", "}": "brace", '"': "quote"}
_OPERATORS = "newer_than|older_than|after|before|newer|older"
_DATE = re.compile(rf'(?:{_OPERATORS}):(?:"[^"]*"|[^\s()]+)', re.IGNORECASE)
_TOKEN = re.compile(r'(?P<quote>"[^"]*"?)|(?P<bracket>[(){}])|(?P<or>\|+)|(?P<word>[^\s(){}"|]+)')
_DATE_WORD = re.compile(rf"(?:{_OPERATORS}):\S+", re.IGNORECASE)
_DATE_NAME = re.compile(rf"(?:{_OPERATORS}):", re.IGNORECASE)
_ANY_DATE = re.compile(rf"(?<![\w:])(?:{_OPERATORS}):", re.IGNORECASE)
_AGEING = re.compile(r"(?<![\w:-])older_than:", re.IGNORECASE)
_NEWER_THAN = re.compile(r'newer_than:"?([0-9]{1,6})([hdmy])"?', re.IGNORECASE)
_UNITS = {"h": 3_600, "d": 86_400, "m": 31 * 86_400, "y": 366 * 86_400}
_QUOTED = re.compile(r'"[^"]*"?')


def unbalanced(q: str) -> str | None:
    """What is wrong with quotes, parentheses and braces, in words; None if all of them are balanced."""
    opened: list[str] = []
    for token in _TOKEN.finditer(q):
        text = token[0]
        if token["quote"] and (len(text) < 2 or not text.endswith('"')):
            return "a quote is not closed"
        if token["bracket"]:
            if text in _CLOSING:
                opened.append(text)
                if len(opened) > _MOST_NESTED:
                    return f"brackets are nested more than {_MOST_NESTED} deep"
            elif not opened or _CLOSING[opened.pop()] != text:
                return f"a {_NAMES[text]} is closed that is not open"
    return f"a {_NAMES[opened[-1]]} is not closed" if opened else None


def search_within(q: str | None, after: int | None = None, before: int | None = None) -> str | None:
    """The search, limited to a window of time.

    Args:
        q: A balanced search; None for all messages.
        after: Epoch seconds; None for no limit.
        before: Epoch seconds, not included; None for no limit.
    """
    limits = [f"after:{after}"] if after is not None else []
    limits += [f"before:{before}"] if before is not None else []
    if not limits:
        return q
    return " ".join([f"({q})", *limits] if q else limits)


def has_dates(q: str | None) -> bool:
    """Whether the search has date terms anywhere."""
    return bool(_ANY_DATE.search(_QUOTED.sub('""', q or "")))


def waits_for_age(q: str | None) -> bool:
    """Whether messages may come to match the search by growing older."""
    return bool(_AGEING.search(_QUOTED.sub('""', q or "")))


def without_dates(q: str | None) -> str | None:
    """The search without its top-level date terms; None if nothing is left."""
    return _split(q)[0]


def date_terms(q: str | None) -> list[str]:
    """The top-level date terms of the search."""
    return _split(q)[1]


def as_of(q: str | None, seconds: int) -> str | None:
    """The search with `newer_than:` at its top level counted back from a time (epoch seconds) instead of now.

    Months have 31 days and years 366: rather a day too many.
    """
    rest, dates = _split(q)
    shifted = [_since(term, seconds) for term in dates]
    if shifted == dates:
        return q
    return " ".join([*([f"({rest})"] if rest else []), *shifted])


def _since(term: str, seconds: int) -> str:
    match = _NEWER_THAN.fullmatch(term)
    if match is None:
        return term
    return f"after:{max(seconds - int(match[1]) * _UNITS[match[2].lower()], 0)}"


def _split(q: str | None) -> tuple[str | None, list[str]]:
    text, dates = q or "", []
    while (span := _first_date(text)) is not None:
        dates += _DATE.findall(text[slice(*span)])
        text = f"{text[: span[0]].rstrip()} {text[span[1] :].lstrip()}".strip()
    return text or None, dates


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int
    end: int

    @property
    def joins(self) -> bool:
        """Whether it joins the adjacent terms as alternatives."""
        return self.text == "OR" or self.text.startswith("|")

    @property
    def negates(self) -> bool:
        return set(self.text) == {"-"} or self.text == "NOT"


def _first_date(q: str) -> tuple[int, int] | None:
    """The part of the search to cut out for its first top-level date term; None if there is none."""
    tokens = [_Token(match[0], match.start(), match.end()) for match in _TOKEN.finditer(q)]
    return _date_in(tokens, 0, len(tokens))


def _date_in(tokens: Sequence[_Token], begin: int, end: int) -> tuple[int, int] | None:
    """The same for tokens that all have to match."""
    operands = list(_operands(tokens, begin, end))
    words = {tokens[first].text for first, last in operands if last == first + 1}
    if "AND" in words and any(tokens[first].joins for first, _ in operands):
        return None  # which of them binds closer is not documented
    for place, (first, last) in enumerate(operands):
        before = tokens[operands[place - 1][0]] if place else None
        after = tokens[operands[place + 1][0]] if place + 1 < len(operands) else None
        alone = not (before and (before.joins or before.negates)) and not (after and after.joins)
        if not alone:
            continue
        if _is_date(tokens[first:last]):
            span = (tokens[first].start, tokens[last - 1].end)
        elif tokens[first].text == "(" and tokens[last - 1].text == ")":
            inner = _date_in(tokens, first + 1, last - 1)
            if inner is None:
                continue
            if (tokens[first + 1].start, tokens[last - 2].end) != inner:
                return inner
            span = (tokens[first].start, tokens[last - 1].end)
        else:
            continue
        if before and before.text == "AND":
            return (before.start, span[1])
        if after and after.text == "AND":
            return (span[0], after.end)
        return span
    return None


def _operands(tokens: Sequence[_Token], begin: int, end: int) -> list[tuple[int, int]]:
    """The terms between two places: words, quotes and groups, together with what they touch."""
    found: list[tuple[int, int]] = []
    place = begin
    while place < end:
        first = place
        while place < end:
            place = _after_group(tokens, place, end)
            touches = place < end and tokens[place].start == tokens[place - 1].end
            if not touches or tokens[place].joins or tokens[place - 1].joins:
                break
        found.append((first, place))
    return found


def _after_group(tokens: Sequence[_Token], place: int, end: int) -> int:
    depth = 0
    while place < end:
        depth += (tokens[place].text in _CLOSING) - (tokens[place].text in _CLOSING.values())
        place += 1
        if depth <= 0:
            break
    return place


def _is_date(tokens: Sequence[_Token]) -> bool:
    if len(tokens) == 1:
        return bool(_DATE_WORD.fullmatch(tokens[0].text))
    return len(tokens) == 2 and bool(_DATE_NAME.fullmatch(tokens[0].text)) and tokens[1].text.startswith('"')
