"""The present files of a Delta table, from its log (`table_files`), and reading them (`open_file`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler

__all__ = ["MAILBOX", "TableFile", "file_system", "open_file", "table_files"]

MAILBOX = "mailbox"
"""The partition column."""

_READ_AT_ONCE = 2**18
"""Bytes: smaller files are read in one request; their footer and columns would be several."""


class TableFile(NamedTuple):
    """One file of a table: its key range, size in bytes, number of rows, mailbox, and path as the log encodes it.

    The range and the number of rows are None without statistics, the mailbox if the table is not partitioned by it.
    """

    low: str | None
    high: str | None
    size: int
    rows: int | None
    mailbox: str | None
    path: str

    def may_hold(self, low: str, high: str) -> bool:
        """Whether a key from `low` through `high` may be in the file."""
        return (self.low is None or self.low <= high) and (self.high is None or low <= self.high)


def table_files(delta: DeltaTable, key: str | None = None, address: str | None = None) -> list[TableFile]:
    """The files of one mailbox, or of all; reads only the log.

    Args:
        delta: The table.
        key: Column of the key range; None if it is not needed.
        address: The mailbox's real address; None for all.
    """
    actions = pa.table(delta.get_add_actions(flatten=True))
    if actions.num_rows and address is not None:  # in Arrow: a table can have files of hundreds of mailboxes
        actions = actions.filter(pc.equal(actions[f"partition.{MAILBOX}"], address))
    if not actions.num_rows:
        return []
    nothing = [None] * actions.num_rows
    names = actions.column_names
    columns = (f"min.{key}", f"max.{key}", "size_bytes", "num_records", f"partition.{MAILBOX}", "path")
    return list(
        map(TableFile, *(actions[name].to_pylist() if name in names else nothing for name in columns))
    )


def file_system(delta: DeltaTable, *files: TableFile) -> pa_fs.FileSystem:
    """The table's folder, through the table's own connections: those of another handler have to be opened first.

    Args:
        delta: The table.
        files: Their sizes are not requested again.
    """
    sizes = {unquote(file.path): file.size for file in files}
    # As `DeltaTable.to_pyarrow_dataset` does: only this object has the connections.
    return pa_fs.PyFileSystem(DeltaStorageHandler.from_table(delta._table, None, sizes))


def _readable(delta: DeltaTable, file: TableFile) -> pa_fs.FileSystem:
    """The table's folder, for reading: of a local lake through Arrow itself, which needs no Python objects for it."""
    parts = urlsplit(delta.table_uri)
    if parts.scheme == "file":
        return pa_fs.SubTreeFileSystem(url2pathname(parts.path), pa_fs.LocalFileSystem())
    return file_system(delta, file)


@contextmanager
def open_file(delta: DeltaTable, file: TableFile) -> Iterator[pq.ParquetFile]:
    """A file, for reading.

    Raises:
        DeltaError: It can't be opened.
        OSError: It can't be opened, is outside of the table's folder, or is not a Parquet file.
    """
    path = unquote(file.path)
    if ".." in path.split("/"):
        raise OSError(f"{file.path}: it is outside of the table's folder")
    with _readable(delta, file).open_input_file(path) as source:
        try:
            small = file.size <= _READ_AT_ONCE
            reader = pq.ParquetFile(pa.BufferReader(source.read()) if small else source)
        except pa.ArrowInvalid as error:
            raise OSError(f"{file.path}: {error}") from error
        yield reader
