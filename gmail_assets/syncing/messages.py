"""The table of messages in one run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.sync_state import SyncState
from gmail_assets.syncing.chunk import Chunk
from gmail_assets.syncing.table import Labels, TableSync
from gmail_assets.syncing.table_plan import MessageIds
from gmail_client.changes import Changes
from gmail_client.schema import SCHEMAS
from gmail_client.spec import SpecTable

__all__ = ["MessageWithoutContent", "MessagesSync"]

_SCHEMA = SCHEMAS["messages"]
_CHANGING = pa.schema([_SCHEMA.field(name) for name in ("id", "labelIds", "historyId", "historySequence")])


@dataclass(slots=True)
class MessageWithoutContent:
    """A row of `messages` without its content; `date` is the internalDate, in milliseconds."""

    thread_id: str
    labels: Labels
    sequence: int
    date: int


class MessagesSync(TableSync):
    """The table of messages."""

    def __init__(self, spec: SpecTable, partition: MailboxPartition) -> None:
        super().__init__(spec, partition)
        self.stored: dict[str, MessageWithoutContent] = {}
        self._candidates: set[str] | None = None
        self._pending: pa.Table | None = None

    def read_stored(self, changes: Changes | None) -> None:
        """Read ids, threads, labels, history ids and dates of stored messages: all, or those in the changes."""
        self._candidates = None if changes is None else set()
        table = self.partition.members(None if changes is None else changes.messages)
        self.soft_deleted = set(table.filter(table["soft_deleted"])["id"].to_pylist())
        table = table.filter(pc.invert(table["soft_deleted"]))
        self.stored = {
            message_id: MessageWithoutContent(thread_id, labels, sequence or 0, date or 0)
            for message_id, thread_id, labels, sequence, date in zip(
                table["id"].to_pylist(),
                table["threadId"].to_pylist(),
                _interned(table["labelIds"].to_pylist()),
                table["historySequence"].to_pylist(),
                table["date"].to_pylist(),
                strict=True,
            )
        }

    def stored_messages(self) -> MessageIds:
        """Stored messages, by thread."""
        threads: MessageIds = {}
        for message_id, stored in self.stored.items():
            threads.setdefault(stored.thread_id, set()).add(message_id)
        return threads

    def dates(self) -> dict[str, int]:
        """Stored messages with their internalDate in milliseconds."""
        return {message_id: stored.date for message_id, stored in self.stored.items()}

    def labels_of(self, thread_id: str, message_ids: Iterable[str]) -> dict[str, Labels]:
        """Labels of a thread's stored messages."""
        return {
            message_id: self.stored[message_id].labels
            for message_id in message_ids
            if message_id in self.stored
        }

    def has_row(self, thread_id: str) -> bool:
        """False: each message is a separate row."""
        return False

    def missing(self, listed: Mapping[str, str]) -> MessageIds:
        """Messages of these that are not stored, by thread."""
        found: MessageIds = {}
        for message_id, thread_id in listed.items():
            if message_id not in self.stored:
                found.setdefault(thread_id, set()).add(message_id)
        return found

    def candidates(self, changes: Changes) -> dict[str, str]:
        """Messages that may match after the changes and are not stored: thread id by id."""
        found = {}
        for message_id, change in changes.messages.items():
            if change.deleted or message_id in self.stored:
                continue
            if self.may_enter(change):
                found[message_id] = change.thread_id
        self._candidates = set(found)
        return found

    def key_of(self, message_id: str, thread_id: str) -> str:
        """The message's id."""
        return message_id

    def changed_rows(self, changes: Changes) -> dict[str, dict[str, int]]:
        """Stored messages in the changes, by id."""
        rows = {}
        for message_id, change in changes.messages.items():
            stored = self.stored.get(message_id)
            if stored is None or change.deleted or not self.concerns(message_id, change):
                continue
            if self.options.matches_labels(change.labels_after(stored.labels) or ()):
                rows[message_id] = {message_id: stored.date}
        return rows

    def needs_whole(self, thread_id: str) -> bool:
        """False: a row of messages needs no other message."""
        return False

    def outside(self, listed: Mapping[str, str]) -> set[str]:
        """Keys of rows that are not in a listing, or that are before `startDate`."""
        return {
            message_id
            for message_id, stored in self.stored.items()
            if message_id not in listed or not self.options.matches_date(stored.date)
        }

    def misplaced(self, present: Mapping[str, str]) -> MessageIds:
        """None: a row of messages is not part of a thread's row."""
        return {}

    def would_delete(self, changes: Changes) -> set[str]:
        """Keys of rows that the changes delete."""
        gone = {message_id for message_id, change in changes.messages.items() if change.deleted}
        return self.stored.keys() & gone

    def total(self) -> int:
        """Number of stored rows that were read."""
        return len(self.stored)

    def write_content(self, chunk: Chunk) -> None:
        """Append messages that match and are not stored; restore soft-deleted ones."""
        places = [place for place, message in enumerate(chunk.messages) if self._lacks(message)]
        new = [place for place in places if chunk.messages[place]["id"] not in self.soft_deleted]
        restored = [place for place in places if chunk.messages[place]["id"] in self.soft_deleted]
        self.flush()
        if restored:
            self._merge(chunk.rows(restored), [])
        if new:
            self._pending = chunk.rows(new)
            if self.mode != "incremental":
                self.flush()
        # Not added to the stored ids: these rows need no change, and a whole mailbox of ids takes memory.
        self.settle(message["id"] for message in chunk.messages)
        self.written += len(places)

    def flush(self) -> None:
        """Write the chunk that waits for `write_changes`, if the run ends before; the cursor is not moved."""
        if self._pending is not None:
            self.partition.append(self._pending, self.state)
            self._pending = None

    def _lacks(self, message: Mapping[str, Any]) -> bool:
        message_id = message["id"]
        if message_id in self.stored or (self._candidates is not None and message_id not in self._candidates):
            return False  # stored, or it was fetched with its thread and was not looked up
        return self.matches(message)

    def write_changes(self, changes: Changes, state: SyncState, *, unread: Set[str] = frozenset()) -> None:
        """Set labels and delete rows, in one merge with the pending new rows."""
        updates: list[dict[str, Any]] = []
        deleted = sorted(self._obsolete)
        for message_id, change in changes.messages.items():
            stored = self.stored.get(message_id)
            if stored is None or message_id in self._obsolete:
                continue
            labels = None if change.deleted else change.labels_after(stored.labels)
            if labels is None or not self._stays(message_id, stored.labels, labels):
                deleted.append(message_id)
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
        inserts, self._pending = self._pending, None
        self._merge(pa.Table.from_pylist(updates, schema=_CHANGING), deleted, inserts, state)
        self.updated += len(updates)
        self.deleted += len(deleted)
        for message_id in deleted:
            self.stored.pop(message_id, None)  # a label must not restore a row that is only soft-deleted
        self._obsolete = set()
        self._narrowed = False

    def _stays(self, message_id: str, before: Labels, labels: Labels) -> bool:
        """Whether a stored message with these labels still matches the filters."""
        lasting = self.plan.lasting
        matches = lasting is None or message_id in lasting or set(labels) == set(before)
        return matches and self.options.matches_labels(labels)


def _interned(rows: Iterable[Sequence[str] | None]) -> list[Labels]:
    """Label sets as tuples, one object per distinct set, because a mailbox has few of them."""
    seen: dict[Labels, Labels] = {}
    return [seen.setdefault(labels, labels) for labels in (tuple(row or ()) for row in rows)]
