"""The sources of derived tables: `ViewSources` names them; the rest reads a mailbox's rows of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gmail_assets.delta.lake import DELETED_AT, Lake
from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.delta.scan import as_schema, open_files, read_columns
from gmail_client.spec import Spec, SpecTable
from gmail_client.views import HEADER_NAMES, HEADERS, NOTHING, STRUCTURE, Labels, labels_of

__all__ = ["MessageSource", "ViewSources", "read_labels"]

_BATCH_ROWS = 500
_BATCH_COLUMNS = (
    *("id", "threadId", "labelIds", "historyId", "internalDate", "sizeEstimate", "snippet", "payload", "raw"),
)

_HEADERS = pa.array(sorted(HEADER_NAMES), pa.string())
_HEADER_LIST = pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))


@dataclass(frozen=True, slots=True)
class ViewSources:
    """The sources of derived tables, and their names.

    Attributes:
        messages: The table of messages.
        labels: The table of labels; None if it is not in use: label names are then ids.
        names: Name in the lake of each derived table in use, by the view's name.
    """

    messages: SpecTable
    labels: SpecTable | None
    names: Mapping[str, str]

    @classmethod
    def of(cls, spec: Spec) -> ViewSources:
        """Those of a spec that lists derived tables, and so messages."""
        messages = spec.table("messages") or SpecTable(source_table="messages")
        return cls(
            messages, spec.table("labels"), {entry.source_table: entry.table_name for entry in spec.views}
        )

    def open_messages(self, lake: Lake) -> LakeTable:
        """The table of messages."""
        return lake.table(
            "messages", name=self.messages.table_name, keep_deleted=self.messages.deletes == "keep"
        )

    def open_labels(self, lake: Lake) -> LakeTable | None:
        """The table of labels; None if it is not in use or does not exist yet."""
        if self.labels is None or lake.opened(self.labels.table_name) is None:
            return None
        return lake.table("labels", name=self.labels.table_name)


class MessageSource:
    """One mailbox's rows of `messages`, without soft-deleted ones.

    Args:
        table: The table.
        address: The mailbox's real address.
    """

    def __init__(self, table: LakeTable, address: str) -> None:
        self._table = table
        self._address = address

    def states(self, ids: Set[str] | None = None) -> pa.Table:
        """The columns that show whether derived rows are up to date, of messages without their content.

        Args:
            ids: Which messages; None for all.

        Returns:
            `id`, `label_ids`, `history_id`, and `level`: how much of it was read (`gmail_client.views.NOTHING` ...).
        """
        pieces = [_no_states()]
        if ids is None or ids:
            files = open_files(self._table, self._address, keys=ids)
            pieces += [self._file_states(file) for file in files]
        states = pa.concat_tables(pieces)
        return (
            states
            if ids is None
            else states.filter(pc.is_in(states["id"], pa.array(sorted(ids), pa.string())))
        )

    def _file_states(self, file: pq.ParquetFile) -> pa.Table:
        leaves = [
            "id",
            "historySequence",
            "labelIds",
            "payload.mimeType",
            "payload.partId",
            "payload.body.size",
        ]
        if self._table.may_hold_soft_deleted:
            leaves.append(DELETED_AT)
        piece = file.read(columns=leaves)
        payload = piece["payload"]
        body_size = pc.struct_field(pc.struct_field(payload, "body"), "size")
        structure = pc.or_(pc.is_valid(pc.struct_field(payload, "partId")), pc.is_valid(body_size))
        structure = pc.or_(structure, _has_raw(file))
        headers = pc.is_valid(pc.struct_field(payload, "mimeType"))
        level = pc.if_else(structure, STRUCTURE, pc.if_else(headers, HEADERS, NOTHING))
        states = as_schema(
            pa.table(
                {
                    "id": piece["id"],
                    "label_ids": piece["labelIds"],
                    "history_id": piece["historySequence"],
                    "level": level,
                }
            ),
            _no_states().schema,
        )
        return states.filter(_present(piece))

    def contents(self, ids: Set[str]) -> Iterator[list[dict[str, Any]]]:
        """Whole messages, in the order of the files that hold them, several hundred at a time.

        Args:
            ids: Which messages.
        """
        wanted_schema = pa.schema([field for field in self._table.schema if field.name in _BATCH_COLUMNS])
        columns = [*wanted_schema.names, *([DELETED_AT] if self._table.may_hold_soft_deleted else [])]
        for file in open_files(self._table, self._address, keys=ids):
            if ids.isdisjoint(file.read(columns=["id"])["id"].to_pylist()):
                continue
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                rows = pa.Table.from_batches([batch])
                present = _present(rows)
                # `pc.is_in` would build a hash table of all ids for each batch, which takes longer than the rest.
                wanted = pa.array([message_id in ids for message_id in rows["id"].to_pylist()], pa.bool_())
                keep = pc.and_(wanted, present)
                if not pc.any(keep).as_py():
                    continue
                rows = as_schema(_with_fewer_headers(rows), wanted_schema)
                if not pc.all(keep).as_py():
                    rows = rows.filter(keep)
                if rows.num_rows:
                    yield rows.to_pylist()


def _with_fewer_headers(rows: pa.Table) -> pa.Table:
    """The rows without the headers that no derived table reads; these are most of the Python objects."""
    at = rows.schema.get_field_index("payload")
    payload = rows["payload"].combine_chunks()
    headers = pc.struct_field(payload, "headers")
    headers = headers.cast(_HEADER_LIST)  # files of merges have strings that can't be filtered
    keep = pc.is_in(pc.utf8_lower(pc.struct_field(headers.flatten(), "name")), _HEADERS)
    kept_before = pa.concat_arrays(
        [pa.array([0], pa.int32()), pc.cumulative_sum(pc.cast(keep, pa.int32()))]
    )  # of the headers before each one
    lengths = pc.fill_null(pc.list_value_length(headers), 0)
    ends = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
    fewer = pa.ListArray.from_arrays(
        kept_before.take(ends), headers.flatten().filter(keep), type=headers.type, mask=pc.is_null(headers)
    )
    names = [field.name for field in payload.type]
    arrays = [fewer if name == "headers" else pc.struct_field(payload, name) for name in names]
    slim = pa.StructArray.from_arrays(arrays, names, mask=pc.is_null(payload))
    return rows.set_column(at, "payload", slim)


def _present(rows: pa.Table) -> Any:
    """Which rows are not soft-deleted."""
    if DELETED_AT not in rows.schema.names:
        return pa.array([True] * rows.num_rows, pa.bool_())
    return pc.is_null(rows[DELETED_AT])


def _no_states() -> pa.Table:
    fields = [
        ("id", pa.string()),
        ("label_ids", pa.list_(pa.field("element", pa.string()))),
        ("history_id", pa.int64()),
        ("level", pa.int8()),
    ]
    return pa.schema(fields).empty_table()


def _has_raw(file: pq.ParquetFile) -> pa.Array:
    """Which rows have `raw`; the column, as large as the mails, is read only if a row group mixes both."""
    found: list[pa.Array] = []
    metadata = file.metadata
    column = next((n for n in range(metadata.num_columns) if metadata.schema.column(n).path == "raw"), None)
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if column is None:
            nulls = rows
        else:
            statistics = metadata.row_group(group).column(column).statistics
            nulls = statistics.null_count if statistics is not None and statistics.has_null_count else None
        if nulls in (0, rows):
            found.append(pa.array([nulls == 0] * rows, pa.bool_()))
        else:
            found.append(pc.is_valid(file.read_row_group(group, columns=["raw"])["raw"]).combine_chunks())
    return pa.concat_arrays([pa.array([], pa.bool_()), *found])


def read_labels(table: LakeTable | None, address: str) -> Labels:
    """The mailbox's labels by id; empty if the table is not in use."""
    if table is None:
        return {}
    schema = pa.schema([("id", pa.string()), ("name", pa.string()), ("type", pa.string())])
    return labels_of(read_columns(table, address, schema.names, schema).to_pylist())
