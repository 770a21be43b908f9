"""One run over one mailbox: make plans, apply them in chunks, commit the cursor with the last one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.registry import MailboxRegistry, Unfetched
from gmail_assets.syncing.chunk import Chunk
from gmail_assets.syncing.compare import plan_incremental, plan_reconciliation
from gmail_assets.syncing.labels import LabelReader, as_change
from gmail_assets.syncing.lake_content import LakeContent, StoredContent, chunk_of, read_stored_content
from gmail_assets.syncing.listing import Listing, ListingProgress, hidden_messages
from gmail_assets.syncing.messages import MessagesSync
from gmail_assets.syncing.results import MassDeletionError, Progress
from gmail_assets.syncing.sync_plan import FetchGroup, SyncPlan
from gmail_assets.syncing.table import TableSync
from gmail_assets.syncing.table_plan import MessageIds
from gmail_assets.syncing.threads import ThreadsSync
from gmail_client.api import GmailApi
from gmail_client.changes import Changes, MessageChange, matching, read_changes
from gmail_client.client import Mailbox
from gmail_client.errors import GmailError, HistoryExpiredError, UnavailableError
from gmail_client.fetch import FetchedThread, FetchRequest, chunks, fetch
from gmail_client.spec import SpecTable

__all__ = ["EXPIRIES", "SyncPlanner", "SyncRun", "TimeUpError", "open_table"]

_MASS_DELETE_ROWS = 100
_MASS_DELETE_SHARE = 0.2
_MOST_FAILURES = 100
"""Messages more than before that Gmail may refuse before a run takes it for an outage."""
EXPIRIES = 3
"""Times that the history may expire while one run reconciles."""
_PROGRESS_SECONDS = 0.5


class TimeUpError(Exception):
    """The run's time budget is spent; what is committed stands."""


def open_table(lake: Lake, spec: SpecTable, address: str) -> TableSync:
    """One table of one mailbox, created where it is missing."""
    table = lake.table(spec.source_table, name=spec.table_name, keep_deleted=spec.deletes == "keep")
    partition = MailboxPartition(table, address, spec.options.fingerprint, spec.options.format)
    return (MessagesSync if spec.source_table == "messages" else ThreadsSync)(spec, partition)


class SyncPlanner:
    """What a run looks at to make its plans: Gmail's profile, listings and history, and the lake's other tables.

    The same for a sync and for its price: nothing here writes.

    Args:
        api: The mailbox.
        lake: The lake.
        address: The mailbox's real address.
        pipeline: Tables of the pipeline, also those that this run leaves out.
        profile: What getProfile says.
        on_progress: Progress callback.
        chance: Chooses samples.
    """

    def __init__(
        self,
        api: GmailApi,
        lake: Lake,
        address: str,
        pipeline: Sequence[SpecTable],
        profile: Mapping[str, Any],
        on_progress: Callable[[Progress], None],
        chance: random.Random | None = None,
    ) -> None:
        self.api = api
        self.profile = profile
        self.head = int(profile["historyId"])
        self._content = LakeContent(lake, address, pipeline)
        self._on_progress = on_progress
        # The same threads for a plan as for the sync after it, others as the mailbox moves on.
        self._chance = chance or random.Random(f"{address} {self.head}")  # noqa: S311 - no secret hangs on it
        self._sources: dict[TableSync, StoredContent | None] = {}
        self._planned: dict[str, TableSync] = {}
        self._reached: dict[int, bool] = {}

    def reaches(self, history_id: int) -> bool:
        """Whether the history goes back, and the mailbox has come as far, as this id."""
        if history_id not in self._reached:
            try:
                page = next(iter(self.api.history(str(history_id))))
                self._reached[history_id] = int(page.head) >= history_id
            except HistoryExpiredError:
                self._reached[history_id] = False
        return self._reached[history_id]

    def open(self, tables: Iterable[TableSync], *, reconcile: bool, replay_from: int | None) -> list[str]:
        """Decide for each table how it is synced; says in words what a reader should know."""
        remarks = []
        for table in tables:
            partition, state = table.partition, table.partition.state
            known = max(state.cursor or 0, state.rows_through)
            if known > self.head and self.reaches(known):
                self.head = known  # the profile lags behind the history
            if partition.restored:
                remarks.append(
                    f"{table.name} was restored to an older version: it is reconciled with the mailbox."
                )
            if partition.changed_format:
                table.load(self.head)
            elif state.cursor is not None and state.cursor > self.head:
                remarks.append(
                    f"{table.name}'s cursor {state.cursor} is past the mailbox's head {self.head}: reconciled."
                )
                table.reconcile(self.head)
            elif state.cursor is not None and state.unexplained:
                remarks.append(
                    f"{table.name} was found to have {state.unexplained:+,} rows that nothing explains: reconciled."
                )
                table.reconcile(self.head)
            elif state.cursor is not None and not reconcile:
                table.follow(min(state.cursor, replay_from or state.cursor))
            elif state.load_start is not None and state.load_start <= self.head:
                table.load(state.load_start)
            elif partition.count():
                table.reconcile(self.head)
            else:
                table.load(self.head)
            if table.mode == "reconcile" and (reread := table.state.reread):
                if self.reaches(reread.since):
                    # What was read then is right through that id: the history says the rest.
                    table.start = min(table.start, reread.since)
                else:
                    table.state = table.state.rereading(table.start, 0)
        return remarks

    @staticmethod
    def steps(tables: Sequence[TableSync]) -> Iterator[tuple[Sequence[TableSync], bool]]:
        """The steps of a sync: tables, and whether the history is replayed for them or a listing is reconciled.

        Tables with a cursor come first, and reconciled ones before loaded ones: what a table lacks is then taken from
        another one that is up to date.
        """
        following = [table for table in tables if table.mode == "incremental"]
        stored = [table for table in tables if table.mode == "reconcile"]
        new = [table for table in tables if table.mode == "full_load"]
        if following and (stored or new):
            yield following, True
        if stored:
            yield stored, False
        if stored and new:
            yield stored, True
        if new:
            yield new, False
        yield tables, True

    def expired(self, tables: Sequence[TableSync]) -> list[str]:
        """Reconcile the tables whose history is gone; says in words which."""
        self.profile = self.api.profile()
        self.head = int(self.profile["historyId"])
        self._reached.clear()
        oldest = min(table.start for table in tables)
        remarks = []
        for table in tables:
            if table.start == oldest:
                remarks.append(f"The history no longer reaches back to {oldest}: {table.name} is reconciled.")
                table.reconcile(self.head)
            elif not table.needs_listing:
                table.follow(table.start)
        return remarks

    def look(self, tables: Sequence[TableSync]) -> Listing:
        """Read what these tables store, and begin the listings for their reconciliation."""
        listing = Listing(
            self.api,
            tables[0].options,
            total=int(self.profile.get("messagesTotal") or 0),
            compared=any(table.mode == "reconcile" for table in tables),
            progress=ListingProgress(self.api, self.profile, self._on_progress),
        )
        for table in tables:
            listing.heads(table)
            table.read_stored(None)
        return listing

    def reconciliation(self, tables: Sequence[TableSync], listing: Listing) -> SyncPlan:
        """The plan of a full load or a reconciliation, after `look`."""
        self._begin(tables)
        return plan_reconciliation(tables, listing, self, self._chance)

    def _begin(self, tables: Sequence[TableSync]) -> None:
        self._sources.clear()
        self._planned = {table.name: table for table in tables}

    def incremental(self, tables: Sequence[TableSync]) -> SyncPlan:
        """The plan that the history gives.

        Raises:
            HistoryExpiredError: It no longer reaches back.
        """
        self._begin(tables)
        return plan_incremental(
            tables,
            read_changes(self.api, min(table.start for table in tables)),
            self,
            matching=lambda table, ids: matching(self.api, table.options, ids),
            hidden=lambda table, threads: hidden_messages(self.api, table, threads),
        )

    def source(self, table: TableSync) -> StoredContent | None:
        """The table that holds what another one lacks."""
        if table not in self._sources:
            self._sources[table] = self._content.source_for(table)
        return self._sources[table]

    def labels_since(self, source: StoredContent) -> int:
        """History id through which the labels of another table's messages are right."""
        return source.labels_since

    def holding(
        self, table: TableSync, missing: Mapping[str, Set[str]], *, after: int | None
    ) -> tuple[MessageIds, int | None]:
        """See `ContentIndex`."""
        other = self._planned.get("threads" if table.name == "messages" else "messages")
        if other is not None and not any(other.labels_of(t, ids) for t, ids in missing.items()):
            return {}, None  # what it stores has been read already
        source = self.source(table) if missing else None
        if source is None:
            return {}, None
        since = self.labels_since(source)
        if since < after if after is not None else since < table.start and not self.reaches(since):
            return {}, None
        found = source.holding(missing)
        return found, since if found else None


class SyncRun:
    """One run over one mailbox: `open` decides what is to be done, `run` does it.

    Args:
        mailbox: Where from.
        lake: Where to.
        allow_mass_delete: Go on where a reconciliation would delete more than a fifth of the rows.
        deadline: `time.monotonic()` at which to stop.
        on_progress: Progress callback.
        chance: Chooses the threads that test a reconciliation.

    Attributes:
        tables: The tables, once opened.
        warnings: What a reader of the tables should know.
        address: The mailbox's real address.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        lake: Lake,
        allow_mass_delete: bool,
        deadline: float | None,
        on_progress: Callable[[Progress], None],
        chance: random.Random | None = None,
    ) -> None:
        self.mailbox = mailbox
        self.api = mailbox.api
        self.lake = lake
        self.registry = MailboxRegistry(lake)
        self.allow_mass_delete = allow_mass_delete
        self.deadline = deadline
        self.on_progress = on_progress
        self.chance = chance
        self.tables: list[TableSync] = []
        self.warnings: list[str] = []
        self.address = ""
        self._done = 0
        self._units_before = self.api.usage.snapshot().total_units

    def open(
        self,
        specs: Sequence[SpecTable],
        *,
        pipeline: Sequence[SpecTable],
        full_refresh: bool,
        reconcile: bool,
        replay_from: int | None,
    ) -> None:
        """Open the tables and decide for each what is to be done."""
        self.address = self.mailbox.address
        self.registry.check_name(self.mailbox.user_id, self.address)
        self.gmail = SyncPlanner(
            self.api,
            self.lake,
            self.address,
            [*specs, *pipeline],
            self.api.profile(),
            self.on_progress,
            self.chance,
        )
        self.tables = [open_table(self.lake, spec, self.address) for spec in specs]
        for table in self.tables:
            table.retries = self.registry.unfetched(self.address, table.name)
        self.warnings += self.gmail.open(self.tables, reconcile=reconcile, replay_from=replay_from)
        for table in self.tables:
            if full_refresh or table.partition.changed_format:
                table.load(self.gmail.head)
                table.partition.clear(table.state)
            elif table.mode == "reconcile" and table.partition.state.cursor is not None:
                # Now: a head that has passed the cursor by the next run would make it look right.
                table.partition.commit(table.state)

    def run(self) -> None:
        """Reconcile what has to be reconciled and replay the history, until the cursor is committed."""
        for _ in range(EXPIRIES):
            try:
                for tables, incremental in list(self.gmail.steps(self.tables)):
                    if incremental:
                        self._apply_incremental(tables)
                    else:
                        self._reconcile(tables)
            except HistoryExpiredError:
                self.warnings += self.gmail.expired(self.tables)
                continue
            self.on_progress(self._progress("done"))
            return
        raise UnavailableError(
            f"The history expired {EXPIRIES} times while the mailbox was reconciled with it.",
            fix="Try again later.",
            method="history.list",
        )

    def _progress(self, phase: str, done: int = 0, total: int | None = None) -> Progress:
        rows = sum(table.written for table in self.tables)
        units = self.api.usage.snapshot().total_units - self._units_before
        return Progress(phase, done, total, rows, units)

    def _check_time(self) -> None:
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise TimeUpError

    # Reconciling

    def _reconcile(self, tables: Sequence[TableSync]) -> None:
        for table in tables:
            if table.mode == "full_load" and table.partition.state.load_start != table.start:
                # For all tables, before the first rows of any: wherever this run dies, the sensor goes on with all.
                table.partition.commit(table.state)
        listing = self.gmail.look(tables)
        for table in tables:
            self._drop_obsolete_retries(table, listing)
        plan = self.gmail.reconciliation(tables, listing)
        self._check_mass_deletion(plan)
        self._warn_if_empty(plan)
        if plan.rereads_all:
            self._reread_all(plan)
        for table, share in plan.tables.items():
            table.begin(share)
            if share.labels_since is not None:
                table.replay_from(share.labels_since)
        reader = self._label_reader(tables)
        compared = [table for table in tables if table.mode == "reconcile"]
        if plan.sample and not reader.sample_agrees(plan.sample, compared):
            self.warnings.append(
                "A thread changed though its history id did not move: the labels of every thread are read."
            )
            self._read_every_label(plan, listing)
        known = self._fetch(plan)
        if plan.changes.messages or any(share.narrowed for share in plan.tables.values()):
            for table in tables:
                table.finish(plan.changes, table.state, unread=plan.labels_to_read.keys())
        reader.apply(plan, known, listing)
        for table in tables:
            table.needs_listing = False

    def _drop_obsolete_retries(self, table: TableSync, listing: Listing) -> None:
        """Under changed options the listing says what is requested; labels that could not be read stay to be read."""
        if table.rows_may_mismatch and table.retries:
            listed = listing.matching(table)
            table.retries = {
                message_id: entry
                for message_id, entry in table.retries.items()
                if message_id in listed or table.labels_of(entry.thread_id, [message_id])
            }

    def _check_mass_deletion(self, plan: SyncPlan) -> None:
        if self.allow_mass_delete:
            return
        for table, share in plan.tables.items():
            if table.mode != "reconcile":
                continue
            gone = len(table.would_delete(plan.changes) | share.obsolete | share.unlisted)
            rows = table.total()
            if gone > _MASS_DELETE_ROWS and gone > rows * _MASS_DELETE_SHARE:
                raise MassDeletionError(
                    f"A reconciliation of {table.name} with {self.address} would delete {gone} of {rows} rows.",
                    fix="Check that it is the right mailbox and the right filters; then run once with "
                    "allow_mass_delete: true in the run config, or --allow-mass-delete.",
                )

    def _warn_if_empty(self, plan: SyncPlan) -> None:
        if any(share.requested or table.total() for table, share in plan.tables.items()):
            return
        filters = " and ".join(
            f"q={table.options.q!r} labelIds={','.join(table.options.label_ids)!r} of {table.name}"
            for table in plan.tables
            if table.options.filtered
        )
        self.warnings.append(
            f"{filters} match nothing in {self.address}." if filters else f"{self.address} holds no messages."
        )

    def _reread_all(self, plan: SyncPlan) -> None:
        for table in plan.tables:
            if table.mode == "reconcile" and table.state.reread is None:
                table.state = table.state.rereading(table.start, 0)

    def _read_every_label(self, plan: SyncPlan, listing: Listing) -> None:
        plan.rereads_all = True
        self._reread_all(plan)
        plan.labels_to_read = {}
        for table, share in plan.tables.items():
            for thread_id, ids in table.stored_messages().items():
                present = ids & listing.present.keys() - share.obsolete
                if present and thread_id not in share.obsolete:
                    plan.labels_to_read.setdefault(thread_id, set()).update(present)
        plan.fetch.read_whole(plan.labels_to_read)

    def _label_reader(self, tables: Sequence[TableSync]) -> LabelReader:
        def note(thread_id: str, message_id: str, error: GmailError) -> None:
            for table in self.tables:
                if table.labels_of(thread_id, [message_id]):
                    self._note_failure(table, thread_id, message_id, error)

        def commit() -> None:
            for table in tables:
                self._record_failures(table)

        return LabelReader(
            self.api, tables, on_failure=note, commit_failures=commit, check_time=self._check_time
        )

    # Fetching

    def _fetch(self, plan: SyncPlan) -> dict[str, MessageChange]:
        """Bring what the tables lack into them, chunk by chunk: from Gmail, and from other tables of the lake.

        Returns:
            What the content has told of stored messages whose labels are to be read.
        """
        known: dict[str, MessageChange] = {}
        changes = None if plan.cursor is None else plan.changes
        in_lake = {table: dict(share.in_lake) for table, share in plan.tables.items()}
        total = len(plan.fetch)
        self._done = 0
        self.on_progress(self._progress("fetching", 0, total))
        for group in plan.fetch.groups:
            arriving = self._reporting(fetch(self.api, group.requests(), group.format), total)
            for chunk in chunks(arriving):
                self._write_chunk(group, chunk, in_lake, changes)
                for fetched in chunk:
                    self._note_fetched(group.tables, fetched, plan, known)
                self.on_progress(self._progress("fetching", self._done, max(total, self._done)))
                self._check_time()
        for table, share in in_lake.items():
            source = self.gmail.source(table) if share else None
            if source is None:
                continue
            for piece in read_stored_content(source, table.options.format, share, changes):
                table.take(piece)
                for message in piece.messages:
                    table.retries.pop(message["id"], None)
                self._check_time()
            self._fetch_vanished(table, share)
        return known

    def _write_chunk(
        self,
        group: FetchGroup,
        chunk: Sequence[FetchedThread],
        in_lake: Mapping[TableSync, MessageIds],
        changes: Changes | None,
    ) -> None:
        mail = Chunk(chunk)
        for table in group.tables:
            own = mail.projected(group.format, table.options.format)
            share = in_lake[table]
            # A thread is one row: what the lake holds of it is written together with what was fetched.
            joining = {
                fetched.thread_id: share.pop(fetched.thread_id)
                for fetched in chunk
                if table.name == "threads" and fetched.thread_id in share
            }
            source = self.gmail.source(table) if joining else None
            if source is not None:
                own = own.joined(chunk_of(source, table.options.format, joining, changes))
            table.take(own)

    def _fetch_vanished(self, table: TableSync, share: MessageIds) -> None:
        """Fetch what was in the other table when the plan was made and is not any more."""
        vanished = {thread_id: rest for thread_id, ids in share.items() if (rest := ids & table.outstanding)}
        requests = [FetchRequest(thread_id, tuple(sorted(ids))) for thread_id, ids in vanished.items()]
        for chunk in chunks(fetch(self.api, requests, table.options.format)):
            table.take(Chunk(chunk))
            for fetched in chunk:
                self._note_outcome(table, fetched)

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
        table.settle((*fetched.gone, *fetched.failed))
        for message in fetched.messages:
            if message["id"] in table.plan.requested:
                table.retries.pop(message["id"], None)
        for message_id, error in fetched.failed.items():
            if message_id in table.plan.requested:
                self._note_failure(table, fetched.thread_id, message_id, error)

    def _reporting(self, arriving: Iterator[FetchedThread], total: int) -> Iterator[FetchedThread]:
        """Pass on what arrives, and report now and then how much it is: a chunk takes minutes at Gmail's pace."""
        done, due = self._done, 0.0
        for fetched in arriving:
            done += len(fetched.messages)
            if time.monotonic() >= due:
                self.on_progress(self._progress("fetching", done, max(total, done)))
                due = time.monotonic() + _PROGRESS_SECONDS
            yield fetched

    def _note_failure(self, table: TableSync, thread_id: str, message_id: str, error: GmailError) -> None:
        earlier = table.failed.get(message_id) or table.retries.get(message_id)
        table.failed[message_id] = Unfetched(
            thread_id,
            error.what,
            (earlier.attempts if earlier else 0) + 1,
            earlier.first_failed if earlier else None,
        )
        if len(table.failed.keys() - table.retries.keys()) > _MOST_FAILURES:
            for one in self.tables:
                self._record_failures(one)  # should it be no outage, the next run comes further
            raise error

    def _record_failures(self, table: TableSync) -> None:
        """Record what failed besides what failed before, ahead of a commit that passes it."""
        if table.failed:
            self.registry.set_unfetched(self.address, table.name, {**table.retries, **table.failed})

    # The history

    def _apply_incremental(self, tables: Sequence[TableSync]) -> None:
        for table in tables:
            table.retries, table.failed = {**table.retries, **table.failed}, {}
        plan = self.gmail.incremental(tables)
        for table, share in plan.tables.items():
            table.begin(share)
        self._fetch(plan)
        self._label_reader(tables).read(plan.labels_to_read, plan.changes)
        self.on_progress(self._progress("applying"))
        for table in tables:
            # What failed is recorded before the cursor passes it, and struck off only when that is committed.
            self._record_failures(table)
            table.check_conserved()
            table.finish(plan.changes, table.state.synced(plan.changes.head))
            table.start = plan.changes.head
            if not table.failed or not table.retries.keys() <= table.failed.keys():
                self.registry.set_unfetched(self.address, table.name, table.failed)
        failed = {m: entry for table in tables for m, entry in table.failed.items()}
        if failed:
            self.warnings.append(
                f"{len(failed)} messages could not be fetched ({next(iter(failed.values())).error}); "
                "they are in _gmail_unfetched and every run tries them again."
            )
