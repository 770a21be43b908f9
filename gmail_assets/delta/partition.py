"""One mailbox's partition of a table: reads of its rows, and the commits that change them.

Every write takes a `SyncState` that the commit carries. Every commit also carries a fencing transaction that only its
own run may move: Delta refuses a second run's commit, and nothing of it is visible.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import QueryBuilder, Transaction

from gmail_assets.delta.app_ids import StateReader
from gmail_assets.delta.group_commit import Fenced, commit_fenced
from gmail_assets.delta.lake import DELETED_AT, MAILBOX
from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.delta.lease import PartitionLease
from gmail_assets.delta.restores import brought_back
from gmail_assets.delta.rewrite import Edit, PartitionRewrite, updated
from gmail_assets.delta.row_changes import RowChanges
from gmail_assets.delta.scan import as_schema, open_files, read_columns
from gmail_assets.delta.sync_state import SyncState, read_state, transactions
from gmail_assets.delta.table_log import RESTORES
from gmail_assets.delta.writer import before_commit, next_fence
from gmail_client.sql import literal

__all__ = ["MailboxPartition"]

_COMPARED_BYTES = 4 * 2**20
"""Size on disk up to which a snapshot is compared with its stored rows, instead of being written in any case."""


class MailboxPartition:
    """One mailbox's partition of one table, as one run sees and writes it.

    Args:
        table: The table.
        address: The mailbox's real address.
        fingerprint: Fingerprint of the options; other options have their own state.
        format_: Format in which messages are read; rows of another format have to be read again.

    Attributes:
        state: The sync state, as of the last commit.
        written: This product has committed for this mailbox.
        restored: Someone restored an older version of the table after this partition's last commit.
        changed_format: Rows of another format may be stored.
        changes: The rows that this run has written.
        lease: The lease that commits carry while a run loads or reconciles.

    Raises:
        NewerStateError: A later release of this product wrote the partition.
    """

    def __init__(self, table: LakeTable, address: str, fingerprint: str, format_: str) -> None:
        self.table = table
        self.address = address
        self._fingerprint = fingerprint
        self._read_at = table.delta.version()
        self._read = StateReader(table.delta, address, table.source, table.transactions)
        self._base = self._read.base
        self._fence = self._read(f"{self._base}/writer")
        self._known = self._read.hashed(f"{self._base}/writer")
        self.lease = PartitionLease(self._base, self._read)
        self.state, version = read_state(self._read, self._base, fingerprint, format_)
        self.written = version is not None
        # Transactions survive a restore; the rows that it brought back are older.
        found = table.restores(before_commit(self._fence)) if self.written else []
        self.restored = bool(found)
        stored_formats = {self._read(f"{self._base}/format")}
        if self.restored:
            earlier = [
                None if delta is None else StateReader(delta, address, table.source)
                for delta in (brought_back(table, restore) for restore in found)
            ]
            states = [
                None if read is None else read_state(read, self._base, fingerprint, format_)[0]
                for read in earlier
            ]
            through = [0 if state is None else state.rows_through for state in states]
            self.state = SyncState(
                self.state.options,
                self.state.format,
                rows_through=min([self.state.rows_through, *through]),
                rows_match=self.state.rows_match
                and all(state is not None and state.rows_match for state in states),
                search_applied=False,
            )
            stored_formats |= {-1 if read is None else read(f"{self._base}/format") for read in earlier}
        self.changed_format = bool(stored_formats - {None, 0, self.state.format})
        self.changes = RowChanges(self._fence, self._fence, None if self.restored else set())

    @property
    def in_use(self) -> bool:
        """Whether a sync with these options has begun, or a restore brought older rows back."""
        return self.restored or self.state.cursor is not None or self.state.load_start is not None

    @property
    def has_state(self) -> bool:
        """Whether a sync or a snapshot with these options is recorded, so that the mailbox was not erased."""
        return any((self.state.cursor, self.state.load_start, self.state.synced_at))

    @property
    def stored_format(self) -> int | None:
        """Number of the format in which messages are stored; None when nothing was ever written."""
        return self._read(f"{self._base}/format")

    # Reading

    def members(self, keys: Iterable[str] | None = None) -> pa.Table:
        """The columns that a comparison needs: keys, threads, labels and history ids, without content.

        Args:
            keys: Only these rows; None for all.

        Returns:
            For messages: id, threadId, labelIds, historySequence, date (internalDate as a number). For threads: id,
            historySequence, messages as a list of structs of id, labelIds and internalDate. In both, `soft_deleted` is
            true for soft-deleted rows.
        """
        leaves = ["id", "historySequence"]
        if self.table.source == "messages":
            leaves += ["threadId", "labelIds.list.element", "internalDate"]
        else:
            leaves += [
                f"messages.list.element.{leaf}" for leaf in ("id", "labelIds.list.element", "internalDate")
            ]
        if self.table.may_hold_soft_deleted:
            leaves.append(DELETED_AT)
        wanted = None if keys is None else set(keys)
        table = read_columns(self.table, self.address, leaves, self._members_schema(), keys=wanted)
        soft_deleted = (
            pc.is_valid(table[DELETED_AT])
            if self.table.may_hold_soft_deleted
            else pa.array([False] * table.num_rows, pa.bool_())
        )
        if self.table.source == "messages":
            place = table.schema.get_field_index("internalDate")
            table = table.set_column(place, "date", pc.cast(table["internalDate"], pa.int64()))
        return table.append_column("soft_deleted", soft_deleted)

    def dates(self) -> list[int]:
        """One internalDate (epoch milliseconds) of each row, in order; of a thread its newest message's."""
        leaf = "internalDate" if self.table.source == "messages" else "messages.list.element.internalDate"
        dates: list[int] = []
        for file in open_files(self.table, self.address):
            (column,) = file.read(columns=[leaf]).columns
            for value in column.to_pylist():
                own = [value] if isinstance(value, str) else [one["internalDate"] for one in value or ()]
                dates += [max(map(int, known))] if (known := list(filter(None, own))) else []
        return sorted(dates)

    def _members_schema(self) -> pa.Schema:
        text = pa.string()
        labels = pa.list_(text)
        if self.table.source == "messages":
            fields = [("id", text), ("historySequence", pa.int64()), ("threadId", text), ("labelIds", labels)]
            fields.append(("internalDate", text))
        else:
            member = pa.struct([("id", text), ("labelIds", labels), ("internalDate", text)])
            fields = [("id", text), ("historySequence", pa.int64()), ("messages", pa.list_(member))]
        if self.table.may_hold_soft_deleted:
            fields.append((DELETED_AT, pa.timestamp("us", tz="UTC")))
        return pa.schema(fields)

    def rows(self, keys: Sequence[str]) -> pa.Table:
        """Whole rows by key, in the lake's schema."""
        if not keys:
            return self.table.schema.empty_table()
        listed = ",".join(literal(key) for key in sorted(set(keys)))
        found = (
            QueryBuilder()
            .register("t", self.table.delta)
            .execute(
                f"SELECT * FROM t WHERE {MAILBOX} = {literal(self.address)} "  # noqa: S608 - quoted above
                f"AND {self.table.key} IN ({listed})"
            )
        )
        return pa.table(found).select(self.table.schema.names).cast(self.table.schema)

    def count(self) -> int:
        """Number of rows of this mailbox; reads only the log."""
        return self.table.count(self.address)

    # Writing

    def append(self, rows: pa.Table, state: SyncState | None = None) -> None:
        """Add rows whose keys are not in the partition, in one commit; `state` is unchanged if omitted."""
        self._rewrite([], lambda stored: stored, rows, state)

    def replace(self, rows: pa.Table, *, names: int = 0, record_every: float = 0) -> bool:
        """Replace all rows of the mailbox with these, in one commit, which records the time of the read.

        Args:
            rows: The rows.
            names: See `SyncState.names`.
            record_every: See `record_read`; only for rows that are stored.

        Returns:
            Whether rows were written: false if the stored rows are equal.
        """
        if self.written and self.table.size(self.address) <= _COMPARED_BYTES and self._are_stored(rows):
            self.record_read(names, record_every=record_every)
            return False
        self.changes.set_unknown()
        self._write(self.state.read_at(int(time.time()), names), self._replacement(rows))
        return True

    def record_read(self, names: int | None = None, *, record_every: float = 0) -> None:
        """Record that the mailbox was read, in one commit without rows.

        Args:
            names: See `SyncState.names`; None if they are unknown.
            record_every: Seconds. Nothing is committed if a read was recorded less than this ago.
        """
        now, last = int(time.time()), self.state.synced_at
        state = self.state.read_at(now, names)
        recent = last is not None and 0 <= now - last < record_every and state.names == self.state.names
        if not recent or self.restored or self.changed_format:
            self.commit(state)

    def _are_stored(self, rows: pa.Table) -> bool:
        """Whether these are all rows, in this order."""
        schema = pa.schema([field for field in self.table.schema if field.name != MAILBOX])
        stored = read_columns(self.table, self.address, schema.names, schema)
        return bool(stored.equals(as_schema(rows, schema)))

    def clear(self, state: SyncState) -> None:
        """Delete the mailbox's rows, in one commit with a state: the start of a full refresh.

        With soft deletes, all rows are soft-deleted until they are read again: Gmail cannot return messages that were
        deleted since the last run.
        """
        if self.table.keeps_deleted:
            schema = pa.schema([self.table.schema.field(self.table.key)])
            keys = read_columns(self.table, self.address, schema.names, schema)
            nothing = self.table.schema.empty_table()
            change = PartitionRewrite(
                self.table, self.address, keys, lambda rows: self._with_deletions(rows, nothing)
            )
        else:
            change = self._replacement(None)
        self.changes.set_unknown()
        self._write(state, change)
        self.changed_format = False

    def _replacement(self, rows: pa.Table | None) -> PartitionRewrite:
        """All rows are replaced by these."""
        keys = pa.table({self.table.key: pa.array([], pa.string())})
        return PartitionRewrite(self.table, self.address, keys, lambda stored: stored, rows, replace_all=True)

    def end_lease(self) -> None:
        """Release the lease of a run that ends early; a commit only if the last one carried a lease."""
        self.lease.hold(0)
        if self.lease.committed:
            self.commit(self.state)

    def commit(self, state: SyncState) -> None:
        """Write a state without rows."""
        self._write(state)

    def merge(
        self,
        updates: pa.Table,
        removed: Sequence[str] = (),
        inserts: pa.Table | None = None,
        state: SyncState | None = None,
    ) -> None:
        """Set columns of stored rows, delete (or soft-delete) rows, and add new rows, in one commit.

        Args:
            updates: The key and the columns to set, one row per key. A soft-deleted row is restored.
            removed: Keys of rows to delete.
            inserts: Whole rows whose keys are not stored.
            state: The state once all is written; unchanged if omitted.
        """
        keys = [*updates[self.table.key].to_pylist(), *removed]
        self.edit(keys, lambda rows: updated(rows, updates, [self.table.key]), inserts, state)

    def edit(
        self, keys: Sequence[str], edit: Edit, inserts: pa.Table | None = None, state: SyncState | None = None
    ) -> None:
        """Replace, delete (or soft-delete) stored rows and add new rows, in one commit.

        The files that contain the rows are rewritten one after the other, so that memory is bounded.

        Args:
            keys: Keys of the rows to change.
            edit: Receives some of these rows, maybe more than once; returns the rows that replace them. Rows without
                a replacement are deleted; a soft-deleted row with one is restored.
            inserts: Whole rows whose keys are not stored.
            state: The state once all is written; unchanged if omitted.
        """
        if keys or (inserts is not None and inserts.num_rows):
            self._rewrite(keys, lambda rows: self._with_deletions(rows, edit(rows)), inserts, state)
        elif state is not None and state != self.state:
            self.commit(state)

    def _rewrite(
        self, keys: Sequence[str], edit: Edit, inserts: pa.Table | None, state: SyncState | None
    ) -> None:
        self.changes.add(keys)
        if inserts is not None:
            self.changes.add(inserts[self.table.key].to_pylist())
        rows = pa.table({self.table.key: pa.array(keys, pa.string())})
        self._write(state, PartitionRewrite(self.table, self.address, rows, edit, inserts))

    def _with_deletions(self, rows: pa.Table, edited: pa.Table) -> pa.Table:
        """The edited rows, and the soft-deleted ones of those that are not among them."""
        if not self.table.may_hold_soft_deleted:
            return edited
        key, deleted_at = self.table.key, self.table.schema.field(DELETED_AT)
        if DELETED_AT in edited.schema.names:
            edited = edited.drop_columns([DELETED_AT])
        schema = rows.schema
        edited = as_schema(edited, schema)
        if not self.table.keeps_deleted:
            return edited
        gone = rows.filter(pc.invert(pc.is_in(rows[key], edited[key].combine_chunks())))
        moment = pa.scalar(datetime.now(UTC), deleted_at.type)
        marked = pc.coalesce(gone[DELETED_AT], moment)
        gone = gone.set_column(schema.get_field_index(DELETED_AT), deleted_at, marked)
        return pa.concat_tables([edited, gone])

    def _write(self, state: SyncState | None, change: PartitionRewrite | None = None) -> None:
        """Commit a change, with the fence and the state."""
        state = self.state if state is None else state
        fence = next_fence(self.table, self._fence)
        written = transactions(state, self._read.hashed, self._base, fence)
        old_fields = [f"{self._fingerprint}/{field}" for field in ("history", "load")]
        written += self._read.migration(fence, ended=old_fields)
        written += self.lease.transactions()
        if (record := self.table.restores_record()) is not None:
            written.append(Transaction(f"{self._base}/{RESTORES}", record))
        fenced = Fenced(self.address, written, f"{self._base}/writer", self._known, self._read_at)
        self._read_at = commit_fenced(self.table, fenced, change)
        self._known = fence  # the log, read again, may already have the fence of another run
        self._read = StateReader(self.table.delta, self.address, self.table.source, self.table.transactions)
        self._fence = self.changes.through = fence
        self.lease.note_committed(written)
        self.written = True
        self.restored = False
        self.state = state
