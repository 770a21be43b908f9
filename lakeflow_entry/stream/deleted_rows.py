"""The rows that the changes of a part of the history delete: `DeletedRows`.

A message's row is deleted when the message was deleted permanently, or when it changed and no longer matches the
filters (trash and spam included). A thread's row is deleted when none of its messages matches any more. Date terms at
the top level of `q` are ignored: time alone deletes no row.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from gmail_client.api import GmailApi
from gmail_client.changes import Changes, MessageChange, list_message_ids, list_thread_heads
from gmail_client.fetch import FetchedThread, FetchRequest, fetch
from gmail_client.labels import HIDDEN_LABELS
from gmail_client.options import TableOptions
from gmail_client.reads import raise_for_failures
from gmail_client.schema import SCHEMAS
from gmail_client.search import without_dates
from lakeflow_entry.stream.history import HistoryRange, HistorySlice, labels_match
from lakeflow_entry.stream.offsets import Offset
from lakeflow_entry.stream.thread_listing import listed_if_cheaper

__all__ = ["DeletedRow", "DeletedRows", "delete_rows"]

Row = dict[str, Any]

_log = logging.getLogger(__name__)


class DeletedRow(NamedTuple):
    """A row to delete.

    Attributes:
        id: Its key.
        history_id: The record that deletes it, or a history id after that.
        thread_id: For a message, its thread if known.
    """

    id: str
    history_id: int
    thread_id: str | None = None


def delete_rows(table: str, deleted: Iterable[DeletedRow]) -> Iterator[Row]:
    """Delete records with key and cursor (and a message's threadId); the other columns are null."""
    empty = dict.fromkeys(SCHEMAS[table].names)
    for one in deleted:
        row: Row = {
            **empty,
            "id": one.id,
            "historyId": str(one.history_id),
            "historySequence": one.history_id,
        }
        if one.thread_id is not None:
            row["threadId"] = one.thread_id
        yield row


class DeletedRows:
    """Finds the rows of `messages` or `threads` that changes delete.

    Args:
        api: The mailbox.
        table: `messages` or `threads`.
        options: The table's options.
        history: The mailbox's history.

    Attributes:
        listed: About how many messages the search lists; None without a search, or if it is unknown.
    """

    def __init__(self, api: GmailApi, table: str, options: TableOptions, history: HistoryRange) -> None:
        self._api = api
        self._table = table
        self._options = options
        self._history = history
        self.listed: int | None = None

    @property
    def lasting(self) -> TableOptions:
        """The options with the search that stored rows have to match."""
        return self._options.model_copy(update={"q": without_dates(self._options.q)})

    def find(self, part: HistorySlice, start: Offset) -> list[DeletedRow]:
        """The rows that the changes delete.

        Args:
            part: The changes.
            start: The offset at which they begin.

        Raises:
            GmailError: Gmail can't be asked, or refuses the labels of a message.
        """
        keys = set(part.keys)
        self.listed = start.rows
        if self._table == "messages":
            return self._messages(part, keys, start)
        return self._threads(part, keys, start)

    def _matching(
        self, part: HistorySlice, start: Offset, wanted: set[str], *, threads: bool = False
    ) -> set[str]:
        """Which of these still match the search; see `HistoryRange.matching`."""
        found, self.listed = self._history.matching(
            part, self.lasting, wanted, since=start.read_at, rows=self.listed, threads=threads
        )
        return found

    def _left(self, change: MessageChange, matching: bool | None) -> bool:
        """Whether a message no longer matches the filters, by its records and by whether its labels match."""
        if change.deleted:
            return True
        if matching is not False:
            return False
        telling = {*self._options.label_ids, *self._options.exclude_labels}
        if not self._options.include_spam_trash:
            telling |= HIDDEN_LABELS
        return change.unclear or bool(change.moved & telling)

    def _label_matches(self, changes: Changes, keys: set[str]) -> dict[str, bool | None]:
        """Whether each message's labels match after the changes; fetched if no record shows it. None if refused."""
        matching = {m: labels_match(one, self._options) for m, one in changes.messages.items() if m in keys}
        unknown: dict[str, list[str]] = {}
        for message_id, known in matching.items():
            change = changes.messages[message_id]
            if known is None and not change.deleted:
                unknown.setdefault(change.thread_id, []).append(message_id)
        wants = [
            FetchRequest(thread_id, tuple(ids), partly_stored=True) for thread_id, ids in unknown.items()
        ]
        for fetched in fetch(self._api, wants, "minimal"):
            for message in self._taken(fetched).messages:
                if message["id"] in matching:
                    matching[message["id"]] = self._options.matches_labels(message.get("labelIds") or ())
        return matching

    def _messages(self, part: HistorySlice, keys: set[str], start: Offset) -> list[DeletedRow]:
        changes = part.changes
        matching = self._label_matches(changes, keys)
        left = {m for m in keys if self._left(changes.messages[m], matching[m])}
        if self.lasting.q is not None:
            candidates = {
                m
                for m in keys - left
                if _may_be_stored(changes.messages[m])
                and (self._options.matches_labels(()) if matching[m] is None else matching[m])
            }
            left |= candidates - self._matching(part, start, candidates)
        return [
            DeletedRow(message_id, change.history_id, change.thread_id)
            for message_id, change in changes.messages.items()
            if message_id in left
        ]

    def _threads(self, part: HistorySlice, keys: set[str], start: Offset) -> list[DeletedRow]:
        changes = part.changes
        members = {m for m, change in changes.messages.items() if change.thread_id in keys}
        matching = self._label_matches(changes, members)
        shrunk: set[str] = set()
        sequence = dict.fromkeys(keys, 0)
        for message_id in members:
            change = changes.messages[message_id]
            sequence[change.thread_id] = max(sequence[change.thread_id], change.history_id)
            may_not_match = self.lasting.q is not None and _may_be_stored(change)
            if may_not_match or self._left(change, matching[message_id]):
                shrunk.add(change.thread_id)
        living = self._living(part, start, shrunk)
        return [DeletedRow(t, sequence[t]) for t in sequence if t in shrunk and t not in living]

    def _living(self, part: HistorySlice, start: Offset, threads: set[str]) -> set[str]:
        """Which of the threads still have a matching message, with the cheapest calls."""
        if not threads:
            return set()
        # Only a listing reliably contains trashed messages, but it has no dates.
        dated = self._options.start_date is not None and not self._options.include_spam_trash
        excluding = self._options.exclude_labels or self._options.exclude_from
        if self.lasting.q is not None:
            threads = self._matching(part, start, threads, threads=True)
            if not dated and not excluding:
                return threads
        if excluding:
            # Only a listing of messages shows which messages of a thread are not excluded.
            present = self._options.model_copy(update={"q": None})
            return threads.intersection(list_message_ids(self._api, present).values())
        if not dated:
            present = self._options.model_copy(update={"q": None})
            if self._options.include_spam_trash:
                return threads.intersection(list_thread_heads(self._api, present))
            listed = listed_if_cheaper(self._api, present, threads)
            if listed is not None:
                return listed
        return {
            fetched.thread_id
            for fetched in fetch(
                self._api, (FetchRequest(thread_id, whole=True) for thread_id in threads), "minimal"
            )
            if any(self._options.matches(m) for m in self._taken(fetched).messages) or fetched.failed
        }

    def _taken(self, fetched: FetchedThread) -> FetchedThread:
        """The fetched thread, if it is complete; with `skip_refused`, rows whose labels are refused are kept.

        Raises:
            GmailError: Why a message can't be fetched.
        """
        if not self._options.skip_refused:
            return raise_for_failures(fetched)
        for one, error in fetched.failed.items():
            _log.warning(
                "%s: the labels of %s are refused, so its row stays: %s", self._table, one, error.what
            )
        return fetched


def _may_be_stored(change: MessageChange) -> bool:
    """Whether the message may have a row from before its last record: not if it is new."""
    return not change.arrived or bool(change.moved)
