"""The table of threads in one run: a row holds all the thread's visible messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.syncing.chunk import Chunk
from gmail_assets.syncing.table import Labels, TableSync, merge
from gmail_assets.syncing.thread_rows import ThreadEdit, rebuild
from gmail_client.changes import Changes
from gmail_client.fetch import FetchedThread
from gmail_client.schema import SCHEMAS
from gmail_client.spec import SpecTable

__all__ = ["StoredThread", "ThreadsSync"]

_EDIT_SLICE = 500
"""Threads rebuilt at once: what bounds the memory of a change that touches many."""


@dataclass(slots=True)
class StoredThread:
    """A row of `threads` without its content: the labels of its messages, by id."""

    members: dict[str, Labels]
    sequence: int


class ThreadsSync(TableSync):
    """The table of threads: a row holds all the thread's visible messages."""

    def __init__(self, spec: SpecTable, part: MailboxPartition) -> None:
        super().__init__(spec, part)
        self.stored: dict[str, StoredThread] = {}

    def _load(self, changes: Changes | None) -> None:
        keys = None if changes is None else {change.thread_id for change in changes.messages.values()}
        table = self.part.members(keys)
        self.marked = set(table.filter(table["marked"])["id"].to_pylist())
        self.stored = {}
        seen: dict[Labels, Labels] = {}
        for batch in table.filter(pc.invert(table["marked"])).to_batches(max_chunksize=10_000):
            for thread_id, members, sequence in zip(
                batch["id"].to_pylist(),
                batch["messages"].to_pylist(),
                batch["historySequence"].to_pylist(),
                strict=True,
            ):
                labels = {}
                for member in members or ():
                    own = tuple(member["labelIds"] or ())
                    labels[member["id"]] = seen.setdefault(own, own)
                self.stored[thread_id] = StoredThread(labels, sequence or 0)

    def held(self) -> dict[str, set[str]]:
        """Thread id to the messages that are stored, of threads that are to stay."""
        return {
            thread: set(stored.members)
            for thread, stored in self.stored.items()
            if thread not in self.leaving
        }

    def labels_of(self, thread_id: str, message_ids: Iterable[str]) -> dict[str, Labels]:
        """Stored labels of a thread's messages, of those that are stored."""
        stored = self.stored.get(thread_id)
        members = stored.members if stored else {}
        return {message_id: members[message_id] for message_id in message_ids if message_id in members}

    def holds(self, thread_id: str) -> bool:
        """Whether the thread has a row, one that is to stay."""
        return thread_id in self.stored and thread_id not in self.leaving

    def missing(self, wanted: Mapping[str, str]) -> dict[str, set[str]]:
        """Thread id to the messages that are wanted and not stored."""
        found: dict[str, set[str]] = {}
        for message_id, thread_id in wanted.items():
            stored = self.stored.get(thread_id)
            if stored is None or message_id not in stored.members:
                found.setdefault(thread_id, set()).add(message_id)
        return found

    def candidates(self, changes: Changes) -> dict[str, str]:
        """Messages that the changes may bring into the table and that are not stored: id to thread id."""
        found = {}
        for message_id, change in changes.messages.items():
            stored = self.stored.get(change.thread_id)
            if change.deleted or (stored is not None and message_id in stored.members):
                continue
            labels = change.labels_after(None)
            # A thread that is there takes every visible message; a new one needs a message that the filters want.
            fits = self.options.is_visible if stored is not None else self.options.matches_labels
            if labels is None or fits(labels):
                found[message_id] = change.thread_id
        return found

    def whole(self, thread_id: str) -> bool:
        """Whether members that no record names may belong to the row: a filtered thread that enters."""
        return self.options.filtered and thread_id not in self.stored

    def take(self, chunk: Chunk) -> None:
        """Append new threads, and put new messages into stored ones."""
        by_thread: dict[str, list[FetchedThread]] = {}
        for fetched in chunk.fetched:
            by_thread.setdefault(fetched.thread_id, []).append(fetched)
        new: list[ThreadEdit] = []
        back: list[ThreadEdit] = []
        grown: list[ThreadEdit] = []
        for thread_id, pieces in by_thread.items():
            stored = self.stored.get(thread_id)
            known = stored.members if stored else {}
            messages = [
                message
                for piece in pieces
                for message in piece.messages
                if message["id"] not in known and self.options.is_visible(message.get("labelIds") or ())
            ]
            came = {message["id"] for piece in pieces for message in piece.messages}
            if not messages or (stored is None and not self._enters(messages)):
                self.settle(came)
                continue
            self.settle(came - {message["id"] for message in messages})
            edit = ThreadEdit(thread_id, put=sorted({chunk.place[message["id"]] for message in messages}))
            self._name_head(edit, pieces)
            if stored is not None:
                grown.append(edit)
            elif thread_id in self.marked:
                back.append(edit)
            else:
                new.append(edit)
        if new:
            rows, _ = rebuild(SCHEMAS["threads"].empty_table(), new, chunk.array)
            self.part.append(rows, anchor=self.anchor)
            self._settle_edits(new, chunk)
            self.written += len(new)
        if back:
            rows, _ = rebuild(SCHEMAS["threads"].empty_table(), back, chunk.array)
            self.part.merge(rows, anchor=self.anchor)
            self._settle_edits(back, chunk)
            self.written += len(back)
        if grown:
            self._edit(grown, cursor=None, chunk=chunk)
            self._settle_edits(grown, chunk)
        for edit in grown:
            stored = self.stored[edit.thread_id]
            stored.sequence = max(stored.sequence, edit.history_id)
            for message in (chunk.messages[place] for place in edit.put):
                stored.members[message["id"]] = tuple(message.get("labelIds") or ())
                self.fresh.add(message["id"])

    def _settle_edits(self, edits: Iterable[ThreadEdit], chunk: Chunk) -> None:
        self.settle(chunk.messages[place]["id"] for edit in edits for place in edit.put)

    def _enters(self, messages: Sequence[Mapping[str, Any]]) -> bool:
        """Whether these messages make a new row.

        What another table's filters fetched may be a part of the thread; where its labels have come to fit ours
        since, the history says so and the thread is read whole.
        """
        if self.options.filtered and not any(message["id"] in self.sought for message in messages):
            return False
        return any(map(self.admits, messages))

    def _name_head(self, edit: ThreadEdit, pieces: Iterable[FetchedThread]) -> None:
        head = self.heads.get(edit.thread_id)
        said = [int(piece.history_id) for piece in pieces if piece.history_id]
        if said:
            edit.history_id = max(said)
        elif head is not None:
            edit.history_id = head.history_id
        else:
            edit.history_id = max(
                int(message.get("historyId") or 0) for piece in pieces for message in piece.messages
            )
        edit.snippet = next((piece.snippet for piece in pieces if piece.snippet), None)
        new = edit.thread_id not in self.stored
        if edit.snippet is None and new and head is not None and head.history_id >= edit.history_id:
            edit.snippet = head.snippet  # the thread is still as it was listed

    def would_remove(self, changes: Changes) -> set[str]:
        """Keys of rows that the changes take out, and of those that are to leave."""
        gone: dict[str, int] = {}
        for message_id, change in changes.messages.items():
            stored = self.stored.get(change.thread_id)
            if change.deleted and stored is not None and message_id in stored.members:
                gone[change.thread_id] = gone.get(change.thread_id, 0) + 1
        emptied = {thread for thread, count in gone.items() if count == len(self.stored[thread].members)}
        return emptied | self.leaving

    def outside(self, wanted: Mapping[str, str]) -> set[str]:
        """Keys of rows that the filters don't name: `wanted` is all that they name."""
        return self.stored.keys() - set(wanted.values())

    def total(self) -> int:
        """Rows that are stored, as far as they were loaded."""
        return len(self.stored)

    def finish(self, changes: Changes, *, cursor: int | None, unread: Set[str] = frozenset()) -> None:
        """Relabel and take out messages inside their threads, and threads that have none left."""
        edits: dict[str, ThreadEdit] = {}

        def edit_of(thread_id: str) -> ThreadEdit:
            return edits.setdefault(thread_id, ThreadEdit(thread_id))

        for message_id, change in changes.messages.items():
            stored = self.stored.get(change.thread_id)
            if stored is None:
                continue
            if message_id in stored.members and message_id not in self.fresh:
                before = stored.members[message_id]
                labels = None if change.deleted else change.labels_after(before)
                if labels is None or not self.options.is_visible(labels):
                    edit_of(change.thread_id).drop.add(message_id)
                    stored.members.pop(message_id)
                else:
                    edit_of(change.thread_id).labels[message_id] = (labels, change.history_id)
                    stored.members[message_id] = labels
            head = max(change.history_id, self.changed_heads.get(change.thread_id, 0))
            if head > stored.sequence:
                edit = edit_of(change.thread_id)
                edit.history_id = max(edit.history_id, head)
                stored.sequence = head
        for thread_id, stored in self.stored.items() if self.narrowed else ():
            if thread_id in unread:
                continue
            unwanted = {
                member for member, labels in stored.members.items() if not self.options.is_visible(labels)
            }
            if unwanted:
                edit_of(thread_id).drop.update(unwanted)
        leaving = {
            thread_id
            for thread_id in edits
            if self.options.label_ids
            and thread_id not in unread
            and not any(
                self.options.matches_labels(labels) for labels in self.stored[thread_id].members.values()
            )
        }
        for thread_id in self.leaving:
            edit_of(thread_id)
        self._edit(list(edits.values()), cursor=cursor, leaving=leaving | self.leaving, last=True)
        self.leaving = set()
        self.narrowed = False

    def _edit(
        self,
        edits: Sequence[ThreadEdit],
        *,
        cursor: int | None,
        leaving: Set[str] = frozenset(),
        last: bool = False,
        chunk: Chunk | None = None,
    ) -> None:
        ordered = sorted(edits, key=lambda edit: edit.thread_id)
        slices = [ordered[at : at + _EDIT_SLICE] for at in range(0, len(ordered), _EDIT_SLICE)]
        for index, piece in enumerate(slices):
            stored = self.part.rows([edit.thread_id for edit in piece if edit.thread_id not in leaving])
            staying = [edit for edit in piece if edit.thread_id not in leaving]
            rows, emptied = rebuild(stored, staying, *([chunk.array] if chunk else []))
            removed = [*emptied, *(edit.thread_id for edit in piece if edit.thread_id in leaving)]
            final = cursor if index == len(slices) - 1 else None
            merge(self.part, rows, removed, final, self.anchor)
            self.updated += rows.num_rows
            self.removed += len(removed)
            for thread_id in removed:
                self.stored.pop(thread_id, None)
        if last and not slices:
            merge(self.part, SCHEMAS["threads"].empty_table(), [], cursor, self.anchor)
