"""Single values in Gmail's JSON: which can be used as they are, and which have a clear meaning in another type.

A number in a text field becomes text, digits in a number field become a number, doubled label ids are kept once. All
else is a `MismatchError` that names the field, but not the value of a text, which may be mail.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gmail_client.printable import short_repr
from gmail_client.unknown_fields import UnknownFields, is_shallow

__all__ = [
    "ADDRESS",
    "COUNT",
    "DATE",
    "DEEP_PARTS",
    "FLAG",
    "HISTORY_ID",
    "ID",
    "LABEL_IDS",
    "PAGE_TOKEN",
    "TEXT",
    "UNUSED",
    "Convert",
    "MismatchError",
    "Path",
    "Shape",
    "kind_of",
]

Path = tuple[str | int, ...]
Check = Callable[[Any], bool]
Convert = Callable[[Any, Path, UnknownFields], Any]
ConvertValue = Callable[[Any, Path], Any]

_INT64 = 2**63
_DIGITS = re.compile(r"-?[0-9]{1,19}")
_LONGEST_ID = 500
_LONGEST_TOKEN = 4_000


class MismatchError(Exception):
    """A field that can't be used; the text names it."""

    def __init__(self, path: Path, problem: str) -> None:
        place = "".join(f"[{name}]" if type(name) is int else f".{name}" for name in path)
        super().__init__(f"{place.removeprefix('.') or 'the response'} {problem}")


@dataclass(frozen=True, slots=True)
class Shape:
    """How one kind of value is checked and converted.

    Attributes:
        check: Whether a value can be used as it is.
        convert: The usable form of a value at a path, without its unknown fields; raises `MismatchError` if there is
            none.
        texts: For an object whose fields are all optional text, such as a header, their names.
        fields: The names of an object's fields.
    """

    check: Check
    convert: Convert
    texts: frozenset[str] | None = None
    fields: frozenset[str] = frozenset()


def _value(check: Check, convert: ConvertValue) -> Shape:
    """The shape of a value without fields."""
    return Shape(check, lambda value, path, unknown: convert(value, path))


def _text(value: Any, path: Path) -> str:
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    raise MismatchError(path, f"is {kind_of(value)}, not text")


def _is_id(value: Any) -> bool:
    # An id of dots would be a step in the path of a request.
    return (
        type(value) is str
        and 0 < len(value) <= _LONGEST_ID
        and value.isprintable()
        and value.strip(".") != ""
    )


def _text_of_number(value: Any) -> Any:
    return str(value) if type(value) is int else value


def _id(value: Any, path: Path) -> str:
    value = _text_of_number(value)
    if not _is_id(value):
        raise MismatchError(path, f"is {short_repr(value)}, not an id")
    return str(value)


def _address(value: Any, path: Path) -> str:
    if not _is_id(value):
        raise MismatchError(path, f"is {short_repr(value)}, not an address")
    return str(value)


def _is_page_token(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= _LONGEST_TOKEN and value.isprintable()


def _page_token(value: Any, path: Path) -> str:
    value = _text_of_number(value)
    if not _is_page_token(value):
        raise MismatchError(path, f"is {kind_of(value)}, not a page token")
    return str(value)


def _is_history_id(value: Any) -> bool:
    return type(value) is str and 0 < len(value) < 19 and value.isascii() and value.isdigit()


def _history_id(value: Any, path: Path) -> str:
    number = _integer(value)
    if number is None or not 0 <= number < _INT64:
        raise MismatchError(path, f"is {short_repr(value)}, not a history id (a number below 2^63)")
    return str(number)


def _date(value: Any, path: Path) -> str:
    number = _integer(value)
    if number is None:
        raise MismatchError(path, f"is {short_repr(value)}, not epoch milliseconds")
    return str(number)


def _is_count(value: Any) -> bool:
    return type(value) is int and -_INT64 <= value < _INT64


def _count(value: Any, path: Path) -> int:
    number = _integer(value)
    if number is None:
        shown = kind_of(value) if isinstance(value, str) else short_repr(value)
        raise MismatchError(path, f"is {shown}, not a whole number of 64 bits")
    return number


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _flag(value: Any, path: Path) -> bool:
    if value in ("true", "false"):
        return bool(value == "true")
    if type(value) is not bool:
        raise MismatchError(path, f"is {kind_of(value)}, not true or false")
    return value


def _integer(value: Any) -> int | None:
    """A whole number of 64 bits, given as a number or as digits."""
    if (type(value) is str and _DIGITS.fullmatch(value)) or (type(value) is float and value.is_integer()):
        value = int(value)
    return value if _is_count(value) else None


def _are_unique_ids(value: Any) -> bool:
    return type(value) is list and all(map(_is_id, value)) and len(set(value)) == len(value)


def _unique_ids(value: Any, path: Path) -> list[str]:
    if type(value) is not list:
        raise MismatchError(path, f"is {kind_of(value)}, not a list")
    return list(dict.fromkeys(_id(item, (*path, number)) for number, item in enumerate(value)))


def _shallow_list(value: Any, path: Path) -> Any:
    if type(value) is not list:
        raise MismatchError(path, f"is {kind_of(value)}, not a list")
    if not is_shallow(value):
        raise MismatchError(path, "is nested too deeply")
    return value


def kind_of(value: object) -> str:
    """What kind of JSON value it is, in words for an error."""
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


TEXT = _value(lambda value: type(value) is str, _text)
ID = _value(_is_id, _id)
ADDRESS = _value(_is_id, _address)
HISTORY_ID = _value(_is_history_id, _history_id)
PAGE_TOKEN = _value(_is_page_token, _page_token)
DATE = _value(_is_history_id, _date)
COUNT = _value(_is_count, _count)
FLAG = _value(_is_flag, _flag)
LABEL_IDS = _value(_are_unique_ids, _unique_ids)
DEEP_PARTS = _value(lambda value: type(value) is list and is_shallow(value), _shallow_list)
UNUSED = _value(lambda value: True, lambda value, path: value)
"""Any value of a field that is known and not needed."""
