"""One table in one run: stored rows, missing messages, and writes.

`MessagesSync` and `ThreadsSync` have the same methods, so that a run handles either or both. Neither calls Gmail.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Set
from typing import Any, Literal

import pyarrow as pa

from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.sync_state import SyncState
from gmail_assets.delta.unfetched import Unfetched
from gmail_assets.syncing.chunk import Chunk
from gmail_assets.syncing.table_plan import MessageIds, TablePlan
from gmail_client.changes import Changes, ListedThread, MessageChange
from gmail_client.errors import IncompleteReadError
from gmail_client.labels import HIDDEN_LABELS
from gmail_client.options import TableOptions
from gmail_client.spec import SpecTable

__all__ = ["Labels", "Mode", "TableSync"]

Mode = Literal["full_load", "reconcile", "incremental"]
Labels = tuple[str, ...]


class TableSync(ABC):
    """One table in one run.

    Args:
        spec: Name and options of the table.
        partition: The mailbox's partition of the table.

    Attributes:
        mode: `full_load` fetches missing messages, `reconcile` also compares the stored ones, `incremental` only
            replays the history.
        needs_listing: A listing has to be applied before the history can be replayed.
        start: History id from which the history has to be replayed.
        state: The sync state of the next commit.
        synced_before: Time of the previous sync with changes, in epoch seconds; None if unknown.
        rows_may_mismatch: Rows may be stored that were inserted under other options.
        plan: This table's share of the plan that is being applied.
        outstanding: Requested messages without an outcome (written, deleted, failed, or not matching).
        failed: Messages that could not be fetched in this run, by id.
        retries: Messages that failed earlier and are retried.
        thread_heads: History ids of threads whose labels a reconciliation read.
        soft_deleted: Keys of soft-deleted rows; a message that returns replaces its row.
        not_listed: Messages that Gmail counts and did not list, if they are many: the next run reconciles.
        written: New rows of this run.
        updated: Rows changed by this run.
        deleted: Rows deleted (or soft-deleted) by this run.
    """

    def __init__(self, spec: SpecTable, partition: MailboxPartition) -> None:
        self.spec = spec
        self.partition = partition
        self.mode: Mode = "incremental"
        self.needs_listing = False
        self.start = 0
        self.state: SyncState = partition.state
        self.synced_before = partition.state.synced_at
        self.rows_may_mismatch = not partition.state.rows_match
        self.plan = TablePlan()
        self._obsolete: set[str] = set()
        self._misplaced: MessageIds = {}
        self._narrowed = False
        self.outstanding: set[str] = set()
        self.failed: dict[str, Unfetched] = {}
        self.retries: dict[str, Unfetched] = {}
        self.thread_heads: dict[str, int] = {}
        self.soft_deleted: set[str] = set()
        self.not_listed = 0
        self.written = 0
        self.updated = 0
        self.deleted = 0

    @property
    def name(self) -> str:
        """`messages` or `threads`."""
        return self.spec.source_table

    @property
    def options(self) -> TableOptions:
        """The table options."""
        return self.spec.options

    # Modes

    def follow(self, start: int) -> None:
        """Replay the history after `start`."""
        self.mode, self.start = "incremental", start

    def load(self, start: int) -> None:
        """Fetch missing messages, then replay the history after `start`."""
        self.mode, self.start = "full_load", start
        self.needs_listing = True
        self.not_listed = 0
        self.state = self.state.loading(start)

    def reconcile(self, head: int) -> None:
        """Compare the stored rows with a listing, then replay the history after `head`."""
        self.mode, self.start = "reconcile", head
        self.needs_listing = True
        self.not_listed = 0
        self.state = self.state.unsynced(head)

    def replay_from(self, history_id: int) -> None:
        """Replay the history from an earlier id: rows written until then are correct through that id only."""
        if history_id >= self.start:
            return
        self.start = history_id
        if self.mode == "full_load":
            self.state = self.state.loading(history_id)
        else:
            self.state = self.state.labels_through(min(self.state.rows_through, history_id))

    # What is stored

    def matches(self, message: Mapping[str, Any]) -> bool:
        """Whether a message matches the filters in its current state."""
        listed = not self.options.q or message["id"] in self.plan.matches
        return listed and self.options.matches(message)

    def concerns(self, message_id: str, change: MessageChange) -> bool:
        """Whether the message still has to be matched against the filters after this change.

        A new message that did not match is matched again, because Gmail's search may find it late.
        """
        again = change.arrived and self.recheck is not None
        return change.history_id > self.start or again or message_id in self.retries

    @property
    def recheck(self) -> int | None:
        """History id after which new messages are matched again; None for none."""
        return self.state.recheck if self.options.q and self.mode == "incremental" else None

    def may_enter(self, change: MessageChange) -> bool:
        """Whether a message that is not stored may match the filters, as far as these changes show."""
        labels = change.labels_after(None)
        if labels is not None and not self.options.matches_labels(labels):
            return False
        if self.options.q or self.options.start_date is None or change.arrived or not change.moved:
            return True
        # Not stored although its labels matched before: it is older than `startDate`.
        deciding = set(self.options.label_ids)
        if not self.options.include_spam_trash:
            deciding |= HIDDEN_LABELS
        return not deciding.isdisjoint(change.moved)

    @abstractmethod
    def read_stored(self, changes: Changes | None) -> None:
        """Read stored rows without content: all, or only those that the changes may touch."""

    @abstractmethod
    def stored_messages(self) -> MessageIds:
        """Stored messages by thread. Soft-deleted rows do not count."""

    @abstractmethod
    def dates(self) -> dict[str, int]:
        """Stored messages with their internalDate in milliseconds, if the filters are a search or a date."""

    @abstractmethod
    def labels_of(self, thread_id: str, message_ids: Iterable[str]) -> dict[str, Labels]:
        """Labels of a thread's stored messages."""

    @abstractmethod
    def has_row(self, thread_id: str) -> bool:
        """Whether new messages of the thread are added to a stored row: true for rows of `threads` only."""

    def moved(self, threads: Iterable[str], heads: Mapping[str, ListedThread]) -> set[str]:
        """Stored threads that changed after the last correct history id: their labels have to be read again."""
        through = self.state.rows_through
        return {
            thread_id
            for thread_id in threads
            if thread_id not in heads or heads[thread_id].history_id > through
        }

    @abstractmethod
    def missing(self, listed: Mapping[str, str]) -> MessageIds:
        """Messages of these (id to thread id) that are not stored, by thread."""

    @abstractmethod
    def candidates(self, changes: Changes) -> dict[str, str]:
        """Messages that may match after the changes and are not stored: thread id by id."""

    @abstractmethod
    def key_of(self, message_id: str, thread_id: str) -> str:
        """Key of the row that a message belongs to."""

    @abstractmethod
    def changed_rows(self, changes: Changes) -> dict[str, dict[str, int]]:
        """Stored rows that may no longer match `q` after the changes, with their messages that may still match.

        Returns:
            By key, ids and dates (epoch milliseconds) of the stored messages whose labels match.
        """

    @abstractmethod
    def needs_whole(self, thread_id: str) -> bool:
        """Whether a candidate's thread has to be fetched completely, for messages that are in no history record."""

    @abstractmethod
    def outside(self, listed: Mapping[str, str]) -> set[str]:
        """Keys of rows that are not in a listing (message id to thread id), or that are before `startDate`."""

    @abstractmethod
    def misplaced(self, present: Mapping[str, str]) -> MessageIds:
        """Stored messages that a listing (message id to thread id) shows in another thread, by their row's thread."""

    @abstractmethod
    def would_delete(self, changes: Changes) -> set[str]:
        """Keys of rows that the changes delete."""

    @abstractmethod
    def total(self) -> int:
        """Number of stored rows that were read."""

    # What is written

    def begin(self, plan: TablePlan) -> None:
        """Start with this table's share of a plan."""
        self.plan = plan
        self._obsolete = set(plan.obsolete)
        self._misplaced = dict(plan.misplaced)
        self._narrowed = plan.narrowed
        self.outstanding |= plan.requested

    def delete_row(self, key: str) -> None:
        """Delete a row with the next changes that are written."""
        self._obsolete.add(key)

    def settle(self, message_ids: Iterable[str]) -> None:
        """Record that these messages have an outcome."""
        self.outstanding.difference_update(message_ids)

    def check_conserved(self) -> None:
        """Check that the cursor may be committed.

        Raises:
            IncompleteReadError: A requested message has no outcome, or no listing was applied.
        """
        if self.needs_listing:
            raise IncompleteReadError(
                f"Internal error: {self.name} has to be reconciled before its cursor moves."
            )
        if self.outstanding:
            raise IncompleteReadError(
                f"Internal error: {self.name} misses requested messages: {len(self.outstanding)} have no outcome, "
                f"one is {min(self.outstanding)}.",
            )

    @abstractmethod
    def write_content(self, chunk: Chunk) -> None:
        """Write fetched messages; this is the outcome of those that are written and of those that do not match.

        In incremental mode the last chunk waits for `write_changes`, so that new mail and its cursor are one commit.
        """

    @abstractmethod
    def flush(self) -> None:
        """Write the chunk that waits for `write_changes`, if the run ends before; the cursor is not moved."""

    @abstractmethod
    def write_changes(self, changes: Changes, state: SyncState, *, unread: Set[str] = frozenset()) -> None:
        """Write labels and deletions, and with the last of them the state.

        Args:
            changes: Changes of stored messages.
            state: The state once all of them are written.
            unread: Threads whose labels are not read yet: their stored labels delete nothing.
        """

    def _merge(
        self,
        updates: pa.Table,
        deleted: list[str],
        inserts: pa.Table | None = None,
        state: SyncState | None = None,
    ) -> None:
        state = self.state if state is None else state
        self.partition.merge(updates, deleted, inserts, state)
        self.state = state
