"""The table of threads in one run: a row contains all the thread's visible messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.sync_state import SyncState
from gmail_assets.syncing.chunk import Chunk
from gmail_assets.syncing.table import Labels, TableSync
from gmail_assets.syncing.table_plan import MessageIds
from gmail_assets.syncing.thread_rows import ThreadEdit, rebuild
from gmail_client.changes import Changes, MessageChange
from gmail_client.fetch import FetchedThread
from gmail_client.schema import SCHEMAS
from gmail_client.spec import SpecTable
from gmail_client.unknown_fields import COLUMN

__all__ = ["ThreadWithoutContent", "ThreadsSync"]

_NO_ROWS = SCHEMAS["threads"].empty_table()
_NO_CONTENT: pa.StructArray = pa.array([], SCHEMAS["threads"].field("messages").type.value_type)


@dataclass(slots=True)
class ThreadWithoutContent:
    """A row of `threads` without its content.

    Attributes:
        members: Labels of its messages, by id.
        dates: Their internalDates in milliseconds, if the table's filters need them.
        sequence: The history id of the thread.
    """

    members: dict[str, Labels]
    dates: dict[str, int]
    sequence: int


@dataclass(slots=True)
class _Pending:
    """A chunk that waits for the last commit of an incremental sync."""

    content: pa.StructArray = field(default_factory=lambda: _NO_CONTENT)
    new: list[ThreadEdit] = field(default_factory=list)
    restored: list[ThreadEdit] = field(default_factory=list)
    grown: list[ThreadEdit] = field(default_factory=list)

    def select(self, chunk: Chunk) -> None:
        """Keep the content that the edits add, and no other content of the chunk."""
        edits = [*self.new, *self.restored, *self.grown]
        places = sorted({place for edit in edits for place in edit.put})
        self.content = chunk.selected(places)
        if len(places) < len(chunk.messages):
            index = {place: number for number, place in enumerate(places)}
            for edit in edits:
                edit.put = [index[place] for place in edit.put]


class ThreadsSync(TableSync):
    """The table of threads: a row contains all the thread's visible messages."""

    def __init__(self, spec: SpecTable, partition: MailboxPartition) -> None:
        super().__init__(spec, partition)
        self.stored: dict[str, ThreadWithoutContent] = {}
        self._dated = self.options.search is not None
        self._fresh: set[str] = set()
        self._changed: set[str] = set()
        self._pending: _Pending | None = None

    def read_stored(self, changes: Changes | None) -> None:
        """Read stored threads without content: all, or those with a message in the changes."""
        self._fresh = set()
        self._changed = set()
        keys = None if changes is None else {change.thread_id for change in changes.messages.values()}
        table = self.partition.members(keys)
        self.soft_deleted = set(table.filter(table["soft_deleted"])["id"].to_pylist())
        self.stored = {}
        seen: dict[Labels, Labels] = {}
        for batch in table.filter(pc.invert(table["soft_deleted"])).to_batches(max_chunksize=10_000):
            for thread_id, members, sequence in zip(
                batch["id"].to_pylist(),
                batch["messages"].to_pylist(),
                batch["historySequence"].to_pylist(),
                strict=True,
            ):
                labels: dict[str, Labels] = {}
                dates: dict[str, int] = {}
                for member in members or ():
                    own = tuple(member["labelIds"] or ())
                    labels[member["id"]] = seen.setdefault(own, own)
                    if self._dated:
                        dates[member["id"]] = int(member["internalDate"] or 0)
                self.stored[thread_id] = ThreadWithoutContent(labels, dates, sequence or 0)

    def stored_messages(self) -> MessageIds:
        """Stored messages, by thread."""
        return {thread: set(stored.members) for thread, stored in self.stored.items()}

    def dates(self) -> dict[str, int]:
        """Stored messages with their internalDate in milliseconds, if the filters are a search or a date."""
        return {
            message_id: date for stored in self.stored.values() for message_id, date in stored.dates.items()
        }

    def labels_of(self, thread_id: str, message_ids: Iterable[str]) -> dict[str, Labels]:
        """Labels of a thread's stored messages."""
        stored = self.stored.get(thread_id)
        members = stored.members if stored else {}
        return {message_id: members[message_id] for message_id in message_ids if message_id in members}

    def has_row(self, thread_id: str) -> bool:
        """Whether the thread has a row."""
        return thread_id in self.stored

    def missing(self, listed: Mapping[str, str]) -> MessageIds:
        """Messages of these that are not stored, by thread."""
        found: MessageIds = {}
        for message_id, thread_id in listed.items():
            stored = self.stored.get(thread_id)
            if stored is None or message_id not in stored.members:
                found.setdefault(thread_id, set()).add(message_id)
        return found

    def candidates(self, changes: Changes) -> dict[str, str]:
        """Messages that may match after the changes and are not stored: thread id by id."""
        found = {}
        for message_id, change in changes.messages.items():
            stored = self.stored.get(change.thread_id)
            if change.deleted or (stored is not None and message_id in stored.members):
                continue
            # Every visible message is added to a stored thread; a new thread needs a message that matches the filters.
            if stored is None:
                fits = self.may_enter(change)
            else:
                labels = change.labels_after(None)
                fits = labels is None or self.options.is_visible(labels)
            if fits:
                found[message_id] = change.thread_id
        return found

    def key_of(self, message_id: str, thread_id: str) -> str:
        """The thread's id."""
        return thread_id

    def changed_rows(self, changes: Changes) -> dict[str, dict[str, int]]:
        """Threads with a stored message in the changes, by id: such a thread is matched as a whole."""
        named = {
            change.thread_id
            for message_id, change in changes.messages.items()
            if self.labels_of(change.thread_id, [message_id]) and self.concerns(message_id, change)
        }
        rows = {}
        for thread_id in named:
            stored, row = self.stored[thread_id], dict[str, int]()
            for message_id, labels in stored.members.items():
                change = changes.messages.get(message_id)
                after = labels if change is None else change.labels_after(labels)
                if not (change and change.deleted) and self.options.matches_labels(after or ()):
                    row[message_id] = stored.dates[message_id]
            rows[thread_id] = row
        return rows

    def needs_whole(self, thread_id: str) -> bool:
        """True for a filtered thread that is new: messages that are in no record may belong to its row."""
        return self.options.filtered and thread_id not in self.stored

    def outside(self, listed: Mapping[str, str]) -> set[str]:
        """Keys of rows that are not in a listing, or that are before `startDate`."""
        if self.options.start_date is None:
            return self.stored.keys() - set(listed.values())
        # The date of a listed message that is not stored decides once it is fetched.
        inside = set()
        for message_id, thread_id in listed.items():
            stored = self.stored.get(thread_id)
            if stored is not None and (
                message_id not in stored.members or self.options.matches_date(stored.dates[message_id])
            ):
                inside.add(thread_id)
        return self.stored.keys() - inside

    def misplaced(self, present: Mapping[str, str]) -> MessageIds:
        """Stored messages that a listing shows in another thread than their row's, by the row's thread."""
        found: MessageIds = {}
        for thread_id, stored in self.stored.items():
            for message_id in stored.members:
                if present.get(message_id, thread_id) != thread_id:
                    found.setdefault(thread_id, set()).add(message_id)
        return found

    def would_delete(self, changes: Changes) -> set[str]:
        """Keys of rows that the changes delete: of threads that lose all their messages."""
        gone: dict[str, int] = {}
        for message_id, change in changes.messages.items():
            stored = self.stored.get(change.thread_id)
            if change.deleted and stored is not None and message_id in stored.members:
                gone[change.thread_id] = gone.get(change.thread_id, 0) + 1
        return {thread for thread, count in gone.items() if count == len(self.stored[thread].members)}

    def total(self) -> int:
        """Number of stored rows that were read."""
        return len(self.stored)

    # What is written

    def write_content(self, chunk: Chunk) -> None:
        """Append new threads, and add new messages to stored ones."""
        self.flush()
        by_thread: dict[str, list[FetchedThread]] = {}
        for fetched in chunk.fetched:
            by_thread.setdefault(fetched.thread_id, []).append(fetched)
        pending = _Pending()
        for thread_id, pieces in by_thread.items():
            edit = self._edit_of(thread_id, pieces, chunk)
            if edit is None:
                continue
            if thread_id in self.stored:
                pending.grown.append(edit)
                self._note_grown(edit, chunk)
            elif thread_id in self.soft_deleted:
                pending.restored.append(edit)
            else:
                pending.new.append(edit)
        pending.select(chunk)
        self.settle(message["id"] for message in chunk.messages)
        self.written += len(pending.new) + len(pending.restored)
        self._pending = pending
        if self.mode != "incremental":
            self.flush()

    def _edit_of(self, thread_id: str, pieces: Sequence[FetchedThread], chunk: Chunk) -> ThreadEdit | None:
        """The edit of the thread's row for the fetched messages; None for no change."""
        stored = self.stored.get(thread_id)
        known = stored.members if stored else {}
        messages = [
            message
            for piece in pieces
            for message in piece.messages
            if message["id"] not in known and self.options.is_visible(message.get("labelIds") or ())
        ]
        if not messages or (stored is None and not self._enters(messages)):
            return None
        edit = ThreadEdit(thread_id, put=sorted({chunk.place[message["id"]] for message in messages}))
        edit.unknown = {message["id"]: text for message in messages if (text := message.get(COLUMN))}
        if own := [piece.unknown for piece in pieces if piece.unknown]:
            edit.unknown[""] = own[-1]
        self._set_head(edit, pieces)
        return edit

    def _note_grown(self, edit: ThreadEdit, chunk: Chunk) -> None:
        stored = self.stored[edit.thread_id]
        stored.sequence = max(stored.sequence, edit.history_id)
        for message in (chunk.messages[place] for place in edit.put):
            stored.members[message["id"]] = tuple(message.get("labelIds") or ())
            if self._dated:
                stored.dates[message["id"]] = int(message.get("internalDate") or 0)
            self._fresh.add(message["id"])

    def _enters(self, messages: Sequence[Mapping[str, Any]]) -> bool:
        """Whether these messages make a new row.

        A fetch for another table's filters may contain only some of the thread's messages. If one of them matches this
        table's filters later, there is a history record and the thread is fetched completely.
        """
        if self.options.filtered and not any(message["id"] in self.plan.requested for message in messages):
            return False
        return any(map(self.matches, messages))

    def _set_head(self, edit: ThreadEdit, pieces: Iterable[FetchedThread]) -> None:
        head = self.plan.threads.get(edit.thread_id)
        named = [int(piece.history_id) for piece in pieces if piece.history_id]
        if named:
            edit.history_id = max(named)
        elif head is not None:
            edit.history_id = head.history_id
        else:
            edit.history_id = max(
                int(message.get("historyId") or 0) for piece in pieces for message in piece.messages
            )
        if self.options.policy is not None:
            return  # the thread's snippet may be that of an excluded message: the newest stored one's is used
        edit.snippet = next((piece.snippet for piece in pieces if piece.snippet), None)
        new = edit.thread_id not in self.stored
        if edit.snippet is None and new and head is not None and head.history_id >= edit.history_id:
            edit.snippet = head.snippet  # the thread is still as it was listed

    def flush(self) -> None:
        """Write the chunk that waits for `write_changes`, if the run ends before; the cursor is not moved."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        if pending.new:
            self.partition.append(rebuild(_NO_ROWS, pending.new, pending.content)[0], self.state)
        if pending.restored:
            self._merge(rebuild(_NO_ROWS, pending.restored, pending.content)[0], [])
        if pending.grown:
            self._edit(pending.grown, content=pending.content)

    def write_changes(self, changes: Changes, state: SyncState, *, unread: Set[str] = frozenset()) -> None:
        """Relabel and remove messages inside their threads, and delete threads without messages."""
        pending, self._pending = self._pending, None
        edits = {edit.thread_id: edit for edit in pending.grown} if pending else {}
        applied: dict[str, int] = {}

        def edit_of(thread_id: str) -> ThreadEdit:
            return edits.setdefault(thread_id, ThreadEdit(thread_id))

        for message_id, change in changes.messages.items():
            stored = self.stored.get(change.thread_id)
            if stored is not None:
                through = applied.setdefault(change.thread_id, stored.sequence)
                self._apply(change, message_id, stored, edit_of(change.thread_id), through)
        for thread_id, misplaced in self._misplaced.items():
            edit_of(thread_id).drop.update(misplaced)
            for message_id in misplaced:
                self.stored[thread_id].members.pop(message_id, None)
        for thread_id, stored in self.stored.items() if self._narrowed else ():
            if thread_id in unread:
                continue
            unwanted = {
                member for member, labels in stored.members.items() if not self.options.is_visible(labels)
            }
            if unwanted:
                edit_of(thread_id).drop.update(unwanted)
            elif self.options.start_date is not None and not self._belongs(thread_id):
                edit_of(thread_id)
        deleted = self._obsolete | {
            thread_id for thread_id in edits if thread_id not in unread and not self._belongs(thread_id)
        }
        for thread_id in self._obsolete:
            edit_of(thread_id)
        self._edit(
            [edit for edit in edits.values() if edit.changes or edit.thread_id in deleted],
            deleted=deleted,
            content=pending.content if pending else None,
            new=rebuild(_NO_ROWS, pending.new, pending.content)[0] if pending and pending.new else None,
            restored=rebuild(_NO_ROWS, pending.restored, pending.content)[0]
            if pending and pending.restored
            else None,
            state=state,
        )
        self._obsolete = set()
        self._misplaced = {}
        self._narrowed = False

    def _belongs(self, thread_id: str) -> bool:
        """Whether a stored thread has a message that matches the filters, as far as this step has matched them."""
        stored, lasting = self.stored[thread_id], self.plan.lasting
        matched = None if lasting is None or thread_id not in self._changed else lasting | self.plan.matches
        if matched is None and not self.options.label_ids and self.options.start_date is None:
            return True
        return any(
            (matched is None or message_id in matched)
            and self.options.matches_labels(labels)
            and self.options.matches_date(stored.dates.get(message_id))
            for message_id, labels in stored.members.items()
        )

    def _apply(
        self,
        change: MessageChange,
        message_id: str,
        stored: ThreadWithoutContent,
        edit: ThreadEdit,
        applied: int,
    ) -> None:
        """Add one message's change to its thread's edit, unless the stored row, through `applied`, has it already."""
        if message_id in stored.members and message_id not in self._fresh:
            labels = None if change.deleted else change.labels_after(stored.members[message_id])
            differs = labels is None or set(labels) != set(stored.members[message_id])
            if differs:
                self._changed.add(change.thread_id)
            if labels is None or not self.options.is_visible(labels):
                edit.drop.add(message_id)
                stored.members.pop(message_id)
            elif differs or change.history_id > applied:
                edit.labels[message_id] = (labels, change.history_id)
                stored.members[message_id] = labels
        head = max(change.history_id, self.thread_heads.get(change.thread_id, 0))
        if head > stored.sequence:
            edit.history_id = max(edit.history_id, head)
            stored.sequence = head

    def _edit(
        self,
        edits: Sequence[ThreadEdit],
        *,
        deleted: Set[str] = frozenset(),
        content: pa.StructArray | None = None,
        new: pa.Table | None = None,
        restored: pa.Table | None = None,
        state: SyncState | None = None,
    ) -> None:
        """Write edits of stored rows, new and restored rows, and the state, in one commit."""
        state = self.state if state is None else state
        staying = {edit.thread_id: edit for edit in edits if edit.thread_id not in deleted}
        restored = _NO_ROWS if restored is None else restored
        rebuilt: set[str] = set()
        emptied: set[str] = set()

        def edit_rows(stored: pa.Table) -> pa.Table:
            own = [staying[key] for key in stored["id"].to_pylist() if key in staying]
            rows, empty = rebuild(stored, *_with_own_content(own, content))
            rebuilt.update(rows["id"].to_pylist())
            emptied.update(empty)
            return pa.concat_tables(
                [rows, restored.filter(pc.is_in(restored["id"], stored["id"].combine_chunks()))]
            )

        keys = [*staying, *deleted, *restored["id"].to_pylist()]
        self.partition.edit(keys, edit_rows, new, state)
        self.state = state
        self.updated += len(rebuilt)
        self.deleted += len(deleted) + len(emptied)
        for thread_id in (*deleted, *emptied):
            self.stored.pop(thread_id, None)


def _with_own_content(
    edits: Sequence[ThreadEdit], content: pa.StructArray | None
) -> tuple[list[ThreadEdit], pa.StructArray]:
    """Edits with only the new messages that they add, so that these are not copied for every file of the table."""
    places = sorted({place for edit in edits for place in edit.put})
    if content is None or not places:
        return list(edits), _NO_CONTENT
    at = {place: index for index, place in enumerate(places)}
    own = [replace(edit, put=[at[place] for place in edit.put]) for edit in edits]
    return own, content.take(pa.array(places, pa.int64()))
