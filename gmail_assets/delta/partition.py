"""One mailbox's part of a table: what is stored, and the commits that change it.

- Every commit carries a transaction (`gmail/<mailbox>/<table>/writer`) that only its own run may move, so that a
  second run's commit is refused by Delta itself and leaves no trace.
- `cursor` is the history id up to which the part equals the mailbox, in the same commit as the data that make it
  true; `anchor` is the history id from which an unfinished load has to be replayed. Both are named by the options'
  fingerprint; changed options have neither.
- `applied` is the history id up to which every stored row is true, whatever the options and though others may be
  missing: what Gmail changed later has to be read again, and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import (
    CommitProperties,
    DeltaTable,
    QueryBuilder,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError

from gmail_assets.delta.errors import WriterConflictError, one_line, unwritable
from gmail_assets.delta.lake import DELETED_AT, MAILBOX, MAILBOX_FIELD, LakeTable
from gmail_assets.delta.restores import brought_back, restores

__all__ = ["MailboxPartition", "place"]

_WRITER = WriterProperties(compression="ZSTD", compression_level=1)
_MERGE_GROUP_BYTES = 32 * 2**20
"""Parquet bytes that one MERGE may touch: what bounds its memory."""


class MailboxPartition:
    """One mailbox's part of one table, as one run sees and writes it.

    Args:
        table: The table.
        address: The mailbox's real address.
        fingerprint: The options' fingerprint: it names the cursor.
        format_: The format in which messages are read: rows of another format have to be read again.

    Attributes:
        cursor: History id up to which the part equals the mailbox; None when it has to be compared.
        anchor: History id of an unfinished load.
        applied: History id up to which the rows that are stored are true; 0 when nothing is known of them.
        restored: Someone restored an older version of the table after this part's last commit.
        fits: Every row that is stored entered by these options.
        reread: Where history ids don't tell which threads changed: the history id after which labels were read
            again, and the `place` of the last thread whose were; None where no such reading is under way.
    """

    def __init__(self, table: LakeTable, address: str, fingerprint: str, format_: str) -> None:
        self.table = table
        self.address = address
        self._base = f"gmail/{address}/{table.source}"
        self._named = f"{self._base}/{fingerprint}"
        self._meaning = {
            f"{self._base}/options": _number(fingerprint),
            f"{self._base}/format": _number(format_),
        }
        self._fence = self._version(f"{self._base}/writer")
        written = self._fence is not None
        same_options = all(self._version(app) == number for app, number in self._meaning.items())
        self.changed_options = written and not same_options
        # What a restore brought back is what it was then: the log's transactions stay as they were.
        found = restores(table, self._fence or 0) if written else []
        states = [self.table.delta, *(brought_back(table, restore) for restore in found)]
        self.restored = bool(found)
        self.applied = min(self._applied_in(state) for state in states)
        self.changed_format = any(self._other_format(state) for state in states)
        trusted = written and same_options and not self.restored
        self.cursor = self._version(f"{self._named}/history") if trusted else None
        self.anchor = self._version(f"{self._named}/load") if trusted else None
        begun = self.cursor is not None or self.anchor is not None
        self.fits = begun or all(self._fits_in(state) for state in states)
        since, last = (self._version(f"{self._base}/reread/{name}") for name in ("since", "last"))
        self.reread = (since, last) if since and last and not self.restored else None
        self._reread_noted = bool(since)
        self._untold = not trusted

    # Reading

    def _version(self, app: str) -> int | None:
        version = self.table.delta.transaction_version(app)
        return version if version is not None and version > 0 else None

    def _applied_in(self, state: DeltaTable | None) -> int:
        return (state.transaction_version(f"{self._base}/applied") or 0) if state is not None else 0

    def _other_format(self, state: DeltaTable | None) -> bool:
        """Whether rows of that state may be of another format; a state without a format has no rows."""
        app = f"{self._base}/format"
        return state is None or state.transaction_version(app) not in (None, self._meaning[app])

    def _fits_in(self, state: DeltaTable | None) -> bool:
        """Whether all rows of that state entered by these options."""
        entered = None if state is None else state.transaction_version(f"{self._base}/entered")
        return entered == self._meaning[f"{self._base}/options"]

    def forget(self, head: int) -> None:
        """Have the part compared, by the next run too where this one doesn't reach its end.

        Args:
            head: The mailbox's head; what is said to be applied beyond it is not.
        """
        self.cursor = self.anchor = None
        if self.applied > head:
            self.applied, self.reread = 0, None
        self._untold = True

    def members(self, keys: Iterable[str] | None = None) -> pa.Table:
        """What is needed to compare: keys, threads, labels and history ids, without any content.

        Args:
            keys: Only these rows; None for all.

        Returns:
            For messages: id, threadId, labelIds, historySequence. For threads: id, historySequence, messages
            as a list of structs of id and labelIds. In both, `marked` is true for rows kept after deletion.
        """
        leaves = ["id", "historySequence"]
        if self.table.source == "messages":
            leaves += ["threadId", "labelIds.list.element"]
        else:
            leaves += [f"messages.list.element.{leaf}" for leaf in ("id", "labelIds.list.element")]
        if self.table.may_hold_marked:
            leaves.append(DELETED_AT)
        wanted = None if keys is None else pa.array(sorted(set(keys)), pa.string())
        empty = self._no_members()
        pieces = [empty]
        for path in self._paths(None if wanted is None else wanted.to_pylist()):
            piece = _as_schema(pq.ParquetFile(path).read(columns=leaves), empty.schema)
            if wanted is not None:
                piece = piece.filter(pc.is_in(piece["id"], wanted))
            pieces.append(piece)
        table = pa.concat_tables(pieces)
        marked = (
            pc.is_valid(table[DELETED_AT])
            if self.table.may_hold_marked
            else pa.array([False] * table.num_rows, pa.bool_())
        )
        return table.append_column("marked", marked)

    def _no_members(self) -> pa.Table:
        text = pa.string()
        labels = pa.list_(text)
        if self.table.source == "messages":
            fields = [("id", text), ("historySequence", pa.int64()), ("threadId", text), ("labelIds", labels)]
        else:
            member = pa.struct([("id", text), ("labelIds", labels)])
            fields = [("id", text), ("historySequence", pa.int64()), ("messages", pa.list_(member))]
        if self.table.may_hold_marked:
            fields.append((DELETED_AT, pa.timestamp("us", tz="UTC")))
        return pa.schema(fields).empty_table()

    def _paths(self, keys: list[str] | None) -> Iterator[Any]:
        """Open the part's files, only those that may hold one of the (sorted) keys."""
        predicate = f"{MAILBOX} = {_quoted(self.address)}"
        if keys is not None:
            if not keys:
                return
            predicate += (
                f" AND {self.table.key} >= {_quoted(keys[0])} AND {self.table.key} <= {_quoted(keys[-1])}"
            )
        dataset = self.table.delta.to_pyarrow_dataset(file_pruning_predicate=predicate)
        for path in dataset.files:
            yield dataset.filesystem.open_input_file(path)

    def rows(self, keys: Sequence[str]) -> pa.Table:
        """Whole rows by key, in the lake's schema."""
        if not keys:
            return self.table.schema.empty_table()
        listed = ",".join(_quoted(key) for key in sorted(set(keys)))
        found = (
            QueryBuilder()
            .register("t", self.table.delta)
            .execute(
                f"SELECT * FROM t WHERE {MAILBOX} = {_quoted(self.address)} "  # noqa: S608 - quoted above
                f"AND {self.table.key} IN ({listed})"
            )
        )
        return pa.table(found).select(self.table.schema.names).cast(self.table.schema)

    def count(self) -> int:
        """Rows of this mailbox, from the log alone."""
        return self.table.count(self.address)

    # Writing

    def append(self, rows: pa.Table, *, cursor: int | None = None, anchor: int | None = None) -> None:
        """Add rows whose keys are not in the part, in one commit."""
        self._write(
            lambda properties: write_deltalake(
                self.table.delta,
                self._in_lake(rows),
                mode="append",
                writer_properties=_WRITER,
                commit_properties=properties,
            ),
            cursor=cursor,
            anchor=anchor,
        )

    def replace(self, rows: pa.Table) -> None:
        """Put these rows in the place of all that the mailbox has in the table, in one commit."""
        self._write(
            lambda properties: write_deltalake(
                self.table.delta,
                self._in_lake(rows),
                mode="overwrite",
                predicate=f"{MAILBOX} = {_quoted(self.address)}",
                writer_properties=_WRITER,
                commit_properties=properties,
            )
        )

    def clear(self, *, anchor: int) -> None:
        """Take the mailbox's rows out and forget its cursor, in one commit: the start of a full refresh.

        Where rows are kept after deletion, all stay, marked, until they are read again: what was deleted in Gmail
        since the last run, or is before its turn comes, Gmail could not give again.
        """
        predicate = f"{MAILBOX} = {_quoted(self.address)}"
        delta = self.table.delta

        def write(properties: CommitProperties) -> None:
            if self.table.keeps_deleted:
                delta.update(
                    predicate=f"{predicate} AND {DELETED_AT} IS NULL",
                    updates={DELETED_AT: _now()},
                    writer_properties=_WRITER,
                    commit_properties=properties,
                )
            else:
                delta.delete(predicate=predicate, writer_properties=_WRITER, commit_properties=properties)

        self.reread = None
        self._write(write, cursor=0, anchor=anchor)
        self.cursor = None

    def commit(
        self, *, cursor: int | None = None, anchor: int | None = None, applied: int | None = None
    ) -> None:
        """Move the cursor (or set the anchor, what is applied, or `reread`) without data."""
        self._write(self._commit_alone, cursor=cursor, anchor=anchor, applied=applied)

    def _commit_alone(self, properties: CommitProperties) -> None:
        delta = self.table.delta
        delta.create_write_transaction(
            [], "append", delta.schema(), partition_by=[MAILBOX], commit_properties=properties
        )

    def merge(
        self,
        updates: pa.Table,
        removed: Sequence[str] = (),
        *,
        cursor: int | None = None,
        anchor: int | None = None,
    ) -> None:
        """Set columns of rows that are in the part, and take rows out (or mark them, where they are kept).

        Rows are grouped by the files they live in, so that memory is bounded; each group is one commit, and
        the cursor is in the last one's alone.

        Args:
            updates: The key and the columns to set, one row per key. A row marked as deleted is back.
            removed: Keys of rows that leave.
            cursor: See `MailboxPartition.cursor`.
            anchor: See `MailboxPartition.anchor`.
        """
        names = [name for name in updates.schema.names if name not in (self.table.key, MAILBOX)]
        keys = sorted([*updates[self.table.key].to_pylist(), *removed])
        if not keys:
            self.commit(cursor=cursor, anchor=anchor)
            return
        leaving = set(removed)
        groups = list(self._groups(keys))
        for index, group in enumerate(groups):
            wanted = pa.array(group, pa.string())
            part = updates.filter(pc.is_in(updates[self.table.key], wanted))
            self._merge_group(
                part,
                names,
                [key for key in group if key in leaving],
                cursor=cursor if index == len(groups) - 1 else None,
                anchor=anchor,
            )

    def _merge_group(
        self,
        updates: pa.Table,
        names: list[str],
        removed: list[str],
        *,
        cursor: int | None,
        anchor: int | None,
    ) -> None:
        key = self.table.key
        fields = [self.table.schema.field(key), *(self.table.schema.field(name) for name in names)]
        source_schema = pa.schema([*fields, pa.field("_op", pa.string())])
        source = pa.concat_tables(
            [
                updates.select([key, *names])
                .cast(pa.schema(fields))
                .append_column("_op", pa.array(["set"] * updates.num_rows, pa.string()))
                .cast(source_schema),
                pa.table(
                    [
                        pa.array(removed, pa.string()),
                        *(pa.nulls(len(removed), field.type) for field in fields[1:]),
                        pa.array(["leave"] * len(removed), pa.string()),
                    ],
                    schema=source_schema,
                ),
            ]
        )
        keys = sorted([*updates[key].to_pylist(), *removed])
        predicate = (
            f"t.{MAILBOX} = {_quoted(self.address)} "
            f"AND t.{key} BETWEEN {_quoted(keys[0])} AND {_quoted(keys[-1])} AND t.{key} = s.{key}"
        )
        setting = {name: f's."{name}"' for name in names}
        if self.table.may_hold_marked:
            setting[DELETED_AT] = "NULL"

        def write(properties: CommitProperties) -> None:
            merger = self.table.delta.merge(
                _fresh(source),
                predicate,
                source_alias="s",
                target_alias="t",
                streamed_exec=False,
                writer_properties=_WRITER,
                commit_properties=properties,
            )
            if removed and self.table.keeps_deleted:
                merger = merger.when_matched_update(
                    {DELETED_AT: _now()},
                    predicate=f"s._op = 'leave' AND t.{DELETED_AT} IS NULL",
                )
            elif removed:
                merger = merger.when_matched_delete("s._op = 'leave'")
            if updates.num_rows:
                merger = merger.when_matched_update(setting, predicate="s._op = 'set'")
            merger.execute()

        self._write(write, cursor=cursor, anchor=anchor)

    def _groups(self, keys: list[str]) -> Iterator[list[str]]:
        """Cut sorted keys so that each group's range touches at most so many bytes of files."""
        files = [
            (file.low or "", file.high, file.size)
            for file in self.table.files()
            if file.mailbox == self.address
        ]

        def touched(first: str, last: str) -> int:
            return sum(size for low, high, size in files if low <= last and (high is None or high >= first))

        group: list[str] = []
        size = 0
        for key in keys:
            grown = touched(group[0] if group else key, key)
            if group and grown > size and grown > _MERGE_GROUP_BYTES:
                yield group
                group = []
                grown = touched(key, key)
            group.append(key)
            size = grown
        if group:
            yield group

    def _in_lake(self, rows: pa.Table) -> pa.Table:
        if MAILBOX not in rows.schema.names:
            rows = rows.add_column(0, MAILBOX_FIELD, pa.array([self.address] * rows.num_rows, pa.string()))
        for name in self.table.schema.names:
            if name not in rows.schema.names:
                field = self.table.schema.field(name)
                rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
        return _fresh(rows.select(self.table.schema.names))

    def _write(
        self,
        write: Callable[[CommitProperties], object],
        *,
        cursor: int | None = None,
        anchor: int | None = None,
        applied: int | None = None,
    ) -> None:
        delta = self.table.delta
        fence_app = f"{self._base}/writer"
        fence = max(delta.version() + 1, (self._fence or 0) + 1)
        transactions = [Transaction(fence_app, fence)]
        transactions += [Transaction(app, number) for app, number in self._meaning.items()]
        if cursor is None and self._untold:
            # What these options' cursor said before is not true of these rows any more.
            cursor = 0
        # All that a load has stored was read after its anchor.
        applied = cursor or applied or anchor or self.applied
        transactions.append(Transaction(f"{self._base}/applied", applied))
        if cursor or anchor:
            self.fits = True  # as far as it has come, all was compared with what these options want
        if cursor:
            self.reread = None
        if self.reread or self._reread_noted:
            for name, number in zip(("since", "last"), self.reread or (0, 0), strict=True):
                transactions.append(Transaction(f"{self._base}/reread/{name}", number))
        entered = self._meaning[f"{self._base}/options"] if self.fits else 0
        transactions.append(Transaction(f"{self._base}/entered", entered))
        if cursor is not None:
            transactions.append(Transaction(f"{self._named}/history", cursor))
        if cursor is not None or anchor is not None:
            # A load that reached its end has no anchor.
            transactions.append(Transaction(f"{self._named}/load", 0 if cursor else anchor or 0))
        before = delta.transaction_version(fence_app)
        properties = CommitProperties(app_transactions=transactions)
        try:
            write(properties)
            delta.update_incremental()
            if delta.transaction_version(fence_app) == before:
                # A merge or delete that matches nothing makes no commit: the cursor has to move all the same.
                self._commit_alone(properties)
                delta.update_incremental()
        except CommitFailedError as error:
            raise self._conflict(error) from error
        except (DeltaError, OSError) as error:
            raise unwritable(self.table.delta.table_uri, error) from error
        if delta.transaction_version(fence_app) != fence:
            raise self._conflict(None)
        self._fence = fence
        self._reread_noted = self.reread is not None
        self._untold = False
        self.applied = applied
        if cursor is not None:
            self.cursor = cursor or None
        if cursor is not None or anchor is not None:
            self.anchor = None if cursor else anchor

    def _conflict(self, error: Exception | None) -> WriterConflictError:
        detail = f" ({one_line(error)})" if error else ""
        return WriterConflictError(
            f"Another run wrote {self.address}'s part of {self.table.source!r} at the same time{detail}.",
            fix="Nothing of this run's last commit was written; let the other run finish and start again.",
        )


def place(key: str) -> int:
    """The place of a row in an order that no row's coming or going changes: a positive number."""
    return _number(key)


def _now() -> str:
    """The present as an SQL expression, in the type of `_deletedAt`."""
    return f"arrow_cast('{datetime.now(UTC).isoformat()}', 'Timestamp(Microsecond, Some(\"UTC\"))')"


def _number(text: str) -> int:
    """A positive 60-bit number for a text: transaction versions are numbers."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:15], 16) + 1


def _as_schema(piece: pa.Table, schema: pa.Schema) -> pa.Table:
    """A file's columns as the table has them now.

    A file may be older than a column, and files of merges and of appends differ in how Arrow reads their strings.
    """
    for field in schema:
        if field.name not in piece.schema.names:
            piece = piece.append_column(field, pa.nulls(piece.num_rows, field.type))
    return piece.select(schema.names).cast(schema)


def _fresh(table: pa.Table) -> pa.Table:
    """A copy whose arrays start at offset 0: deltalake aborts on sliced nested arrays."""
    if not table.num_rows:
        return table
    return table.take(pa.array(range(table.num_rows), pa.int64()))


def _quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"
