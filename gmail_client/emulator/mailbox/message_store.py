"""The messages and threads of one mailbox: `StoredMessage`, `StoredThread`, and `MessageStore`, which orders them.

This module handles membership, order and counts, but not the history or the meaning of labels. Each operation is fast
enough for a mailbox of half a million messages.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from gmail_client.emulator.mail.content import MessageContent
from gmail_client.emulator.mailbox.labels import SPAM_TRASH

__all__ = ["MessageStore", "Order", "SortKey", "StoredMessage", "StoredThread"]

Order = Literal["newest", "oldest", "shuffled"]
SortKey = tuple[int, str]


class StoredMessage:
    """A message in its mailbox; everything but `content`, `id` and `thread` can change.

    `label_ids` is an interned tuple, in the order of the API.
    """

    __slots__ = (
        "classification",
        "content",
        "draft_id",
        "history_id",
        "id",
        "internal_date_ms",
        "label_ids",
        "thread",
    )

    def __init__(
        self,
        id: str,
        thread: StoredThread,
        content: MessageContent,
        label_ids: tuple[str, ...],
        internal_date_ms: int,
        history_id: int,
        *,
        draft_id: str = "",
        classification: tuple[dict[str, Any], ...] = (),
    ) -> None:
        self.id = id
        self.thread = thread
        self.content = content
        self.label_ids = label_ids
        self.internal_date_ms = internal_date_ms
        self.history_id = history_id
        self.draft_id = draft_id
        self.classification = classification

    @property
    def hidden(self) -> bool:
        """Whether it is in spam or trash."""
        return not SPAM_TRASH.isdisjoint(self.label_ids)


class StoredThread:
    """A thread: its messages, oldest first, and the history id of its last change."""

    __slots__ = ("history_id", "id", "members")

    def __init__(self, id: str) -> None:
        self.id = id
        self.members: list[StoredMessage] = []
        self.history_id = 0

    @property
    def snippet_message(self) -> StoredMessage:
        """The message whose snippet is the thread's: the newest outside spam and trash, else the newest."""
        for member in reversed(self.members):
            if not member.hidden:
                return member
        return self.members[-1]

    @property
    def internal_date_ms(self) -> int:
        """The date of its newest message."""
        return self.members[-1].internal_date_ms


def _by_date(item: StoredMessage | StoredThread) -> SortKey:
    return (item.internal_date_ms, item.id)


def _shuffled(item: StoredMessage | StoredThread) -> SortKey:
    return (zlib.crc32(item.id.encode()), item.id)


class MessageStore:
    """Messages and threads of a mailbox by id, and both in the order of listings.

    Args:
        order: Order of the listings, see `Behavior.listing_order`.
    """

    def __init__(self, order: Order = "newest") -> None:
        self.messages: dict[str, StoredMessage] = {}
        self.threads: dict[str, StoredThread] = {}
        self.drafts: dict[str, StoredMessage] = {}
        self.revision = 0
        self._newest_first = order == "newest"
        self._key: Callable[[StoredMessage | StoredThread], SortKey] = (
            _shuffled if order == "shuffled" else _by_date
        )
        self._message_order: list[StoredMessage] = []
        self._thread_order: list[StoredThread] = []
        self._interned: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._counts: tuple[int, dict[str, dict[str, int]]] = (-1, {})

    def intern(self, label_ids: tuple[str, ...]) -> tuple[str, ...]:
        """The interned tuple of these labels: half a million messages have only a few thousand different ones."""
        return self._interned.setdefault(label_ids, label_ids)

    def load(self, messages: Iterator[StoredMessage]) -> None:
        """Fill an empty store with many messages, sorted once at the end."""
        for message in messages:
            self.messages[message.id] = message
            thread = message.thread
            thread.members.append(message)
            self.threads[thread.id] = thread
            if message.draft_id:
                self.drafts[message.draft_id] = message
        for thread in self.threads.values():
            thread.members.sort(key=_by_date)
        self._message_order = sorted(self.messages.values(), key=self._key)
        self._thread_order = sorted(self.threads.values(), key=self._key)
        self.revision += 1

    def add(self, message: StoredMessage) -> None:
        """Add a message."""
        self.revision += 1
        self.messages[message.id] = message
        if message.draft_id:
            self.drafts[message.draft_id] = message
        insort(self._message_order, message, key=self._key)
        thread = message.thread
        if thread.members:
            self._drop(self._thread_order, thread)
        insort(thread.members, message, key=_by_date)
        self.threads[thread.id] = thread
        insort(self._thread_order, thread, key=self._key)

    def remove(self, message: StoredMessage) -> None:
        """Delete a message, and its thread when this was the last message of it."""
        self.revision += 1
        del self.messages[message.id]
        if self.drafts.get(message.draft_id) is message:
            del self.drafts[message.draft_id]
        self._drop(self._message_order, message)
        thread = message.thread
        self._drop(self._thread_order, thread)
        thread.members.remove(message)
        if thread.members:
            insort(self._thread_order, thread, key=self._key)
        else:
            del self.threads[thread.id]

    def relabel(self, message: StoredMessage, label_ids: tuple[str, ...]) -> None:
        """Replace the labels of a message."""
        self.revision += 1
        message.label_ids = self.intern(label_ids)

    def _drop(self, order: list[Any], item: StoredMessage | StoredThread) -> None:
        del order[bisect_left(order, self._key(item), key=self._key)]

    def messages_from(self, key: SortKey | None) -> Iterator[StoredMessage]:
        """Messages in the order of listings, from the position of this key on."""
        return self._run(self._message_order, key)

    def threads_from(self, key: SortKey | None) -> Iterator[StoredThread]:
        """Threads in the order of listings, from the position of this key on."""
        return self._run(self._thread_order, key)

    def drafts_from(self, key: SortKey | None) -> Iterator[StoredMessage]:
        """Drafts in the order of listings, from the position of this key on."""
        return self._run(sorted(self.drafts.values(), key=self._key), key)

    def key_of(self, item: StoredMessage | StoredThread) -> SortKey:
        """The position of an item in the order of listings."""
        return self._key(item)

    def _run(self, order: list[Any], key: SortKey | None) -> Iterator[Any]:
        if self._newest_first:
            end = len(order) if key is None else bisect_left(order, key, key=self._key)
            if key is not None and end < len(order) and self._key(order[end]) == key:
                end += 1
            return map(order.__getitem__, range(end - 1, -1, -1))
        start = 0 if key is None else bisect_left(order, key, key=self._key)
        return map(order.__getitem__, range(start, len(order)))

    def counts(self) -> dict[str, dict[str, int]]:
        """messagesTotal, messagesUnread, threadsTotal and threadsUnread by label, for labels in use."""
        if self._counts[0] != self.revision:
            self._counts = (self.revision, self._count())
        return self._counts[1]

    def _count(self) -> dict[str, dict[str, int]]:
        messages: Counter[tuple[str, ...]] = Counter()
        threads: Counter[frozenset[str]] = Counter()
        threads_unread: Counter[str] = Counter()
        for thread in self.threads.values():
            sets = [member.label_ids for member in thread.members]
            messages.update(sets)
            threads[frozenset().union(*sets)] += 1
            threads_unread.update(frozenset().union(*(labels for labels in sets if "UNREAD" in labels)))
        messages_total, threads_total = _by_label(messages), _by_label(threads)
        messages_unread = _by_label({labels: n for labels, n in messages.items() if "UNREAD" in labels})
        return {
            label: {
                "messagesTotal": number,
                "messagesUnread": messages_unread[label],
                "threadsTotal": threads_total[label],
                "threadsUnread": threads_unread[label],
            }
            for label, number in messages_total.items()
        }


def _by_label(counts: Mapping[Any, int]) -> Counter[str]:
    """Counts of single labels from counts of label sets."""
    found: Counter[str] = Counter()
    for labels, number in counts.items():
        for label in labels:
            found[label] += number
    return found
