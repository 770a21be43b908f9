"""The cost of a mailbox's next sync, before anything is fetched.

`plan_mailbox` reads listings, history and lake as a sync does, makes the same plans (`gmail_assets.syncing.compare`)
and prices them. It costs the same listings and history pages as the sync, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from tempfile import TemporaryDirectory
from typing import Any

from gmail_assets.delta.lake import Lake
from gmail_assets.syncing.identity import stored_address
from gmail_assets.syncing.lake_content import StoredContent
from gmail_assets.syncing.planner import EXPIRIES, SyncPlanner, open_table
from gmail_assets.syncing.results import Progress
from gmail_assets.syncing.sync_plan import SyncPlan, includes
from gmail_assets.syncing.table import TableSync
from gmail_assets.syncing.table_plan import MessageIds
from gmail_assets.views import ContentSources, pending_contents
from gmail_client.api import GmailApi
from gmail_client.changes import read_changes
from gmail_client.client import Mailbox
from gmail_client.errors import GmailError, HistoryExpiredError
from gmail_client.minimize import ContentPolicy
from gmail_client.quota import QuotaPlan
from gmail_client.snapshots import SETTINGS_PARTS
from gmail_client.spec import Spec, SpecTable
from gmail_client.tables import CATALOGUE
from gmail_client.views import CONTENTS

__all__ = ["MailboxPlan", "TableCost", "plan_mailbox"]


@dataclass(frozen=True, slots=True)
class TableCost:
    """The plan of one table.

    Attributes:
        mode: `first load`, `unfinished load`, `reconciliation`, `changes since the last sync`, `snapshot` or
            `contents` (of attachments).
        rows: Rows that are stored.
        fetch: Messages (for `threads`: threads, for `attachment_contents`: attachments) to fetch or complete; None if
            no listing was made.
        from_lake: Messages that are read from the other table of the lake, at no cost.
        units: Units of a snapshot, or of contents; messages and threads share theirs (`MailboxPlan.content_units`).
    """

    mode: str
    rows: int = 0
    fetch: int | None = None
    units: int = 0
    from_lake: int = 0


@dataclass(slots=True)
class MailboxPlan:
    """The plan of one mailbox.

    Attributes:
        name: Configured name of the mailbox.
        address: Its real address.
        messages: Messages in the mailbox, by Gmail's own count.
        threads: Threads in the mailbox, by Gmail's own count.
        tables: A plan for each table of the spec.
        listing_units: Units of listings and history.
        content_units: Units of the messages and threads to be fetched.
        asked_units: Units that making this plan cost.
        up_to_date: Whether the sync finds no changes and skips the mailbox.
        quota: Prices and limits.
        error: Why there is no plan, or None.
    """

    name: str
    quota: QuotaPlan
    address: str = ""
    messages: int = 0
    threads: int = 0
    tables: dict[str, TableCost] = field(default_factory=dict)
    listing_units: int = 0
    content_units: int = 0
    asked_units: int = 0
    up_to_date: bool = False
    error: GmailError | None = None

    def skip(self) -> None:
        """Plan that the sync finds no changes: it costs one getProfile."""
        self.up_to_date = True
        self.listing_units = self.quota.price("getProfile")
        self.content_units = 0
        self.tables = {name: replace(table, units=0) for name, table in self.tables.items()}

    @property
    def snapshot_units(self) -> int:
        """Units of the snapshot tables."""
        return sum(table.units for name, table in self.tables.items() if name != CONTENTS)

    @property
    def attachment_units(self) -> int:
        """Units of the attachments to be fetched, of those that `attachments` lists so far."""
        contents = self.tables.get(CONTENTS)
        return contents.units if contents is not None else 0

    @property
    def units(self) -> int:
        """All units that the next sync spends."""
        return self.listing_units + self.content_units + self.snapshot_units + self.attachment_units

    @property
    def minutes(self) -> float:
        """Minutes that this takes at Gmail's quota."""
        return self.units / self.quota.user_per_minute

    @property
    def share_of_day(self) -> float | None:
        """Share of the project's daily units; None without a daily limit."""
        return None if self.quota.project_per_day is None else self.units / self.quota.project_per_day


def plan_mailbox(
    mailbox: Mailbox, lake: Lake, spec: Spec, *, progress: Callable[[Progress], None] = lambda progress: None
) -> MailboxPlan:
    """Plan the next sync of one mailbox.

    Args:
        mailbox: The mailbox.
        lake: The lake.
        spec: The tables and their options.
        progress: Progress callback, for the listings.

    Raises:
        GmailError: A request failed, or the lake can't be read.
    """
    api = mailbox.api
    plan = MailboxPlan(mailbox.user_id, api.plan)
    before = api.usage.snapshot()
    profile = api.profile()
    plan.messages = int(profile.get("messagesTotal") or 0)
    plan.threads = int(profile.get("threadsTotal") or 0)
    plan.address = stored_address(mailbox, lake, address=str(profile["emailAddress"]))
    changing = [entry for entry in spec.tables if CATALOGUE[entry.source_table].cursor]
    if changing:
        gmail = _Preview(api, lake, plan.address, spec.tables, profile, progress)
        with ExitStack() as stack:
            nowhere = Lake(stack.enter_context(TemporaryDirectory()))
            opened = [_open(entry, plan.address, lake, nowhere) for entry in changing]
            gmail.cleared = {table.name for table, cleared in opened if cleared}
            _Pricing(gmail, [table for table, _ in opened], plan).run()
    profile_price = api.plan.price("getProfile")
    plan.listing_units = api.usage.since(before).total_units - profile_price
    for entry in spec.tables:
        if entry not in changing:
            plan.tables[entry.source_table] = _snapshot(api, entry, plan.address, lake)
    sources = ContentSources.of(spec)
    if sources is not None:
        plan.tables[CONTENTS] = _contents(api, sources, plan.address, lake)
    # A sync reads the profile twice: for the mailbox's address and head, and for the row of `settings`.
    names = {entry.source_table for entry in spec.tables}
    plan.listing_units += profile_price * (1 + ("settings" in names))
    plan.asked_units = api.usage.since(before).total_units
    return plan


def _open(entry: SpecTable, address: str, lake: Lake, nowhere: Lake) -> tuple[TableSync, bool]:
    """Open the table as a sync does; a missing one is created in a temporary folder.

    Returns:
        The table, and whether the sync deletes its rows first.
    """
    place = lake if lake.opened(entry.table_name) is not None else nowhere
    table = open_table(place, entry, address)
    if table.partition.changed_format:
        # Everything is fetched again, as if nothing were stored.
        return open_table(nowhere, entry, address), True
    return table, False


def _contents(api: GmailApi, sources: ContentSources, address: str, lake: Lake) -> TableCost:
    """The contents of attachments that `attachments` lists by now; those of messages to come are not known yet."""
    delta = lake.find(sources.contents.table_name)
    rows = sources.open(lake, CONTENTS).count(address) if delta is not None else 0
    pending = pending_contents(lake, address, sources)
    from_lake = len(pending.missing) - pending.to_fetch
    return TableCost("contents", rows, pending.to_fetch, pending.units(api.plan), from_lake)


def _snapshot(api: GmailApi, entry: SpecTable, address: str, lake: Lake) -> TableCost:
    name = entry.source_table
    price = api.plan.price
    if name == "labels":
        units = price("labels.list") + len(api.labels()) * price("labels.get")
    elif name == "drafts":
        pages = [len(page) for page in api.list_drafts(page_size=entry.options.page_size)]
        units = len(pages) * price("drafts.list") + sum(pages) * price("drafts.get")
    elif name == "settings":
        units = len(SETTINGS_PARTS) * price("settings.getImap")
    else:
        units = price("getProfile")
    delta = lake.find(entry.table_name)
    rows = lake.table(name, name=entry.table_name).count(address) if delta is not None else 0
    return TableCost("snapshot", rows, units=units)


class _Preview(SyncPlanner):
    """The inputs of a sync, with the lake as the earlier steps of the sync would leave it."""

    def __init__(
        self,
        api: GmailApi,
        lake: Lake,
        address: str,
        pipeline: Sequence[SpecTable],
        profile: Mapping[str, Any],
        on_progress: Callable[[Progress], None],
    ) -> None:
        super().__init__(api, lake, address, pipeline, profile, on_progress)
        self.cleared: set[str] = set()
        self._through: dict[str, int] = {}
        self._brought: dict[str, set[tuple[str, str, ContentPolicy | None]]] = {}
        self._deleted: dict[str, set[str]] = {}

    def note_applied(self, plan: SyncPlan, through: int) -> None:
        """Count a step as applied: the next step finds its messages in the lake, and not those that it deletes."""
        for table, share in plan.tables.items():
            self._through[table.name] = through
            gone = share.obsolete | share.unlisted | table.would_delete(plan.changes)
            self._deleted.setdefault(table.name, set()).update(gone)
            for message_id in share.requested:
                brought = (table.name, table.options.format, table.options.policy)
                self._brought.setdefault(message_id, set()).add(brought)

    def source(self, table: TableSync) -> StoredContent | None:
        """See `SyncPlanner.source`; a table that the sync clears first gives nothing."""
        source = super().source(table)
        return None if source is not None and source.source in self.cleared else source

    def labels_through(self, source: StoredContent) -> int:
        """See `SyncPlanner.labels_through`."""
        return self._through.get(source.source, source.labels_through)

    def holding(
        self, table: TableSync, missing: Mapping[str, Set[str]], *, after: int | None
    ) -> tuple[MessageIds, int | None]:
        """See `SyncPlanner.holding`."""
        found, since = super().holding(table, missing, after=after)
        found = self._left(table, found)
        for thread_id, ids in missing.items():
            brought = {message_id for message_id in ids if self._brings(message_id, table)}
            if brought:
                found.setdefault(thread_id, set()).update(brought)
        return found, since

    def _left(self, table: TableSync, found: MessageIds) -> MessageIds:
        """The messages whose rows earlier steps do not delete."""
        deleted = self._deleted.get("threads" if table.name == "messages" else "messages", set())
        if table.name == "messages":
            return {thread_id: ids for thread_id, ids in found.items() if thread_id not in deleted}
        return {thread_id: left for thread_id, ids in found.items() if (left := ids - deleted)}

    def _brings(self, message_id: str, table: TableSync) -> bool:
        return any(
            name != table.name and policy == table.options.policy and includes(format_, table.options.format)
            for name, format_, policy in self._brought.get(message_id, ())
        )


class _Pricing:
    """The steps of a sync of messages and threads, priced instead of applied."""

    def __init__(self, gmail: _Preview, tables: Sequence[TableSync], plan: MailboxPlan) -> None:
        self._gmail = gmail
        self._tables = tables
        self._plan = plan
        self._fetched: dict[str, set[str]] = {table.name: set() for table in tables}
        self._from_lake: dict[str, int] = dict.fromkeys(self._fetched, 0)

    def run(self) -> None:
        """Price every step."""
        self._gmail.open(self._tables, reconcile=False, replay_from=None)
        modes = {}
        for _ in range(EXPIRIES):
            modes = {table.name: _mode(table) for table in self._tables}
            try:
                for tables, incremental in self._gmail.steps(self._tables):
                    if not incremental:
                        self._reconcile(tables)
                    elif all(table.mode == "incremental" for table in tables):
                        self._follow(tables)
                    else:
                        # The tables are complete by then: only the pages cost units.
                        read_changes(self._gmail.api, min(table.start for table in tables))
                break
            except HistoryExpiredError:
                self._gmail.expired(self._tables)
        for table in self._tables:
            self._plan.tables[table.name] = TableCost(
                modes[table.name],
                table.partition.count(),
                len(self._fetched[table.name]),
                from_lake=self._from_lake[table.name],
            )

    def _follow(self, tables: Sequence[TableSync]) -> None:
        plan = self._gmail.incremental(tables)
        self._price(plan)
        for table in tables:
            table.start = plan.changes.head
        self._gmail.note_applied(plan, plan.changes.head)

    def _reconcile(self, tables: Sequence[TableSync]) -> None:
        plan = self._gmail.reconciliation(tables, self._gmail.read_inputs(tables))
        self._price(plan)
        for table, share in plan.tables.items():
            if share.labels_through is not None:
                table.replay_from(share.labels_through)
            table.needs_listing = False
        self._gmail.note_applied(plan, self._gmail.head)

    def _price(self, plan: SyncPlan) -> None:
        self._plan.content_units += plan.units(self._gmail.api.plan)
        for table, share in plan.tables.items():
            self._from_lake[table.name] += sum(map(len, share.in_lake.values()))
            self._fetched[table.name].update(self._keys(table, plan))

    @staticmethod
    def _keys(table: TableSync, plan: SyncPlan) -> Iterable[str]:
        """Keys of rows whose content is fetched."""
        requested = plan.tables[table].requested
        for group in plan.fetch.groups:
            if table in group.tables:
                for thread_id, ids in group.missing.items():
                    wanted = ids & requested
                    if wanted and table.name == "threads":
                        yield thread_id
                    elif wanted:
                        yield from wanted


def _mode(table: TableSync) -> str:
    if table.mode == "incremental":
        return "changes since the last sync"
    if table.mode == "reconcile":
        return "reconciliation"
    return "unfinished load" if table.partition.state.load_start is not None else "first load"
