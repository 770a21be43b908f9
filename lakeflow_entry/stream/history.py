"""The history that the streams of one mailbox read: `HistoryRange`.

Change reader and delete reader of a process share one object, so that a page of history that both need is read once.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from gmail_client.api import GmailApi
from gmail_client.changes import Changes, read_changes
from gmail_client.errors import HistoryExpiredError
from gmail_client.options import TableOptions
from lakeflow_entry.stream.offsets import Offset

__all__ = ["HistoryRange", "HistorySlice", "head_of"]


def head_of(api: GmailApi) -> int:
    """The mailbox's newest history id."""
    return int(api.profile()["historyId"])


@dataclass(frozen=True, slots=True)
class HistorySlice:
    """The changes of one batch.

    Attributes:
        changes: All changes of the records that were read.
        keys: Ids of the rows that the batch may touch, in the order of their first record.
        end: Where the batch ends.
    """

    changes: Changes
    keys: tuple[str, ...]
    end: Offset


class HistoryRange:
    """A mailbox's history, read for batches of `messages` or `threads`.

    Args:
        api: The mailbox.
    """

    def __init__(self, api: GmailApi) -> None:
        self._api = api
        self._answer: tuple[tuple[object, ...], set[str]] | None = None
        self._last: tuple[tuple[int, int, int | None], Changes] | None = None

    def next(self, table: str, start: Offset, limit: int, head: int | None = None) -> HistorySlice:
        """The changes of the batch after `start`.

        Args:
            table: `messages` or `threads`: what a row is.
            start: An offset with a history id.
            limit: Largest number of rows.
            head: Records after this history id are not read.

        Raises:
            HistoryExpiredError: The history no longer reaches back to `start`.
        """
        begin = _history_id(start)
        if head is not None and head <= begin:
            return HistorySlice(Changes(begin, begin), (), start)
        # A record that is partly delivered is finished alone: later records may name the same rows again.
        changes = self._read(begin, 1 if start.seen else limit, head)
        keys = _keys(table, changes)
        seen = start.seen + limit
        if seen < len(keys):
            return HistorySlice(changes, keys[start.seen : seen], replace(start, seen=seen))
        return HistorySlice(changes, keys[start.seen :], replace(start, history_id=changes.head, seen=0))

    def arrivals(self, table: str, start: Offset, message_ids: set[str], limit: int) -> HistorySlice:
        """These messages, which arrived after the offset's `recheck`; none if that history has expired.

        Args:
            table: `messages` or `threads`: what a row is.
            start: The offset.
            message_ids: The messages.
            limit: Largest number of rows.
        """
        end = _history_id(start)
        changes = Changes(end, end)
        if start.recheck is not None and start.recheck < end:
            with suppress(HistoryExpiredError):
                changes = read_changes(self._api, start.recheck, head=end)
        changes.messages = {m: one for m, one in changes.messages.items() if m in message_ids}
        return HistorySlice(changes, _keys(table, changes)[:limit], start)

    def between(self, table: str, start: Offset, end: Offset) -> HistorySlice:
        """The changes of the batch from `start` to `end`, which was planned earlier.

        Raises:
            HistoryExpiredError: The history no longer reaches back to `start`.
        """
        begin = _history_id(start)
        if start.same_place(end):
            return HistorySlice(Changes(begin, begin), (), end)
        if end.history_id == begin:
            changes = read_changes(self._api, begin, limit=1)
        else:
            changes = read_changes(self._api, begin, head=end.history_id)
        return HistorySlice(changes, _keys(table, changes)[start.seen : end.seen or None], end)

    def matching(
        self, part: HistorySlice, options: TableOptions, wanted: set[str], *, threads: bool = False
    ) -> set[str]:
        """Which messages Gmail lists under the table's search; all of them if it has none.

        Costs a listing up to the last match. Change flow and delete flow of a process may ask for the same batch.

        Args:
            part: The batch.
            options: The table's options.
            wanted: Message ids.
            threads: `wanted` are threads; one matches by one of its messages.
        """
        if options.search is None or not wanted:
            return wanted
        key = "threadId" if threads else "id"
        question = (part.changes.start, part.changes.head, options, key, frozenset(wanted))
        if self._answer is None or self._answer[0] != question:
            found: set[str] = set()
            pages = self._api.list_messages(
                q=options.search,
                label_ids=options.label_ids,
                include_spam_trash=options.include_spam_trash,
                page_size=options.page_size,
            )
            for page in pages:
                found.update(item[key] for item in page)
                if wanted <= found:
                    break
            self._answer = (question, found)
        return wanted & self._answer[1]

    def _read(self, begin: int, limit: int, head: int | None) -> Changes:
        key = (begin, limit, head)
        if self._last is None or self._last[0] != key:
            self._last = None
            self._last = (key, read_changes(self._api, begin, limit=limit, head=head))
        return self._last[1]

    def reaches(self, history_id: int) -> bool:
        """Whether Gmail still keeps the history after a history id."""
        try:
            next(self._api.history(str(history_id), page_size=1))
        except HistoryExpiredError:
            return False
        return True


def _history_id(offset: Offset) -> int:
    if offset.history_id is None:
        raise ValueError("a new stream has no history")
    return offset.history_id


def _keys(table: str, changes: Changes) -> tuple[str, ...]:
    if table == "messages":
        return tuple(changes.messages)
    return tuple(dict.fromkeys(change.thread_id for change in changes.messages.values()))
