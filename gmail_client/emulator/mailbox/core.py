"""The base of a mailbox: `MailboxCore` (state, ids, history, the lock), and the decorator `write`.

A write runs under the mailbox's lock, at one time of the clock, and is written to the journal if it succeeds. Its
random numbers (ids, gaps) come from a state that a failed write does not change, so that a replay of the journal gives
the same ids.
"""

from __future__ import annotations

import functools
import inspect
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

from gmail_client.emulator.api.errors import ApiError, bad_argument, not_found
from gmail_client.emulator.behavior import Behavior
from gmail_client.emulator.generate.seeded import SeededMailbox
from gmail_client.emulator.mail.content import MessageContent, from_raw
from gmail_client.emulator.mailbox.history import HistoryChange, HistoryLog
from gmail_client.emulator.mailbox.journal import Journal, JournalEntry
from gmail_client.emulator.mailbox.labels import LabelStore
from gmail_client.emulator.mailbox.message_store import MessageStore, StoredMessage, StoredThread
from gmail_client.emulator.mailbox.settings import SettingsStore
from gmail_client.emulator.mailbox.threading import ThreadIndex
from gmail_client.http.clock import Clock

__all__ = ["GHOST_LABEL", "MailboxCore", "as_content", "write"]

W = TypeVar("W", bound=Callable[..., Any])

GHOST_LABEL = "Label_8675309"
_GHOST_EVERY = 9
_ID = re.compile(r"[0-9a-fA-F]{1,16}")
_MULTIPLIER = 6364136223846793005
_MASK = 2**64 - 1


def as_content(mail: bytes | MessageContent) -> MessageContent:
    """The content of raw bytes; a content is returned unchanged."""
    return from_raw(mail) if isinstance(mail, bytes) else mail


def write(method: W) -> W:
    """Make a method of a mailbox a write: locked, at one time, journaled; a failure restores the random state."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def run(self: MailboxCore, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            if self.writing:
                return method(self, *args, **kwargs)
            self.writing = True
            if not self.replaying:
                self.now_ms = int(self.clock.time() * 1000)
            before = self.random_state
            try:
                result = method(self, *args, **kwargs)
            except BaseException:
                self.random_state = before
                raise
            finally:
                self.writing = False
            if self.journal is not None and not self.replaying:
                arguments = _by_name(signature.bind(self, *args, **kwargs))
                self.journal.append(JournalEntry(self.address, method.__name__, self.now_ms, arguments))
            return result

    return cast(W, run)


def _by_name(bound: inspect.BoundArguments) -> dict[str, Any]:
    """The arguments of a method call as keyword arguments, without `self`."""
    named: dict[str, Any] = {}
    for name, value in list(bound.arguments.items())[1:]:
        if bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            named.update(value)
        else:
            named[name] = value
    return named


def _unknown_id(id: str) -> ApiError:
    """404 for a hexadecimal number below 2**63 of at most 16 digits, 400 for everything else, as measured on Gmail."""
    if _ID.fullmatch(id) and int(id, 16) < 2**63:
        return not_found()
    return bad_argument("Invalid id value")


class MailboxCore:
    """The state of a mailbox, and the basic operations of its writes.

    Args:
        seeded: Its initial content.
        clock: The time of its writes.
        behavior: Undocumented behavior.
        journal: Records its writes; None for none.
    """

    def __init__(
        self, seeded: SeededMailbox, *, clock: Clock, behavior: Behavior, journal: Journal | None = None
    ) -> None:
        self.address = seeded.address
        self.clock = clock
        self.behavior = behavior
        self.journal = journal
        self.lock = threading.RLock()
        self.writing = False
        self.replaying = False
        self.now_ms = 0
        self.random_state = (seeded.seed * 2862933555777941757 + 3037000493) & _MASK
        self.store = MessageStore(behavior.listing_order)
        self.labels = LabelStore(seeded.labels)
        self.settings = SettingsStore(
            seeded.address,
            self.labels,
            parts=seeded.settings,
            filters=list(seeded.filters),
            send_as=list(seeded.send_as),
            forwarding_addresses=list(seeded.forwarding_addresses),
            delegates=list(seeded.delegates),
        )
        self.index = ThreadIndex(self.store)
        self._last_id = 0
        self._head = seeded.history_start
        self.store.load(self._seed(seeded))
        shift = 0
        if behavior.history_near_rollover:
            shift = 10 ** len(str(self._head)) - 60 - self._head
            for message in self.store.messages.values():
                message.history_id += shift
        for thread in self.store.threads.values():
            thread.history_id = max(member.history_id for member in thread.members)
        self.log = HistoryLog(self._head + shift, behavior)

    def _seed(self, seeded: SeededMailbox) -> Iterator[StoredMessage]:
        threads: dict[int, StoredThread] = {}
        for number, entry in enumerate(seeded):
            message_id = self.new_id(entry.internal_date_ms)
            thread = threads.get(entry.thread)
            if thread is None:
                thread = threads[entry.thread] = StoredThread(message_id)
            labels = entry.label_ids
            if self.behavior.ghost_label and number % _GHOST_EVERY == 0:
                labels = (*labels, GHOST_LABEL)
            self._head += 1 + self.draw(40)
            yield StoredMessage(
                message_id,
                thread,
                entry.content,
                self.store.intern(labels),
                entry.internal_date_ms,
                self._head,
                draft_id=self.new_draft_id() if entry.draft else "",
                classification=entry.classification,
            )
        self._head += 1 + self.draw(40)

    def draw(self, below: int) -> int:
        """A random number from 0 up to but not including `below`, the same in every replay."""
        self.random_state = (self.random_state * _MULTIPLIER + 1442695040888963407) & _MASK
        return (self.random_state >> 32) % below

    def gap(self) -> int:
        """The distance of the next history id from the last."""
        return 1 + self.draw(30)

    def new_id(self, at_ms: int) -> str:
        """A new message id: 16 hexadecimal digits that rise with time, with gaps."""
        timed = (at_ms << 20) | self.draw(1 << 20)
        self._last_id = max(timed, self._last_id + 1 + self.draw(1 << 12))
        return f"{self._last_id:016x}"

    def new_draft_id(self) -> str:
        """A new draft id, such as `r-1234567890123456789`."""
        return f"r-{(self.draw(1 << 32) << 31) | self.draw(1 << 31)}"

    def message(self, message_id: str) -> StoredMessage:
        """The message with this id.

        Raises:
            ApiError: 404, or 400 for an id that no message can have.
        """
        found = self.store.messages.get(message_id)
        if found is None:
            raise _unknown_id(message_id)
        return found

    def thread(self, thread_id: str) -> StoredThread:
        """The thread with this id.

        Raises:
            ApiError: 404, or 400 for an id that no thread can have.
        """
        found = self.store.threads.get(thread_id)
        if found is None:
            raise _unknown_id(thread_id)
        return found

    def record(self, changes: Iterable[tuple[StoredMessage, HistoryChange]]) -> None:
        """Add changes to the history: one record, or one for each message, see `Behavior.history_groups`."""
        groups: dict[str, list[tuple[StoredMessage, HistoryChange]]] = {}
        for stored, change in changes:
            key = stored.id if self.behavior.history_groups == "message" else ""
            groups.setdefault(key, []).append((stored, change))
        for group in groups.values():
            record_id = self.log.append([change for _, change in group], self.gap())
            for stored, change in group:
                stored.history_id = record_id
                if self.behavior.thread_history_moves_with_labels or change.kind.startswith("message"):
                    stored.thread.history_id = record_id
        if groups and self.behavior.history_id_runs_ahead and self.draw(5) == 0:
            ahead = self.log.advance(self.gap())
            last, change = next(reversed(list(groups.values())))[-1]
            if change.kind != "messageDeleted":
                last.history_id = ahead
                if self.behavior.thread_history_moves_with_labels:
                    last.thread.history_id = ahead

    def change_labels(
        self, message: StoredMessage, add: Iterable[str], remove: Iterable[str]
    ) -> list[tuple[StoredMessage, HistoryChange]]:
        """Change the labels of a message; returns the changes for the history, empty if nothing changed."""
        present = message.label_ids
        added = tuple(label for label in dict.fromkeys(add) if label not in present)
        unwanted = frozenset(remove)
        removed = tuple(label for label in present if label in unwanted)
        if not added and not removed:
            return []
        result = (*(label for label in present if label not in unwanted), *added)
        self.store.relabel(message, result)
        changes: list[tuple[StoredMessage, HistoryChange]] = []
        if added:
            changes.append(
                (
                    message,
                    HistoryChange("labelAdded", message.id, message.thread.id, message.label_ids, added),
                )
            )
        if removed:
            changes.append(
                (
                    message,
                    HistoryChange("labelRemoved", message.id, message.thread.id, message.label_ids, removed),
                )
            )
        return changes

    def delete_message(self, message: StoredMessage) -> tuple[StoredMessage, HistoryChange]:
        """Delete a message permanently; returns it with the change for the history."""
        self.store.remove(message)
        self.index.remove(message)
        return message, HistoryChange("messageDeleted", message.id, message.thread.id, message.label_ids)

    def add_message(
        self,
        content: MessageContent,
        label_ids: Iterable[str],
        *,
        thread: StoredThread | None,
        internal_date_ms: int,
        draft_id: str = "",
        classification: tuple[dict[str, Any], ...] = (),
    ) -> tuple[StoredMessage, HistoryChange]:
        """Add a message to this thread or to a new one; returns it with the change for the history."""
        message_id = self.new_id(self.now_ms)
        message = StoredMessage(
            message_id,
            thread or StoredThread(message_id),
            content,
            self.store.intern(tuple(dict.fromkeys(label_ids))),
            internal_date_ms,
            0,
            draft_id=draft_id,
            classification=classification,
        )
        self.store.add(message)
        self.index.add(message)
        return message, HistoryChange("messageAdded", message_id, message.thread.id, message.label_ids)
