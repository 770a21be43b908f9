"""One table of one mailbox as a stream: what the next batch brings (`ChangeReader.plan`), and its rows (`read_batch`).

Planning is cheap (listings and history, no bodies) and gives the batch's end together with a `Batch`, a small value
that can travel to another process; reading it is where messages are fetched. Both entries stand on it: the class that
Lakeflow's framework calls, and the Spark data source. What changed is told by `gmail_client.changes`, whatever is
fetched comes through `gmail_client.fetch`; an engine needs whole rows, so a changed message is read again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gmail_client.api import GmailApi
from gmail_client.changes import (
    Changes,
    ListedThread,
    list_message_ids,
    list_thread_heads,
    matching,
    read_changes,
)
from gmail_client.errors import HistoryExpiredError
from gmail_client.fetch import CHUNK_BYTES, FetchedThread, FetchRequest, chunks, fetch
from gmail_client.labels import HIDDEN_LABELS
from gmail_client.options import TableOptions
from gmail_client.reads import failure_policy, thread_resource
from lakeflow_entry.stream.load_plan import LoadPlan
from lakeflow_entry.stream.offsets import LoadPosition, Offset

__all__ = ["DEFAULT_CAP", "Batch", "ChangeReader", "head_of", "read_batch"]

Row = dict[str, Any]

DEFAULT_CAP = 1_000
"""Rows of a micro-batch where `max_records_per_batch` is not set: some 15 MB of usual mail."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one micro-batch fetches.

    Attributes:
        threads: Thread id to the messages to fetch of it.
        sequence: For changes, the last record that names the row, by the row's id.
        heads: For a load of threads, what the listing says of them.
        changed: Changes, not a load.
    """

    threads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sequence: Mapping[str, int] = field(default_factory=dict)
    heads: Mapping[str, ListedThread] = field(default_factory=dict)
    changed: bool = False


def head_of(api: GmailApi) -> int:
    """The mailbox's newest history id."""
    return int(api.profile()["historyId"])


class ChangeReader:
    """The stream of `messages` or `threads`.

    Args:
        api: The mailbox.
        table: `messages` or `threads`.
        options: The table's options.
    """

    def __init__(self, api: GmailApi, table: str, options: TableOptions) -> None:
        self.api = api
        self.table = table
        self.options = options
        self.cap = options.max_records_per_batch or DEFAULT_CAP
        self._listing: _Listing | None = None

    def plan(self, start: Offset, head: int | None = None) -> tuple[Offset, Batch]:
        """The next batch.

        Args:
            start: Where it begins.
            head: Nothing after this history id is looked at.

        Returns:
            Where the batch ends, and the batch. An end equal to `start` means that there is nothing more.

        Raises:
            GmailError: It can't be told.
        """
        if start.history_id is None:
            return self._begin(head)
        if start.load is not None:
            return self._go_on(start, start.load)
        if head is not None and head <= start.history_id:
            return start, Batch()
        try:
            changes = read_changes(self.api, start.history_id, limit=self.cap, head=head)
        except HistoryExpiredError:
            _log.warning(
                "%s: Gmail no longer keeps the history after %s, so everything is read again. Rows that were deleted "
                "in Gmail meanwhile are the delete flow's to name.",
                self.table,
                start.history_id,
            )
            self._listing = None
            end, batch = self._begin(head)
            return replace(end, reloaded=end.history_id), batch
        units = self._units(changes)
        end = replace(start, history_id=changes.head, seen=0)
        if start.seen + self.cap < len(units):
            end = replace(start, seen=start.seen + self.cap)
        return end, self._changed(changes, units[start.seen : start.seen + self.cap])

    def between(self, start: Offset, end: Offset) -> Batch:
        """The batch from `start` to `end`, as far as its rows still exist: what a crash left undelivered."""
        if end.load is not None or start.load is not None or start.history_id is None:
            anchor = start if start.load is not None else end
            listing = self._listed(anchor.history_id or 0)
            return self._loaded(listing, listing.plan.between(start.load, end.load))
        try:
            if end.history_id == start.history_id:
                changes = read_changes(self.api, start.history_id, limit=1)
            else:
                changes = read_changes(self.api, start.history_id, head=end.history_id)
        except HistoryExpiredError:
            _log.warning(
                "%s: Gmail no longer keeps the history after %s; the next batch reads everything again.",
                self.table,
                start.history_id,
            )
            return Batch()
        units = self._units(changes)
        return self._changed(changes, units[start.seen : end.seen or None])

    # Loading

    def _begin(self, head: int | None) -> tuple[Offset, Batch]:
        # The anchor comes before the listing: what changes in between is told again by the history.
        anchor = head if head is not None else head_of(self.api)
        listing = self._listed(anchor)
        if not listing.plan.positions and self.options.filtered:
            _log.warning(
                "%s: the filters q=%r and labelIds=%r match nothing.",
                self.table,
                self.options.q,
                ",".join(self.options.label_ids),
            )
        place = listing.plan.first(self.cap)
        return Offset(anchor, load=place), self._loaded(listing, listing.plan.between(None, place))

    def _go_on(self, start: Offset, load: LoadPosition) -> tuple[Offset, Batch]:
        listing = self._listed(start.history_id or 0)
        place = listing.plan.after(load, self.cap)
        batch = self._loaded(listing, listing.plan.between(load, place))
        if place is None:
            self._listing = None
        return replace(start, load=place), batch

    def _listed(self, anchor: int) -> _Listing:
        """The listing of the load with this anchor, made once for all its batches."""
        if self._listing is None or self._listing.anchor != anchor:
            heads = list_thread_heads(self.api, self.options) if self.table == "threads" else {}
            messages = list_message_ids(self.api, self.options)
            self._listing = _Listing(anchor, self.table, messages, heads)
        return self._listing

    def _loaded(self, listing: _Listing, positions: list[str]) -> Batch:
        if self.table == "threads":
            return Batch(
                {thread_id: listing.members[thread_id] for thread_id in positions},
                heads={t: listing.heads[t] for t in positions if t in listing.heads},
            )
        threads: dict[str, list[str]] = {}
        for position in positions:
            thread_id, _, message_id = position.partition("/")
            threads.setdefault(thread_id, []).append(message_id)
        return Batch({thread_id: tuple(ids) for thread_id, ids in threads.items()})

    # Changes

    def _units(self, changes: Changes) -> list[str]:
        """What a batch counts: ids of messages or of threads, in the order of their first record."""
        if self.table == "messages":
            return list(changes.messages)
        return list(dict.fromkeys(change.thread_id for change in changes.messages.values()))

    def _changed(self, changes: Changes, units: list[str]) -> Batch:
        if self.table == "messages":
            return self._changed_messages(changes, units)
        return self._changed_threads(changes, units)

    def _changed_messages(self, changes: Changes, units: list[str]) -> Batch:
        candidates = {}
        for message_id in units:
            change = changes.messages[message_id]
            labels = change.labels_after(None)
            if not change.deleted and (labels is None or self.options.matches_labels(labels)):
                candidates[message_id] = change
        wanted = matching(self.api, self.options, set(candidates))
        threads: dict[str, list[str]] = {}
        for message_id, change in candidates.items():
            if message_id in wanted:
                threads.setdefault(change.thread_id, []).append(message_id)
        return Batch(
            {thread_id: tuple(ids) for thread_id, ids in threads.items()},
            {message_id: candidates[message_id].history_id for message_id in wanted},
            changed=True,
        )

    def _changed_threads(self, changes: Changes, units: list[str]) -> Batch:
        touched: dict[str, dict[str, None]] = {thread_id: {} for thread_id in units}
        sequence = dict.fromkeys(units, 0)
        for message_id, change in changes.messages.items():
            if change.thread_id in touched:
                sequence[change.thread_id] = max(sequence[change.thread_id], change.history_id)
                if not change.deleted:
                    touched[change.thread_id][message_id] = None
        if self.options.q and touched:
            listed = set(list_message_ids(self.api, self.options).values())
            touched = {thread_id: ids for thread_id, ids in touched.items() if thread_id in listed}
        if self.options.include_spam_trash and touched:
            # threads.get may leave out what is in the trash or in spam.
            for label_id in sorted(HIDDEN_LABELS):
                for page in self.api.list_messages(label_ids=(label_id,), include_spam_trash=True):
                    for item in page:
                        if item["threadId"] in touched:
                            touched[item["threadId"]][item["id"]] = None
        return Batch(
            {thread_id: tuple(ids) for thread_id, ids in touched.items()},
            {thread_id: sequence[thread_id] for thread_id in touched},
            changed=True,
        )


class _Listing:
    """What a load has to bring, as Gmail listed it."""

    def __init__(
        self, anchor: int, table: str, messages: Mapping[str, str], heads: Mapping[str, ListedThread]
    ) -> None:
        self.anchor = anchor
        self.heads = heads
        self.members: dict[str, tuple[str, ...]] = {}
        if table == "messages":
            self.plan = LoadPlan.of_messages(messages)
            return
        members: dict[str, list[str]] = {}
        for message_id, thread_id in messages.items():
            members.setdefault(thread_id, []).append(message_id)
        self.members = {thread_id: tuple(ids) for thread_id, ids in members.items()}
        self.plan = LoadPlan.of_threads(members)


def read_batch(
    api: GmailApi, table: str, options: TableOptions, batch: Batch, *, messages: int = 1
) -> Iterator[list[Row]]:
    """The rows of a batch.

    Args:
        api: The mailbox.
        table: `messages` or `threads`.
        options: The table's options.
        batch: What `ChangeReader.plan` gave.
        messages: Messages after which a page ends; it ends at 16 MB of JSON in any case.

    Yields:
        Pages of resources as Gmail sends them. What was deleted since, or fits the filters no more, is left out.

    Raises:
        GmailError: A message can't be had; nothing of the batch counts as delivered then. With `skip_refused` such a
            message (in threads: its thread) is left out and named in the log.
    """
    whole = table == "threads" and (batch.changed or options.filtered)
    wants = (
        FetchRequest(thread_id, ids, whole=whole, held=batch.changed and not whole)
        for thread_id, ids in batch.threads.items()
    )
    rows = _message_rows if table == "messages" else _thread_rows
    pieces = filter(
        None, map(failure_policy(table, options, _log.warning), fetch(api, wants, options.format))
    )
    for chunk in chunks(pieces, messages=messages, size=CHUNK_BYTES):
        page = [row for fetched in chunk for row in rows(fetched, options, batch)]
        if page:
            yield page


def _message_rows(fetched: FetchedThread, options: TableOptions, batch: Batch) -> Iterator[Row]:
    wanted = batch.threads[fetched.thread_id]
    for message in fetched.messages:
        if message["id"] in wanted and options.matches_labels(message.get("labelIds") or ()):
            yield _at_least(message, batch.sequence.get(message["id"], 0))


def _thread_rows(fetched: FetchedThread, options: TableOptions, batch: Batch) -> Iterator[Row]:
    row = thread_resource(fetched, batch.heads.get(fetched.thread_id), options)
    # What `q` says was asked when the batch was planned; labels are known only now.
    if any(options.matches_labels(message.get("labelIds") or ()) for message in row["messages"]):
        yield _at_least(row, batch.sequence.get(fetched.thread_id, 0))


def _at_least(row: Row, record: int) -> Row:
    """The row with a history id that is not below the record that brought it."""
    if int(row.get("historyId") or 0) >= record:
        return row
    return {**row, "historyId": str(record)}
