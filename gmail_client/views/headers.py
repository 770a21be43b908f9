"""Header values as a reader means them: encoded words, dates, message ids, parameters. Nothing here raises."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.errors import MessageError
from email.header import decode_header
from email.utils import parsedate_tz
from typing import Any

from gmail_client.views.text import clean_line, decode_text

__all__ = [
    "collect",
    "decode_words",
    "from_milliseconds",
    "message_ids",
    "parameter",
    "parse_date",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
"""Times outside are not dates of mail, and don't fit into nanoseconds since 1970."""
_LONGEST_DATE = 200
_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: number for number, name in enumerate(_NAMES, 1)}
_USUAL_DATE = re.compile(
    rf"(?:[A-Z][a-z]{{2}}, )?([0-9]{{1,2}}) ({'|'.join(_MONTHS)}) ((?:19|20)[0-9]{{2}}) "
    r"([0-9]{2}):([0-9]{2}):([0-5][0-9]) ([+-])([0-9]{2})([0-9]{2})(?: \([A-Z]{2,5}\))?"
)
_MESSAGE_ID = re.compile(r"<\s*([^<>\s]+(?:[ \t]+[^<>\s]+)*)\s*>")
_BARE_ID = re.compile(r"[^<>\s,]+@[^<>\s,]+")
_ENCODED = re.compile(r"=\?[^?\s]+\?[bBqQ]\?[^?]*\?=")


def collect(headers: Iterable[Mapping[str, Any]] | None, names: frozenset[str]) -> dict[str, list[str]]:
    """The values of the requested headers, in order.

    Args:
        headers: Name and value pairs as Gmail has them.
        names: The requested names, in lower case.
    """
    found: dict[str, list[str]] = {}
    for header in headers or ():
        name = header.get("name")
        if name and (name := name.lower()) in names:
            found.setdefault(name, []).append(header.get("value") or "")
    return found


def decode_words(value: str) -> str:
    """A value with its RFC 2047 encoded words decoded; words that can't be decoded stay as they are."""
    if "=?" not in value:
        return value
    if not _ENCODED.search(value):
        return value
    try:
        pieces = decode_header(value)
    except (MessageError, ValueError):
        return value
    return "".join(
        piece if isinstance(piece, str) else decode_text(piece, charset or "") for piece, charset in pieces
    )


def parse_date(value: str) -> datetime | None:
    """A Date header in UTC; None if it can't be read. A date without a zone counts as UTC."""
    try:
        if usual := _USUAL_DATE.fullmatch(value):
            return _usual_date(usual)
        parsed = parsedate_tz(value[:_LONGEST_DATE])
        if parsed is None:
            return None
        year, month, day, hour, minute, second = parsed[:6]
        local = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)  # 60 is a leap second
        return _plausible(local - timedelta(seconds=parsed[9] or 0))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _usual_date(found: re.Match[str]) -> datetime | None:
    """The form that nearly all mails have, some ten times as fast."""
    day, month, year, hour, minute, second, sign, hours, minutes = found.groups()
    local = datetime(int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return _plausible(local - offset if sign == "+" else local + offset)


def from_milliseconds(value: str | int | None) -> datetime | None:
    """Gmail's `internalDate` in UTC; None if it can't be read."""
    try:
        return None if value is None else _plausible(_EPOCH + timedelta(milliseconds=int(value)))
    except (ValueError, OverflowError):
        return None


def _plausible(moment: datetime) -> datetime | None:
    return moment if _EARLIEST <= moment < _LATEST else None


def message_ids(values: Sequence[str]) -> list[str]:
    """The message ids in the values, in order, each once, without their angle brackets."""
    found: dict[str, None] = {}
    for value in values:
        ids = _MESSAGE_ID.findall(value) or _BARE_ID.findall(value)
        found.update(dict.fromkeys(filter(None, map(clean_line, ids))))
    return list(found)


def parameter(value: str, name: str) -> str:
    """A parameter of a Content-Type or Content-Disposition value, "" where it has none of that name."""
    match = re.search(rf';\s*{name}\s*=\s*(?:"([^"]*)"?|([^\s;]*))', value, re.IGNORECASE)
    return (match[1] or match[2] or "") if match else ""
