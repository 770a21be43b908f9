"""Compares Gmail with the stored rows; the result is a `SyncPlan`.

`plan_reconciliation` compares a listing with the stored rows, `plan_incremental` applies the history to them. Both only
compute; their inputs (listings, stored keys and labels, other tables of the lake) are arguments. A sync applies the
plans, `gmail_assets.operations.plan` prices them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Protocol

from gmail_assets.syncing.labels import labels_to_read
from gmail_assets.syncing.listing import Listing
from gmail_assets.syncing.sync_plan import FetchPlan, SyncPlan
from gmail_assets.syncing.table import TableSync
from gmail_assets.syncing.table_plan import MessageIds, TablePlan
from gmail_client.changes import Changes, MessageChange

__all__ = ["ContentIndex", "kept_messages", "plan_incremental", "plan_reconciliation"]


class ContentIndex(Protocol):
    """Finds missing messages in other tables of the lake."""

    def holding(
        self, table: TableSync, missing: Mapping[str, Set[str]], *, after: int | None
    ) -> tuple[MessageIds, int | None]:
        """Messages for `table` that another table stores, by thread.

        Args:
            table: The table in which they are missing.
            missing: The missing messages, by thread.
            after: Labels must be right through this history id; None when the history can be replayed from an
                earlier one.

        Returns:
            The messages, and the history id through which their labels are right.
        """
        ...


def plan_reconciliation(
    tables: Sequence[TableSync], listing: Listing, content: ContentIndex, chance: random.Random
) -> SyncPlan:
    """Compare a listing with the stored rows.

    Args:
        tables: Tables to load or reconcile; their stored keys have been read.
        listing: Gmail's listing.
        content: Messages that other tables store.
        chance: Chooses the sample of unchanged threads.
    """
    plan = SyncPlan({table: TablePlan(threads=listing.heads(table)) for table in tables}, Changes(0, 0))
    stored: MessageIds = {}
    for table, share in plan.tables.items():
        _add_listed(plan.fetch, table, share, listing, content)
        for thread_id, members in kept_messages(table, share).items():
            stored.setdefault(thread_id, set()).update(members)
    reconciled = [table for table in tables if table.mode == "reconcile"]
    if reconciled:
        for thread_id, members in stored.items():
            for message_id in members - listing.present.keys():
                plan.changes.messages[message_id] = MessageChange(thread_id, 0, deleted=True)
        plan.labels_to_read, plan.sample, plan.rereads_all = labels_to_read(
            reconciled, stored, listing, chance
        )
        plan.fetch.read_whole(plan.labels_to_read)
    return plan


def kept_messages(table: TableSync, share: TablePlan) -> MessageIds:
    """Stored messages of rows that stay, by thread."""
    stored = table.stored_messages()
    if not share.obsolete:
        return stored
    if table.name == "threads":
        return {thread_id: ids for thread_id, ids in stored.items() if thread_id not in share.obsolete}
    return {thread_id: kept for thread_id, ids in stored.items() if (kept := ids - share.obsolete)}


def _add_listed(
    fetch: FetchPlan, table: TableSync, share: TablePlan, listing: Listing, content: ContentIndex
) -> None:
    """Add the listed messages that are missing in one table."""
    listed = listing.matching(table)
    share.matches = set(listed) if table.options.q else set()
    if table.mode == "reconcile":
        if table.rows_may_mismatch:
            share.narrowed = True
            share.obsolete = table.outside(listed)
        # A row that entered under `q` stays whatever `q` names now; others leave as their labels do.
        share.unlisted = set() if table.options.q else table.outside(listed)
    rows: Mapping[str, str] = listed
    whole: set[str] = set()
    if table.name == "threads" and table.options.filtered:
        rows, whole = _thread_members(table, share, listed, listing, content)
    missing = table.missing(rows)
    _request(fetch, table, share, missing, whole, content, after=None)


def _thread_members(
    table: TableSync,
    share: TablePlan,
    listed: Mapping[str, str],
    listing: Listing,
    content: ContentIndex,
) -> tuple[dict[str, str], set[str]]:
    """The messages in rows of filtered threads, and the threads that have to be read whole to know them."""
    threads = set(listed.values())
    stays = {thread_id for thread_id in table.stored_messages() if thread_id not in share.obsolete}
    new = threads - stays
    in_lake, _ = content.holding(table, {t: {m} for m, t in listed.items() if t in new}, after=None)
    members = listing.members(table, threads, len(new), in_lake=bool(in_lake))
    if members is None:
        return {m: t for m, t in listed.items() if t in new}, new
    return {m: t for m, t in members.items() if t in threads or t in stays}, set()


def _request(
    fetch: FetchPlan,
    table: TableSync,
    share: TablePlan,
    missing: MessageIds,
    whole: Set[str],
    content: ContentIndex,
    *,
    after: int | None,
) -> None:
    """Split missing messages into those the lake stores and those that have to be fetched."""
    share.requested = {message_id for ids in missing.values() for message_id in ids}
    single = {thread_id: ids for thread_id, ids in missing.items() if thread_id not in whole}
    share.in_lake, share.labels_since = content.holding(table, single, after=after)
    rest = {thread_id: ids - share.in_lake.get(thread_id, frozenset()) for thread_id, ids in missing.items()}
    stored = kept_messages(table, share).keys() | share.in_lake.keys()
    fetch.add(table, {thread_id: ids for thread_id, ids in rest.items() if ids}, whole, stored)


def plan_incremental(
    tables: Sequence[TableSync],
    changes: Changes,
    content: ContentIndex,
    *,
    matching: Callable[[TableSync, Mapping[str, MessageChange]], set[str]],
    hidden: Callable[[TableSync, Set[str]], Mapping[str, str]],
) -> SyncPlan:
    """Apply the history to the stored rows.

    Args:
        tables: The tables.
        changes: Changes from the history; messages that earlier runs could not fetch are added.
        content: Messages that other tables store.
        matching: Which of these messages, that are not stored, match the table's `q` and `startDate`, as far as a
            listing says.
        hidden: Messages of these threads in spam and trash that belong into the table's rows: id to thread id.
    """
    named = set(changes.messages)
    for table in tables:
        for message_id, entry in table.retries.items():
            changes.messages.setdefault(message_id, MessageChange(entry.thread_id, 0, arrived=True))
    plan = SyncPlan({}, changes, cursor=changes.head)
    for table in tables:
        table.read_stored(changes)
        share = plan.tables[table] = TablePlan(threads=table.plan.threads)
        candidates = {
            message_id: thread_id
            for message_id, thread_id in table.candidates(changes).items()
            if message_id in named or message_id in table.retries
        }
        entering = {
            message_id: changes.messages[message_id]
            for message_id, thread_id in candidates.items()
            if not table.has_row(thread_id) and message_id not in table.retries
        }
        share.matches = table.plan.matches | table.retries.keys() | matching(table, entering)
        missing: MessageIds = {}
        for message_id, thread_id in candidates.items():
            if message_id not in entering or message_id in share.matches:
                missing.setdefault(thread_id, set()).add(message_id)
        whole = {thread_id for thread_id in missing if table.needs_whole(thread_id)}
        for message_id, thread_id in hidden(table, whole).items():
            missing[thread_id].add(message_id)
        _request(plan.fetch, table, share, missing, whole, content, after=changes.start)
        for message_id, entry in table.retries.items():
            change = changes.messages[message_id]
            unknown = change.labels is None and not change.deleted
            if unknown and table.labels_of(entry.thread_id, [message_id]):
                plan.labels_to_read.setdefault(entry.thread_id, set()).add(message_id)
    return plan
