"""Rewrites the files of one mailbox's partition that contain certain rows: `PartitionRewrite`.

A change of one row replaces its whole file. delta-rs's MERGE holds the rows of many files in memory at once and needs
one commit for each group of files. Here, one file at a time is read in batches and written again, and all files are
replaced in one commit. New rows are part of the same commit.
"""

from __future__ import annotations

import json
import time
import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
from deltalake.transaction import AddAction, RemoveAction

from gmail_assets.delta.lake import MAILBOX, TARGET_FILE_BYTES
from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.delta.parquet_files import NewFile, batch_rows
from gmail_assets.delta.scan import as_schema
from gmail_assets.delta.table_files import TableFile, file_system, open_file

__all__ = ["Edit", "PartitionRewrite", "updated"]

_SMALL_BYTES = TARGET_FILE_BYTES // 4
_SPLIT_BYTES = 2 * TARGET_FILE_BYTES
_UPLOAD_BYTES = 2**20
_UNBOUNDED = 2**31
_COMPRESSION = 4
"""Bytes of new rows in memory for each byte of their file, about."""
_UNENCODED = "!$&'()+,-./:;=@_~"
"""Characters besides letters and digits that delta-rs does not encode in the log's paths."""

Edit = Callable[[pa.Table], pa.Table]
"""Receives stored rows that were asked for, and returns the rows that replace them."""


class PartitionRewrite:
    """A change of some rows of one mailbox's partition, in one commit.

    Args:
        table: The table.
        address: The mailbox's real address.
        keys: The primary keys of the rows to change, one column for each of its columns.
        edit: Receives stored rows with these keys, in the lake's schema without `mailbox`, some at a time and maybe
            more than once; returns the rows that replace them, in any number.
        inserts: Rows to add; columns that they lack are null.
        replace_all: Remove all other rows.
    """

    def __init__(
        self,
        table: LakeTable,
        address: str,
        keys: pa.Table,
        edit: Edit,
        inserts: pa.Table | None = None,
        *,
        replace_all: bool = False,
    ) -> None:
        self._table = table
        self._address = address
        self._primary_key = tuple(keys.schema.names)
        self._edit = edit
        self._replace_all = replace_all
        self._schema = pa.schema([])
        self._inserts = inserts if inserts is not None and inserts.num_rows else None
        keys = keys.sort_by(self._primary_key[0])
        self._first = keys[self._primary_key[0]].to_pylist()
        self._keys = _joined(keys, self._primary_key)
        self._folder = f"{MAILBOX}={quote(address, safe='')}"
        self._prepared_at = -1
        self._present: Mapping[str, TableFile] = {}
        self._untouched: set[str] = set()
        self._replaced: dict[frozenset[str], list[AddAction]] = {}
        self._inserted_with: frozenset[str] | None = None
        self._added: list[AddAction] = []

    def prepare(self) -> None:
        """Write the files that a commit adds.

        Called again after another commit, it writes only what that commit made necessary: files that are still in the
        table are not rewritten again.

        Raises:
            DeltaError: The table can't be read.
            OSError: A file can't be read or written.
        """
        delta = self._table.delta
        version = delta.version()
        if version == self._prepared_at:
            return
        # Another engine may have added a column, and filled it, after this run opened the table.
        self._use_schema(pa.schema(delta.schema().to_arrow()))
        self._present = present = {file.path: file for file in self._candidates()}
        if self._replace_all:
            self._replaced = {frozenset([path]): [] for path in present}
        self._replaced = {paths: new for paths, new in self._replaced.items() if paths <= present.keys()}
        if self._inserted_with is not None and self._inserted_with not in self._replaced:
            self._inserted_with = None  # another run compacted those files
        done = self._untouched.union(*self._replaced)
        groups = list(_grouped([file for path, file in present.items() if path not in done]))
        for group in groups:
            self._rewrite(group, with_inserts=group is groups[-1] and _takes_inserts(group))
            pa.default_memory_pool().release_unused()
        if self._inserts is not None and self._inserted_with is None and not self._added:
            self._added = list(self._write_files([self._inserts], _rows_per_file(self._inserts)))
        self._prepared_at = version

    def actions(self) -> tuple[Sequence[AddAction], Sequence[RemoveAction]]:
        """The prepared files, added and removed.

        Raises:
            OSError: The path of a file is unknown.
        """
        added = [*self._added]
        for new in self._replaced.values():
            added += new
        return added, list(self._removals())

    def _use_schema(self, in_lake: pa.Schema) -> None:
        """Write files with the columns that the table has now. Files that were written before stay valid."""
        schema = pa.schema([field for field in in_lake if field.name != MAILBOX])
        if schema != self._schema:
            self._schema = schema
            if self._inserts is not None:
                self._inserts = as_schema(self._inserts, schema)

    def _removals(self) -> Iterator[RemoveAction]:
        now = int(time.time() * 1000)
        for path in sorted(path for paths in self._replaced for path in paths):
            if quote(unquote(path), safe=_UNENCODED) != path:
                # The log would name another file, and the rows would be there twice.
                raise OSError(f"the log encodes a path in an unknown way: {path}")
            yield RemoveAction(unquote(path), True, now, self._present[path].size, {MAILBOX: self._address})

    # Which files

    def _candidates(self) -> Iterator[TableFile]:
        """Files whose range contains a key, oldest first."""
        if not self._first and not self._replace_all:
            return
        files = sorted(self._table.files(self._address), key=lambda file: (file.low or "", file.path))
        for file in files:
            begin, end = self._range(file)
            if begin < end or self._replace_all:
                yield file

    def _range(self, file: TableFile) -> tuple[int, int]:
        """Which of the keys are in a file's range."""
        begin = 0 if file.low is None else bisect_left(self._first, file.low)
        end = len(self._first) if file.high is None else bisect_right(self._first, file.high)
        return begin, end

    def _present_keys(self, file: TableFile) -> pa.Array | None:
        """The keys that are in a file; None if there are none."""
        begin, end = self._range(file)
        with open_file(self._table.delta, file) as reader:
            columns = reader.read(columns=list(self._primary_key))
        stored = _joined(columns, self._primary_key)
        wanted = self._keys.slice(begin, end - begin)
        found = wanted.filter(pc.is_in(wanted, stored))
        return found if len(found) else None

    # What they become

    def _rewrite(self, group: Sequence[TableFile], *, with_inserts: bool) -> None:
        """Rewrite the files of a group that contain a key, into one file or several."""
        found = {file.path: self._present_keys(file) for file in group}
        self._untouched |= {path for path, keys in found.items() if keys is None}
        touched = [file for file in group if found[file.path] is not None]
        if not touched:
            return
        inserts = None
        if with_inserts and self._inserted_with is None and not self._added:
            inserts = self._inserts

        def pieces() -> Iterator[pa.Table]:
            for file in touched:
                yield from self._edited(file, found[file.path])
            if inserts is not None:
                yield inserts

        size = sum(file.size for file in touched)
        rows = sum(file.rows or 0 for file in touched)  # 0 if another engine wrote no statistics
        rows_each = -(-rows // (2 * size // _SPLIT_BYTES)) if rows and size >= _SPLIT_BYTES else _UNBOUNDED
        paths = frozenset(file.path for file in touched)
        self._replaced[paths] = list(self._write_files(pieces(), rows_each))
        if inserts is not None:
            self._inserted_with = paths

    def _edited(self, file: TableFile, keys: Any) -> Iterator[pa.Table]:
        """A file's rows after the change."""
        with open_file(self._table.delta, file) as reader:
            for batch in reader.iter_batches(batch_size=batch_rows(reader.metadata), use_threads=False):
                rows = as_schema(pa.Table.from_batches([batch]), self._schema)
                hit = pc.is_in(_joined(rows, self._primary_key), keys)
                if not pc.any(hit).as_py():
                    yield rows
                    continue
                yield rows.filter(pc.invert(hit))
                yield as_schema(self._edit(rows.filter(hit)), self._schema)

    def _write_files(self, pieces: Iterable[pa.Table], rows_each: int) -> Iterator[AddAction]:
        """Write rows into new files of about this number of rows each."""
        file: NewFile | None = None
        for piece in pieces:
            for start in range(0, piece.num_rows, rows_each):
                part = piece.slice(start, rows_each)
                if file is not None and file.rows + part.num_rows > rows_each:
                    yield self._finish(file)
                    file = None
                file = file or NewFile(self._schema, self._primary_key)
                file.write(part)
        if file is not None:
            yield self._finish(file)

    def _finish(self, file: NewFile) -> AddAction:
        data = file.finish()
        path = f"{self._folder}/part-00000-{uuid.uuid4()}-c000.zstd.parquet"
        # Blocks smaller than the buffer: deltalake's stream refuses the kind of buffer that pyarrow hands on otherwise.
        with file_system(self._table.delta).open_output_stream(path, buffer_size=2 * _UPLOAD_BYTES) as stream:
            for start in range(0, data.size, _UPLOAD_BYTES):
                stream.write(data.slice(start, min(_UPLOAD_BYTES, data.size - start)))
        return AddAction(
            path,
            data.size,
            {MAILBOX: self._address},
            int(time.time() * 1000),
            True,
            json.dumps(file.statistics()),
        )


def updated(rows: pa.Table, updates: pa.Table, primary_key: Sequence[str]) -> pa.Table:
    """The rows that `updates` has, with its columns.

    Args:
        rows: Stored rows.
        updates: The primary key and the columns to set, one row per key.
        primary_key: Names of the key's columns.
    """
    place = pc.index_in(_joined(rows, primary_key), _joined(updates, primary_key))
    rows, place = rows.filter(pc.is_valid(place)), place.drop_null()
    for name in updates.schema.names:
        if name not in primary_key:
            at = rows.schema.get_field_index(name)
            field = rows.schema.field(name)
            rows = rows.set_column(at, field, updates[name].take(place).cast(field.type))
    return rows


def _joined(rows: pa.Table, primary_key: Sequence[str]) -> Any:
    """The primary key as one text per row."""
    columns = [rows[name].cast(pa.string()) for name in primary_key]
    if len(columns) == 1:
        return columns[0].combine_chunks()
    return pc.binary_join_element_wise(*columns, "\0", null_handling="replace").combine_chunks()


def _grouped(files: Sequence[TableFile]) -> Iterator[list[TableFile]]:
    """Each large file alone, and small ones together: a change of recent mail compacts them."""
    small: list[TableFile] = []
    size = 0
    for file in files:
        if file.size >= _SMALL_BYTES:
            yield [file]
            continue
        if small and size + file.size > TARGET_FILE_BYTES:
            yield small
            small, size = [], 0
        small.append(file)
        size += file.size
    if small:
        yield small


def _takes_inserts(group: Sequence[TableFile]) -> bool:
    """Whether new rows are written into the file that replaces a group."""
    return sum(file.size for file in group) < TARGET_FILE_BYTES // 2


def _rows_per_file(rows: pa.Table) -> int:
    """Number of rows of each file, so that all files have about the same size, at most the target."""
    count = max(1, round(int(rows.nbytes) / (TARGET_FILE_BYTES * _COMPRESSION)))
    return int(-(-rows.num_rows // count))
