"""Combines the writes of concurrent threads to one small table: `SharedWrites`.

The mailboxes of a run share a few small tables. If each thread committed alone, they would refuse each other's commits,
and the table would consist of one file per mailbox. Here, writes that wait for a commit are written by the next one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import lru_cache

import pyarrow as pa

__all__ = ["SharedWrites", "shared_writes"]

Commit = Callable[[pa.Table, str], None]
"""Commits rows that replace those that match an SQL condition."""


class _Write:
    """Rows that replace those that match `where`; the table has at most one group of rows for each of `keys`."""

    __slots__ = ("done", "keys", "rows", "where")

    def __init__(self, rows: pa.Table, where: str, keys: frozenset[Hashable]) -> None:
        self.rows = rows
        self.where = where
        self.keys = keys
        self.done = False


class SharedWrites:
    """The writes of this process to one table. Thread-safe.

    Attributes:
        turn: Held during a commit.
    """

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self._guard = threading.Lock()
        self._waiting: list[_Write] = []

    def write(self, rows: pa.Table, where: str, keys: frozenset[Hashable], commit: Commit) -> None:
        """Write rows, possibly in one commit with those of other threads.

        Args:
            rows: The new rows.
            where: SQL condition of the rows that they replace.
            keys: What the rows are about: writes with a common key are separate commits. Empty: a commit of its own.
            commit: Commits. If that fails for several writes, each of them is tried alone.
        """
        one = _Write(rows, where, keys)
        with self._guard:
            self._waiting.append(one)
        try:
            with self.turn:
                if not one.done:
                    self._commit_with_others(one, commit)
        finally:
            with self._guard:
                if one in self._waiting:
                    self._waiting.remove(one)

    def _commit_with_others(self, one: _Write, commit: Commit) -> None:
        batch = self._batch(one)
        if len(batch) > 1:
            with suppress(Exception):  # possibly because of the others: the error of this one is raised below
                self._commit(batch, commit)
                return
        self._commit([one], commit)

    def _batch(self, first: _Write) -> list[_Write]:
        batch, keys = [first], set(first.keys)
        with self._guard:
            for other in self._waiting:
                if other is not first and keys and other.keys and keys.isdisjoint(other.keys):
                    batch.append(other)
                    keys |= other.keys
        return batch

    def _commit(self, batch: list[_Write], commit: Commit) -> None:
        rows = pa.concat_tables([write.rows for write in batch])
        commit(rows, " OR ".join(f"({write.where})" for write in batch))
        with self._guard:
            for write in batch:
                write.done = True
                self._waiting.remove(write)


@lru_cache(maxsize=64)
def shared_writes(location: str) -> SharedWrites:
    """The writes of this process to the table at a location."""
    return SharedWrites()
