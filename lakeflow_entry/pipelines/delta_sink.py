"""`DeltaSink` writes a stream or a snapshot into a Delta table, without Delta's JVM jars.

Every commit of a stream carries the stream's name and its batch number, so that a batch that Spark repeats after a
crash is written once. SCD type 1 keeps the current row of each key, type 2 every version (`__START_AT`, `__END_AT`, as
on Databricks), append-only appends every row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import TableNotFoundError

from gmail_client.deletion import DELETED_AT
from gmail_client.private_files import make_private_folder
from gmail_client.sql import identifier, one_of

__all__ = ["DELETED_AT", "END_AT", "START_AT", "DeltaSink", "Scd"]

Scd = Literal["SCD_TYPE_1", "SCD_TYPE_2", "APPEND_ONLY"]

START_AT = "__START_AT"
END_AT = "__END_AT"

_WRITER_PROPERTIES = WriterProperties(statistics_truncate_length=64)
# As in gmail_assets.delta.writer: whole values in a file's footer make it unreadable where a text has over 100 MB.

_MERGE_KEY = "__merge_"
_INSERT = "__insert"


@dataclass(frozen=True, slots=True)
class DeltaSink:
    """One Delta table.

    Attributes:
        location: A folder or an object-store URI.
        schema: The columns of the source.
        keys: The columns that identify a row.
        sequence: The integer column that orders a key's versions; None for snapshots.
        scd: The SCD type, or append-only.
        keep_deleted: Soft-delete rows (set `_deletedAt`) instead of deleting them (type 1 only).
    """

    location: str
    schema: pa.Schema
    keys: tuple[str, ...]
    sequence: str | None = None
    scd: Scd = "SCD_TYPE_1"
    keep_deleted: bool = False

    @property
    def table_schema(self) -> pa.Schema:
        """The columns of the table."""
        if self.scd == "SCD_TYPE_2":
            kind = self.schema.field(self.sequence).type if self.sequence else pa.timestamp("us", tz="UTC")
            return pa.schema([*self.schema, pa.field(START_AT, kind), pa.field(END_AT, kind)])
        if self.keep_deleted:
            return pa.schema([*self.schema, pa.field(DELETED_AT, pa.timestamp("us", tz="UTC"))])
        return self.schema

    def exists(self) -> bool:
        """Whether the table exists."""
        return bool(self.columns())

    def columns(self) -> tuple[str, ...]:
        """The columns of the stored table; none if it does not exist."""
        try:
            return tuple(field.name for field in DeltaTable(self.location).schema().fields)
        except TableNotFoundError:
            return ()

    def open(self) -> DeltaTable:
        """Open the table; create it if it is missing, and add columns that an earlier release did not have."""
        if "://" not in self.location:
            make_private_folder(Path(self.location).parent)
        DeltaTable.create(self.location, schema=self.table_schema, mode="ignore")
        table = DeltaTable(self.location)
        present = {field.name for field in table.schema().fields}
        missing = [one for one in Schema.from_arrow(self.table_schema).fields if one.name not in present]
        if missing:
            table.alter.add_columns(missing)
        return table

    def count(self) -> int:
        """Present rows."""
        return len(self.present())

    def present(self) -> dict[tuple[Any, ...], Any]:
        """The keys of current rows, with the sequence (type 2: the start) of each."""
        order = START_AT if self.scd == "SCD_TYPE_2" else self.sequence
        columns = [*self.keys, *([order] if order else [])]
        marks = [name for name in (END_AT, DELETED_AT) if name in self.table_schema.names]
        table = self.open().to_pyarrow_table(columns=[*columns, *marks])
        for mark in marks:
            table = table.filter(pc.is_null(table[mark]))
        rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
        if order:
            return {row[:-1]: row[-1] for row in rows}
        return dict.fromkeys(rows)

    def upsert(self, rows: pa.Table, stream: str, batch_id: int) -> int:
        """Write a micro-batch of new and changed rows; returns how many were written.

        Args:
            rows: Rows of `schema`.
            stream: Name of the stream.
            batch_id: Number of the batch in it.
        """
        table = self.open()
        if self._written(table, stream, batch_id):
            return 0
        commit = _commit(stream, batch_id)
        if self.scd == "APPEND_ONLY":
            if rows.num_rows:
                write_deltalake(
                    table,
                    self._whole(table, rows),
                    mode="append",
                    commit_properties=commit,
                    writer_properties=_WRITER_PROPERTIES,
                )
            return int(rows.num_rows)
        rows = self._latest(rows)
        if not rows.num_rows:
            return 0
        if self.scd == "SCD_TYPE_2":
            return self._versions(table, rows, commit)
        newer = f"t.{self.sequence} is null or s.{self.sequence} >= t.{self.sequence}"
        (
            table.merge(
                self._full(rows),
                self._matched(),
                source_alias="s",
                target_alias="t",
                writer_properties=_WRITER_PROPERTIES,
                commit_properties=commit,
            )
            .when_matched_update_all(predicate=newer)
            .when_not_matched_insert_all()
            .execute()
        )
        return int(rows.num_rows)

    def delete(self, rows: pa.Table, stream: str, batch_id: int) -> int:
        """Delete the rows of a micro-batch of the delete flow; returns the size of the micro-batch.

        Args:
            rows: Keys and sequence of the deleted rows, the other columns null.
            stream: Name of the stream.
            batch_id: Number of the batch in it.
        """
        table = self.open()
        if self.scd == "APPEND_ONLY" or self._written(table, stream, batch_id) or not rows.num_rows:
            return 0
        self._leave(table, self._latest(rows), _commit(stream, batch_id))
        return int(rows.num_rows)

    def replace(
        self, rows: pa.Table, now: datetime | None = None, mailboxes: Collection[str] | None = None
    ) -> int:
        """Write a snapshot, in one commit; returns how many rows it has.

        Args:
            rows: All rows of the source.
            now: Time of the snapshot; the start or end of type 2 versions.
            mailboxes: The mailboxes of the rows: those of others are kept. None for all rows.
        """
        table = self.open()
        if self.scd == "SCD_TYPE_1":
            write_deltalake(
                table,
                self._whole(table, rows),
                mode="overwrite",
                predicate=None if mailboxes is None else one_of("mailbox", sorted(mailboxes)),
                writer_properties=_WRITER_PROPERTIES,
            )
        elif self.scd == "APPEND_ONLY":
            write_deltalake(
                table, self._whole(table, rows), mode="append", writer_properties=_WRITER_PROPERTIES
            )
        else:
            self._next_snapshot(table, rows, now or datetime.now(UTC), mailboxes)
        return int(rows.num_rows)

    def delete_keys(self, keys: Iterable[tuple[Any, ...]], sequence: int) -> None:
        """Delete rows by key.

        Args:
            keys: Their keys.
            sequence: A history id that is not before any of the rows.
        """
        given = list(keys)
        columns: dict[str, Any] = {name: [key[at] for key in given] for at, name in enumerate(self.keys)}
        if self.sequence:
            columns[self.sequence] = [sequence] * len(given)
        names = [*self.keys, *([self.sequence] if self.sequence else [])]
        fields = [self.schema.field(name) for name in names]
        if given:
            self._leave(self.open(), pa.table(columns, schema=pa.schema(fields)), None)

    def _written(self, table: DeltaTable, stream: str, batch_id: int) -> bool:
        last = table.transaction_version(stream)
        return last is not None and last >= batch_id

    def _matched(self, prefix: str = "") -> str:
        return " and ".join(f"t.{identifier(name)} = s.{identifier(prefix + name)}" for name in self.keys)

    def _full(self, rows: pa.Table) -> pa.Table:
        """The rows with all columns of the table; missing ones are null."""
        columns = [
            rows[field.name].cast(field.type)
            if field.name in rows.column_names
            else pa.nulls(rows.num_rows, field.type)
            for field in self.table_schema
        ]
        return pa.table(columns, schema=self.table_schema)

    def _whole(self, table: DeltaTable, rows: pa.Table) -> pa.Table:
        """The rows with all columns of the stored table, which delta-rs requires to append or replace rows.

        These can be more, for example if the spec kept unknown fields earlier.
        """
        whole = self._full(rows)
        for field in pa.schema(table.schema()):
            if field.name not in whole.column_names:
                whole = whole.append_column(field, pa.nulls(rows.num_rows, field.type))
        return whole

    def _latest(self, rows: pa.Table) -> pa.Table:
        """One row per key, the one with the highest sequence."""
        keys = list(zip(*(rows[name].to_pylist() for name in self.keys), strict=True))
        order = rows[self.sequence].to_pylist() if self.sequence else [0] * len(keys)
        best: dict[tuple[Any, ...], int] = {}
        for index, key in enumerate(keys):
            if key not in best or (order[index] or 0) >= (order[best[key]] or 0):
                best[key] = index
        return rows.take(pa.array(sorted(best.values()), pa.int64())) if len(best) < len(keys) else rows

    def _leave(self, table: DeltaTable, rows: pa.Table, commit: CommitProperties | None) -> None:
        wanted = [*self.keys, *([self.sequence] if self.sequence else [])]
        source = rows.select(wanted).append_column(
            "__now", pa.array([datetime.now(UTC)] * rows.num_rows, pa.timestamp("us", tz="UTC"))
        )
        merge = table.merge(
            source,
            self._matched(),
            source_alias="s",
            target_alias="t",
            writer_properties=_WRITER_PROPERTIES,
            commit_properties=commit,
        )
        newer = f"s.{self.sequence} >= t.{self.sequence}"
        if self.scd == "SCD_TYPE_2":
            merge.when_matched_update(
                {END_AT: f"s.{self.sequence}"}, predicate=f"t.{END_AT} is null and {newer}"
            ).execute()
        elif self.keep_deleted:
            merge.when_matched_update(
                {DELETED_AT: "s.__now"}, predicate=f"t.{DELETED_AT} is null and {newer}"
            ).execute()
        else:
            merge.when_matched_delete(predicate=newer).execute()

    def _versions(self, table: DeltaTable, rows: pa.Table, commit: CommitProperties | None) -> int:
        """Close the current version of each key and start the next."""
        present = self.present()
        keys = zip(*(rows[name].to_pylist() for name in self.keys), strict=True)
        order = rows[str(self.sequence)].to_pylist()
        newer = [
            index
            for index, key in enumerate(keys)
            if key not in present or (order[index] or 0) > (present[key] or 0)
        ]
        rows = rows.take(pa.array(newer, pa.int64()))
        self._write_versions(table, rows, rows[str(self.sequence)], commit)
        return int(rows.num_rows)

    def _next_snapshot(
        self, table: DeltaTable, rows: pa.Table, now: datetime, mailboxes: Collection[str] | None
    ) -> None:
        current = table.to_pyarrow_table()
        if mailboxes is not None:
            current = current.filter(pc.is_in(current["mailbox"], pa.array(sorted(mailboxes), pa.string())))
        current = current.filter(pc.is_null(current[END_AT])).select(self.schema.names)
        before = {self._key(row): row for row in current.to_pylist()}
        after = {self._key(row): row for row in rows.to_pylist()}
        changed = [row for key, row in after.items() if before.get(key) != row]
        stamp = pa.timestamp("us", tz="UTC")
        fresh = pa.Table.from_pylist(changed, schema=self.schema)
        gone = [row for key, row in before.items() if key not in after]
        closing = pa.Table.from_pylist(gone, schema=self.schema)
        self._write_versions(table, fresh, pa.array([now] * len(changed), stamp), None, closing, now)

    def _key(self, row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in self.keys)

    def _write_versions(
        self,
        table: DeltaTable,
        rows: pa.Table,
        starts: pa.ChunkedArray | pa.Array,
        commit: CommitProperties | None,
        gone: pa.Table | None = None,
        now: datetime | None = None,
    ) -> None:
        """One merge: each row once with its key, to close the current version, and once without, to be inserted."""
        full = self._full(rows)
        full = full.set_column(full.schema.get_field_index(START_AT), full.schema.field(START_AT), starts)
        pieces = [self._tagged(full, insert=False), self._tagged(full, insert=True)]
        if gone is not None and gone.num_rows:
            left = self._full(gone)
            ends = pa.array([now] * gone.num_rows, left.schema.field(START_AT).type)
            left = left.set_column(left.schema.get_field_index(START_AT), left.schema.field(START_AT), ends)
            pieces.append(self._tagged(left, insert=False))
        source = pa.concat_tables(pieces)
        if not source.num_rows:
            return
        (
            table.merge(
                source,
                f"{self._matched(_MERGE_KEY)} and t.{END_AT} is null",
                source_alias="s",
                target_alias="t",
                writer_properties=_WRITER_PROPERTIES,
                commit_properties=commit,
            )
            .when_matched_update({END_AT: f"s.{START_AT}"})
            .when_not_matched_insert(
                {identifier(name): f"s.{identifier(name)}" for name in self.table_schema.names},
                predicate=f"s.{_INSERT}",
            )
            .execute()
        )

    def _tagged(self, rows: pa.Table, *, insert: bool) -> pa.Table:
        for name in self.keys:
            column = pa.nulls(rows.num_rows, rows[name].type) if insert else rows[name]
            rows = rows.append_column(_MERGE_KEY + name, column)
        return rows.append_column(_INSERT, pa.array([insert] * rows.num_rows, pa.bool_()))


def _commit(stream: str, batch_id: int) -> CommitProperties:
    return CommitProperties(app_transactions=[Transaction(stream, batch_id)])
