"""Re-reads the labels of stored messages when the history no longer covers their changes.

Gmail documents a thread's historyId as "the last history record that modified this thread". After an expired history,
threads whose historyId did not change count as unchanged. It is not documented that label changes change it. So a
random sample of unchanged threads is read each time, and after one mismatch the labels of all threads are read.
This module contains all code for this.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from gmail_assets.delta.sync_state import LabelReread, number_of
from gmail_assets.syncing.listing import Listing
from gmail_assets.syncing.stopping import RunStop, UntilError
from gmail_assets.syncing.sync_plan import SyncPlan
from gmail_assets.syncing.table import TableSync
from gmail_assets.syncing.table_plan import MessageIds
from gmail_client.api import GmailApi
from gmail_client.changes import Changes, MessageChange
from gmail_client.errors import GmailError
from gmail_client.fetch import FetchedThread, FetchRequest, fetch

__all__ = ["LabelReader", "as_change", "labels_to_read", "unread_threads"]

_SAMPLE = 20
"""Unchanged threads that are read to test that history ids show label changes."""
_LABELS_AT_ONCE = 2_000
"""Number of threads whose labels are read and written in one piece."""

OnFailure = Callable[[str, str, GmailError], None]
"""Called with thread id, message id and error of a message that Gmail refused."""


def labels_to_read(
    tables: Sequence[TableSync], stored: MessageIds, listing: Listing, chance: random.Random
) -> tuple[MessageIds, MessageIds, bool]:
    """Choose the stored messages whose labels have to be read.

    Args:
        tables: The tables that are reconciled.
        stored: Stored messages by thread.
        listing: Gmail's listing.
        chance: Chooses the sample.

    Returns:
        The messages whose labels are read; a sample of messages that should be unchanged; whether all threads are
        read because history ids do not show label changes.
    """

    def present(threads: Iterable[str]) -> MessageIds:
        found = {thread_id: stored[thread_id] & listing.all_messages.keys() for thread_id in threads}
        return {thread_id: ids for thread_id, ids in found.items() if ids}

    if any(table.state.reread for table in tables):
        return present(unread_threads(tables, stored)), {}, True
    changed = {
        thread_id
        for table in tables
        for thread_id in table.moved(table.stored_messages(), listing.all_threads)
    }
    changed &= stored.keys()
    unchanged = sorted(stored.keys() - changed)
    tested = chance.sample(unchanged, min(_SAMPLE, len(unchanged)))
    return present(sorted(changed)), present(tested), False


def unread_threads(tables: Sequence[TableSync], stored: Iterable[str]) -> set[str]:
    """Stored threads that an earlier re-reading of all labels did not reach."""
    reached = min(table.state.reread.last if table.state.reread else 0 for table in tables)
    return {thread_id for thread_id in stored if number_of(thread_id) > reached}


class LabelReader:
    """Reads labels of stored messages, and writes them.

    Args:
        api: The mailbox.
        tables: The tables that are reconciled or loaded in this step.
        on_failure: Called for each message that Gmail refused.
        commit_failures: Called before a commit that moves past such messages.
        check_time: Called after each batch; may end the run.
        stop: Ends a piece early; the labels read so far are written.
    """

    def __init__(
        self,
        api: GmailApi,
        tables: Sequence[TableSync],
        *,
        on_failure: OnFailure,
        commit_failures: Callable[[], None],
        check_time: Callable[[], None],
        stop: RunStop,
    ) -> None:
        self._api = api
        self._tables = tables
        self._on_failure = on_failure
        self._commit_failures = commit_failures
        self._check_time = check_time
        self._stop = stop

    def read(self, threads: Mapping[str, set[str]], changes: Changes) -> None:
        """Read the labels of stored messages into `changes`, without content."""
        for fetched in self._fetch(threads):
            _note(fetched, threads[fetched.thread_id], changes, self._on_failure)

    def _fetch(self, threads: Mapping[str, set[str]]) -> Iterator[FetchedThread]:
        failed_before = {message_id for table in self._tables for message_id in table.retries}
        requests = [
            FetchRequest(thread_id, tuple(ids), retried=ids <= failed_before)
            for thread_id, ids in threads.items()
            if ids
        ]
        return (
            one for one in fetch(self._api, requests, "minimal", stop=self._stop.event) if not one.partial
        )

    def sample_agrees(self, sample: Mapping[str, set[str]], tables: Iterable[TableSync]) -> bool:
        """Whether the sampled messages, whose threads did not change, have the stored labels."""
        found = Changes(start=0, head=0)
        for fetched in self._fetch(sample):
            _note(fetched, sample[fetched.thread_id], found, lambda thread_id, message_id, error: None)
        for table in tables:
            for thread_id, ids in sample.items():
                for message_id, labels in table.labels_of(thread_id, ids).items():
                    change = found.messages.get(message_id)
                    if change is None or change.deleted:
                        continue
                    if set(change.labels or ()) != set(labels) and change.history_id <= table.start:
                        return False
        return True

    def apply(self, plan: SyncPlan, known: Mapping[str, MessageChange], listing: Listing) -> None:
        """Read and write the labels of the plan's messages.

        Threads are read in the order of their changes: after each batch everything up to the next thread's history
        id is applied, so a run that ends there has made progress.

        Args:
            plan: The plan.
            known: Labels that the fetch of content has returned already.
            listing: Gmail's listing.
        """
        heads = {thread_id: head.history_id for thread_id, head in listing.all_threads.items()}
        threads = sorted(
            plan.labels_to_read,
            key=lambda thread_id: (
                number_of(thread_id) if plan.rereads_all else heads.get(thread_id, 0),
                thread_id,
            ),
        )
        done = 0
        while done < len(threads):
            piece = threads[done : done + _LABELS_AT_ONCE]
            with self._stop.announced():
                arriving, read = self._apply_piece(piece, plan.labels_to_read, known, heads)
                done += read
                if read and done < len(threads):
                    self._commit_failures()
                    for table in self._tables:
                        if table.mode == "reconcile":
                            through = heads.get(threads[done], 0) - 1
                            self._advance(table, threads[done - 1], through, plan.rereads_all)
                arriving.raise_error()
                self._stop.check_event()
            if done < len(threads):
                self._check_time()

    def _apply_piece(
        self,
        piece: Sequence[str],
        labels_to_read: Mapping[str, set[str]],
        known: Mapping[str, MessageChange],
        heads: Mapping[str, int],
    ) -> tuple[UntilError[str], int]:
        """Read and write the labels of some threads; returns the error that ended it, and how many are done."""
        ids = {thread_id: labels_to_read[thread_id] for thread_id in piece}
        changes = Changes(
            start=0,
            head=0,
            messages={m: known[m] for members in ids.values() for m in members if m in known},
        )
        unread = {t: members for t, members in ids.items() if members and not members <= known.keys()}

        def noted() -> Iterator[str]:
            for fetched in self._fetch(dict(unread)):
                _note(fetched, unread[fetched.thread_id], changes, self._on_failure)
                yield fetched.thread_id

        arriving = UntilError(noted())
        for thread_id in arriving:
            del unread[thread_id]
        for table in self._tables:
            table.thread_heads.update((t, heads[t]) for t in piece if t in heads and t not in unread)
            table.write_changes(changes, table.state)
        return arriving, next((place for place, t in enumerate(piece) if t in unread), len(piece))

    def _advance(self, table: TableSync, last: str, through: int, rereads_all: bool) -> None:
        """Commit the position up to which labels have been read."""
        reread: LabelReread | None = table.state.reread
        if rereads_all and reread is not None:
            table.state = table.state.rereading(reread.since, number_of(last))
        elif not rereads_all and through > table.state.rows_through:
            table.state = table.state.labels_through(through)
        else:
            return
        table.partition.commit(table.state)


def _note(fetched: FetchedThread, ids: set[str], changes: Changes, on_failure: OnFailure) -> None:
    """Add the labels of a thread's messages to `changes`."""
    for message in fetched.messages:
        if message["id"] in ids:
            changes.messages[message["id"]] = as_change(message)
    for message_id in fetched.absent:
        changes.messages[message_id] = MessageChange(fetched.thread_id, 0, deleted=True)
    for message_id, error in fetched.failed.items():
        on_failure(fetched.thread_id, message_id, error)


def as_change(message: Mapping[str, Any]) -> MessageChange:
    """A message resource as the change that makes a stored message equal to it."""
    return MessageChange(
        message["threadId"],
        int(message.get("historyId") or 0),
        labels=tuple(message.get("labelIds") or ()),
    )
