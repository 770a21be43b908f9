"""One run over one mailbox: make plans, apply them in chunks, commit the cursor with the last chunk."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from gmail_assets.delta.errors import LakeError
from gmail_assets.delta.forgotten import refuse_forgotten
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.sync_state import SyncState
from gmail_assets.delta.unfetched import UnfetchedMessages
from gmail_assets.syncing.compare import kept_messages
from gmail_assets.syncing.content_fetcher import ContentFetcher
from gmail_assets.syncing.failures import RunFailures
from gmail_assets.syncing.identity import stored_address
from gmail_assets.syncing.labels import LabelReader
from gmail_assets.syncing.listing import Listing
from gmail_assets.syncing.memory import ByteShare
from gmail_assets.syncing.planner import EXPIRIES, SyncPlanner, open_table
from gmail_assets.syncing.results import Progress
from gmail_assets.syncing.stopping import RunGroup, RunStop
from gmail_assets.syncing.sync_plan import SyncPlan
from gmail_assets.syncing.table import TableSync
from gmail_assets.syncing.table_plan import TablePlan
from gmail_client.changes import Changes
from gmail_client.client import Mailbox
from gmail_client.deletion import check_mass_deletion
from gmail_client.errors import GmailError, HistoryExpiredError, UnavailableError
from gmail_client.fetch import CHUNK_MESSAGES
from gmail_client.spec import SpecTable

__all__ = ["SyncRun"]

_LEAST_LEASE_SECONDS = 600.0


class SyncRun:
    """One run over one mailbox: `open` decides what to do, `run` does it.

    Args:
        mailbox: The source.
        lake: The destination.
        allow_mass_delete: Allow a reconciliation to delete more than a fifth of the rows.
        deadline: `time.monotonic()` at which to stop.
        on_progress: Progress callback.
        chance: Chooses the sampled threads of a reconciliation.
        group: The runs of other mailboxes, which stop together and share their memory.

    Attributes:
        tables: The tables, once opened.
        warnings: Warnings for users of the tables.
        address: The address under which the mailbox is stored.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        lake: Lake,
        allow_mass_delete: bool,
        deadline: float | None,
        on_progress: Callable[[Progress], None],
        chance: random.Random | None = None,
        group: RunGroup | None = None,
    ) -> None:
        self.mailbox = mailbox
        self.api = mailbox.api
        self.lake = lake
        self._unfetched = UnfetchedMessages(lake)
        self.allow_mass_delete = allow_mass_delete
        self._group = group
        self.stop = RunStop(deadline, lambda: self._report("stopping"), group)
        self.on_progress = on_progress
        self.chance = chance
        self.tables: list[TableSync] = []
        self.warnings: list[str] = []
        self.address = ""
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
        """Open the tables and decide for each how it is synced."""
        self.address = stored_address(self.mailbox, self.lake, record=True)
        self.tables = [open_table(self.lake, spec, self.address) for spec in specs]
        if not all(table.partition.has_state for table in self.tables):
            # Checked again: if the mailbox is forgotten after this, the next commit of these tables is refused.
            refuse_forgotten(self.lake, self.address)
        for table in self.tables:
            table.partition.lease.check_free(self.address, table.name)
        profile, read_at = self.mailbox.recent_profile()
        self.gmail = SyncPlanner(
            self.api,
            self.lake,
            self.address,
            [*specs, *pipeline],
            profile,
            self.on_progress,
            self.chance,
            read_at=read_at,
        )
        self._failures = RunFailures(self._unfetched, self.address, self.tables)
        self._fetcher = ContentFetcher(
            self.api,
            self.gmail,
            self.stop,
            self._failures,
            self._report,
            ByteShare(None if self._group is None else self._group.memory),
        )
        unfetched = self._unfetched.of_mailbox(self.address)
        self._failures.queued = set(unfetched)
        for table in self.tables:
            table.retries = unfetched.get(table.name, {})
        self.warnings += self.gmail.open(self.tables, reconcile=reconcile, replay_from=replay_from)
        for table in self.tables:
            if full_refresh or table.partition.changed_format:
                table.load(self.gmail.head)
                table.partition.lease.hold(self._lease_seconds)
                table.partition.clear(table.state)
            elif table.mode == "reconcile" and table.partition.state.cursor is not None:
                # Before anything else: at the next run the head may be past the cursor, which would look valid.
                table.partition.lease.hold(self._lease_seconds)
                table.partition.commit(table.state)

    def run(self) -> None:
        """Reconcile tables where needed and replay the history until the cursor is committed."""
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
            self._report("done")
            return
        raise UnavailableError(
            f"The history expired {EXPIRIES} times while the mailbox was reconciled with it.",
            fix="Try again later.",
            method="history.list",
        )

    @contextmanager
    def leases(self) -> Iterator[None]:
        """Release the leases of the tables when the block ends early; those of a killed run end at their time."""
        try:
            yield
        except BaseException:  # including Ctrl-C and Dagster's termination of a run
            for table in self.tables:
                with suppress(LakeError):
                    table.partition.end_lease()
            raise
        finally:
            for table in self.tables:
                table.partition.lease.hold(0)

    @property
    def _lease_seconds(self) -> float:
        """Three times as long as a chunk takes at Gmail's quota, at least ten minutes."""
        plan = self.api.plan
        chunk_seconds = CHUNK_MESSAGES * plan.price("messages.get") / plan.user_per_minute * 60
        return max(_LEAST_LEASE_SECONDS, 3 * chunk_seconds)

    def _report(self, phase: str, done: int = 0, total: int | None = None) -> None:
        rows = sum(table.written for table in self.tables)
        units = self.api.usage.snapshot().total_units - self._units_before
        self.on_progress(Progress(phase, done, total, rows, units))

    # Reconciling

    def _reconcile(self, tables: Sequence[TableSync]) -> None:
        for table in tables:
            table.partition.lease.hold(self._lease_seconds)
            begins = table.mode == "full_load" and table.partition.state.load_start != table.start
            if begins or not table.partition.lease.committed:
                # For all tables before the first rows of any: after a crash the sensor continues with all of them.
                table.partition.commit(table.state)
        listing = self.gmail.read_inputs(tables)
        for table in tables:
            self._drop_obsolete_retries(table, listing)
        plan = self.gmail.reconciliation(tables, listing)
        self._check_mass_deletion(plan)
        self._warn_if_empty(plan)
        self._warn_if_not_listed(tables)
        if plan.rereads_all:
            self._reread_all(plan)
        for table, share in plan.tables.items():
            table.begin(share)
            if share.labels_through is not None:
                table.replay_from(share.labels_through)
        reader = self._label_reader(tables)
        compared = [table for table in tables if table.mode == "reconcile"]
        if plan.sample and not reader.sample_agrees(plan.sample, compared):
            self.warnings.append(
                "A thread changed although its history id did not: the labels of every thread are read."
            )
            self._read_every_label(plan, listing)
        known = self._fetcher.fetch(plan)
        if plan.changes.messages or any(
            share.narrowed or share.obsolete or share.misplaced for share in plan.tables.values()
        ):
            for table in tables:
                table.write_changes(plan.changes, table.state, unread=plan.labels_to_read.keys())
        reader.apply(plan, known, listing)
        for table in tables:
            table.needs_listing = False

    def _drop_obsolete_retries(self, table: TableSync, listing: Listing) -> None:
        """Drop retries that other options requested; labels that could not be read stay in the retry queue."""
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
            deletions = len(table.would_delete(plan.changes) | share.obsolete | share.unlisted)
            check_mass_deletion(
                table.name,
                self.address,
                deletions=deletions,
                rows=table.total(),
                confirm="allow_mass_delete: true in the run config, or --allow-mass-delete",
            )

    def _warn_if_empty(self, plan: SyncPlan) -> None:
        if any(share.requested or table.total() for table, share in plan.tables.items()):
            return
        filters = " and ".join(
            f"{table.options.filters_text} of {table.name}" for table in plan.tables if table.options.filtered
        )
        self.warnings.append(
            f"{filters} match nothing in {self.address}."
            if filters
            else f"{self.address} contains no messages."
        )

    def _warn_if_not_listed(self, tables: Sequence[TableSync]) -> None:
        if missing := max(table.not_listed for table in tables):
            self.warnings.append(
                f"{missing:,} messages of {self.address} that getProfile counts are missing in Gmail's listing, "
                "also the second time: the next sync reconciles."
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
            for thread_id, ids in kept_messages(table, share).items():
                if present := ids & listing.all_messages.keys():
                    plan.labels_to_read.setdefault(thread_id, set()).update(present)
        plan.fetch.read_whole(plan.labels_to_read)

    def _label_reader(self, tables: Sequence[TableSync]) -> LabelReader:
        def note(thread_id: str, message_id: str, error: GmailError) -> None:
            for table in self.tables:
                if table.labels_of(thread_id, [message_id]):
                    self._failures.note(table, thread_id, message_id, error)

        def commit() -> None:
            for table in tables:
                self._failures.record(table)

        return LabelReader(
            self.api,
            tables,
            on_failure=note,
            commit_failures=commit,
            check_time=self.stop.check,
            stop=self.stop,
        )

    # The history

    def _synced(self, table: TableSync, head: int) -> SyncState:
        """The state once everything through `head` is applied."""
        before = table.state.counted(-table.not_listed) if table.not_listed else table.state
        if table.plan.arrivals_rejected:
            arrived_after = self.gmail.synced_at(table)
            return before.synced(head, self.gmail.read_at, table.start, arrived_after)
        return before.synced(head, self.gmail.read_at)

    def _apply_incremental(self, tables: Sequence[TableSync]) -> None:
        for table in tables:
            table.retries, table.failed = {**table.retries, **table.failed}, {}
        plan = self.gmail.incremental(tables)
        for table, share in plan.tables.items():
            table.begin(share)
        self._fetcher.fetch(plan)
        for table, share in plan.tables.items():
            _settle_undecided(table, share, plan.changes)
        with self._fetcher.saved_at_end(tables):
            self._label_reader(tables).read(plan.labels_to_read, plan.changes)
        self._report("applying")
        for table in tables:
            # Failures are recorded before the cursor moves past them, and removed only after that commit.
            self._failures.record(table)
            table.check_conserved()
            table.partition.lease.hold(0)
            table.write_changes(plan.changes, self._synced(table, plan.changes.head))
            table.start = plan.changes.head
            self._failures.settle(table)
        failed = {m: entry for table in tables for m, entry in table.failed.items()}
        if failed:
            self.warnings.append(
                f"{len(failed)} messages could not be fetched ({next(iter(failed.values())).error}); "
                "they are in _gmail_unfetched and every run retries them."
            )


def _settle_undecided(table: TableSync, share: TablePlan, changes: Changes) -> None:
    """Apply the decisions that depend on the dates of fetched messages."""
    for key, ids in share.awaiting.items():
        if ids.isdisjoint(share.matches | table.failed.keys()):
            table.delete_row(key)
    rejected = [changes.messages[message_id] for message_id in share.undecided - share.matches]
    share.arrivals_rejected |= any(c.arrived and c.history_id > table.start for c in rejected)
