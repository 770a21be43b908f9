"""What the next sync of a mailbox will cost, told before anything is fetched.

`plan_mailbox` makes the same listings as a sync and compares them with what is stored: how many messages and threads
have to be fetched, for how many quota units, in how long. It costs the listings and some units more, and writes
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.registry import MailboxRegistry
from gmail_assets.syncing.listing import ListingProgress
from gmail_assets.syncing.messages import MessagesSync
from gmail_assets.syncing.results import Progress
from gmail_assets.syncing.table import TableSync
from gmail_assets.syncing.threads import ThreadsSync
from gmail_client.api import GmailApi
from gmail_client.changes import (
    list_message_ids,
    list_thread_heads,
    matching,
    read_changes,
)
from gmail_client.client import Mailbox
from gmail_client.errors import GmailError, HistoryExpiredError
from gmail_client.fetch import FetchRequest, prefers_thread
from gmail_client.options import MessageFormat
from gmail_client.quota import QuotaPlan
from gmail_client.snapshots import SETTINGS_PARTS
from gmail_client.spec import Spec, SpecTable
from gmail_client.tables import CATALOGUE

__all__ = ["MailboxPlan", "TablePlan", "plan_mailbox"]

_PROFILE_READS = 3
"""Profiles that a run of all tables reads besides the tables: for the address, for its head, for `settings`."""


@dataclass(frozen=True, slots=True)
class TablePlan:
    """One table.

    Attributes:
        mode: `first load`, `going on with the load`, `comparison`, `changes since the last sync` or `snapshot`.
        rows: Rows that are stored.
        fetch: Messages (for `threads`: threads) to be fetched or completed; None where no listing tells.
        units: Units of a snapshot; messages and threads share theirs (`MailboxPlan.content_units`).
    """

    mode: str
    rows: int = 0
    fetch: int | None = None
    units: int = 0


@dataclass(slots=True)
class MailboxPlan:
    """One mailbox.

    Attributes:
        name: As it is configured.
        address: Its real address.
        messages: Messages in the mailbox, by Gmail's own count.
        threads: Threads in the mailbox, by Gmail's own count.
        tables: A plan for each table of the spec.
        listing_units: Units of listings and history.
        content_units: Units of the messages and threads to be fetched.
        asked_units: Units that making this plan cost.
        quota: What may be spent.
        error: Why there is no plan; None for none.
    """

    name: str
    quota: QuotaPlan
    address: str = ""
    messages: int = 0
    threads: int = 0
    tables: dict[str, TablePlan] = field(default_factory=dict)
    listing_units: int = 0
    content_units: int = 0
    asked_units: int = 0
    error: GmailError | None = None

    @property
    def snapshot_units(self) -> int:
        """Units of the snapshot tables."""
        return sum(table.units for table in self.tables.values())

    @property
    def units(self) -> int:
        """All units that the next sync spends."""
        return self.listing_units + self.content_units + self.snapshot_units

    @property
    def minutes(self) -> float:
        """How long Gmail's quota makes that take."""
        return self.units / self.quota.user_per_minute

    @property
    def share_of_day(self) -> float | None:
        """The part of the project's daily units that it takes; None where there is no such line."""
        return None if self.quota.project_per_day is None else self.units / self.quota.project_per_day


def plan_mailbox(
    mailbox: Mailbox, lake: Lake, spec: Spec, *, progress: Callable[[Progress], None] = lambda progress: None
) -> MailboxPlan:
    """Plan the next sync of one mailbox.

    Args:
        mailbox: Which.
        lake: Where its rows are.
        spec: With which options.
        progress: Told how far the listings are.

    Raises:
        GmailError: Gmail refused, or the lake can't be read.
    """
    api = mailbox.api
    plan = MailboxPlan(mailbox.user_id, api.plan)
    before = api.usage.snapshot()
    profile = api.profile()
    plan.address = str(profile["emailAddress"])
    plan.messages = int(profile.get("messagesTotal") or 0)
    plan.threads = int(profile.get("threadsTotal") or 0)
    MailboxRegistry(lake).refuse_other(mailbox.user_id, plan.address)
    changing = [entry for entry in spec.tables if CATALOGUE[entry.source_table].cursor]
    with ExitStack() as stack:
        nowhere = Lake(stack.enter_context(TemporaryDirectory()))
        targets = [_target(entry, plan.address, lake, nowhere) for entry in changing]
        _Plan(api, plan, targets, ListingProgress(api, profile, progress)).make(int(profile["historyId"]))
    plan.listing_units = api.usage.since(before).total_units - api.plan.price("getProfile")
    plan.listing_units += _thread_listings(targets, plan, api)
    for entry in spec.tables:
        if entry not in changing:
            plan.tables[entry.source_table] = _snapshot(api, entry, plan.address, lake)
    plan.listing_units += _PROFILE_READS * api.plan.price("getProfile")
    plan.asked_units = api.usage.since(before).total_units
    return plan


def _target(entry: SpecTable, address: str, lake: Lake, nowhere: Lake) -> TableSync:
    """The table as a sync would see it; one that is not there is made where nobody sees it."""
    place = lake if lake.find(entry.table_name) is not None else nowhere
    table = place.table(entry.source_table, name=entry.table_name, keep_deleted=entry.deletes == "keep")
    part = MailboxPartition(table, address, entry.options.fingerprint, entry.options.format)
    if part.changed_format:
        # Everything is fetched anew: as good as nothing stored.
        table = nowhere.table(entry.source_table, keep_deleted=entry.deletes == "keep")
        part = MailboxPartition(table, address, entry.options.fingerprint, entry.options.format)
    return (MessagesSync if entry.source_table == "messages" else ThreadsSync)(entry, part)


def _thread_listings(targets: Sequence[TableSync], plan: MailboxPlan, api: GmailApi) -> int:
    """Units of the listing of threads that a load makes and this plan can do without."""
    loading = [target for target in targets if target.name == "threads" and target.mode == "full_load"]
    comparing = any(target.mode == "reconcile" for target in targets)
    if not loading or comparing:
        return 0
    threads = plan.tables["threads"].fetch or plan.threads
    return math.ceil(max(threads, 1) / loading[0].options.page_size) * api.plan.price("threads.list")


def _snapshot(api: GmailApi, entry: SpecTable, address: str, lake: Lake) -> TablePlan:
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
    return TablePlan("snapshot", rows, units=units)


class _Plan:
    """The part of a plan that messages and threads share."""

    def __init__(
        self, api: GmailApi, plan: MailboxPlan, targets: Sequence[TableSync], progress: ListingProgress
    ) -> None:
        self._api = api
        self._progress = progress
        self._plan = plan
        self._targets = targets
        self._listed: dict[tuple[object, ...], dict[str, str]] = {}
        self._fetch: dict[str, set[str]] = {}

    def make(self, head: int) -> None:
        """Find out what is to be done, and what it costs."""
        for target in self._targets:
            part = target.part
            if part.cursor is not None and part.cursor <= head:
                target.mode, target.start = "incremental", part.cursor
            elif part.anchor is not None and part.anchor <= head:
                target.mode, target.start = "full_load", part.anchor
            else:
                target.mode, target.start = ("reconcile" if part.count() else "full_load"), head
        self._try(head)
        for target in self._targets:
            self._plan.tables[target.name] = TablePlan(
                _how(target), target.part.count(), len(self._fetch.get(target.name, ()))
            )

    def _try(self, head: int) -> None:
        following = [target for target in self._targets if target.mode == "incremental"]
        try:
            followed = self._changed(following) if following else []
        except HistoryExpiredError:
            for target in following:
                target.mode, target.start = "reconcile", head
            following, followed = [], []
        others = [target for target in self._targets if target not in following]
        wants = [*followed, *(self._differing(others) if others else [])]
        for format_ in dict.fromkeys(target.options.format for target in self._targets):
            self._plan.content_units += sum(self._cost(want, format_) for want in wants)

    def _cost(self, want: FetchRequest, format_: MessageFormat) -> int:
        message, thread = self._api.plan.price("messages.get"), self._api.plan.price("threads.get")
        if prefers_thread(want, format_, message, thread):
            return thread
        return message * len(want.message_ids)

    def _note(self, target: TableSync, keys: Iterable[str]) -> None:
        self._fetch.setdefault(target.name, set()).update(keys)

    def _changed(self, targets: Sequence[TableSync]) -> list[FetchRequest]:
        """What the history tells."""
        changes = read_changes(self._api, min(target.start for target in targets))
        missing: dict[str, set[str]] = {}
        whole: set[str] = set()
        held: set[str] = set()
        for target in targets:
            target.load(changes)
            held |= target.held().keys()
            candidates = target.candidates(changes)
            entering = {m for m, thread_id in candidates.items() if not target.holds(thread_id)}
            wanted = matching(self._api, target.options, entering)
            for message_id, thread_id in candidates.items():
                if message_id in entering and message_id not in wanted:
                    continue
                missing.setdefault(thread_id, set()).add(message_id)
                self._note(target, [message_id if target.name == "messages" else thread_id])
                if target.whole(thread_id):
                    whole.add(thread_id)
        return [FetchRequest(t, tuple(ids), t in whole, t in held) for t, ids in missing.items()]

    def _differing(self, targets: Sequence[TableSync]) -> list[FetchRequest]:
        """What a listing tells, compared with what is stored."""
        missing: dict[str, set[str]] = {}
        whole: set[str] = set()
        held: dict[str, set[str]] = {}
        for target in targets:
            target.load(None)
            for thread_id, members in target.held().items():
                held.setdefault(thread_id, set()).update(members)
            wanted = self._wanted(target)
            if target.name == "threads" and target.options.filtered:
                new = {thread_id for thread_id in wanted.values() if not target.holds(thread_id)}
                if target.mode == "full_load" and self._reading_is_cheaper(len(new), target):
                    whole |= new
                    self._note(target, new)
                    continue
                wanted = self._members(target, set(wanted.values()))
            for thread_id, ids in target.missing(wanted).items():
                missing.setdefault(thread_id, set()).update(ids)
                self._note(target, ids if target.name == "messages" else [thread_id])
        wants = [
            FetchRequest(thread_id, tuple(missing.get(thread_id, ())), thread_id in whole, thread_id in held)
            for thread_id in dict.fromkeys([*missing, *sorted(whole)])
        ]
        comparing = [target for target in targets if target.mode == "reconcile"]
        if comparing:
            read = {want.thread_id for want in wants if want.whole}
            self._plan.content_units += self._relabelling(comparing, held, read)
        return wants

    def _reading_is_cheaper(self, threads: int, target: TableSync) -> bool:
        """Whether reading these threads whole costs less than listing the mailbox to learn their messages."""
        price = self._api.plan.price
        pages = self._plan.messages // target.options.page_size + 1
        return price("messages.get") * threads < pages * price("messages.list")

    def _members(self, target: TableSync, threads: set[str]) -> dict[str, str]:
        """All visible messages of these threads: the rows hold also those that the filters do not name."""
        everyone = self._list((None, (), target.options.include_spam_trash), target)
        return {message_id: thread_id for message_id, thread_id in everyone.items() if thread_id in threads}

    def _relabelling(self, targets: Sequence[TableSync], held: dict[str, set[str]], read: set[str]) -> int:
        """Units for the labels of stored threads that moved since they were read."""
        heads = list_thread_heads(
            self._api, targets[0].options, everything=True, tell=self._progress.threads()
        )
        present = self._list((None, (), True), targets[0])
        changed = {thread_id for target in targets for thread_id in target.moved(target.held(), heads)}
        wants = [
            FetchRequest(
                thread_id, tuple(message_id for message_id in held[thread_id] if message_id in present)
            )
            for thread_id in changed - read
        ]
        return sum(self._cost(want, "minimal") for want in wants)

    def _wanted(self, target: TableSync) -> dict[str, str]:
        options = target.options
        return self._list((options.q, options.label_ids, options.include_spam_trash), target)

    def _list(self, key: tuple[object, ...], target: TableSync) -> dict[str, str]:
        if key not in self._listed:
            q, label_ids, include = key
            asked = target.options.model_copy(
                update={"q": q, "label_ids": label_ids, "include_spam_trash": include}
            )
            self._listed[key] = list_message_ids(self._api, asked, tell=self._progress.messages(asked))
        return self._listed[key]


def _how(target: TableSync) -> str:
    if target.mode == "incremental":
        return "changes since the last sync"
    if target.mode == "reconcile":
        return "comparison"
    return "going on with the load" if target.part.anchor is not None else "first load"
