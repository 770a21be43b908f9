"""New and changed rows of one table of one mailbox as a stream: `ChangeReader`.

Planning is cheap (listings and history, no bodies). It returns the end of the next batch and a `Batch`, which
`read_batch` fetches. Both the class that Lakeflow's framework calls and the Spark data source use this module. Engines
need complete rows, so a changed message is fetched again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from gmail_client.api import GmailApi
from gmail_client.changes import ListedThread, MessageChange, list_message_ids, list_thread_heads
from gmail_client.errors import HistoryExpiredError
from gmail_client.options import TableOptions
from gmail_client.search import as_of, waits_for_age
from lakeflow_entry.stream.batch import DEFAULT_LIMIT, Batch
from lakeflow_entry.stream.change_matching import new_threads
from lakeflow_entry.stream.history import HistoryRange, HistorySlice, labels_match
from lakeflow_entry.stream.identity import Identity
from lakeflow_entry.stream.load_plan import LoadPlan
from lakeflow_entry.stream.offsets import VERSION, LoadPosition, Offset
from lakeflow_entry.stream.packed_ids import pack, unpacked
from lakeflow_entry.stream.thread_listing import listed_if_cheaper

__all__ = ["ChangeReader"]

_log = logging.getLogger(__name__)


class ChangeReader:
    """The stream of `messages` or `threads`.

    Args:
        api: The mailbox.
        table: `messages` or `threads`.
        options: The table's options.
        history: The mailbox's history, shared with a delete reader; a new one when left out.
    """

    def __init__(
        self, api: GmailApi, table: str, options: TableOptions, history: HistoryRange | None = None
    ) -> None:
        self.api = api
        self.table = table
        self.options = options
        self.limit = options.max_records_per_batch or DEFAULT_LIMIT
        self.history = history or HistoryRange(api)
        self.identity = Identity(table, options, self.history)
        self._listing: _Listing | None = None

    def plan(
        self, start: Offset, head: int | None = None, *, confirmed: bool = False, repeated: bool = False
    ) -> tuple[Offset, Batch]:
        """The next batch.

        Args:
            start: Where it starts.
            head: Changes after this history id are left to a later run.
            confirmed: This process knows that the batch that ended at `start` was delivered.
            repeated: An earlier call planned this batch, and its end counts.

        Returns:
            Where the batch ends, and the batch. An end equal to `start` means that there is nothing more.

        Raises:
            StreamChangedError: The offset is that of another mailbox, of other filters or of other content options.
            GmailError: Gmail can't be asked.
        """
        self.identity.check(start)
        if start.starts_load:
            end, batch = self._start_load(start, head)
        elif start.load is not None:
            end, batch = self._continue_load(start, start.load, confirmed)
        else:
            end, batch = self._follow(start, head, confirmed, repeated)
        return self.identity.of(end, start), batch

    def between(self, start: Offset, end: Offset) -> Batch:
        """The batch from `start` to `end`, which was planned earlier and may not have been delivered.

        If its history has expired, the batch is empty, and the batch after `end` detects it. After an end of version 1
        this is not detected, so its batch contains everything.

        Raises:
            StreamChangedError: The offset is that of another mailbox, of other filters or of other content options.
            GmailError: Gmail can't be asked.
        """
        self.identity.check(end)
        if start.starts_load or start.load is not None or _reloads_at_once(start, end):
            load = _load_between(start, end)
            return Batch() if load is None else self._loaded(end, load)
        if end.reload or start.same_place(end):
            return Batch()
        try:
            batch = self._changed(self.history.between(self.table, start, end), start, start.read_at).batch
            return batch.joined(self._arrived_late(start))
        except HistoryExpiredError:
            self._warn(start.history_id)
            return Batch() if end.version > 1 else self._loaded(end, _EVERYTHING)

    # Loading

    def _start_load(self, start: Offset, head: int | None) -> tuple[Offset, Batch]:
        # The head is read before the listing, so that the history after it contains changes during the listing.
        started = head if head is not None else self.history.fix_head()
        end = Offset(
            started,
            limit=self.limit,
            reloaded=started if start.reload else None,
            loaded_at=self._loaded_at(start),
        )
        if waits_for_age(self.options.q):
            _log.warning(
                "%s: the search has `older_than:`. A message that comes to match by growing older is read with its "
                "next change or a full refresh.",
                self.table,
            )
        listing = self._listing_of(end)
        if self.options.search is not None:
            end = replace(end, read_at=self.history.read_at(started), rows=listing.messages)
        if not listing.plan.positions:
            if self.options.filtered:
                _log.warning(
                    "%s: the filters %s match nothing.",
                    self.table,
                    self.options.filters_text,
                )
            return end, Batch()
        load = listing.plan.start(self.limit)
        return replace(end, load=load), self._loaded(end, load)

    def _loaded_at(self, start: Offset) -> int | None:
        depends = start.is_new and as_of(self.options.q, 0) != self.options.q
        return int(self.api.now) if depends else start.loaded_at

    def _continue_load(self, start: Offset, load: LoadPosition, confirmed: bool) -> tuple[Offset, Batch]:
        """The batch at `load`. The first one contains the rows that the start of the load already delivered, so it is
        empty if that is `confirmed`."""
        delivered = load.is_first and confirmed
        end = replace(start, load=None, limit=self.limit, version=VERSION)
        if delivered and not load.until:
            self._listing = None
            return end, Batch()
        listing = self._listing_of(start)
        batch = Batch() if delivered else self._loaded(start, load)
        following = listing.plan.next(load, self.limit)
        if following is None:
            self._listing = None
        return replace(end, load=following), batch

    def _listing_of(self, offset: Offset) -> _Listing:
        """The listing of the load that started at this offset's history id, made once for all its batches."""
        if self._listing is None or self._listing.started != offset.history_id:
            heads = list_thread_heads(self.api, self.options) if self.table == "threads" else {}
            messages = list_message_ids(self.api, self.options)
            self._listing = _Listing(offset.history_id, self.table, messages, heads)
        return self._listing

    def _loaded(self, offset: Offset, load: LoadPosition) -> Batch:
        """The batch at `load` of the load that started at this offset's history id."""
        listing = self._listing_of(offset)
        positions = listing.plan.batch(load)
        if self.table == "threads":
            return Batch(
                {thread_id: listing.members[thread_id] for thread_id in positions},
                heads={t: listing.heads[t] for t in positions if t in listing.heads},
                floor=offset.reloaded or 0,
            )
        threads: dict[str, list[str]] = {}
        for position in positions:
            thread_id, _, message_id = position.partition("/")
            threads.setdefault(thread_id, []).append(message_id)
        return Batch({thread_id: tuple(ids) for thread_id, ids in threads.items()})

    # Changes

    def _follow(
        self, start: Offset, head: int | None, confirmed: bool, repeated: bool
    ) -> tuple[Offset, Batch]:
        lost = start.since is not None and not confirmed and not self.history.reaches(start.since)
        limit = start.batch_limit(self.limit, repeated)
        late = Batch()
        try:
            part = self.history.next(self.table, start, limit, head)
            if not part.end.same_place(start):
                late = self._arrived_late(start)
            if late.rows and not repeated:
                part = self.history.next(self.table, start, max(1, limit - late.rows), head)
        except HistoryExpiredError:
            self._warn(start.history_id)
            return start.expired(), Batch()
        # Also if everything is read again afterwards: a repeated read from `start` has to contain the same rows.
        changed = self._changed(part, start, start.read_at)
        batch = changed.batch.joined(late)
        if lost:
            self._warn(start.since)
            return start.expired(), batch
        if part.end.same_place(start):
            return start.confirmed(), Batch()
        began = (start.recheck if late.rows else start.history_id) if batch.threads else None
        end = _rechecking(part.end.after(began, self.limit), start, changed.rejected)
        if self.options.search is not None:
            read_at = start.read_at if part.read_at is None else part.read_at
            end = replace(end, read_at=read_at, rows=changed.rows)
        return end, batch

    def _arrived_late(self, start: Offset) -> Batch:
        """New messages of the previous batch that match only now."""
        if start.recheck is None or start.recheck == start.history_id:
            return Batch()
        late = unpacked(start.late)
        arrivals = self.history.arrivals(self.table, start, late, self.limit)
        return self._changed(arrivals, start, start.late_read_at).batch

    def _warn(self, history_id: int | None) -> None:
        _log.warning(
            "%s: Gmail no longer keeps the history after %s, so the stream reads everything again. The delete flow "
            "deletes the rows that Gmail no longer has.",
            self.table,
            history_id,
        )

    def _changed(self, part: HistorySlice, start: Offset, since: int | None) -> _Changed:
        """The rows of these changes that match; the arrivals among them arrived after `since`, in epoch seconds."""
        options = self.options
        if start.loaded_at is not None:
            # It is not known here whether a row is stored, so rows of the first load keep the age they had then.
            options = options.model_copy(update={"q": as_of(options.q, start.loaded_at)})
        of_table = self._changed_messages if self.table == "messages" else self._changed_threads
        # The number of rows is unknown after `startDate` moved.
        counted = start.rows if start.filters in (None, self.identity.filters) else None
        batch, rows = of_table(part, options, since, counted)
        if self.options.q is None:
            return _Changed(batch, set(), rows)
        keys, of_messages = set(part.keys), self.table == "messages"
        rejected = {
            message_id
            for message_id, change in part.changes.messages.items()
            if change.arrived
            and self._may_match(change)
            and (message_id if of_messages else change.thread_id) in keys
            and message_id not in batch.threads.get(change.thread_id, ())
        }
        return _Changed(batch, rejected, rows)

    def _may_match(self, change: MessageChange) -> bool:
        return not change.deleted and labels_match(change, self.options) is not False

    def _changed_messages(
        self, part: HistorySlice, options: TableOptions, since: int | None, rows: int | None
    ) -> tuple[Batch, int | None]:
        candidates = {}
        for message_id in part.keys:
            change = part.changes.messages[message_id]
            if self._may_match(change):
                candidates[message_id] = change
        wanted, rows = self.history.matching(part, options, set(candidates), since=since, rows=rows)
        threads: dict[str, list[str]] = {}
        for message_id, change in candidates.items():
            if message_id in wanted:
                threads.setdefault(change.thread_id, []).append(message_id)
        batch = Batch(
            {thread_id: tuple(ids) for thread_id, ids in threads.items()},
            {message_id: candidates[message_id].history_id for message_id in wanted},
            changed=True,
        )
        return batch, rows

    def _changed_threads(
        self, part: HistorySlice, options: TableOptions, since: int | None, rows: int | None
    ) -> tuple[Batch, int | None]:
        touched: dict[str, dict[str, None]] = {thread_id: {} for thread_id in part.keys}
        sequence = dict.fromkeys(part.keys, 0)
        for message_id, change in part.changes.messages.items():
            if change.thread_id in touched:
                sequence[change.thread_id] = max(sequence[change.thread_id], change.history_id)
                if not change.deleted:
                    touched[change.thread_id][message_id] = None
        listed, rows = self.history.matching(
            part, options, set(touched), since=since, rows=rows, threads=True
        )
        listed = listed - self._departed(part, options, {t: touched[t] for t in listed})
        touched = {thread_id: ids for thread_id, ids in touched.items() if thread_id in listed}
        begun = set() if part.partial else new_threads(part.changes.messages, touched)
        new = frozenset(thread_id for thread_id in begun if touched[thread_id].keys() == {thread_id})
        if self.options.include_spam_trash and touched.keys() - new:
            # threads.get may omit messages in trash and spam.
            for label_id in ("TRASH", "SPAM"):
                for page in self.api.list_messages(label_ids=(label_id,), include_spam_trash=True):
                    for item in page:
                        if item["threadId"] in touched.keys() - new:
                            touched[item["threadId"]][item["id"]] = None
        batch = Batch(
            {thread_id: tuple(ids) for thread_id, ids in touched.items()},
            {thread_id: sequence[thread_id] for thread_id in touched},
            changed=True,
            new=new,
        )
        return batch, rows

    def _departed(
        self, part: HistorySlice, options: TableOptions, touched: Mapping[str, Mapping[str, None]]
    ) -> set[str]:
        """Threads without a matching message, as far as a listing shows that for fewer units than reading them."""
        if options.search is not None:
            return set()
        changes = part.changes.messages
        doubtful = {t for t, ids in touched.items() if not any(self._may_match(changes[m]) for m in ids)}
        found = listed_if_cheaper(self.api, options, doubtful)
        return set() if found is None else doubtful - found


def _rechecking(end: Offset, start: Offset, rejected: set[str]) -> Offset:
    """The end of a batch from `start`, with the new messages that the next batch matches again."""
    read_at = start.read_at
    if start.recheck is not None and start.recheck == start.history_id:
        rejected = rejected | unpacked(start.late)  # of the same record, which takes several batches
        read_at = start.late_read_at
    late = pack(rejected) if rejected else None
    return replace(
        end,
        recheck=start.history_id if late else None,
        late=late,
        late_read_at=read_at if late else None,
    )


class _Changed(NamedTuple):
    """The changes of one batch.

    Attributes:
        batch: The rows that match.
        rejected: New messages that do not match the search.
        rows: About how many messages the search lists now; None if unknown.
    """

    batch: Batch
    rejected: set[str]
    rows: int | None


_EVERYTHING = LoadPosition("", "", "")


def _reloads_at_once(start: Offset, end: Offset) -> bool:
    """Whether the batch is the first of a load after changes, without an offset between, as in version 1."""
    return end.version == 1 and end.reloaded != start.reloaded


def _load_between(start: Offset, end: Offset) -> LoadPosition | None:
    """The part of a load that a batch contains; None for nothing."""
    if start.load is not None:
        return start.load
    if end.version > 1:
        return end.load
    # The first batch of version 1: up to the end's position, or everything.
    return _EVERYTHING if end.load is None else LoadPosition("", end.load.after, end.load.newest)


class _Listing:
    """The listed rows that a load has to deliver; `messages` is the number of messages."""

    def __init__(
        self,
        started: int | None,
        table: str,
        messages: Mapping[str, str],
        heads: Mapping[str, ListedThread],
    ) -> None:
        self.started = started
        self.messages = len(messages)
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
