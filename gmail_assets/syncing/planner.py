"""`SyncPlanner` reads the inputs of a run and makes its plans, for both `sync` and `plan`."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from typing import Any

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.syncing.compare import plan_incremental, plan_reconciliation
from gmail_assets.syncing.lake_content import LakeContent, StoredContent
from gmail_assets.syncing.listing import Listing, ListingProgress, hidden_messages
from gmail_assets.syncing.messages import MessagesSync
from gmail_assets.syncing.results import Progress
from gmail_assets.syncing.sync_plan import SyncPlan
from gmail_assets.syncing.table import TableSync
from gmail_assets.syncing.table_plan import MessageIds
from gmail_assets.syncing.threads import ThreadsSync
from gmail_client.api import GmailApi
from gmail_client.changes import Changes, MessageChange, read_changes
from gmail_client.errors import HistoryExpiredError
from gmail_client.search import MARGIN, waits_for_age
from gmail_client.search_matching import MatchResult, SearchMatcher
from gmail_client.spec import SpecTable

__all__ = ["EXPIRIES", "SyncPlanner", "open_table"]

EXPIRIES = 3
"""Maximum number of times that the history may expire during one run."""


def open_table(lake: Lake, spec: SpecTable, address: str) -> TableSync:
    """Open one mailbox's partition of a table; create the table if it is missing."""
    table = lake.table(spec.source_table, name=spec.table_name, keep_deleted=spec.deletes == "keep")
    partition = MailboxPartition(table, address, spec.options.fingerprint, spec.options.content_format)
    return (MessagesSync if spec.source_table == "messages" else ThreadsSync)(spec, partition)


class SyncPlanner:
    """Reads Gmail's profile, listings and history and the other tables of the lake, and makes plans from them.

    Both `sync` and `plan` use it; it writes nothing.

    Args:
        api: The mailbox.
        lake: The lake.
        address: The mailbox's real address.
        pipeline: Tables of the pipeline, including those that are not part of this run.
        profile: The response of getProfile.
        on_progress: Progress callback.
        chance: Chooses samples.
        read_at: Time at which the profile was read, in epoch seconds. Default: now.
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
        *,
        read_at: float | None = None,
    ) -> None:
        self.api = api
        self.profile = profile
        self.head = int(profile["historyId"])
        self.opened_at = self.read_at = int(api.now if read_at is None else read_at)
        self._content = LakeContent(lake, address, pipeline)
        self._on_progress = on_progress
        # `plan` and the sync after it draw the same threads; a later head draws others.
        self._chance = chance or random.Random(f"{address} {self.head}")  # noqa: S311 - no secret hangs on it
        self._sources: dict[TableSync, StoredContent | None] = {}
        self._planned: dict[str, TableSync] = {}
        self._reached: dict[int, bool] = {}

    def reaches(self, history_id: int) -> bool:
        """Whether the history reaches back to this id and the mailbox's head is not before it."""
        if history_id not in self._reached:
            try:
                page = next(iter(self.api.history(str(history_id))))
                self._reached[history_id] = int(page.head) >= history_id
            except HistoryExpiredError:
                self._reached[history_id] = False
        return self._reached[history_id]

    def open(self, tables: Iterable[TableSync], *, reconcile: bool, replay_from: int | None) -> list[str]:
        """Decide for each table how it is synced; returns warnings for the user."""
        warnings = []
        for table in tables:
            partition, state = table.partition, table.partition.state
            known = max(state.cursor or 0, state.rows_through)
            if known > self.head and self.reaches(known):
                self.head = known  # the profile lags behind the history
            if partition.restored:
                warnings.append(
                    f"{table.name} was restored to an older version: it is reconciled with the mailbox."
                )
            if partition.changed_format:
                table.load(self.head)
            elif state.cursor is not None and state.cursor > self.head:
                warnings.append(
                    f"{table.name}'s cursor {state.cursor} is past the mailbox's head {self.head}: reconciled."
                )
                table.reconcile(self.head)
            elif state.cursor is not None and state.unexplained:
                warnings.append(
                    f"{table.name} was found to have {state.unexplained:+,} unexplained rows: it is reconciled."
                )
                table.reconcile(self.head)
            elif state.cursor is not None and table.options.q and not state.search_applied:
                warnings.append(
                    f"{table.name} was synced by a release that kept rows after they stopped matching `q`: reconciled."
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
            if table.mode != "incremental" and waits_for_age(table.options.q):
                warnings.append(
                    f"The search of {table.name} has `older_than:`. A message that matches only after some time "
                    "is added by the next reconciliation."
                )
            if table.mode == "reconcile" and (reread := table.state.reread):
                if self.reaches(reread.since):
                    # Rows that were read then are correct through that id; later changes are in the history.
                    table.start = min(table.start, reread.since)
                else:
                    table.state = table.state.rereading(table.start, 0)
        return warnings

    @staticmethod
    def steps(tables: Sequence[TableSync]) -> Iterator[tuple[Sequence[TableSync], bool]]:
        """The steps of a sync: tables, and whether the history is replayed for them or a listing is reconciled.

        Tables with a cursor come first, and reconciled ones before loaded ones, so that missing content is read from
        a table that is up to date.
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
        """Reconcile the tables whose history expired; returns a warning that names them."""
        self.profile = self.api.profile()
        self.head = int(self.profile["historyId"])
        self._reached.clear()
        oldest = min(table.start for table in tables)
        warnings = []
        for table in tables:
            if table.start == oldest:
                warnings.append(
                    f"The history no longer reaches back to {oldest}: {table.name} is reconciled."
                )
                table.reconcile(self.head)
            elif not table.needs_listing:
                table.follow(table.start)
        return warnings

    def read_inputs(self, tables: Sequence[TableSync]) -> Listing:
        """Read the stored keys of these tables and prepare the listings for their reconciliation."""
        listing = Listing(
            self.api,
            tables[0].options,
            total=int(self.profile.get("messagesTotal") or 0),
            compared=any(table.mode == "reconcile" for table in tables),
            since=_oldest(tables),
            progress=ListingProgress(self.api, self.profile, self._on_progress),
        )
        for table in tables:
            listing.heads(table)
            table.read_stored(None)
        listing.confirm(tables)
        return listing

    def reconciliation(self, tables: Sequence[TableSync], listing: Listing) -> SyncPlan:
        """The plan of a full load or a reconciliation, after `read_inputs`."""
        self._begin(tables)
        return plan_reconciliation(tables, listing, self, self._chance)

    def _begin(self, tables: Sequence[TableSync]) -> None:
        self._sources.clear()
        self._planned = {table.name: table for table in tables}

    def incremental(self, tables: Sequence[TableSync]) -> SyncPlan:
        """The plan from the history.

        Raises:
            HistoryExpiredError: The history no longer reaches back to the start.
        """
        self._begin(tables)
        return plan_incremental(
            tables,
            self._changes(tables),
            self,
            matcher=self,
            hidden=lambda table, threads: hidden_messages(self.api, table, threads),
        )

    def _changes(self, tables: Sequence[TableSync]) -> Changes:
        """The history that the tables miss, and that of new messages that are matched again.

        Raises:
            HistoryExpiredError: It no longer reaches back.
        """
        self.read_at = int(self.api.now)
        start = min(table.start for table in tables)
        earlier = min([start, *(table.recheck for table in tables if table.recheck is not None)])
        if earlier < start:
            with suppress(HistoryExpiredError):
                return read_changes(self.api, earlier)
        return read_changes(self.api, start)

    def still_matching(self, table: TableSync, rows: Mapping[str, Mapping[str, int]]) -> set[str]:
        """See `ChangeMatcher`."""
        return self._matcher_of(table).still_matching(rows)

    def match_unstored(self, table: TableSync, candidates: Mapping[str, MessageChange]) -> MatchResult:
        """See `ChangeMatcher`."""
        arrived = {message_id for message_id, change in candidates.items() if change.arrived}
        since = self.synced_at(table)
        if since is not None and table.recheck is not None:
            since = table.state.arrivals_since
        return self._matcher_of(table).match_unstored(arrived, candidates.keys() - arrived, since)

    def matching_now(self, table: TableSync, dates: Mapping[str, int]) -> set[str]:
        """Which messages, given their dates in epoch milliseconds, match the table's `q` as of now."""
        return self._matcher_of(table).matching_now(dates)

    def synced_at(self, table: TableSync) -> int | None:
        """Epoch seconds since which messages arrived that were not matched for the table; None if unknown."""
        if table.start >= self.head:
            return self.opened_at
        return table.state.synced_at if table.start == table.state.cursor else None

    def _matcher_of(self, table: TableSync) -> SearchMatcher:
        return SearchMatcher(self.api, table.options, table.partition.count(), table.partition.dates)

    def source(self, table: TableSync) -> StoredContent | None:
        """The table that stores content that another table needs."""
        if table not in self._sources:
            self._sources[table] = self._content.source_for(table)
        return self._sources[table]

    def labels_through(self, source: StoredContent) -> int:
        """History id through which the labels in the other table are correct."""
        return source.labels_through

    def holding(
        self, table: TableSync, missing: Mapping[str, Set[str]], *, after: int | None
    ) -> tuple[MessageIds, int | None]:
        """See `ContentIndex`."""
        other = self._planned.get("threads" if table.name == "messages" else "messages")
        if other is not None and not any(other.labels_of(t, ids) for t, ids in missing.items()):
            return {}, None  # its stored messages have been read already
        source = self.source(table) if missing else None
        if source is None:
            return {}, None
        since = self.labels_through(source)
        if since < after if after is not None else since < table.start and not self.reaches(since):
            return {}, None
        found = source.holding(missing)
        return found, since if found else None


def _oldest(tables: Sequence[TableSync]) -> int | None:
    """Epoch seconds before which no table has messages; None for all time. A thread's row has older messages too."""
    starts = [table.options.start_date for table in tables if table.name == "messages"]
    if len(starts) < len(tables) or None in starts:
        return None
    return max(min(start for start in starts if start is not None) - MARGIN, 0)
