"""`SyncPlan`: one step of a sync, as a value.

`gmail_assets.syncing.compare` makes plans, a run applies them, and
`gmail_assets.operations.plan` prices the same values.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property

from gmail_assets.syncing.table import TableSync
from gmail_assets.syncing.table_plan import MessageIds, TablePlan
from gmail_client.changes import Changes
from gmail_client.fetch import FetchRequest, prefers_thread
from gmail_client.minimize import ContentPolicy
from gmail_client.options import MessageFormat
from gmail_client.quota import QuotaPlan

__all__ = ["FetchGroup", "FetchPlan", "SyncPlan", "includes", "newest_first"]

_RICHEST: tuple[MessageFormat, ...] = ("full", "metadata", "minimal", "raw")
_INCLUDED: dict[str, tuple[MessageFormat, ...]] = {
    "full": ("metadata", "minimal"),
    "metadata": ("minimal",),
    "raw": ("minimal",),
}


def includes(stored: str, wanted: str) -> bool:
    """Whether the format `stored` includes the format `wanted`."""
    return stored == wanted or wanted in _INCLUDED.get(stored, ())


def newest_first(thread_ids: Iterable[str]) -> list[str]:
    """Thread ids, newest first: Gmail's ids increase with time, and adjacent ids are then in the same files."""
    return sorted(thread_ids, key=lambda name: (len(name), name), reverse=True)


class FetchGroup:
    """Messages to fetch for the tables that share a format and a policy.

    Attributes:
        format: The format.
        policy: The values to remove from the content.
        tables: The tables.
        missing: Messages to be fetched, by thread.
        whole: Threads of these that are fetched completely, including messages that were not requested.
    """

    def __init__(self, format_: MessageFormat, policy: ContentPolicy | None = None) -> None:
        self.format = format_
        self.policy = policy
        self.tables: list[TableSync] = []
        self.missing: MessageIds = {}
        self.whole: set[str] = set()
        self._partly_stored: set[str] = set()

    def add(
        self, table: TableSync, missing: Mapping[str, Set[str]], whole: Set[str], stored: Container[str]
    ) -> None:
        """Add the missing messages of one table."""
        self.tables.append(table)
        self.whole |= whole
        for thread_id, ids in missing.items():
            self.missing.setdefault(thread_id, set()).update(ids)
            if thread_id in stored:
                self._partly_stored.add(thread_id)

    def requests(self) -> Iterator[FetchRequest]:
        """One request for each thread, newest first."""
        failed_before = {message_id for table in self.tables for message_id in table.retries}
        for thread_id in newest_first(self.missing):
            message_ids = self.missing[thread_id]
            yield FetchRequest(
                thread_id,
                tuple(sorted(message_ids)),
                thread_id in self.whole,
                thread_id in self._partly_stored,
                message_ids <= failed_before,
            )


class FetchPlan:
    """Messages to fetch from Gmail, in as few formats as the tables allow.

    A thread that one table needs in a format is fetched in that format for the others too, if it includes theirs.
    `raw` is not shared: threads.get does not offer it.
    """

    def __init__(self) -> None:
        self._needs: list[tuple[TableSync, Mapping[str, Set[str]], Set[str], Container[str]]] = []

    def add(
        self,
        table: TableSync,
        missing: Mapping[str, Set[str]],
        whole: Set[str] = frozenset(),
        stored: Container[str] = frozenset(),
    ) -> None:
        """Add the missing messages of one table.

        Args:
            table: The table.
            missing: Thread id to messages.
            whole: Threads of these that are needed completely, including messages that were not requested.
            stored: Threads of which the table stores other messages.
        """
        self._needs.append((table, missing, whole, stored))

    @cached_property
    def groups(self) -> list[FetchGroup]:
        """The groups, one for each format. Add all tables before."""
        groups: list[FetchGroup] = []
        for need in sorted(self._needs, key=lambda need: _RICHEST.index(need[0].options.format)):
            table, missing, whole, stored = need
            left = dict(missing)
            policy = table.options.policy
            alike = [group for group in groups if group.policy == policy]
            own = next((group for group in alike if group.format == table.options.format), None)
            for group in alike:
                if group is not own and "raw" not in (group.format, table.options.format):
                    shared = {
                        thread_id: left.pop(thread_id) for thread_id in missing if thread_id in group.missing
                    }
                    if shared:
                        group.add(table, shared, whole & shared.keys(), stored)
            if left:
                if own is None:
                    own = FetchGroup(table.options.format, policy)
                    groups.append(own)
                own.add(table, left, whole & left.keys(), stored)
        return groups

    def read_whole(self, labels_to_read: Mapping[str, Set[str]]) -> None:
        """Fetch threads completely whose labels have to be read anyway, if that costs no more."""
        for group in self.groups:
            if group.format != "raw":
                group.whole.update(
                    thread_id
                    for thread_id, ids in group.missing.items()
                    if thread_id in labels_to_read and len(ids) + len(labels_to_read[thread_id]) >= 3
                )
                return

    def __len__(self) -> int:
        """Messages to be fetched, counted once for each group."""
        return sum(len(ids) for group in self.groups for ids in group.missing.values())

    def units(self, quota: QuotaPlan) -> int:
        """Quota units of the requests, if all succeed."""
        return sum(
            units_of(request, group.format, quota) for group in self.groups for request in group.requests()
        )


def units_of(request: FetchRequest, format_: MessageFormat, quota: QuotaPlan) -> int:
    """Quota units of one request."""
    message, thread = quota.price("messages.get"), quota.price("threads.get")
    if prefers_thread(request, format_, message, thread):
        return thread
    return message * len(request.message_ids)


@dataclass(slots=True)
class SyncPlan:
    """One step of a sync.

    Attributes:
        tables: The tables it concerns, each with its share.
        fetch: Content to be fetched from Gmail.
        changes: Labels to set and messages to delete.
        labels_to_read: Stored messages whose labels have to be read, by thread.
        sample: Unchanged messages whose labels are read to test that history ids show changes, by thread.
        rereads_all: The labels of all stored threads are read, from the position where an earlier run stopped.
        cursor: History id once the plan is applied; None if the history has to be replayed afterwards.
    """

    tables: dict[TableSync, TablePlan]
    changes: Changes
    fetch: FetchPlan = field(default_factory=FetchPlan)
    labels_to_read: MessageIds = field(default_factory=dict)
    sample: MessageIds = field(default_factory=dict)
    rereads_all: bool = False
    cursor: int | None = None

    def units(self, quota: QuotaPlan) -> int:
        """Quota units of all reads of the plan, except listings."""
        message, thread = quota.price("messages.get"), quota.price("threads.get")
        fetched = {
            request.thread_id
            for group in self.fetch.groups
            for request in group.requests()
            if prefers_thread(request, group.format, message, thread)
        }
        labels = [
            FetchRequest(thread_id, tuple(ids))
            for threads in (self.labels_to_read, self.sample)
            for thread_id, ids in threads.items()
            if ids and not (threads is self.labels_to_read and thread_id in fetched)
        ]
        undecided = sum(len(share.undecided) for share in self.tables.values())
        return (
            self.fetch.units(quota)
            + sum(units_of(request, "minimal", quota) for request in labels)
            + undecided * quota.price("messages.list")
        )
