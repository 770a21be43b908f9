"""Fetch the content that a plan requests, from Gmail or from other tables of the lake, and write it in chunks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from gmail_assets.delta.errors import LakeError
from gmail_assets.syncing.chunk import Chunk
from gmail_assets.syncing.failures import RunFailures
from gmail_assets.syncing.labels import as_change
from gmail_assets.syncing.lake_content import chunk_of, read_stored_content
from gmail_assets.syncing.memory import ByteShare
from gmail_assets.syncing.planner import SyncPlanner
from gmail_assets.syncing.stopping import RunStop, UntilError
from gmail_assets.syncing.sync_plan import FetchGroup, SyncPlan
from gmail_assets.syncing.table import TableSync
from gmail_assets.syncing.table_plan import MessageIds
from gmail_client.api import GmailApi
from gmail_client.changes import Changes, MessageChange
from gmail_client.fetch import FetchedThread, FetchRequest, chunks, fetch

__all__ = ["ContentFetcher"]

_PROGRESS_SECONDS = 0.5


class ContentFetcher:
    """Executes the part of a plan that fetches new content.

    Args:
        api: The mailbox.
        planner: Knows the tables that store content, and matches messages whose dates were not known.
        stop: Stops the run.
        failures: Records messages that could not be fetched.
        report: Called with the phase, the messages fetched so far, and their total.
        memory: Counts the bytes of messages that are not written yet.
    """

    def __init__(
        self,
        api: GmailApi,
        planner: SyncPlanner,
        stop: RunStop,
        failures: RunFailures,
        report: Callable[[str, int, int | None], None],
        memory: ByteShare,
    ) -> None:
        self._api = api
        self._planner = planner
        self._stop = stop
        self._failures = failures
        self._report = report
        self._memory = memory
        self._done = 0

    def fetch(self, plan: SyncPlan) -> dict[str, MessageChange]:
        """Write missing messages chunk by chunk, from Gmail and from other tables of the lake.

        Returns:
            Labels in the fetched content, of stored messages whose labels have to be read.
        """
        known: dict[str, MessageChange] = {}
        total = len(plan.fetch)
        self._done = 0
        self._report("fetching", 0, total)
        try:
            with self.saved_at_end(plan.tables):
                self._fetch_groups(plan, known, total)
        finally:
            self._memory.release()
        return known

    @contextmanager
    def saved_at_end(self, tables: Iterable[TableSync]) -> Iterator[None]:
        """If the run ends within the block, write the fetched messages (their units are spent) and record failures.

        A failed message counts as retried in the next run, so that the next run makes progress.
        """
        with self._stop.announced():
            try:
                yield
                self._stop.check_event()
            except Exception:
                for table in tables:
                    # A table that could not be written before can't be written now; the first error has the reason.
                    with suppress(LakeError):
                        table.flush()
                        self._failures.record(table)
                raise

    def _fetch_groups(self, plan: SyncPlan, known: dict[str, MessageChange], total: int) -> None:
        changes = None if plan.cursor is None else plan.changes
        in_lake = {table: dict(share.in_lake) for table, share in plan.tables.items()}
        for group in plan.fetch.groups:
            requests = group.requests()
            arriving = UntilError(
                fetch(self._api, requests, group.format, group.policy, stop=self._stop.event)
            )
            for chunk in chunks(self._reporting(arriving, total), is_full=self._memory.must_write):
                self._write_chunk(group, chunk, in_lake, changes)
                self._memory.release()
                for fetched in chunk:
                    self._note_fetched(group.tables, fetched, plan, known)
                self._report("fetching", self._done, max(total, self._done))
                if arriving.error is None:
                    self._stop.check()
            arriving.raise_error()
            self._stop.check_event()
        for table, share in in_lake.items():
            source = self._planner.source(table) if share else None
            if source is None:
                continue
            for piece in read_stored_content(source, table.options.format, share, changes):
                self._write_content(table, piece)
                for message in piece.messages:
                    table.retries.pop(message["id"], None)
                self._stop.check()
            self._fetch_vanished(table, share)

    def _write_chunk(
        self,
        group: FetchGroup,
        chunk: Sequence[FetchedThread],
        in_lake: Mapping[TableSync, MessageIds],
        changes: Changes | None,
    ) -> None:
        mail = Chunk(chunk)
        complete = _complete(chunk)
        whole = mail if len(complete) == len(chunk) else Chunk(complete)
        for table in group.tables:
            share = in_lake[table]
            if table.name == "messages":
                _drop_fetched(share, chunk)
                self._write_content(table, mail.projected(group.format, table.options.format))
                continue
            own = whole.projected(group.format, table.options.format)
            # A thread is one row: its messages from the lake are written together with the fetched ones.
            joining = {
                fetched.thread_id: share.pop(fetched.thread_id)
                for fetched in complete
                if fetched.thread_id in share
            }
            source = self._planner.source(table) if joining else None
            if source is not None:
                own = own.joined(chunk_of(source, table.options.format, joining, changes))
            self._write_content(table, own)

    def _write_content(self, table: TableSync, chunk: Chunk) -> None:
        """Write a chunk, after matching its messages whose dates were not known."""
        dates = {
            message["id"]: int(message.get("internalDate") or 0)
            for message in chunk.messages
            if message["id"] in table.plan.undecided
        }
        # A message that matched when it arrived, but was refused by Gmail then, is matched like a stored one.
        late = {
            message_id: {message_id: date}
            for message_id, date in dates.items()
            if message_id in table.retries
        }
        table.plan.matches |= self._planner.still_matching(table, late)
        table.plan.matches |= self._planner.matching_now(
            table, {message_id: date for message_id, date in dates.items() if message_id not in late}
        )
        table.write_content(chunk)

    def _fetch_vanished(self, table: TableSync, share: MessageIds) -> None:
        """Fetch messages that another table stored when the plan was made and no longer stores."""
        vanished = {thread_id: rest for thread_id, ids in share.items() if (rest := ids & table.outstanding)}
        requests = [FetchRequest(thread_id, tuple(sorted(ids))) for thread_id, ids in vanished.items()]
        arriving = UntilError(
            fetch(self._api, requests, table.options.format, table.options.policy, stop=self._stop.event)
        )
        for chunk in chunks(arriving):
            self._write_content(table, Chunk(_complete(chunk) if table.name == "threads" else chunk))
            for fetched in chunk:
                self._note_outcome(table, fetched)
        arriving.raise_error()

    def _note_fetched(
        self,
        tables: Sequence[TableSync],
        fetched: FetchedThread,
        plan: SyncPlan,
        known: dict[str, MessageChange],
    ) -> None:
        self._done += len(fetched.messages)
        for message in fetched.messages:
            if message["id"] in plan.labels_to_read.get(fetched.thread_id, ()):
                known[message["id"]] = as_change(message)
        for table in tables:
            self._note_outcome(table, fetched)

    def _note_outcome(self, table: TableSync, fetched: FetchedThread) -> None:
        table.settle((*fetched.absent, *fetched.failed))
        for message in fetched.messages:
            if message["id"] in table.plan.requested:
                table.retries.pop(message["id"], None)
        for message_id, error in fetched.failed.items():
            if message_id in table.plan.requested:
                thread_id = fetched.moved.get(message_id, fetched.thread_id)
                self._failures.note(table, thread_id, message_id, error)

    def _reporting(self, arriving: Iterable[FetchedThread], total: int) -> Iterator[FetchedThread]:
        """Yield results and report progress between them: a chunk takes minutes at Gmail's rate."""
        done, due = self._done, 0.0
        for fetched in arriving:
            done += len(fetched.messages)
            self._memory.take(fetched.size)
            if time.monotonic() >= due:
                self._report("fetching", done, max(total, done))
                due = time.monotonic() + _PROGRESS_SECONDS
            yield fetched


def _complete(chunk: Sequence[FetchedThread]) -> list[FetchedThread]:
    """Drop partly fetched threads, because a row of `threads` contains all messages of the thread."""
    return [fetched for fetched in chunk if not fetched.partial]


def _drop_fetched(in_lake: MessageIds, chunk: Sequence[FetchedThread]) -> None:
    """Drop messages from the lake copy that were fetched along with their thread."""
    for fetched in chunk:
        if fetched.thread_id in in_lake:
            in_lake[fetched.thread_id] = in_lake[fetched.thread_id] - {m["id"] for m in fetched.messages}
