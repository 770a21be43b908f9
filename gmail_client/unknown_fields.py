"""Fields of Gmail's responses that no table has a column for: kept as JSON in `unknownFields`, logged once each.

The column's text is a JSON object with one entry per field: its place as a JSON Pointer (RFC 6901), and its value as
Gmail sent it, such as `{"/payload/headers/3/language": "en"}`. It is null if there is none. In `threads`, messages are
named by their ids instead of their positions: `/messages/18c0ffee/payload/headers/3/language`.

A text, number or flag that Gmail sends in another type (text in place of a number) is treated the same way: its column
is null, and the value is kept here.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from gmail_client.printable import short_repr

__all__ = [
    "COLUMN",
    "MAX_NESTING",
    "UnknownFields",
    "is_shallow",
    "joined",
    "prefixed",
    "projected",
    "split",
    "split_all",
]

COLUMN = "unknownFields"

MAX_NESTING = 200
"""Levels of lists and objects below a field without a schema; Python's JSON writer has a limit, too."""

Path = tuple[str | int, ...]

_MOST_NOTED = 50
"""Fields that are logged in a process: a server that invents names fills no log."""

_log = logging.getLogger(__name__)
_noted: set[tuple[str, str]] = set()
_seen: set[tuple[str, tuple[str, ...]]] = set()
_MOST_SEEN = 1_000
"""Places that are known without the lock."""
_lock = threading.Lock()


class UnknownFields:
    """The unknown fields of one row, or of a response that is not a row.

    Args:
        name: The table, or the method of a response that no table stores.
        depth: Length of the path at which the row begins.
        stored: Whether the fields are kept; else they are only logged.
    """

    def __init__(self, name: str, depth: int = 0, *, stored: bool = False) -> None:
        self.name = name
        self.stored = stored
        self._depth = depth
        self._found: dict[str, Any] = {}

    def add(self, path: Path, value: Any, kind: str = "") -> None:
        """Record a field.

        Args:
            path: Names and positions from the response's root.
            value: Its value; null counts as absent.
            kind: For a field of the schema, the type that its column does not have.
        """
        if value is None:
            return
        own = path[self._depth :]
        kept = self.stored and is_shallow(value)
        if kept:
            self._found[_pointer(own)] = value
        _note(self.name, own, kept=kept, kind=kind)

    def add_of_items(self, path: Path, fields: Iterable[tuple[int, str, Any]]) -> None:
        """Record fields of the objects in a list, such as headers: the object's position, name and value of each."""
        prefix = _pointer(path[self._depth :])
        noted = set()
        for number, name, value in fields:
            if self.stored and type(value) is str:
                self._found[f"{prefix}/{number}/{_escaped(name)}"] = value
                if name not in noted:
                    noted.add(name)
                    _note(self.name, (*path[self._depth :], name), kept=True)
            else:
                self.add((*path, number, name), value)

    def mark(self) -> int:
        """The number of recorded fields, for `undo`."""
        return len(self._found)

    def undo(self, mark: int) -> None:
        """Remove what was recorded after `mark`."""
        for pointer in list(self._found)[mark:]:
            del self._found[pointer]

    def text(self) -> str | None:
        """The content of the column; None for no fields."""
        return _encoded(self._found)


def is_shallow(value: Any) -> bool:
    """Whether a value has at most `MAX_NESTING` levels of lists and objects."""
    if type(value) not in (dict, list):
        return True
    level = [value]
    for _ in range(MAX_NESTING):
        level = [
            inner
            for item in level
            for inner in (item.values() if type(item) is dict else item)
            if type(inner) in (dict, list)
        ]
        if not level:
            return True
    return False


def prefixed(text: str | None, *path: str) -> dict[str, Any]:
    """The entries of a column's text, with names put before their pointers."""
    if not text:
        return {}
    prefix = _pointer(path)
    return {prefix + pointer: value for pointer, value in json.loads(text).items()}


def joined(entries: Iterable[Mapping[str, Any]]) -> str | None:
    """Entries (see `prefixed`) as a column's text; None for no entries."""
    return _encoded({pointer: value for part in entries for pointer, value in part.items()})


def split(text: str | None) -> dict[str, str]:
    """A thread's text by message id; the thread's own fields have the key ``.

    `prefixed(text, "messages", message_id)` is the inverse for one message.
    """
    parts: dict[str, dict[str, Any]] = {}
    for pointer, value in json.loads(text or "{}").items():
        _, *names = pointer.split("/", 3)
        if len(names) == 3 and names[0] == "messages":
            parts.setdefault(_unescaped(names[1]), {})[f"/{names[2]}"] = value
        else:
            parts.setdefault("", {})[pointer] = value
    return {key: _encoded(entries) or "" for key, entries in parts.items()}


def split_all(texts: Iterable[str | None]) -> dict[str, str]:
    """The messages' texts of several threads, by message id."""
    return {key: entries for text in texts if text for key, entries in split(text).items() if key}


def projected(text: str | None, format_: str) -> str | None:
    """A message's text in a smaller format: `metadata` keeps the payload's headers only, `minimal` no payload."""
    if not text or format_ not in ("metadata", "minimal"):
        return text
    return _encoded(
        {
            pointer: value
            for pointer, value in json.loads(text).items()
            if not pointer.startswith("/payload/")
            or (format_ == "metadata" and pointer.startswith("/payload/headers/"))
        }
    )


def _encoded(entries: Mapping[str, Any]) -> str | None:
    if not entries:
        return None
    try:
        return json.dumps(entries, separators=(",", ":"), allow_nan=False)
    except ValueError:  # a number such as 1e999, which Python reads as infinite
        return json.dumps(_finite(entries), separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return str(value) if value in (float("inf"), float("-inf")) else value


def _pointer(path: Iterable[str | int]) -> str:
    return "".join(f"/{name}" if type(name) is int else f"/{_escaped(str(name))}" for name in path)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1") if "~" in name or "/" in name else name


def _unescaped(name: str) -> str:
    return name.replace("~1", "/").replace("~0", "~")


def _note(table: str, path: Path, *, kept: bool, kind: str = "") -> None:
    """Log a field once in a process, whichever message and level of `parts` it is in."""
    names = tuple([name for name in path if type(name) is str])
    if (table, names) in _seen:
        return
    place = ".".join(name for at, name in enumerate(names) if name != "parts" or at == len(names) - 1)
    key = (table, place)
    with _lock:
        if len(_seen) < _MOST_SEEN:
            _seen.add((table, names))
        if key in _noted or len(_noted) >= _MOST_NOTED:
            return
        _noted.add(key)
    _log.warning(
        "Gmail sends the field %s of %s%s: %s.",
        short_repr(place),
        table,
        f" as {kind}, another type than its column's" if kind else ", for which this version has no column",
        f"it is kept in {COLUMN}" if kept else "it is not stored",
    )
