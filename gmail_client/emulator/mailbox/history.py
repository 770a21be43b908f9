"""The history of one mailbox: `HistoryLog` numbers changes, keeps the records and answers history.list.

Record ids rise with gaps. A record holds one or more `HistoryChange`s; each shows the labels that the message had
after it. What is older than the floor is forgotten, and a start below it is a 404.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

__all__ = ["HistoryChange", "HistoryLog", "HistoryPage", "HistoryRecord"]

ChangeKind = Literal["messageAdded", "messageDeleted", "labelAdded", "labelRemoved"]

_KEYS: dict[ChangeKind, str] = {
    "messageAdded": "messagesAdded",
    "messageDeleted": "messagesDeleted",
    "labelAdded": "labelsAdded",
    "labelRemoved": "labelsRemoved",
}


class HistoryChange(NamedTuple):
    """One change of one message; `labels` are the resulting ones, `changed` those that came or went."""

    kind: ChangeKind
    message_id: str
    thread_id: str
    labels: tuple[str, ...]
    changed: tuple[str, ...] = ()


class HistoryRecord(NamedTuple):
    """A history record."""

    id: int
    changes: tuple[HistoryChange, ...]


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A page of history: its records as JSON objects and where the next page begins, if there is one."""

    records: list[dict[str, Any]]
    next: tuple[int, int] | None


class HistoryLog:
    """Ids and records of a mailbox.

    Args:
        head: The mailbox's history id at the beginning; nothing older is kept.
    """

    def __init__(self, head: int) -> None:
        self.head = head
        self.floor = head
        self._ids: list[int] = []
        self._records: list[HistoryRecord] = []

    def advance(self, gap: int) -> int:
        """Move the head on without a record and return it."""
        self.head += gap
        return self.head

    def append(self, changes: Sequence[HistoryChange], gap: int) -> int:
        """Add a record `gap` after the head; returns its id, the new head."""
        self.head += gap
        self._ids.append(self.head)
        self._records.append(HistoryRecord(self.head, tuple(changes)))
        return self.head

    def expire(self) -> None:
        """Forget everything: a start at or below the present head is too old from now on."""
        self._ids.clear()
        self._records.clear()
        self.head += 1
        self.floor = self.head

    def after(self, start: int) -> Iterator[HistoryRecord]:
        """The records with an id above `start`."""
        return iter(self._records[bisect_right(self._ids, start) :])

    def page(
        self,
        start: int,
        size: int,
        *,
        kinds: frozenset[str] = frozenset(),
        label_id: str | None = None,
        offset: int = 0,
        split: bool = False,
        empty_labels: bool = False,
        labels_of_deleted: bool = True,
    ) -> HistoryPage:
        """At most `size` records after `start`.

        Args:
            start: Records strictly above this id, but for `offset`.
            size: Largest number of records.
            kinds: Only changes of these kinds; empty for all.
            label_id: Only changes of messages that carry (or just lost) this label.
            offset: Above 0 the record `start` itself goes on after so many of its changes.
            split: A record of several changes that ends the page shows only half of them.
            empty_labels: Show `labelIds: []` for a message without labels instead of no key.
            labels_of_deleted: Show the labels of deleted messages.
        """
        found: list[dict[str, Any]] = []
        last_id = start
        first = bisect_right(self._ids, start) - (1 if offset else 0)
        for index in range(first, len(self._records)):
            record = self._records[index]
            skip, offset = offset, 0
            changes = [
                change
                for change in record.changes[skip:]
                if (not kinds or change.kind in kinds)
                and (label_id is None or label_id in change.labels or label_id in change.changed)
            ]
            if not changes:
                continue
            if len(found) == size:
                return HistoryPage(found, (last_id, 0))
            last_id = record.id
            if split and len(found) == size - 1 and not skip and _can_be_cut(record):
                half = len(record.changes) // 2
                shown = [change for change in record.changes[:half] if change in changes]
                if shown:
                    found.append(_json(record.id, shown, empty_labels, labels_of_deleted))
                    return HistoryPage(found, (record.id, half))
            found.append(_json(record.id, changes, empty_labels, labels_of_deleted))
        return HistoryPage(found, None)


def _can_be_cut(record: HistoryRecord) -> bool:
    return len({change.message_id for change in record.changes}) > 1


def _json(
    record_id: int, changes: list[HistoryChange], empty_labels: bool, labels_of_deleted: bool
) -> dict[str, Any]:
    record: dict[str, Any] = {"id": str(record_id)}
    record["messages"] = [
        {"id": message_id, "threadId": thread_id}
        for message_id, thread_id in dict.fromkeys((c.message_id, c.thread_id) for c in changes)
    ]
    for change in changes:
        message: dict[str, Any] = {"id": change.message_id, "threadId": change.thread_id}
        if (change.labels or empty_labels) and (change.kind != "messageDeleted" or labels_of_deleted):
            message["labelIds"] = list(change.labels)
        entry: dict[str, Any] = {"message": message}
        if change.changed:
            entry["labelIds"] = list(change.changed)
        record.setdefault(_KEYS[change.kind], []).append(entry)
    return record
