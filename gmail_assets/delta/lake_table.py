"""One table of the lake as its users see it: `LakeTable`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from datetime import datetime
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pyarrow as pa
from deltalake import DeltaTable

from gmail_assets.delta.errors import unwritable
from gmail_assets.delta.shared_tables import SharedTable
from gmail_assets.delta.table_files import MAILBOX, TableFile, open_file, table_files
from gmail_assets.delta.table_log import (
    Commit,
    restores_after,
    restores_record,
    transactions_at,
)
from gmail_client.deletion import DELETED_AT

__all__ = ["LakeTable"]

_LEAST_FREE = 64 * 2**20
"""Bytes: two tables' largest commits, of a chunk of large messages."""


class LakeTable:
    """One table of the lake.

    Args:
        source: Its name in the catalogue, one of the ten.
        key: Its primary key within a mailbox.
        shared: The Delta table.
        keeps_deleted: Rows are soft-deleted (`_deletedAt` is set) instead of deleted.

    Attributes:
        schema: Its Arrow schema in the lake when it was opened, `mailbox` included.
    """

    def __init__(self, source: str, key: str, shared: SharedTable, keeps_deleted: bool = False) -> None:
        self.source = source
        self.key = key
        self.shared = shared
        self.schema = shared.schema()
        self.keeps_deleted = keeps_deleted

    @property
    def delta(self) -> DeltaTable:
        """The Delta table as of the last commit that this process has seen."""
        return self.shared.delta

    @property
    def storage_options(self) -> dict[str, str] | None:
        """Those of the lake."""
        return dict(self._options) or None

    @property
    def may_hold_soft_deleted(self) -> bool:
        """Whether the table has the `_deletedAt` column, also from a time when deleted rows were kept."""
        return DELETED_AT in self.schema.names

    def at(self, version: int | datetime) -> DeltaTable:
        """The Delta table as of an earlier version or time.

        Raises:
            DeltaError: The log no longer reaches back that far.
        """
        delta = DeltaTable(self.delta.table_uri, storage_options=self.storage_options)
        delta.load_as_version(version)
        return delta

    def transactions(self, bases: Iterable[str]) -> Callable[[str], int | None]:
        """Look-up of the transactions whose ids begin with `bases`, as of `delta`'s version."""
        return transactions_at(self.delta, self._options, bases)

    def restores(self, after: int) -> list[Commit]:
        """The commits after a version that restored an earlier one, newest first."""
        return restores_after(self.delta, self._options, after)

    def restores_record(self) -> int | None:
        """What the next commit should record about restores (`table_log.RESTORES`); None for nothing."""
        return restores_record(self.delta, self._options)

    def check_writable(self) -> None:
        """Check that a lake on this machine may be written and has room.

        Otherwise deltalake finds out in the middle of a file, and prints a panic of its library before the error.

        Raises:
            LakeError: It may not be written, or is full.
        """
        parts = urlsplit(self.delta.table_uri)
        if parts.scheme != "file":
            return
        folder = url2pathname(parts.path)
        try:
            free = shutil.disk_usage(folder).free
        except OSError as error:
            raise unwritable(self.delta.table_uri, error) from error
        if free < _LEAST_FREE:
            full = OSError(f"there are only {free / 2**20:.0f} MB free on its disk")
            raise unwritable(self.delta.table_uri, full)
        if not os.access(folder, os.W_OK):
            raise unwritable(self.delta.table_uri, OSError("it may only be read"))

    def refreshed(self) -> bool:
        """Move `delta` on to the newest version; false if another table took its place and must be opened."""
        return self.shared.refreshed() and self.shared.schema() == self.schema

    @property
    def _options(self) -> tuple[tuple[str, str], ...]:
        return self.shared.location[1]

    def mailboxes(self) -> list[str]:
        """The addresses that have rows."""
        return sorted({partition[MAILBOX] for partition in self.delta.partitions()})

    def files(self, address: str | None = None) -> list[TableFile]:
        """The table's present files, of one mailbox or of all; reads only the log."""
        return self.shared.at_version(
            (self.key, address), lambda delta: table_files(delta, self.key, address)
        )

    def sums(self) -> dict[str, tuple[int, int]]:
        """Rows (soft-deleted ones included) and bytes of the present files, by mailbox; reads only the log."""
        actions = pa.table(self.delta.get_add_actions(flatten=True))
        if not actions.num_rows:
            return {}
        mailbox = f"partition.{MAILBOX}"
        found = actions.group_by(mailbox).aggregate([("num_records", "sum"), ("size_bytes", "sum")])
        rows, sizes = found["num_records_sum"].to_pylist(), found["size_bytes_sum"].to_pylist()
        return {
            name: (rows or 0, size or 0)
            for name, rows, size in zip(found[mailbox].to_pylist(), rows, sizes, strict=True)
        }

    def count(self, address: str | None = None) -> int:
        """Number of rows of one mailbox or of all, soft-deleted ones included; from the log, if it has them."""
        return sum(self._rows_in(file) if file.rows is None else file.rows for file in self.files(address))

    def _rows_in(self, file: TableFile) -> int:
        with open_file(self.delta, file) as reader:
            return int(reader.metadata.num_rows)

    def size(self, address: str | None = None) -> int:
        """Bytes of the present files, of one mailbox or of all."""
        return sum(file.size for file in self.files(address))
