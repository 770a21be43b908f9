"""`InternalTable`: a small Delta table of the lake that is read as a whole, and written by replacing a few rows.

Runs of many mailboxes write it at the same time. A commit that another run's commit conflicts with is tried again, as
the rows of different mailboxes are independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from gmail_assets.delta.creation import add_columns, create_table
from gmail_assets.delta.errors import unreadable, unwritable
from gmail_assets.delta.lake import CREATION, Lake
from gmail_assets.delta.scan import as_schema
from gmail_assets.delta.shared_writes import shared_writes
from gmail_assets.delta.table_files import open_file, table_files

__all__ = ["InternalTable"]

_MOST_FILES = 8
"""Files above which a table is compacted: each run reads all of them, for each of its mailboxes."""

_ATTEMPTS = 100
"""Maximum number of attempts, as long as other runs commit at the same time."""


@dataclass(frozen=True, slots=True)
class InternalTable:
    """A small table of the lake, which is created by the first write.

    Attributes:
        lake: The lake.
        name: Name of the table.
        schema: Its columns; those that are missing in the files of an earlier release are null.
        key: Columns whose values are replaced together.
    """

    lake: Lake
    name: str
    schema: pa.Schema
    key: tuple[str, ...]

    def rows(self, *, compact: bool = False, **values: Sequence[str]) -> list[dict[str, Any]]:
        """The rows whose columns have one of these values; none if the table does not exist.

        Args:
            compact: Replace the files of an earlier release by one, if there are many.
            values: The values to look for, by column.

        Raises:
            LakeError: The table can't be read.
        """
        shared = self.lake.opened(self.name)
        if shared is None:
            return []
        if compact and len(shared.delta.file_uris()) > _MOST_FILES:  # written by an earlier release
            with shared_writes(self._location).turn:
                self._compact(self.lake.find(self.name) or shared.delta)
            self.lake.expire(self.name)
            shared = self.lake.opened(self.name) or shared
        try:
            table = shared.rows_at_version(self._read_all)
        except (DeltaError, OSError, pa.ArrowException) as error:
            raise unreadable(self._location, error) from error
        for column, wanted in values.items():
            table = table.filter(pc.is_in(table[column], pa.array(wanted, pa.string())))
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows

    def replace(self, rows: Sequence[Mapping[str, Any]], where: str) -> None:
        """Replace the rows that match a predicate, in one commit.

        Args:
            rows: The new rows, which match the predicate too; missing columns are null.
            where: SQL on the table's columns.

        Raises:
            LakeError: The table can't be written.
        """
        table = pa.Table.from_pylist(rows, schema=self.schema)
        keys = zip(*(table[column].to_pylist() for column in self.key), strict=True)
        shared_writes(self._location).write(table, where, frozenset(keys), self._commit)

    def create(self) -> DeltaTable:
        """The table, with its columns at least; created if it is missing."""
        with CREATION:
            table = self.lake.find(self.name)
            if table is None:
                self.lake.make_folder()
                table = create_table(
                    self._location,
                    self.schema,
                    self.lake.options,
                    # Statistics would hold addresses, in the log.
                    configuration={"delta.dataSkippingNumIndexedCols": "0"},
                )
            add_columns(table, self.schema)
            return table

    @property
    def _location(self) -> str:
        return self.lake.location(self.name)

    def _commit(self, rows: pa.Table, where: str) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                table = self.create()
                write_deltalake(table, rows, mode="overwrite", predicate=where)
                self._compact(table)
                self.lake.expire(self.name)
                return
            except CommitFailedError as error:
                if attempt == _ATTEMPTS - 1:
                    raise unwritable(self._location, error) from error
            except (DeltaError, OSError) as error:
                raise unwritable(self._location, error) from error

    def _compact(self, table: DeltaTable) -> None:
        """Replace small files by one, if there are many."""
        if len(table.file_uris()) > _MOST_FILES:
            try:
                table.optimize.compact()
            except CommitFailedError:  # another process wrote or compacted it
                pass
            except (DeltaError, OSError) as error:
                raise unwritable(self._location, error) from error

    def _read_all(self, delta: DeltaTable) -> pa.Table:
        """All rows; each file is read in one request."""
        tables = [self.schema.empty_table()]
        for file in table_files(delta):
            with open_file(delta, file) as reader:
                tables.append(as_schema(reader.read(), self.schema))
        return pa.concat_tables(tables)
