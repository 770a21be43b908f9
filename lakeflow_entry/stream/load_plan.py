"""A first load in batches of bounded size, newest first, that can be taken up again: `LoadPlan`.

What there is to load stands in one descending order of positions: `thread/message` for messages, so that the messages
of one conversation come with one call, and `thread` for threads. Ids never change, so a place in this order means the
same after a restart, when everything is listed anew. What is not in the first listing and appears later is named by the
history after the load's anchor.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lakeflow_entry.stream.offsets import LoadPosition

__all__ = ["LoadPlan"]

Rank = tuple[tuple[int, str], ...]

_WHOLE = 0.9
"""A mailbox of at most this share of the cap is loaded in one batch; the rest is room for mail that arrives
before such a batch is replayed after a crash."""


def _rank(position: str) -> Rank:
    return tuple((len(part), part) for part in position.split("/"))


def _newest(ids: Iterable[str]) -> str:
    return max(ids, key=lambda item: (len(item), item), default="")


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What is to be loaded, in order.

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

    def first(self, cap: int) -> LoadPosition | None:
        """Where the first batch ends; None when it takes everything."""
        if len(self.positions) <= max(1, int(cap * _WHOLE)):
            return None
        taken = self._cut(0, max(1, cap // 2))
        place = self.positions[taken - 1]
        room = cap - taken
        return LoadPosition(
            place,
            self._until(taken, room) if room else place,
            _newest(position.rpartition("/")[2] for position in self.positions),
            taken,
        )

    def after(self, load: LoadPosition, cap: int) -> LoadPosition | None:
        """Where the batch that begins at `load` ends, with the end of the one after it; None when it is the last."""
        if not load.until:
            return None
        return LoadPosition(load.until, self._until(self._below(load.until), cap, load.top), load.top)

    def between(self, start: LoadPosition | None, end: LoadPosition | None) -> list[str]:
        """The positions that a batch delivers.

        Args:
            start: Where it begins; None for the first batch.
            end: Where it ends; None when it takes all the rest.
        """
        low = len(self.positions) if end is None else self._below(end.place)
        high = 0
        if start is not None:
            high = self._below(start.place)
            if start.taken:
                high = min(high, start.taken)
        top = start.top if start is not None else end.top if end is not None else ""
        return [position for position in self.positions[high:low] if not top or _known(position, top)]

    def _below(self, position: str) -> int:
        """Index of the first position below this one."""
        rank = _rank(position)
        return bisect_left(self.positions, True, key=lambda other: _rank(other) < rank)

    def _until(self, begin: int, count: int, top: str = "") -> str:
        """Position of the last of `count` rows from `begin`; empty when they reach the end."""
        end = begin
        while end < len(self.positions) and count:
            if not top or _known(self.positions[end], top):
                count -= 1
            end += 1
        if end >= len(self.positions):
            return ""
        return self.positions[self._cut(begin, end - begin) - 1]

    def _cut(self, begin: int, count: int) -> int:
        """Index after `count` rows from `begin`, moved back to where a thread ends if the batch keeps any row."""
        end = begin + count
        if end >= len(self.positions):
            return len(self.positions)
        thread = self.positions[end].partition("/")[0]
        moved = end
        while moved > begin and self.positions[moved - 1].partition("/")[0] == thread:
            moved -= 1
        return moved if moved > begin else end


def _known(position: str, top: str) -> bool:
    """Whether a position was there when the load began, as far as ids tell."""
    newest = position.rpartition("/")[2]
    return (len(newest), newest) <= (len(top), top)
