"""The shape of responses: keys, types and sizes, without any content: `ResponseShapes`.

A shape is written as lines: `payload.parts[].body.size` maps to the forms that were seen there, such as `integer, 3
digits`. Keys, words and header names are written only if they are in `vocabulary.py`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from gmail_client.conformance.vocabulary import (
    FIELDS,
    MAIL_HEADERS,
    OTHER,
    RESPONSE_HEADERS,
    VALUES,
    known_reason,
)
from gmail_client.http.exchange import Reply

__all__ = ["ResponseShapes", "bucket", "field_forms"]

MAX_DEPTH = 60

_FORMS = (
    ("digits", re.compile(r"[0-9]+")),
    ("hexadecimal", re.compile(r"[0-9a-f]+")),
    ("label id", re.compile(r"Label_[0-9]+")),
    ("draft id", re.compile(r"r-?[0-9]+")),
    ("base64url, padded", re.compile(r"[A-Za-z0-9_-]{2,}={1,2}")),
)
_PART_ID = re.compile(r"[0-9]+(\.[0-9]+)*")


def bucket(count: int) -> str:
    """The order of magnitude of a count: `0`, `1`, `2-9`, `10-99`, ..."""
    if count < 2:
        return str(max(count, 0))
    if count < 10:
        return "2-9"
    low = 10 ** (len(str(count)) - 1)
    return f"{low}-{low * 10 - 1}"


class ResponseShapes:
    """Collects the shapes of responses by the name of the call."""

    def __init__(self) -> None:
        self._calls: defaultdict[str, _CallShapes] = defaultdict(_CallShapes)

    def add(self, reply: Reply) -> None:
        """Add one response."""
        self._calls[reply.name].add(reply)

    def as_json(self) -> dict[str, Any]:
        """The shapes as JSON, by the name of the call."""
        return {name: shapes.as_json() for name, shapes in sorted(self._calls.items())}


class _CallShapes:
    """The shapes of the responses to one call."""

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.headers: set[str] = set()
        self.forms: defaultdict[str, set[str]] = defaultdict(set)
        self.seen: Counter[str] = Counter()

    def add(self, reply: Reply) -> None:
        reason = known_reason(reply.error.reason if reply.error is not None else "")
        self.statuses[f"{reply.status} {reason}".strip()] += 1
        self.headers |= {name if name in RESPONSE_HEADERS else OTHER for name in reply.headers}
        prefix = "" if reply.status == 200 else f"{reply.status}: "
        if reply.json is None:
            self.forms[f"{prefix}(body)"].add("no JSON object" if reply.size else "empty")
            return
        self.seen[prefix] += 1
        for path, form in _forms(reply.json, prefix):
            self.forms[path].add(form)
        for path in _paths(reply.json, prefix):
            self.seen[path] += 1

    def as_json(self) -> dict[str, Any]:
        return {
            "fields": {path: self._field(path, forms) for path, forms in sorted(self.forms.items())},
            "headers": sorted(self.headers),
            "statuses": {status: bucket(count) for status, count in sorted(self.statuses.items())},
        }

    def _field(self, path: str, forms: set[str]) -> dict[str, Any]:
        field: dict[str, Any] = {"forms": sorted(forms)}
        if path in self.seen and not path.endswith("[]"):
            field["present"] = "always" if self.seen[path] == self.seen[_parent(path)] else "sometimes"
        return field


def _parent(path: str) -> str:
    """The path of the object that a field is in."""
    prefix, colon, rest = path.rpartition(": ")
    head, dot, _ = rest.rpartition(".")
    return f"{prefix}{colon}{head}" if dot else f"{prefix}{colon}"


def _key(key: str) -> str:
    return key if key in FIELDS else OTHER


def _paths(value: Any, path: str, depth: int = 0) -> Iterator[str]:
    """The path of every field, once for each object that has it."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, dict):
        for name in {_key(key) for key in value}:
            yield _joined(path, name)
        for key, inner in value.items():
            yield from _paths(inner, _joined(path, _key(key)), depth + 1)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                yield f"{path}[]"
            yield from _paths(item, f"{path}[]", depth + 1)


def _forms(value: Any, path: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Path and form of every value."""
    if depth > MAX_DEPTH:
        yield path, "nested too deeply"
    elif isinstance(value, dict):
        if path and not path.endswith(": "):
            yield path, "object"
        for key, inner in value.items():
            yield from _forms(inner, _joined(path, _key(key)), depth + 1)
    elif isinstance(value, list):
        yield path, f"list of {bucket(len(value))}"
        yield from _orders(value, path)
        for item in value:
            yield from _forms(item, f"{path}[]", depth + 1)
    else:
        yield path, _form(value, path)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path and not path.endswith(": ") else f"{path}{name}"


def _form(value: Any, path: str) -> str:
    """The form of a text, number, truth value or null."""
    key = path.rpartition(".")[2].removesuffix("[]").rpartition(": ")[2]
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int):
        return f"integer, {bucket(len(str(abs(value))))} digits"
    if not isinstance(value, str):
        return "number"
    if value in VALUES.get(key, ()):
        return f"the word {value}"
    if not value:
        return "empty text"
    if path.endswith("headers[].name") and value.lower() in MAIL_HEADERS:
        return f"the header name {value.lower()}, {_case(value)}"
    if key == "partId":
        return f"part id of depth {value.count('.') + 1}" if _PART_ID.fullmatch(value) else "text"
    for name, pattern in _FORMS:
        if pattern.fullmatch(value):
            return f"{name}, {bucket(len(value))} characters"
    return f"text, {bucket(len(value))} characters"


def _case(text: str) -> str:
    return "lower case" if text.islower() else "upper case" if text.isupper() else "mixed case"


_ORDERED = ("id", "historyId", "internalDate")


def _orders(items: list[Any], path: str) -> Iterator[tuple[str, str]]:
    """In which order a list of objects is, by each field that is a number."""
    for key in _ORDERED:
        numbers = [_number(item.get(key)) for item in items if isinstance(item, dict)]
        known = [number for number in numbers if number is not None]
        if len(known) == len(items) > 1:
            yield f"{path} by {key}", _order(known)


def _number(value: Any) -> int | None:
    if isinstance(value, str) and 0 < len(value) <= 32 and re.fullmatch(r"[0-9a-f]+", value):
        return int(value, 16)
    return None


def _order(numbers: Iterable[int]) -> str:
    pairs = list(pairwise(numbers))
    if all(earlier < later for earlier, later in pairs):
        return "rising"
    if all(earlier > later for earlier, later in pairs):
        return "falling"
    if all(earlier <= later for earlier, later in pairs):
        return "rising, with equal ones"
    return "in no order"


def field_forms(shapes: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Call, path and form of every field in the JSON of `ResponseShapes`."""
    for call, shape in shapes.items():
        for path, field in shape["fields"].items():
            for form in field["forms"]:
                yield call, path, form
