"""The history that the streams of one mailbox read: `HistoryRange`.

Change reader and delete reader of a process share one object, so that a page of history that both need is read once.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from gmail_client.api import GmailApi
from gmail_client.changes import Changes, MessageChange, read_changes
from gmail_client.errors import HistoryExpiredError
from gmail_client.options import TableOptions
from lakeflow_entry.stream.change_matching import ChangeMatcher, Matches
from lakeflow_entry.stream.offsets import Offset

__all__ = ["HistoryRange", "HistorySlice", "head_of", "labels_match"]


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
        read_at: Epoch seconds, not later than the arrival of any message that arrived after `end`; None if the batch
            does not reach the end of the history.
        partial: `changes` has only some of the messages of these records.
    """

    changes: Changes
    keys: tuple[str, ...]
    end: Offset
    read_at: int | None = None
    partial: bool = False


class HistoryRange:
    """A mailbox's history, read for batches of `messages` or `threads`.

    Args:
        api: The mailbox.
        one_of_many: The stream's offset has a part for each mailbox, under its name.
    """

    def __init__(self, api: GmailApi, *, one_of_many: bool = False) -> None:
        self._api = api
        self._one_of_many = one_of_many
        self._address: str | None = None
        self._matcher = ChangeMatcher(api)
        self._answer: tuple[tuple[object, ...], Matches] | None = None
        self._last: tuple[tuple[int, int, int | None], Changes, int] | None = None
        self._head: tuple[int, int] | None = None

    def fix_head(self) -> int:
        """Read the mailbox's newest history id, at which batches can be made to end."""
        at = int(self._api.now)
        profile = self._api.profile()
        self._address = _address_in(profile)
        self._head = (int(profile["historyId"]), at)
        return self._head[0]

    @property
    def mailbox(self) -> str | None:
        """The mailbox's address, which `fix_head` reads too; None if it is one of many.

        Raises:
            GmailError: It can't be read.
        """
        if self._one_of_many:
            return None
        if self._address is None:
            self._address = _address_in(self._api.profile())
        return self._address or None

    def read_at(self, head: int) -> int | None:
        """Epoch seconds at which `fix_head` returned this history id; None if it did not."""
        return self._head[1] if self._head is not None and self._head[0] == head else None

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
        # A partly delivered record is finished separately, because later records may have the same rows.
        changes, at = self._read(begin, 1 if start.seen else limit, head)
        keys = _keys(table, changes)
        seen = start.seen + limit
        if seen < len(keys):
            return HistorySlice(changes, keys[start.seen : seen], replace(start, seen=seen))
        read_at = None if changes.more else at if head is None else self.read_at(head)
        end = replace(start, history_id=changes.head, seen=0)
        return HistorySlice(changes, keys[start.seen :], end, read_at)

    def arrivals(self, table: str, start: Offset, message_ids: set[str], limit: int) -> HistorySlice:
        """The history of these messages, which arrived after the offset's `recheck`; empty if it has expired.

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
        return HistorySlice(changes, _keys(table, changes)[:limit], start, partial=True)

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
        self,
        part: HistorySlice,
        options: TableOptions,
        wanted: set[str],
        *,
        since: int | None,
        rows: int | None,
        threads: bool = False,
    ) -> Matches:
        """Which messages match the table's search; all of them if it has none.

        The change flow and the delete flow of a process can request the same batch.

        Args:
            part: The batch.
            options: The table's options.
            wanted: Message ids.
            since: Epoch seconds after which the batch's arrivals arrived; None if unknown.
            rows: About how many messages the search lists; None if unknown.
            threads: `wanted` are threads; a thread matches if one of its messages matches.

        Raises:
            GmailError: Gmail can't be asked.
        """
        if options.search is None or not wanted:
            return Matches(wanted, rows)
        question = (part.changes.start, part.changes.head, options, threads, frozenset(wanted), since, rows)
        if self._answer is None or self._answer[0] != question:
            match = self._matcher.threads if threads else self._matcher.messages
            answer = match(part.changes.messages, options, wanted, since=since, rows=rows)
            self._answer = (question, answer)
        return self._answer[1]

    def _read(self, begin: int, limit: int, head: int | None) -> tuple[Changes, int]:
        """The changes, and the time before they were read in epoch seconds."""
        key = (begin, limit, head)
        if self._last is None or self._last[0] != key:
            self._last = None
            at = int(self._api.now)
            self._last = (key, read_changes(self._api, begin, limit=limit, head=head), at)
        return self._last[1:]

    def reaches(self, history_id: int) -> bool:
        """Whether Gmail still keeps the history after a history id."""
        try:
            next(self._api.history(str(history_id), page_size=1))
        except HistoryExpiredError:
            return False
        return True


def labels_match(change: MessageChange, options: TableOptions) -> bool | None:
    """Whether a message's labels match the label filters after its change; None if the records don't show it.

    Also without the whole set of labels, a removed label of `labelIds` or an added TRASH shows that they don't match.
    """
    labels = change.labels_after(None)
    if labels is not None:
        return options.matches_labels(labels)
    ruled_out = not options.is_visible(change.added) or not set(options.label_ids).isdisjoint(change.removed)
    return False if ruled_out else None


def _address_in(profile: Mapping[str, Any]) -> str:
    return str(profile.get("emailAddress") or "").lower()


def _history_id(offset: Offset) -> int:
    if offset.history_id is None:
        raise ValueError("a new stream has no history")
    return offset.history_id


def _keys(table: str, changes: Changes) -> tuple[str, ...]:
    if table == "messages":
        return tuple(changes.messages)
    return tuple(dict.fromkeys(change.thread_id for change in changes.messages.values()))
