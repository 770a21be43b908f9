"""What the tables of a run lack, thread by thread, and the wants that bring it.

Tables of one format share a read; a table of another format pays for what it lacks itself and for nothing else.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Set

from gmail_assets.syncing.table import TableSync
from gmail_client.fetch import FetchRequest
from gmail_client.options import MessageFormat

__all__ = ["FetchPlan"]


class FetchPlan:
    """Collects what each table lacks."""

    def __init__(self) -> None:
        self._groups: dict[MessageFormat, _Group] = {}

    def add(
        self,
        target: TableSync,
        lacking: Mapping[str, Set[str]],
        whole: Set[str] = frozenset(),
        held: Container[str] = frozenset(),
    ) -> None:
        """Add what one table lacks.

        Args:
            target: The table; it is told what is sought for it.
            lacking: Thread id to messages.
            whole: Threads of these of which all messages are wanted, also those that nobody named.
            held: Threads of which the table has other messages.
        """
        group = self._groups.setdefault(target.options.format, _Group())
        group.targets.append(target)
        group.whole |= whole
        for thread_id, ids in lacking.items():
            group.lacking.setdefault(thread_id, set()).update(ids)
            target.request(ids)
            if thread_id in held:
                group.held.add(thread_id)

    def tell_labels(self, recheck: Mapping[str, Set[str]]) -> None:
        """Read those threads whole where that also tells, at no higher cost, the labels that are to be read."""
        for format_, group in self._groups.items():
            if format_ != "raw":
                group.whole.update(
                    thread_id
                    for thread_id, ids in group.lacking.items()
                    if thread_id in recheck and len(ids) + len(recheck[thread_id]) >= 3
                )
                return

    def __len__(self) -> int:
        """Messages that are lacked, counted once for each format."""
        return sum(len(ids) for group in self._groups.values() for ids in group.lacking.values())

    def wants(self) -> Iterator[tuple[list[TableSync], Iterator[FetchRequest]]]:
        """For each format the tables that share it, and what is wanted for them; what is handed out is forgotten."""
        for group in self._groups.values():
            yield group.targets, group.wants()


class _Group:
    def __init__(self) -> None:
        self.targets: list[TableSync] = []
        self.lacking: dict[str, set[str]] = {}
        self.whole: set[str] = set()
        self.held: set[str] = set()

    def wants(self) -> Iterator[FetchRequest]:
        """Newest first, and neighbours together: a file's keys then span little, and a change touches few files."""
        for thread_id in sorted(self.lacking, key=lambda name: (len(name), name), reverse=True):
            ids = self.lacking.pop(thread_id)
            yield FetchRequest(thread_id, tuple(ids), thread_id in self.whole, thread_id in self.held)
