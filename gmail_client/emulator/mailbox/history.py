"""The history of one mailbox: `HistoryLog` numbers changes, stores the records and returns pages of history.list.

Record ids increase with gaps. A record has one or more `HistoryChange`s; each has the labels of its message after the
change. Records up to the floor have expired: history.list returns 404 for a start below it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, NamedTuple

from gmail_client.emulator.behavior import Behavior

__all__ = ["HistoryChange", "HistoryLog", "HistoryRecord", "RecordPage"]

HistoryChangeKind = Literal["messageAdded", "messageDeleted", "labelAdded", "labelRemoved"]

_KEYS: dict[HistoryChangeKind, str] = {
    "messageAdded": "messagesAdded",
    "messageDeleted": "messagesDeleted",
    "labelAdded": "labelsAdded",
    "labelRemoved": "labelsRemoved",
}
_WITHOUT_EVENTS_EVERY = 4


class HistoryChange(NamedTuple):
    """One change of one message: `labels` is the resulting set, `changed` what was added or removed."""

    kind: HistoryChangeKind
    message_id: str
    thread_id: str
    labels: tuple[str, ...]
    changed: tuple[str, ...] = ()


class HistoryRecord(NamedTuple):
    """A history record."""

    id: int
    changes: tuple[HistoryChange, ...]


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A page of history.

    Attributes:
        records: History resources.
        next: Where the next page starts, as `start` and `offset` of `HistoryLog.page`; None on the last page.
    """

    records: list[dict[str, Any]]
    next: tuple[int, int] | None


class HistoryLog:
    """Ids and records of a mailbox.

    Args:
        head: The mailbox's history id at the start; there are no older records.
        behavior: The form of the records.
    """

    def __init__(self, head: int, behavior: Behavior) -> None:
        self.head = head
        self.floor = head
        self._behavior = behavior
        self._ids: list[int] = []
        self._records: list[HistoryRecord] = []

    def advance(self, gap: int) -> int:
        """Raise the head by `gap` without a record; returns it."""
        self.head += gap
        return self.head

    def append(self, changes: Sequence[HistoryChange], gap: int) -> int:
        """Add a record `gap` above the head; returns its id, the new head."""
        self.head += gap
        self._ids.append(self.head)
        self._records.append(HistoryRecord(self.head, tuple(changes)))
        return self.head

    def expire(self, upto: int | None = None) -> None:
        """Drop old records.

        Args:
            upto: Starts below this id are expired, this id and later ones are valid. By default all records
                are dropped and every start up to the present head is expired.

        Raises:
            ValueError: `upto` is above the head.
        """
        if upto is None:
            self.head += 1
            upto = self.head
        if upto > self.head:
            raise ValueError(f"upto is at most the head, {self.head}, not {upto}")
        expired = bisect_right(self._ids, upto)
        del self._ids[:expired], self._records[:expired]
        self.floor = max(self.floor, upto)

    def page(
        self,
        start: int,
        size: int,
        *,
        kinds: frozenset[str] = frozenset(),
        label_id: str | None = None,
        offset: int = 0,
    ) -> RecordPage:
        """At most `size` records after `start`.

        Args:
            start: A history id; records are strictly above it.
            size: Largest number of records.
            kinds: Only changes of these kinds; empty for all.
            label_id: Only changes of messages that have (or just lost) this label.
            offset: Above 0, the record `start` itself continues after this many of its changes.
        """
        split = self._behavior.record_split_across_pages
        found: list[dict[str, Any]] = []
        last_id = start
        for record, begin, part in self._parts(start, offset):
            shown = [
                change
                for change in part
                if (not kinds or change.kind in kinds)
                and (label_id is None or label_id in change.labels or label_id in change.changed)
            ]
            if not shown:
                continue
            if len(found) == size:
                return RecordPage(found, (record.id, begin) if begin else (last_id, 0))
            last_id = record.id
            half = len(part) // 2
            if split and len(found) == size - 1 and not begin and half and _names_several(part):
                first_half = [change for change in part[:half] if change in shown]
                if first_half:
                    found.append(self._resource(record.id, first_half))
                    return RecordPage(found, (record.id, begin + half))
            found.append(self._resource(record.id, shown))
        return RecordPage(found, None)

    def _parts(self, start: int, offset: int) -> Iterator[tuple[HistoryRecord, int, Sequence[HistoryChange]]]:
        """The records as shown: for each, the record, the offset of the first shown change, and the shown changes."""
        first = bisect_right(self._ids, start)
        if offset and first and self._ids[first - 1] == start:
            first -= 1
        else:
            offset = 0
        for index in range(first, len(self._records)):
            record = self._records[index]
            rest = record.changes[offset:]
            if self._behavior.history_record_ids_repeat:
                for _, group in groupby(rest, key=lambda change: change.message_id):
                    part = list(group)
                    yield record, offset, part
                    offset += len(part)
            else:
                yield record, offset, rest
            offset = 0

    def _resource(self, record_id: int, changes: Sequence[HistoryChange]) -> dict[str, Any]:
        behavior = self._behavior
        with_thread = behavior.history_message_fields != "id"
        with_labels = behavior.history_message_fields == "all"

        def message(change: HistoryChange) -> dict[str, Any]:
            shown: dict[str, Any] = {"id": change.message_id}
            if with_thread:
                shown["threadId"] = change.thread_id
            return shown

        messages = {change.message_id: message(change) for change in changes}
        record: dict[str, Any] = {"id": str(record_id), "messages": list(messages.values())}
        if behavior.history_records_without_events and record_id % _WITHOUT_EVENTS_EVERY == 0:
            return record
        for change in changes:
            event: dict[str, Any] = {"message": message(change)}
            shows_labels = with_labels and (
                change.kind != "messageDeleted" or behavior.history_labels_of_deleted
            )
            if shows_labels and (change.labels or behavior.empty_label_ids == "empty"):
                event["message"]["labelIds"] = list(change.labels)
            if change.changed:
                event["labelIds"] = list(change.changed)
            record.setdefault(_KEYS[change.kind], []).append(event)
        return record


def _names_several(changes: Sequence[HistoryChange]) -> bool:
    return len({change.message_id for change in changes}) > 1
