"""The delete flow of a table: the rows to delete from the target, from the history (`DeleteReader`).

`DeletedRows` finds the rows that changes delete; a later `startDate` also deletes the rows before it. When the history
has expired, the ids in the offset are compared with a listing instead. The flow has its own checkpoint.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from dataclasses import replace

from gmail_client.api import GmailApi
from gmail_client.changes import list_message_ids
from gmail_client.deletion import check_mass_deletion
from gmail_client.errors import HistoryExpiredError
from gmail_client.options import TableOptions
from gmail_client.search import has_dates, without_dates
from lakeflow_entry.stream.batch import DEFAULT_LIMIT
from lakeflow_entry.stream.deleted_rows import DeletedRow, DeletedRows
from lakeflow_entry.stream.history import HistoryRange, HistorySlice, head_of, labels_match
from lakeflow_entry.stream.identity import Identity, start_date_in
from lakeflow_entry.stream.offsets import Offset
from lakeflow_entry.stream.packed_ids import pack, unpacked
from lakeflow_entry.stream.start_date import rows_before

__all__ = ["DeleteReader", "kept_options"]

_log = logging.getLogger(__name__)


class DeleteReader:
    """The rows to delete of `messages` or `threads`.

    Args:
        api: The mailbox.
        table: `messages` or `threads`.
        options: The table's options.
        history: The mailbox's history, shared with a change reader; by default a new one.
        reconciled: The caller itself reconciles the target with the mailbox, at the start of the flow and whenever an
            offset has `reloaded`. The offsets then contain no ids.
    """

    def __init__(
        self,
        api: GmailApi,
        table: str,
        options: TableOptions,
        history: HistoryRange | None = None,
        *,
        reconciled: bool = False,
    ) -> None:
        self.api = api
        self.table = table
        self.options = options
        self.limit = options.max_records_per_batch or DEFAULT_LIMIT
        self.history = history or HistoryRange(api)
        self.identity = Identity(table, options, self.history, deletes=True)
        self.reconciled = reconciled
        self._deleted = DeletedRows(api, table, options, self.history)

    def plan(
        self, start: Offset, head: int | None = None, *, confirmed: bool = False, repeated: bool = False
    ) -> tuple[Offset, list[DeletedRow]]:
        """The next batch.

        Args:
            start: Where it starts.
            head: Changes after this history id are left to a later run.
            confirmed: This process knows that the batch that ended at `start` was delivered.
            repeated: An earlier call planned this batch, and its end counts.

        Returns:
            Where the batch ends, and the rows to delete. An end equal to `start` means that there is nothing more.

        Raises:
            HistoryExpiredError: The history has expired, and the offset does not contain the table's ids.
            MassDeletionError: A comparison with Gmail's listing would delete a large part of the table.
            StreamChangedError: The offset is that of another mailbox, or of other filters.
            GmailError: Gmail can't be asked.
        """
        self.identity.check(start)
        end, rows = self._plan(start, head, confirmed, repeated)
        return self.identity.of(end, start), rows

    def _plan(
        self, start: Offset, head: int | None, confirmed: bool, repeated: bool
    ) -> tuple[Offset, list[DeletedRow]]:
        if start.is_new:
            return self._start(head), []
        if start.reload:
            return self._reload(start, head)
        lost = start.since is not None and not confirmed and not self.history.reaches(start.since)
        move = _date_move(start.filters, self.options.start_date)
        if move is not None:
            return (self._expired(start, start.since), []) if lost else self._move_date(start, move)
        try:
            part = self.history.next(self.table, start, start.batch_limit(self.limit, repeated), head)
        except HistoryExpiredError:
            return self._expired(start, start.history_id), []
        # Also if the ids are compared afterwards: a repeated read from `start` has to contain the same rows.
        rows = self._deleted.find(part, start)
        if lost:
            return self._expired(start, start.since), rows
        if part.end.same_place(start):
            return start.confirmed(), []
        end = part.end.after(start.history_id if rows else None, self.limit)
        if self._deleted.lasting.q is not None:
            read_at = start.read_at if part.read_at is None else part.read_at
            end = replace(end, read_at=read_at, rows=self._deleted.listed)
        gone = {row.id for row in rows}
        return replace(end, known=self._known(start, part, gone), gone=pack(gone) if gone else None), rows

    def between(self, start: Offset, end: Offset) -> list[DeletedRow]:
        """The rows of the batch from `start` to `end`, which was planned earlier and may not have been delivered.

        If its history has expired, the batch is empty, and the batch after `end` detects it. After an end of version 1
        this is not detected: its batch contains every row that Gmail no longer lists.

        Raises:
            HistoryExpiredError: The history has expired, and the offset does not contain the table's ids.
            MassDeletionError: A comparison with Gmail's listing would delete a large part of the table.
            StreamChangedError: The offset is that of another mailbox, or of other filters.
            GmailError: Gmail can't be asked.
        """
        self.identity.check(end)
        if start.is_new:
            return []
        if self.reconciled and (start.reload or end.reloaded != start.reloaded):
            return []
        if start.reload or (end.version == 1 and end.reloaded != start.reloaded):
            return self._missing(start, self._present(), end.reloaded or 0)
        if end.reload:
            return []
        move = _date_move(start.filters, start_date_in(end.filters))
        if move is not None:
            return self._before_date(move)
        if start.same_place(end):
            return []
        try:
            return self._deleted.find(self.history.between(self.table, start, end), start)
        except HistoryExpiredError:
            if end.version > 1 or self.reconciled:
                return []
        self._require_ids(start, start.history_id)
        head = head_of(self.api)
        return self._missing(start, self._present(), head)

    # Start and expiry

    def _start(self, head: int | None) -> Offset:
        earliest = self._earliest(head)
        if self.reconciled:
            return Offset(earliest, limit=self.limit)
        known = pack(self._present())
        _log.warning(
            "%s: the delete flow starts at history id %s. If the target has older rows, run a full refresh of the "
            "table: rows whose messages were deleted before this history id are not deleted otherwise.",
            self.table,
            earliest,
        )
        if known is None:
            _log.warning(
                "%s: it has more row ids than the offset of the delete flow can store. If Gmail's history expires "
                "before a run, the flow fails and requires a full refresh.",
                self.table,
            )
        return Offset(earliest, limit=self.limit, known=known, rows=self._deleted.listed)

    def _expired(self, start: Offset, history_id: int | None) -> Offset:
        """The offset from which the next batch compares ids, as the history after `history_id` has expired."""
        self._require_ids(start, history_id)
        _log.warning(
            "%s: Gmail no longer keeps the history after %s. %s",
            self.table,
            history_id,
            "The table is compared with Gmail's listing."
            if self.reconciled
            else "Rows of that time that Gmail no longer lists are deleted. If the change flow wrote rows while this "
            "flow did not run, run a full refresh: this flow can't find deleted rows among them.",
        )
        known = None if start.known is None else pack(unpacked(start.known) | unpacked(start.gone))
        return replace(start.expired(), known=known, gone=None)

    def _require_ids(self, start: Offset, history_id: int | None) -> None:
        if start.known is None and not self.reconciled:
            raise HistoryExpiredError(
                f"Gmail no longer keeps the history after {history_id}, and the delete flow of {self.table} can't "
                "say which rows were deleted since: its offset does not contain the ids of the table's rows.",
                fix=f"Run a full refresh of {self.table}. Run the pipeline more often than once a week to avoid it.",
            )

    def _reload(self, start: Offset, head: int | None) -> tuple[Offset, list[DeletedRow]]:
        self._require_ids(start, start.history_id)
        # The head is read before the listing: a row that returns later has a higher history id than its deletion.
        reloaded = head if head is not None else head_of(self.api)
        earliest = self._earliest(reloaded)
        if self.reconciled:
            return Offset(earliest, limit=self.limit, reloaded=reloaded), []
        present = self._present()
        end = Offset(
            earliest, limit=self.limit, reloaded=reloaded, known=pack(present), rows=self._deleted.listed
        )
        return end, self._missing(start, present, reloaded)

    def _missing(self, start: Offset, present: set[str], record: int) -> list[DeletedRow]:
        known = unpacked(start.known)
        missing = sorted(known - present)
        self._check_mass_deletion(deletions=len(missing), rows=len(known))
        return [DeletedRow(key, record) for key in missing]

    def _check_mass_deletion(self, *, deletions: int, rows: int) -> None:
        check_mass_deletion(
            self.table,
            self.history.mailbox or "the mailbox",
            deletions=deletions,
            rows=rows,
            confirm=f"a full refresh of {self.table} (outside Databricks: delete the table)",
        )

    # A later `startDate`

    def _move_date(self, start: Offset, move: tuple[int, int]) -> tuple[Offset, list[DeletedRow]]:
        rows = self._before_date(move)
        filters = self.identity.filters
        end = replace(start.confirmed(), limit=self.limit, rows=self._deleted.listed, filters=filters)
        if start.known is not None:
            end = replace(end, known=pack(unpacked(start.known) - {row.id for row in rows}))
        return end, rows

    def _before_date(self, move: tuple[int, int]) -> list[DeletedRow]:
        """The rows that leave. The listing of those that stay contains threads that have later messages too."""
        listed = rows_before(self.api, self.table, kept_options(self.options), *move)
        present = self._present()
        gone = sorted(listed - present)
        if not present:
            # The date is too late, or the listing failed.
            self._check_mass_deletion(deletions=len(gone), rows=len(gone))
        record = head_of(self.api)
        return [DeletedRow(key, record) for key in gone]

    def _present(self) -> set[str]:
        """The rows that the table may have."""
        options = kept_options(self.options)
        listed = list_message_ids(self.api, options)
        self._deleted.listed = len(listed) if options.q is not None else None
        return set(listed if self.table == "messages" else listed.values())

    def _known(self, start: Offset, part: HistorySlice, gone: set[str]) -> str | None:
        """The rows that the table may have after the batch; it can contain extra ids, but misses none."""
        if start.known is None or self.reconciled:
            return None
        known = unpacked(start.known)
        for message_id, change in part.changes.messages.items():
            if not change.deleted and labels_match(change, self.options) is not False:
                known.add(message_id if self.table == "messages" else change.thread_id)
        return pack(known - gone)

    def _earliest(self, head: int | None) -> int:
        """A history id from which the flow can start.

        The change flow may have read rows that are deleted before the first read of this flow, so it starts as far back
        as Gmail keeps the history: deleting a row that does not exist is harmless. History ids from Gmail's responses
        are tried first; it is not documented whether Gmail accepts others, and refused ones are skipped.
        """
        newest = head if head is not None else head_of(self.api)
        page = next(iter(self.api.list_threads(include_spam_trash=True)), [])
        named = sorted({int(item.get("historyId") or newest) for item in page})
        named = [history_id for history_id in named if history_id < newest]
        place = bisect_left(named, True, key=self.history.reaches)
        kept = named[place] if place < len(named) else newest
        between = range(named[place - 1] + 1 if place else 1, kept)
        place = bisect_left(between, True, key=self.history.reaches)
        return between[place] if place < len(between) else kept


def _date_move(filters: str | None, new: int | None) -> tuple[int, int] | None:
    """The `startDate` of these filters and a later one; None if it is not later, or if one of them is missing."""
    old = start_date_in(filters)
    return (old, new) if old is not None and new is not None and old < new else None


def kept_options(options: TableOptions) -> TableOptions:
    """Options that list every message whose row may be in the table; time alone removes none."""
    lasting = without_dates(options.q)
    return options.model_copy(update={"q": None if has_dates(lasting) else lasting})
