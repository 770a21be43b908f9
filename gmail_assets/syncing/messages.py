"""The table of messages in one run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.syncing.chunk import Chunk
from gmail_assets.syncing.table import Labels, TableSync, merge
from gmail_client.changes import Changes
from gmail_client.schema import SCHEMAS
from gmail_client.spec import SpecTable

__all__ = ["MessagesSync", "StoredMessage"]


@dataclass(slots=True)
class StoredMessage:
    """A row of `messages` without its content."""

    thread_id: str
    labels: Labels
    sequence: int


class MessagesSync(TableSync):
    """The table of messages."""

    def __init__(self, spec: SpecTable, part: MailboxPartition) -> None:
        super().__init__(spec, part)
        self.stored: dict[str, StoredMessage] = {}

    def _load(self, changes: Changes | None) -> None:
        table = self.part.members(None if changes is None else changes.messages)
        self.marked = set(table.filter(table["marked"])["id"].to_pylist())
        table = table.filter(pc.invert(table["marked"]))
        self.stored = {
            message_id: StoredMessage(thread_id, labels, sequence or 0)
            for message_id, thread_id, labels, sequence in zip(
                table["id"].to_pylist(),
                table["threadId"].to_pylist(),
                _interned(table["labelIds"].to_pylist()),
                table["historySequence"].to_pylist(),
                strict=True,
            )
        }

    def held(self) -> dict[str, set[str]]:
        """Thread id to the messages that are stored, and that are to stay."""
        threads: dict[str, set[str]] = {}
        for message_id, stored in self.stored.items():
            if message_id not in self.leaving:
                threads.setdefault(stored.thread_id, set()).add(message_id)
        return threads

    def labels_of(self, thread_id: str, message_ids: Iterable[str]) -> dict[str, Labels]:
        """Stored labels of a thread's messages, of those that are stored."""
        return {
            message_id: self.stored[message_id].labels
            for message_id in message_ids
            if message_id in self.stored
        }

    def holds(self, thread_id: str) -> bool:
        """Never: each message enters by itself."""
        return False

    def missing(self, wanted: Mapping[str, str]) -> dict[str, set[str]]:
        """Thread id to the messages that are wanted and not stored."""
        found: dict[str, set[str]] = {}
        for message_id, thread_id in wanted.items():
            if message_id not in self.stored:
                found.setdefault(thread_id, set()).add(message_id)
        return found

    def candidates(self, changes: Changes) -> dict[str, str]:
        """Messages that the changes may bring into the table and that are not stored: id to thread id."""
        found = {}
        for message_id, change in changes.messages.items():
            if change.deleted or message_id in self.stored:
                continue
            labels = change.labels_after(None)
            if labels is None or self.options.matches_labels(labels):
                found[message_id] = change.thread_id
        self.asked = set(found)
        return found

    def whole(self, thread_id: str) -> bool:
        """Never: a row of messages needs no other."""
        return False

    def take(self, chunk: Chunk) -> None:
        """Append the messages that belong here and are not stored; one that was marked as deleted is back."""
        places = []
        for place, message in enumerate(chunk.messages):
            if self._lacks(message):
                places.append(place)
            else:
                self.settle([message["id"]])
        new = [place for place in places if chunk.messages[place]["id"] not in self.marked]
        back = [place for place in places if chunk.messages[place]["id"] in self.marked]
        if new:
            self.part.append(chunk.rows(new), anchor=self.anchor)
        if back:
            self.part.merge(chunk.rows(back), anchor=self.anchor)
        # Not noted as stored: what was just read needs no change, and a mailbox's worth of notes takes memory.
        self.settle(chunk.messages[place]["id"] for place in places)
        self.written += len(places)

    def _lacks(self, message: Mapping[str, Any]) -> bool:
        message_id = message["id"]
        if message_id in self.stored or (self.asked is not None and message_id not in self.asked):
            return False  # stored, or it came along in its thread and was not looked up
        return self.admits(message)

    def would_remove(self, changes: Changes) -> set[str]:
        """Keys of rows that the changes take out, and of those that are to leave."""
        gone = {message_id for message_id, change in changes.messages.items() if change.deleted}
        return self.stored.keys() & (gone | self.leaving)

    def outside(self, wanted: Mapping[str, str]) -> set[str]:
        """Keys of rows that the filters don't name: `wanted` is all that they name."""
        return self.stored.keys() - wanted.keys()

    def total(self) -> int:
        """Rows that are stored, as far as they were loaded."""
        return len(self.stored)

    def finish(self, changes: Changes, *, cursor: int | None, unread: Set[str] = frozenset()) -> None:
        """Set labels and take out what left, in one merge."""
        updates: list[dict[str, Any]] = []
        removed = sorted(self.leaving)
        for message_id, change in changes.messages.items():
            stored = self.stored.get(message_id)
            if stored is None or message_id in self.leaving:
                continue
            labels = None if change.deleted else change.labels_after(stored.labels)
            if labels is None or not self.options.matches_labels(labels):
                removed.append(message_id)
                continue
            sequence = max(stored.sequence, change.history_id)
            if set(labels) != set(stored.labels) or sequence != stored.sequence:
                updates.append(
                    {
                        "id": message_id,
                        "labelIds": labels,
                        "historyId": str(sequence),
                        "historySequence": sequence,
                    }
                )
        schema = SCHEMAS["messages"]
        fields = [schema.field(name) for name in ("id", "labelIds", "historyId", "historySequence")]
        merge(
            self.part, pa.Table.from_pylist(updates, schema=pa.schema(fields)), removed, cursor, self.anchor
        )
        self.updated += len(updates)
        self.removed += len(removed)
        for message_id in removed:
            self.stored.pop(message_id, None)  # a label must not bring back a row that is only marked
        self.leaving = set()
        self.narrowed = False


def _interned(rows: Iterable[Sequence[str] | None]) -> list[Labels]:
    """Label sets as tuples, one object for each distinct set: mailboxes have few."""
    seen: dict[Labels, Labels] = {}
    return [seen.setdefault(labels, labels) for labels in (tuple(row or ()) for row in rows)]
