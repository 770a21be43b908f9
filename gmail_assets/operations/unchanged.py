"""Finds mailboxes whose tables are up to date, for one quota unit and little CPU time per mailbox.

A mailbox is unchanged if its current history id (getProfile) is the cursor of each of its tables, its snapshots were
read not long ago, and its derived tables are computed. The lake's sync states are read in one pass over the log of each
table, for all mailboxes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from gmail_assets.delta.derived_state import are_up_to_date
from gmail_assets.delta.forgotten import ForgottenMailboxes
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.delta.mailbox_names import MailboxNames
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.partition_status import OpenTables
from gmail_assets.delta.registry import MailboxRegistry
from gmail_assets.delta.unfetched import UnfetchedMessages
from gmail_assets.syncing.many import run_mailboxes
from gmail_assets.syncing.stopping import RunGroup
from gmail_client.client import GmailClient
from gmail_client.spec import Spec, SpecTable, SpecView
from gmail_client.tables import CATALOGUE, CHANGE_TABLES
from gmail_client.views import CONTENTS, VIEWS

__all__ = ["UnchangedMailboxes"]


class UnchangedMailboxes:
    """Compares mailboxes with the current state of a lake.

    Args:
        lake: The lake.
        spec: All tables of the pipeline.
        tables: The tables that have to be up to date, by source table.
        snapshot_seconds: Age at which a snapshot has to be read again.
        now: Returns epoch seconds.

    Raises:
        LakeError: The lake can't be read.
    """

    def __init__(
        self,
        lake: Lake,
        spec: Spec,
        tables: Iterable[str],
        *,
        snapshot_seconds: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._tables = list(tables)
        self._now = now()
        self._snapshot_seconds = snapshot_seconds
        entries = {entry.source_table: entry for entry in spec.entries}
        chosen = [entries[name] for name in self._tables if name in entries]
        needed = {"messages", "labels"} if any(name in VIEWS for name in self._tables) else set()
        read = {entry.source_table: entry for entry in chosen if isinstance(entry, SpecTable)}
        read |= {entry.source_table: entry for entry in spec.tables if entry.source_table in needed}
        self._lake = lake
        self._mail = OpenTables(lake, [entry for entry in read.values() if _is_mail(entry)])
        self._snapshots = [entry for entry in read.values() if not _is_mail(entry)]
        self._searches = {name: bool(entry.options.q) for name, entry in read.items()}
        self._views = [
            entry for entry in chosen if isinstance(entry, SpecView) and entry.source_table in VIEWS
        ]
        self._lock = threading.Lock()
        self._rest: tuple[OpenTables, dict[str, LakeTable] | None] | None = None
        # The log does not show whether contents of attachments are missing.
        self._complete = len(chosen) == len(self._tables) and CONTENTS not in self._tables
        self._names = MailboxNames({}, {})
        if self._complete:
            self._names = MailboxRegistry(lake).names()
            self._unfetched = UnfetchedMessages(lake).mailboxes()
            self._forgotten = ForgottenMailboxes(lake)

    def find(self, client: GmailClient, mailboxes: Sequence[str], *, jobs: int) -> list[str]:
        """Those of the mailboxes that are unchanged. A mailbox that can't be read is not among them.

        Args:
            client: The client.
            mailboxes: Their configured names.
            jobs: Number of concurrent requests.
        """
        loaded = [name for name in mailboxes if name in self._names.stored_as]
        if not self._complete or not loaded:
            return []
        outcomes = run_mailboxes(
            loaded,
            lambda name: self._is_unchanged(client, name),
            jobs=jobs,
            stop=RunGroup(),
            attempts=1,
        )
        return [outcome.mailbox for outcome in outcomes if outcome.value]

    def _is_unchanged(self, client: GmailClient, name: str) -> bool:
        profile = client.mailbox(name).api.profile()
        address, head = str(profile["emailAddress"]), int(profile["historyId"])
        stored_as = self._names.find(name, address)
        if stored_as is None or self._forgotten.includes(address):
            return False
        if stored_as in self._unfetched:
            return False
        partitions = self._mail.partitions_of(stored_as)
        if not self._are_current([name for name in self._tables if name in CHANGE_TABLES], partitions, head):
            return False
        snapshots, views = self._others()
        if not self._are_current(
            [name for name in self._tables if name in CATALOGUE and name not in CHANGE_TABLES],
            snapshots.partitions_of(stored_as),
            head,
        ):
            return False
        messages = self._mail.table("messages")
        if not self._views:
            return True
        return (
            messages is not None
            and views is not None
            and are_up_to_date(messages, snapshots.table("labels"), views, stored_as)
        )

    def _others(self) -> tuple[OpenTables, dict[str, LakeTable] | None]:
        """The snapshots, and the derived tables or None if one is missing; opened for the first mailbox without mail.

        Opening them takes longer than asking a mailbox whether it has changed.
        """
        with self._lock:
            if self._rest is None:
                self._rest = OpenTables(self._lake, self._snapshots), _open_views(self._lake, self._views)
            return self._rest

    def _are_current(
        self, tables: Sequence[str], partitions: Mapping[str, MailboxPartition], head: int
    ) -> bool:
        return all(self._is_current(table, partitions.get(table), head) for table in tables)

    def _is_current(self, table: str, partition: MailboxPartition | None, head: int) -> bool:
        if partition is None or partition.restored or partition.changed_format:
            return False
        state = partition.state
        if not CATALOGUE[table].cursor:
            # Both ways: a time in the future was recorded by a clock that was wrong.
            return state.synced_at is not None and abs(self._now - state.synced_at) <= self._snapshot_seconds
        # A table with a search may have to match messages again.
        matched = state.search_applied or not self._searches[table]
        return state.cursor == head and not state.unexplained and state.recheck is None and matched


def _is_mail(entry: SpecTable) -> bool:
    return entry.source_table in CHANGE_TABLES


def _open_views(lake: Lake, entries: Sequence[SpecView]) -> dict[str, LakeTable] | None:
    """The derived tables in their order; None if one is missing."""
    views: dict[str, LakeTable] = {}
    for entry in entries:
        found = lake.opened(entry.table_name)
        if found is None:
            return None
        views[entry.source_table] = lake.view(VIEWS[entry.source_table], name=entry.table_name, found=found)
    return {name: views[name] for name in VIEWS if name in views}
