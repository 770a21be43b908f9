"""A load in batches of bounded size, newest first, that can be resumed: `LoadPlan`.

The rows to load have one descending order of positions: `thread/message` for messages, so that the messages
of one conversation are fetched by one call, and `thread` for threads. Ids never change, so a position in this order
has the same meaning after a restart, when everything is listed again. Messages that are not in the first listing are in
the history after the start of the load.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lakeflow_entry.stream.offsets import LoadPosition

__all__ = ["LoadPlan"]

Rank = tuple[tuple[int, str], ...]


def _rank(position: str) -> Rank:
    return tuple((len(part), part) for part in position.split("/"))


def _newest(ids: Iterable[str]) -> str:
    return max(ids, key=lambda item: (len(item), item), default="")


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """The rows to load, in order.

    Attributes:
        positions: All positions, descending.
    """

    positions: Sequence[str]

    @classmethod
    def of_messages(cls, threads: Mapping[str, str]) -> LoadPlan:
        """A plan over messages, given as message id to thread id."""
        return cls._of(f"{thread_id}/{message_id}" for message_id, thread_id in threads.items())

    @classmethod
    def of_threads(cls, thread_ids: Iterable[str]) -> LoadPlan:
        """A plan over threads."""
        return cls._of(dict.fromkeys(thread_ids))

    @classmethod
    def _of(cls, positions: Iterable[str]) -> LoadPlan:
        return cls(sorted(positions, key=_rank, reverse=True))

    def start(self, limit: int) -> LoadPosition:
        """The start of a load whose first batch has at most `limit` rows."""
        newest = _newest(position.rpartition("/")[2] for position in self.positions)
        return LoadPosition("", self._until(0, limit, newest), newest)

    def next(self, load: LoadPosition, limit: int) -> LoadPosition | None:
        """The position after the batch at `load`, for a following batch of at most `limit` rows.

        Returns:
            None when the batch at `load` is the last one.
        """
        if not load.until:
            return None
        return LoadPosition(load.until, self._until(self._below(load.until), limit, load.newest), load.newest)

    def batch(self, load: LoadPosition) -> list[str]:
        """The positions of the batch at `load`."""
        low = self._below(load.until) if load.until else len(self.positions)
        high = self._below(load.after) if load.after else 0
        if load.taken:
            high = min(high, load.taken)
        return [position for position in self.positions[high:low] if _is_known(position, load.newest)]

    def _below(self, position: str) -> int:
        """Index of the first position below this one."""
        rank = _rank(position)
        return bisect_left(self.positions, True, key=lambda other: _rank(other) < rank)

    def _until(self, begin: int, count: int, newest: str) -> str:
        """Position of the last of `count` rows from `begin`; empty when they reach the end."""
        end = begin
        while end < len(self.positions) and count:
            if _is_known(self.positions[end], newest):
                count -= 1
            end += 1
        if end >= len(self.positions):
            return ""
        return self.positions[self._cut(begin, end - begin) - 1]

    def _cut(self, begin: int, count: int) -> int:
        """Index after `count` rows from `begin`, moved back to the end of a thread if the batch keeps any row."""
        end = begin + count
        thread = self.positions[end].partition("/")[0]
        moved = end
        while moved > begin and self.positions[moved - 1].partition("/")[0] == thread:
            moved -= 1
        return moved if moved > begin else end


def _is_known(position: str, newest: str) -> bool:
    """Whether a position existed when the load started, judging by ids."""
    last = position.rpartition("/")[2]
    return not newest or (len(last), last) <= (len(newest), newest)
