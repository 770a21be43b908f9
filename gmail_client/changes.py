"""Changes of a mailbox, from the history or from a listing.

`read_changes` reads Gmail's history into one `MessageChange` per message: the net effect of all records, as labels to
add or remove, an arrival, or a deletion. `list_message_ids` and `list_thread_heads` list the current mailbox, for a
full load or a reconciliation. The results are plain values; the caller stores them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gmail_client.api import GmailApi
from gmail_client.errors import HistoryExpiredError, NotFoundError, UnavailableError
from gmail_client.options import TableOptions
from gmail_client.search import search_within

__all__ = [
    "Changes",
    "ListedThread",
    "MessageChange",
    "list_message_ids",
    "list_thread_heads",
    "read_changes",
]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class MessageChange:
    """The net change of one message over all history records.

    Attributes:
        thread_id: Its thread.
        history_id: The last record that names it.
        arrived: A record says that it was added.
        deleted: It was permanently deleted, according to the last record that adds or deletes it.
        labels: Its resulting labels if a record states the whole set; else None.
        added: Labels added since `labels` was known.
        removed: Labels removed since `labels` was known.
        unclear: A record contains it without an event, so its labels were fetched.
        moved: Labels that any of the records added or removed.
    """

    thread_id: str
    history_id: int
    arrived: bool = False
    deleted: bool = False
    labels: tuple[str, ...] | None = None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    moved: frozenset[str] = frozenset()
    unclear: bool = False

    def labels_after(self, stored: Iterable[str] | None) -> tuple[str, ...] | None:
        """The labels once the change is applied.

        Args:
            stored: The labels before it; None when they are not known.

        Returns:
            None if they can't be known: no record states the whole set and nothing is stored.
        """
        base = self.labels if self.labels is not None else stored
        if base is None:
            return None
        return tuple(dict.fromkeys([*(label for label in base if label not in self.removed), *self.added]))

    def _set(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.added = self.removed = ()

    def _put_on(self, labels: Iterable[str]) -> None:
        self.added = tuple(dict.fromkeys([*self.added, *labels]))
        self.removed = tuple(label for label in self.removed if label not in self.added)

    def _take_off(self, labels: Iterable[str]) -> None:
        self.removed = tuple(dict.fromkeys([*self.removed, *labels]))
        self.added = tuple(label for label in self.added if label not in self.removed)


@dataclass(slots=True)
class Changes:
    """Changes to apply, and the history id once all of them are applied.

    Attributes:
        start: The history id after which the records begin.
        head: The cursor once everything here is applied.
        messages: One change per message, by id.
        records: How many records were read.
        more: The read ended at a limit; the rest begins after `head`.
    """

    start: int
    head: int
    messages: dict[str, MessageChange] = field(default_factory=dict)
    records: int = 0
    more: bool = False


def read_changes(api: GmailApi, start: int, *, limit: int | None = None, head: int | None = None) -> Changes:
    """Read the history after `start` to its end or to a limit.

    Args:
        api: The mailbox.
        start: History id; only later records count.
        limit: Stop before the record that would exceed this number of messages (at least one record is read).
            Records with the same id stay together, also across pages.
        head: Ignore records after this id; a stream that has to end fixes its head.

    Raises:
        HistoryExpiredError: The history no longer reaches back to `start`.
    """
    changes = Changes(start=start, head=start)
    last = start
    first_head: int | None = None
    shared: dict[Hashable, Any] = {}
    for record in _records(api, start):
        if isinstance(record, int):
            first_head = record if first_head is None else first_head
            continue
        record_id = int(record["id"])
        if record_id <= start:
            _log.warning(
                "history.list: ignored record %s, which is not after the start %s.", record_id, start
            )
            continue
        if head is not None and record_id > head:
            break
        touched = _touched(record)
        if limit is not None and record_id != last and changes.messages:
            new = sum(1 for message_id in touched if message_id not in changes.messages)
            if len(changes.messages) + new > limit:
                changes.more = True
                changes.head = last
                _read_unclear(api, changes)
                return changes
        _apply(changes.messages, record, record_id, shared)
        changes.records += 1
        last = record_id
    # The first page's head: records made while the pages were read may be missing from later pages.
    reached = start if first_head is None else first_head
    changes.head = max(start, last, reached if head is None else min(reached, head))
    _read_unclear(api, changes)
    return changes


def _read_unclear(api: GmailApi, changes: Changes) -> None:
    """Fetch messages whose records have no thread id, or no event.

    Raises:
        HistoryExpiredError: No record has the thread id of a deleted message, so only a listing can show its thread.
    """
    unclear = [
        message_id
        for message_id, change in changes.messages.items()
        if not change.thread_id or (change.unclear and change.labels is None and not change.deleted)
    ]
    for result in (
        api.get_many(api.message_call(message_id, "minimal") for message_id in unclear) if unclear else ()
    ):
        change = changes.messages[result.call.key]
        if result.json is not None:
            change.thread_id = result.json.get("threadId") or change.thread_id
            change._set(tuple(result.json.get("labelIds", ())))
        elif isinstance(result.error, NotFoundError):
            change.deleted = True
        if not change.thread_id:
            raise HistoryExpiredError(
                f"history.list does not name the thread of the message {result.call.key}, which can't be read.",
                fix="The next run reconciles the table with the whole mailbox.",
                method="history.list",
            )


def _records(api: GmailApi, start: int) -> Iterator[dict[str, Any] | int]:
    """The records in order; each page's head, as a number, after its records."""
    for page in api.history(str(start)):
        yield from page.records
        yield int(page.head)


_EVENTS = ("messagesAdded", "labelsAdded", "labelsRemoved", "messagesDeleted")


def _touched(record: dict[str, Any]) -> set[str]:
    named = {message["id"] for message in record.get("messages", ())}
    return named.union(event["message"]["id"] for kind in _EVENTS for event in record.get(kind, ()))


def _apply(
    messages: dict[str, MessageChange], record: dict[str, Any], record_id: int, shared: dict[Hashable, Any]
) -> None:
    """Apply one record; `shared` interns label sets, because a mailbox has few different ones."""
    named = {message["id"]: message for message in record.get("messages", ())}
    threads = {message_id: message.get("threadId", "") for message_id, message in named.items()}
    for kind in _EVENTS:
        for event in record.get(kind, ()):
            message = event["message"]
            named.pop(message["id"], None)
            thread_id = message.get("threadId") or threads.get(message["id"], "")
            change = _change_of(messages, message["id"], thread_id, record_id)
            change.deleted = kind == "messagesDeleted"
            change.arrived = change.arrived or kind == "messagesAdded"
            if change.deleted:
                continue
            moved = change.moved.union(event.get("labelIds", ()))
            change.moved = shared.setdefault(moved, moved)
            if "labelIds" in message:
                # The resulting set, as of this record.
                labels = tuple(message["labelIds"])
                change._set(shared.setdefault(labels, labels))
            elif kind == "labelsAdded":
                change._put_on(event.get("labelIds", ()))
            elif kind == "labelsRemoved":
                change._take_off(event.get("labelIds", ()))
    for message_id in named:
        # It is in no event: it changed, but the record does not contain the change.
        change = _change_of(messages, message_id, threads[message_id], record_id)
        change.unclear, change.deleted, change.labels = True, False, None


def _change_of(
    messages: dict[str, MessageChange], message_id: str, thread_id: str, record_id: int
) -> MessageChange:
    change = messages.get(message_id)
    if change is None:
        change = messages[message_id] = MessageChange(thread_id, record_id)
    change.thread_id = thread_id or change.thread_id
    change.history_id = max(change.history_id, record_id)
    return change


@dataclass(frozen=True, slots=True)
class ListedThread:
    """A thread's entry in threads.list."""

    history_id: int
    snippet: str


def list_message_ids(
    api: GmailApi,
    options: TableOptions,
    *,
    everything: bool = False,
    since: int | None = None,
    until: set[str] | None = None,
    on_progress: Callable[[int], None] = lambda listed: None,
) -> dict[str, str]:
    """List messages: id to thread id, in Gmail's order.

    Args:
        api: The mailbox.
        options: The filters and the page size.
        everything: Ignore the filters and include spam and trash.
        since: With `everything`, epoch seconds: only messages after this, by Gmail's search.
        until: Stop as soon as all of these were seen.
        on_progress: Called after each page with the number listed so far.
    """
    threads: dict[str, str] = {}
    listed: dict[str, str] = {}
    missing = None if until is None else set(until)
    pages = _pages(api.list_messages, options, everything, since)
    for page in pages:
        for item in page:
            thread = item["threadId"]
            listed[item["id"]] = threads.setdefault(thread, thread)
        on_progress(len(listed))
        if missing is not None:
            missing.difference_update(item["id"] for item in page)
            if not missing:
                break
    if not listed and since is None and (everything or not options.filtered):
        _check_empty(api, "messages.list", hidden=everything or options.include_spam_trash)
    if not everything:
        for message_id in _excluded(api, options):
            listed.pop(message_id, None)
    return listed


def _check_empty(api: GmailApi, method: str, *, hidden: bool) -> None:
    """Check an unfiltered listing without items: Gmail's count has to be 0 too, or all messages are spam or trash.

    Args:
        api: The mailbox.
        method: The listing.
        hidden: It includes spam and trash.

    Raises:
        UnavailableError: The mailbox has messages. Taken for an empty mailbox, the response would delete all rows.
    """
    count = int(api.profile().get("messagesTotal") or 0)
    if not count or (not hidden and any(api.list_messages(include_spam_trash=True, page_size=1))):
        return
    raise UnavailableError(
        f"{method}: the listing is empty, but getProfile counts {count:,} messages.",
        fix="Try again later; if it persists, check the proxy and GMAIL_API_ROOT.",
        method=method,
    )


def _pages(
    listing: Callable[..., Iterator[list[dict[str, Any]]]],
    options: TableOptions,
    everything: bool,
    since: int | None,
) -> Iterator[list[dict[str, Any]]]:
    """The pages of a listing, filtered as the options say or of everything since a time."""
    if everything:
        return listing(q=search_within(None, since), include_spam_trash=True, page_size=options.page_size)
    return listing(
        q=options.search,
        label_ids=options.label_ids,
        include_spam_trash=options.include_spam_trash,
        page_size=options.page_size,
    )


def _excluded(api: GmailApi, options: TableOptions) -> Iterator[str]:
    """Messages that `excludeLabels` and `excludeFrom` exclude, as far as a listing shows."""
    ways: list[dict[str, Any]] = [{"label_ids": (label_id,)} for label_id in options.exclude_labels]
    ways += [{"q": f"from:{sender.removeprefix('@')}"} for sender in options.exclude_from]
    for way in ways:
        for page in api.list_messages(**way, include_spam_trash=True, page_size=options.page_size):
            yield from (item["id"] for item in page)


def list_thread_heads(
    api: GmailApi,
    options: TableOptions,
    *,
    everything: bool = False,
    since: int | None = None,
    on_progress: Callable[[int], None] = lambda listed: None,
) -> dict[str, ListedThread]:
    """List threads with their history ids and snippets, filtered as the options say or `everything` (`since` a time).

    `on_progress` is called after each page with the number listed so far.
    """
    pages = _pages(api.list_threads, options, everything, since)
    heads: dict[str, ListedThread] = {}
    for page in pages:
        for item in page:
            snippet = "" if options.policy else item.get("snippet", "")
            heads[item["id"]] = ListedThread(int(item.get("historyId") or 0), snippet)
        on_progress(len(heads))
    if not heads and since is None and (everything or not options.filtered):
        _check_empty(api, "threads.list", hidden=everything or options.include_spam_trash)
    return heads
