"""A table that follows the history, as one run sees it: what is stored, what is missing, what to write.

`MessagesSync` and `ThreadsSync` answer the same questions, so that `gmail_assets.syncing.mailbox_run` drives either or
both. None of them talks to Gmail.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Set
from typing import Any, Literal

import pyarrow as pa

from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.registry import Unfetched
from gmail_assets.syncing.chunk import Chunk
from gmail_client.changes import Changes, ListedThread
from gmail_client.errors import IncompleteReadError
from gmail_client.options import TableOptions
from gmail_client.spec import SpecTable

__all__ = ["Labels", "Mode", "TableSync", "merge"]

Mode = Literal["full_load", "reconcile", "incremental"]
Labels = tuple[str, ...]


class TableSync(ABC):
    """One table in one run.

    Attributes:
        spec: What the table is asked for.
        part: The mailbox's part of it.
        mode: `full_load` fetches what is missing, `reconcile` also compares what is stored, `incremental` only
            replays the history.
        start: History id from which the replay begins.
        marked: Keys of rows that are marked as deleted; what comes back is read again and takes their place.
        leaving: Keys of rows that narrower options let go.
        narrowed: Rows may be stored that these options don't want.
        wanted: Ids of messages that the filters let in, as far as a listing told; what `q` says counts only here.
        sought: Ids of messages that are fetched because this table lacks them.
        outstanding: Those of them that have no outcome yet: not written, gone, refused or found not to match.
        failed: Messages that Gmail would not give in this run, by id.
        due: Messages that it would not give earlier and that are tried again.
        heads: What threads.list says of threads.
        changed_heads: The history ids of threads that a comparison read again.
        written: Rows written anew in this run.
        updated: Rows changed in this run.
        removed: Rows taken out (or marked) in this run.
    """

    def __init__(self, spec: SpecTable, part: MailboxPartition) -> None:
        self.spec = spec
        self.part = part
        self.mode: Mode = "incremental"
        self.start = 0
        self.wanted: set[str] = set()
        self.sought: set[str] = set()
        self.outstanding: set[str] = set()
        self.failed: dict[str, Unfetched] = {}
        self.due: dict[str, Unfetched] = {}
        self.heads: Mapping[str, ListedThread] = {}
        self.changed_heads: dict[str, int] = {}
        self.marked: set[str] = set()
        self.leaving: set[str] = set()
        self.narrowed = False
        self.fresh: set[str] = set()
        self.asked: set[str] | None = None
        self.written = 0
        self.updated = 0
        self.removed = 0

    @property
    def name(self) -> str:
        """`messages` or `threads`."""
        return self.spec.source_table

    @property
    def options(self) -> TableOptions:
        """The table options."""
        return self.spec.options

    @property
    def anchor(self) -> int | None:
        """What a commit before the last one says of the load it belongs to."""
        return self.start if self.mode == "full_load" and self.part.cursor is None else None

    def admits(self, message: Mapping[str, Any]) -> bool:
        """Whether the filters let a message in, as it is now."""
        listed = not self.options.q or message["id"] in self.wanted
        return listed and self.options.matches_labels(message.get("labelIds") or ())

    def load(self, changes: Changes | None) -> None:
        """Learn what is stored: all of it, or only what the changes may touch."""
        self.fresh = set()
        self.asked = None if changes is None else set()
        self._load(changes)

    @abstractmethod
    def _load(self, changes: Changes | None) -> None: ...

    @abstractmethod
    def held(self) -> dict[str, set[str]]:
        """Thread id to the messages that are stored and to stay. Rows marked as deleted count as not stored."""

    @abstractmethod
    def labels_of(self, thread_id: str, message_ids: Iterable[str]) -> dict[str, Labels]:
        """Stored labels of a thread's messages, of those that are stored."""

    @abstractmethod
    def holds(self, thread_id: str) -> bool:
        """Whether the table has a row for which the filters have spoken: a thread's, where rows are threads."""

    def moved(self, threads: Iterable[str], heads: Mapping[str, ListedThread]) -> set[str]:
        """Which stored threads changed after what the rows are true up to: their labels have to be read again."""
        applied = self.part.applied
        return {
            thread_id
            for thread_id in threads
            if thread_id not in heads or heads[thread_id].history_id > applied
        }

    @abstractmethod
    def missing(self, wanted: Mapping[str, str]) -> dict[str, set[str]]:
        """Thread id to the messages that are wanted and not stored."""

    @abstractmethod
    def candidates(self, changes: Changes) -> dict[str, str]:
        """Messages that the changes may bring into the table and that are not stored: id to thread id."""

    @abstractmethod
    def whole(self, thread_id: str) -> bool:
        """Whether a candidate's thread has to be read whole, for members that no record names."""

    def request(self, message_ids: Set[str]) -> None:
        """Note that these messages are fetched for this table."""
        self.sought |= message_ids
        self.outstanding |= message_ids

    def settle(self, message_ids: Iterable[str]) -> None:
        """Note that these messages have an outcome."""
        self.outstanding.difference_update(message_ids)

    def check_conserved(self) -> None:
        """Refuse to go on to the cursor while a requested message has no outcome.

        Raises:
            IncompleteReadError: One has none.
        """
        if self.outstanding:
            raise IncompleteReadError(
                f"Defect: {self.name} lacks requested messages: {len(self.outstanding)} have no outcome, "
                f"one is {min(self.outstanding)}.",
            )

    @abstractmethod
    def take(self, chunk: Chunk) -> None:
        """Write what was fetched, and settle what was written or does not belong here."""

    @abstractmethod
    def outside(self, wanted: Mapping[str, str]) -> set[str]:
        """Keys of rows that the filters don't name: `wanted` is all that they name."""

    def narrow(self, wanted: Mapping[str, str]) -> None:
        """Let rows go that the filters don't name any more: the options are not those of the stored rows."""
        self.narrowed = True
        self.leaving = self.outside(wanted)

    @abstractmethod
    def would_remove(self, changes: Changes) -> set[str]:
        """Keys of rows that the changes take out, and of those that are to leave."""

    @abstractmethod
    def total(self) -> int:
        """Rows that are stored, as far as they were loaded."""

    @abstractmethod
    def finish(self, changes: Changes, *, cursor: int | None, unread: Set[str] = frozenset()) -> None:
        """Write labels and deletions, and with the last of them the cursor.

        Args:
            changes: What is known of stored messages.
            cursor: History id up to which all is written then.
            unread: Threads whose labels are yet to be read again: what is stored of them drops nothing.
        """


def merge(
    part: MailboxPartition, updates: pa.Table, removed: list[str], cursor: int | None, anchor: int | None
) -> None:
    """Write changes; with a cursor, the load they end has no anchor any more."""
    if updates.num_rows or removed:
        part.merge(updates, removed, cursor=cursor, anchor=anchor)
    elif cursor is not None and cursor != part.cursor:
        part.commit(cursor=cursor)
