"""Delta tables that the threads of this process share: `find_shared`.

Opening a table reads its last checkpoint and all commits since then; reading only the new commits takes a tenth of the
time, and in an object store a few requests instead of dozens. So each table is opened once per process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from gmail_assets.delta.errors import check_missing, unreadable
from gmail_assets.delta.protocol import check_features
from gmail_assets.delta.table_log import identify, is_same_table

__all__ = ["Location", "SharedTable", "expire", "find_shared", "forget_tables"]

T = TypeVar("T")

Location = tuple[str, tuple[tuple[str, str], ...]]
"""URI and storage options of a table."""

_MOST_TABLES = 256
"""Tables that stay open although nobody uses them."""
_finding = threading.Lock()


class SharedTable:
    """A table that is open. Any thread may read `delta` at any time, and sees one of its versions.

    There is one for each location, so that each thread sees what the others commit.

    Attributes:
        delta: The Delta table. It moves on to newer versions, or is opened again, only while `turn` is held.
        turn: Held by a thread that commits, or that reads newer commits.
        location: Its URI and storage options.
        waiting: Changes that wait for `turn`, see `gmail_assets.delta.group_commit`.
    """

    def __init__(self, delta: DeltaTable, slot: _Slot) -> None:
        self.delta = delta
        self.turn = slot.turn
        self.location = slot.location
        self.waiting: list[Any] = []
        self._slot = slot  # keeps it: otherwise the location might be opened a second time
        self._kept = _Kept(delta, -1)

    def at_version(self, name: Hashable, read: Callable[[DeltaTable], T]) -> T:
        """What `read` returns of the present version; called once for each version.

        Args:
            name: Stands for `read` and for what it depends on.
            read: Reads the table. Its result must not be changed.
        """
        delta = self.delta
        # Before the read: if a thread commits meanwhile, the result is too new, and never too old.
        version = delta.version()
        kept = self._kept
        if kept.delta is not delta or kept.version != version:
            kept = self._kept = _Kept(delta, version)
        if name not in kept.results:
            kept.results[name] = read(delta)
        found: T = kept.results[name]
        return found

    def schema(self) -> pa.Schema:
        """The table's Arrow schema."""
        return self.at_version("schema", lambda delta: pa.schema(delta.schema().to_arrow()))

    def rows_at_version(self, read: Callable[[DeltaTable], T]) -> T:
        """The rows of a small table, which `read` returns: called once for each version, with the same function."""

        def read_and_identify(delta: DeltaTable) -> T:
            identify(delta, self.location[1])
            return read(delta)

        with self.turn:
            return self.at_version("rows", read_and_identify)

    def refreshed(self) -> bool:
        """Move on to the newest version; false if that is unknown, or another table took its place.

        With nothing new, it costs a listing of the newest part of the log and a small request.
        """
        with self.turn:
            if not is_same_table(self.delta, self.location[1]):
                return False
            self.delta.update_incremental()
            check_features(self.delta)
            return True

    def replace(self, delta: DeltaTable) -> None:
        """Go on with the table as it was opened again; `turn` is held."""
        self.delta = delta


@dataclass(slots=True)
class _Kept:
    """What was read of one version of a table."""

    delta: DeltaTable
    version: int
    results: dict[Hashable, Any] = field(default_factory=dict)


class _Slot:
    """What this process knows of the table at a location."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self.turn = threading.RLock()
        self._table: SharedTable | None = None
        self._read_at = -1.0

    def find(self, since: float) -> SharedTable | None:
        with self.turn:
            if self._read_at < since:
                began = time.monotonic()
                self._table = self._read()
                self._read_at = began
            return self._table

    def _read(self) -> SharedTable | None:
        uri, options = self.location
        try:
            if self._table is not None and self._table.refreshed():
                return self._table
            delta = DeltaTable(uri, storage_options=dict(options) or None)
        except TableNotFoundError as error:
            check_missing(uri, error)
            return None
        except (DeltaError, OSError) as error:
            raise unreadable(uri, error) from error
        check_features(delta)
        if self._table is None:
            return SharedTable(delta, self)
        self._table.replace(delta)
        return self._table

    def expire(self) -> None:
        with self.turn:
            self._read_at = -1.0


_used: WeakValueDictionary[Location, _Slot] = WeakValueDictionary()


@lru_cache(_MOST_TABLES)
def _recent_slot(location: Location) -> _Slot:
    return _used.setdefault(location, _Slot(location))


def _slot(location: Location) -> _Slot:
    with _finding:  # two threads that ask at the same time would get two
        return _recent_slot(location)


def find_shared(location: Location, since: float | None = None) -> SharedTable | None:
    """The table at a location, or None if there is none.

    Args:
        location: Its URI and storage options.
        since: `time.monotonic()`; what was read after that is not read again. Default: now.

    Raises:
        LakeError: It can't be read, or has features that are not supported.
    """
    return _slot(location).find(time.monotonic() if since is None else since)


def expire(location: Location) -> None:
    """Let the next `find_shared` read the log in any case: this process committed through another `DeltaTable`."""
    _slot(location).expire()


def forget_tables() -> None:
    """Forget all open tables, as in a new process."""
    with _finding:
        _recent_slot.cache_clear()
        _used.clear()
