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
from gmail_client.search import has_dates, without_dates
from gmail_client.search_matching import MatchResult

__all__ = ["ChangeMatcher", "ContentIndex", "kept_messages", "plan_incremental", "plan_reconciliation"]


class ContentIndex(Protocol):
    """Finds missing messages in other tables of the lake."""

    def holding(
        self, table: TableSync, missing: Mapping[str, Set[str]], *, after: int | None
    ) -> tuple[MessageIds, int | None]:
        """Messages for `table` that another table stores, by thread.

        Args:
            table: The table in which they are missing.
            missing: The missing messages, by thread.
            after: Labels must be correct through this history id; None when the history can be replayed from an
                earlier one.

        Returns:
            The messages, and the history id through which their labels are correct.
        """
        ...


class ChangeMatcher(Protocol):
    """Matches messages against a table's `q` and, as far as listings show, its `startDate`."""

    def still_matching(self, table: TableSync, rows: Mapping[str, Mapping[str, int]]) -> set[str]:
        """Messages that still match `q`, without its top-level date terms.

        Args:
            table: The table.
            rows: Stored messages with their dates (epoch milliseconds), by the key of their row.

        Returns:
            At least one message of each row that has one.
        """
        ...

    def match_unstored(self, table: TableSync, candidates: Mapping[str, MessageChange]) -> MatchResult:
        """Which messages that are not stored match; all of them if the table has no search."""
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
        share.misplaced = table.misplaced(listing.all_messages)
        _add_listed(plan.fetch, table, share, listing, content)
        for thread_id, members in kept_messages(table, share).items():
            stored.setdefault(thread_id, set()).update(members)
    reconciled = [table for table in tables if table.mode == "reconcile"]
    if reconciled:
        for thread_id, members in stored.items():
            for message_id in members - listing.all_messages.keys():
                plan.changes.messages[message_id] = MessageChange(thread_id, 0, deleted=True)
        plan.labels_to_read, plan.sample, plan.rereads_all = labels_to_read(
            reconciled, stored, listing, chance
        )
        plan.fetch.read_whole(plan.labels_to_read)
    return plan


def kept_messages(table: TableSync, share: TablePlan) -> MessageIds:
    """Stored messages of rows that stay, by thread."""
    stored = table.stored_messages()
    for thread_id, misplaced in share.misplaced.items():
        stored[thread_id] -= misplaced
        if not stored[thread_id]:
            del stored[thread_id]
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
        elif table.options.q:
            _match_stored(table, share, listing)
        # With `q`, time alone deletes no row; otherwise labels and dates decide.
        share.unlisted = set() if table.options.q else table.outside(listed)
    rows: Mapping[str, str] = listed
    whole: set[str] = set()
    if table.name == "threads" and table.options.filtered:
        rows, whole = _thread_members(table, share, listed, listing, content)
    missing = table.missing(rows)
    _request(fetch, table, share, missing, whole, content, after=None)


def _match_stored(table: TableSync, share: TablePlan, listing: Listing) -> None:
    """Find stored rows that no longer match `q`, or the messages that match once the labels are read."""
    lasting = listing.lasting(table)
    if lasting is None:
        return
    if has_dates(without_dates(table.options.q)) and table.state.search_applied:
        share.lasting = lasting.keys()
    else:
        share.obsolete = table.outside(lasting)


def _thread_members(
    table: TableSync,
    share: TablePlan,
    listed: Mapping[str, str],
    listing: Listing,
    content: ContentIndex,
) -> tuple[dict[str, str], set[str]]:
    """The messages in rows of filtered threads, and the threads that have to be fetched completely to know them."""
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
    share.in_lake, share.labels_through = content.holding(table, single, after=after)
    rest = {thread_id: ids - share.in_lake.get(thread_id, frozenset()) for thread_id, ids in missing.items()}
    stored = kept_messages(table, share).keys() | share.in_lake.keys()
    fetch.add(table, {thread_id: ids for thread_id, ids in rest.items() if ids}, whole, stored)


def plan_incremental(
    tables: Sequence[TableSync],
    changes: Changes,
    content: ContentIndex,
    *,
    matcher: ChangeMatcher,
    hidden: Callable[[TableSync, Set[str]], Mapping[str, str]],
) -> SyncPlan:
    """Apply the history to the stored rows.

    Args:
        tables: The tables.
        changes: Changes from the history; messages that earlier runs could not fetch are added.
        content: Messages that other tables store.
        matcher: Matches messages against the tables' searches.
        hidden: Messages of these threads in spam and trash that belong to the table's rows: thread id by id.
    """
    named = set(changes.messages)
    for table in tables:
        for message_id, entry in table.retries.items():
            changes.messages.setdefault(message_id, MessageChange(entry.thread_id, 0, arrived=True))
    plan = SyncPlan({}, changes, cursor=changes.head)
    for table in tables:
        table.read_stored(
            changes
        )  # of all tables first, because one may store messages that another one misses
    for table in tables:
        share = plan.tables[table] = TablePlan(threads=table.plan.threads)
        candidates = {
            message_id: thread_id
            for message_id, thread_id in table.candidates(changes).items()
            if message_id in table.retries or (message_id in named and _is_open(table, message_id, changes))
        }
        missing = _missing_matches(table, share, changes, candidates, matcher)
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


def _is_open(table: TableSync, message_id: str, changes: Changes) -> bool:
    """Whether a message that is not stored still has to be matched against the filters."""
    return table.options.search is None or table.concerns(message_id, changes.messages[message_id])


def _missing_matches(
    table: TableSync,
    share: TablePlan,
    changes: Changes,
    candidates: Mapping[str, str],
    matcher: ChangeMatcher,
) -> MessageIds:
    """Match the changed messages against the table's search.

    Returns:
        Messages that are missing in the table, by thread.
    """
    rows = table.changed_rows(changes) if table.options.q else {}
    staying = matcher.still_matching(table, rows)
    doubtful = {key for key, dates in rows.items() if staying.isdisjoint(dates)}
    keys = {message_id: table.key_of(message_id, thread_id) for message_id, thread_id in candidates.items()}
    entering = {
        message_id: changes.messages[message_id]
        for message_id, thread_id in candidates.items()
        if (not table.has_row(thread_id) or keys[message_id] in doubtful)
        and not (message_id in table.retries and not changes.messages[message_id].history_id)
    }
    result = matcher.match_unstored(table, entering)
    late = table.retries.keys() - entering.keys()
    share.matches = set(result.matching) if table.options.q else result.matching | late
    share.undecided = result.undecided | (late & candidates.keys() if table.options.q else set())
    share.arrivals_rejected = bool(table.options.q) and any(
        change.arrived and change.history_id > table.start
        for message_id, change in entering.items()
        if message_id not in result.matching and message_id not in result.undecided
    )
    doubtful -= {key for message_id, key in keys.items() if message_id in share.matches}
    for message_id in share.undecided:
        if keys[message_id] in doubtful:
            share.awaiting.setdefault(keys[message_id], set()).add(message_id)
    share.obsolete = doubtful - share.awaiting.keys()
    missing: MessageIds = {}
    for message_id, thread_id in candidates.items():
        joins = table.has_row(thread_id) and keys[message_id] not in share.obsolete
        if joins or message_id in share.matches or message_id in share.undecided:
            missing.setdefault(thread_id, set()).add(message_id)
    return missing
