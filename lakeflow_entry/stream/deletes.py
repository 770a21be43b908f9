"""The delete flow of a table: which rows have to leave, from the history (`DeleteReader.plan`).

A message's row leaves when it is deleted for ever, or when its labels no longer fit the filters (trash and spam
included). A thread's row leaves only with its last message that fits. The flow has a checkpoint of its own.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from dataclasses import replace
from typing import Any

from gmail_client.api import GmailApi
from gmail_client.changes import (
    Changes,
    MessageChange,
    list_message_ids,
    list_thread_heads,
    read_changes,
)
from gmail_client.errors import ConfigurationError, HistoryExpiredError
from gmail_client.fetch import FetchedThread, FetchRequest, fetch
from gmail_client.labels import HIDDEN_LABELS
from gmail_client.options import TableOptions
from gmail_client.reads import raise_for_failures
from gmail_client.schema import SCHEMAS
from lakeflow_entry.stream.changes import DEFAULT_CAP, head_of
from lakeflow_entry.stream.offsets import Offset
from lakeflow_entry.stream.packed_ids import pack, unpack

__all__ = ["DeleteReader"]

Row = dict[str, Any]

_log = logging.getLogger(__name__)


class DeleteReader:
    """The rows that leave `messages` or `threads`.

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

    def plan(self, start: Offset, head: int | None = None) -> Offset:
        """Where the next batch ends; equal to `start` when there is nothing more.

        Args:
            start: Where it begins.
            head: Nothing after this history id is looked at.
        """
        if start.history_id is None:
            return Offset(self._earliest(head), known=pack(self._present()))
        if head is not None and head <= start.history_id:
            return start
        try:
            changes = read_changes(self.api, start.history_id, limit=self.cap, head=head)
        except HistoryExpiredError:
            return self._begin_again(start, head)
        known = self._known_after(start, changes)
        units = len(self._units(changes))
        if start.seen + self.cap < units:
            return replace(start, seen=start.seen + self.cap, known=known)
        return replace(start, history_id=changes.head, seen=0, known=known)

    def between(self, start: Offset, end: Offset) -> list[Row]:
        """The rows that leave between two offsets, with their key and cursor and all else null."""
        if start.history_id is None or start == end:
            return []
        if end.reloaded is not None and end.reloaded != start.reloaded:
            missing = _unpacked(start) - _unpacked(end) if start.known and end.known else set()
            return [self._row(key, end.reloaded) for key in sorted(missing)]
        try:
            if end.history_id == start.history_id:
                changes = read_changes(self.api, start.history_id, limit=1)
            else:
                changes = read_changes(self.api, start.history_id, head=end.history_id)
        except HistoryExpiredError:
            return []
        units = set(self._units(changes)[start.seen : end.seen or None])
        rows = self._messages if self.table == "messages" else self._threads
        return rows(changes, units)

    def _present(self) -> set[str]:
        """The rows that the table may have; what entered by `q` stays until it is deleted."""
        listed = list_message_ids(self.api, self.options.model_copy(update={"q": None}))
        return set(listed if self.table == "messages" else listed.values())

    def _known_after(self, start: Offset, changes: Changes) -> str | None:
        """The rows that the table may have after the changes: rather one too many than one too few."""
        if start.known is None:
            return None
        known = _unpacked(start)
        for message_id, change in changes.messages.items():
            labels = change.labels_after(None)
            if not change.deleted and (labels is None or self.options.matches_labels(labels)):
                known.add(message_id if self.table == "messages" else change.thread_id)
            elif change.deleted and self.table == "messages":
                known.discard(message_id)
        return pack(known)

    def _begin_again(self, start: Offset, head: int | None) -> Offset:
        """Where the flow goes on after the history has expired; the rows that are missing by now leave with it."""
        anchor = head if head is not None else head_of(self.api)
        known = pack(self._present())
        told = start.known is not None and known is not None
        _log.warning(
            "%s: Gmail no longer keeps the history after %s. %s",
            self.table,
            start.history_id,
            "Rows that Gmail does not list any more are deleted."
            if told
            else "Rows that were deleted in Gmail meanwhile can't be named by this flow, the table is too large for "
            "it: refresh the target in full, or compare it with the mailbox.",
        )
        return Offset(self._earliest(head), reloaded=anchor, known=known)

    def _units(self, changes: Changes) -> list[str]:
        if self.table == "messages":
            return list(changes.messages)
        return list(dict.fromkeys(change.thread_id for change in changes.messages.values()))

    def _earliest(self, head: int | None) -> int:
        """A history id from which the flow can begin.

        The other flow may have read rows that are deleted before this one first asks, so it begins as far back as
        Gmail keeps the history: deleting a row that is not there does no harm. Ids that Gmail has named are tried
        first; whether it takes others is not documented, and one that it refuses is passed over.
        """
        newest = head if head is not None else head_of(self.api)
        page = next(iter(self.api.list_threads(include_spam_trash=True)), [])
        named = sorted({int(item.get("historyId") or newest) for item in page})
        named = [history_id for history_id in named if history_id < newest]
        place = bisect_left(named, True, key=self._kept)
        kept = named[place] if place < len(named) else newest
        between = range(named[place - 1] + 1 if place else 1, kept)
        place = bisect_left(between, True, key=self._kept)
        return between[place] if place < len(between) else kept

    def _kept(self, history_id: int) -> bool:
        try:
            next(self.api.history(str(history_id), page_size=1))
        except HistoryExpiredError:
            return False
        return True

    def _left(self, change: MessageChange, labels: tuple[str, ...] | None) -> bool:
        """Whether the records took a message out of what the filters name."""
        if change.deleted:
            return True
        if labels is None or self.options.matches_labels(labels):
            return False
        telling = set(self.options.label_ids)
        if not self.options.include_spam_trash:
            telling |= HIDDEN_LABELS
        return bool(change.moved & telling)

    def _labels(self, changes: Changes, units: set[str]) -> dict[str, tuple[str, ...] | None]:
        """Each message's labels after the changes; read where no record names the whole set."""
        labels = {m: change.labels_after(None) for m, change in changes.messages.items() if m in units}
        unknown: dict[str, list[str]] = {}
        for message_id, known in labels.items():
            change = changes.messages[message_id]
            if known is None and not change.deleted:
                unknown.setdefault(change.thread_id, []).append(message_id)
        wants = [FetchRequest(thread_id, tuple(ids), held=True) for thread_id, ids in unknown.items()]
        for fetched in fetch(self.api, wants, "minimal"):
            for message in self._taken(fetched).messages:
                if message["id"] in labels:
                    labels[message["id"]] = tuple(message.get("labelIds") or ())
        return labels

    def _messages(self, changes: Changes, units: set[str]) -> list[Row]:
        labels = self._labels(changes, units)
        return [
            self._row(message_id, change.history_id, change.thread_id)
            for message_id, change in changes.messages.items()
            if message_id in units and self._left(change, labels[message_id])
        ]

    def _threads(self, changes: Changes, units: set[str]) -> list[Row]:
        members = {m for m, change in changes.messages.items() if change.thread_id in units}
        labels = self._labels(changes, members)
        shrunk: set[str] = set()
        sequence = dict.fromkeys(units, 0)
        for message_id in members:
            change = changes.messages[message_id]
            sequence[change.thread_id] = max(sequence[change.thread_id], change.history_id)
            if self._left(change, labels[message_id]):
                shrunk.add(change.thread_id)
        living = self._living(shrunk)
        return [self._row(t, sequence[t]) for t in sequence if t in shrunk and t not in living]

    def _living(self, threads: set[str]) -> set[str]:
        """Which of the threads still have a message that the filters let in, by whichever calls cost less."""
        if not threads:
            return set()
        price = self.api.plan.price
        pages = int(self.api.profile().get("threadsTotal") or 0) // self.options.page_size + 1
        listing = pages * price("threads.list")
        if self.options.include_spam_trash or listing < len(threads) * price("threads.get"):
            present = self.options.model_copy(update={"q": None})
            return threads.intersection(list_thread_heads(self.api, present))
        return {
            fetched.thread_id
            for fetched in fetch(
                self.api, (FetchRequest(thread_id, whole=True) for thread_id in threads), "minimal"
            )
            if any(
                self.options.matches_labels(m.get("labelIds") or ()) for m in self._taken(fetched).messages
            )
            or fetched.failed
        }

    def _taken(self, fetched: FetchedThread) -> FetchedThread:
        """What was fetched, if all of it came; with `skip_refused`, rows whose labels are refused stay.

        Raises:
            GmailError: Why a message can't be had.
        """
        if not self.options.skip_refused:
            return raise_for_failures(fetched)
        for one, error in fetched.failed.items():
            _log.warning(
                "%s: the labels of %s are refused, so its row stays: %s", self.table, one, error.what
            )
        return fetched

    def _row(self, key: str, record: int, thread_id: str | None = None) -> Row:
        row: Row = dict.fromkeys(SCHEMAS[self.table].names)
        row |= {"id": key, "historyId": str(record), "historySequence": record}
        if thread_id is not None:
            row["threadId"] = thread_id
        return row


def _unpacked(offset: Offset) -> set[str]:
    try:
        return unpack(offset.known or "")
    except ValueError:
        raise ConfigurationError(
            "The delete flow's offset is damaged: the ids in it can't be read.",
            fix="Start the stream with a new checkpoint.",
        ) from None
