"""Commits to one mailbox's partition of a table: fenced, grouped by files, safe for deltalake.

Every commit carries a transaction (`writer`, see `gmail_assets.delta.app_ids`) that only its own run may move: Delta
refuses a second run's commit, and nothing of it is visible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from gmail_assets.delta.app_ids import StateReader
from gmail_assets.delta.errors import WriterConflictError, one_line, unwritable
from gmail_assets.delta.lake import MAILBOX, MAILBOX_FIELD, LakeTable
from gmail_client.sql import literal

__all__ = [
    "WRITER_PROPERTIES",
    "PartitionWriter",
    "commit_alone",
    "commit_fenced",
    "fresh",
    "merge_groups",
    "next_fence",
]

WRITER_PROPERTIES = WriterProperties(
    compression="ZSTD",
    compression_level=3,  # 17 % smaller than level 1 for 5 % more CPU of a first load; level 9: 25 % for 40 %
    # Otherwise the file's footer contains the whole smallest and largest value of a column: with a text of more
    # than 100 MB, pyarrow can't read the file any more, and with any large text each opening of the file reads it.
    statistics_truncate_length=64,
)
_MERGE_GROUP_BYTES = 32 * 2**20
"""Maximum number of Parquet bytes that one MERGE touches; it limits the memory."""
_ATTEMPTS = 10
"""Commits of other mailboxes that may remove files ahead of one of ours."""
_OPERATION = "_op"
_SET, _REMOVE = "set", "remove"


class PartitionWriter:
    """Writes one mailbox's rows of one table.

    Args:
        table: The table.
        address: The mailbox's real address.
        primary_key: The columns that identify a row; files are found by the first.
        carried: Fields of `transaction` that are kept when ids of an earlier release are migrated.
    """

    def __init__(
        self, table: LakeTable, address: str, primary_key: Sequence[str], *, carried: Sequence[str] = ()
    ) -> None:
        self._carried = tuple(carried)
        self.table = table
        self.address = address
        self.primary_key = tuple(primary_key)
        self._read = StateReader(table.delta, address, table.source, table.transactions)
        self._fence_app = f"{self._read.base}/writer"
        self._fence = self._read(self._fence_app)

    def read(self, field: str) -> int | None:
        """The version of one of this partition's transactions, by the last part of its id."""
        return self._read(f"{self._read.base}/{field}")

    def transaction(self, field: str, version: int) -> Transaction:
        """A transaction of this partition, for `commit`."""
        return Transaction(f"{self._read.base}/{field}", version)

    def append(self, rows: pa.Table, transactions: Iterable[Transaction] = ()) -> None:
        """Add rows whose keys are not in the partition, in one commit."""
        rows = rows.add_column(0, MAILBOX_FIELD, pa.array([self.address] * rows.num_rows, pa.string()))
        self._commit(
            lambda properties: write_deltalake(
                self.table.delta,
                fresh(rows.select(self.table.schema.names)),
                mode="append",
                writer_properties=WRITER_PROPERTIES,
                commit_properties=properties,
            ),
            transactions,
        )

    def merge(self, updates: pa.Table, removed: pa.Table | None = None) -> None:
        """Set columns of rows that are in the partition, and remove rows.

        Rows are grouped by the files they are in, so that memory is bounded; each group is one commit.

        Args:
            updates: The primary key and the columns to set, one row per key.
            removed: Primary keys of the rows to remove.
        """
        source = _operations(updates, removed, self.primary_key, self.table.schema)
        first = self.primary_key[0]
        keys = sorted(pc.unique(source[first]).to_pylist())
        for group in merge_groups(self.table, self.address, keys):
            inside = pc.is_in(source[first], pa.array(group, pa.string()))
            self._merge_group(source.filter(inside), group[0], group[-1])

    def commit(self, transactions: Iterable[Transaction]) -> None:
        """Commit transactions without data."""
        self._commit(lambda properties: commit_alone(self.table, properties), transactions)

    def _merge_group(self, source: pa.Table, low: str, high: str) -> None:
        first = self.primary_key[0]
        conditions = [
            f"t.{MAILBOX} = {literal(self.address)}",
            f"t.{first} BETWEEN {literal(low)} AND {literal(high)}",
            *(f"t.{name} = s.{name}" for name in self.primary_key),
        ]
        setting = {
            name: f's."{name}"' for name in source.schema.names if name not in (*self.primary_key, _OPERATION)
        }

        def write(properties: CommitProperties) -> None:
            merger = self.table.delta.merge(
                fresh(source),
                " AND ".join(conditions),
                source_alias="s",
                target_alias="t",
                streamed_exec=False,
                writer_properties=WRITER_PROPERTIES,
                commit_properties=properties,
            ).when_matched_delete(f"s.{_OPERATION} = '{_REMOVE}'")
            if setting:
                merger = merger.when_matched_update(setting, predicate=f"s.{_OPERATION} = '{_SET}'")
            merger.execute()

        self._commit(write, ())

    def _commit(
        self, write: Callable[[CommitProperties], object], transactions: Iterable[Transaction]
    ) -> None:
        fence = next_fence(self.table, self._fence)
        written = [Transaction(self._fence_app, fence), *transactions]
        given = {entry.app_id for entry in written}
        carried = [field for field in self._carried if f"{self._read.base}/{field}" not in given]
        written += self._read.migration(fence, carried=carried)
        commit_fenced(self.table, self.address, write, written, fence_app=self._fence_app)
        self._read = StateReader(self.table.delta, self.address, self.table.source, self.table.transactions)
        self._fence = fence


def next_fence(table: LakeTable, fence: int | None) -> int:
    """The next number of the fencing transaction."""
    return max(table.delta.version() + 1, (fence or 0) + 1)


def commit_fenced(
    table: LakeTable,
    address: str,
    write: Callable[[CommitProperties], object],
    transactions: Sequence[Transaction],
    *,
    fence_app: str,
) -> None:
    """Commit what `write` writes, with transactions; the one of id `fence_app` is the fence.

    Delta refuses a commit whose version of the table had files that another one removed, also those of another mailbox.
    If the fence was not moved, no other run wrote this mailbox: the commit is retried on the current version.

    Raises:
        WriterConflictError: Another run moved the fence, or the table was restored; nothing was written.
        LakeError: The table can't be written.
    """
    table.check_writable()
    delta = table.delta
    fence = next(entry.version for entry in transactions if entry.app_id == fence_app)

    def present() -> int | None:
        return table.transactions([fence_app])(fence_app)

    before = present()
    properties = CommitProperties(app_transactions=list(transactions))
    for attempt in range(_ATTEMPTS):
        version = delta.version()
        try:
            write(properties)
            delta.update_incremental()
            if present() == before:
                # A merge or delete without a match makes no commit, but the transactions have to be written.
                commit_alone(table, properties)
                delta.update_incremental()
            break
        except CommitFailedError as error:
            delta.update_incremental()
            if present() != before or attempt == _ATTEMPTS - 1 or table.restores(version):
                raise _conflict(table, address, error) from error
        except (DeltaError, OSError) as error:
            raise unwritable(delta.table_uri, error) from error
    if present() != fence:
        raise _conflict(table, address, None)


def commit_alone(table: LakeTable, properties: CommitProperties) -> None:
    """Commit transactions without rows."""
    delta = table.delta
    delta.create_write_transaction(
        [], "append", delta.schema(), partition_by=[MAILBOX], commit_properties=properties
    )


def _conflict(table: LakeTable, address: str, error: Exception | None) -> WriterConflictError:
    detail = f" ({one_line(error)})" if error else ""
    return WriterConflictError(
        f"Another run wrote {address}'s partition of {table.source!r} at the same time{detail}.",
        fix="The last commit of this run was rejected; wait until the other run has ended and run it again.",
    )


def merge_groups(table: LakeTable, address: str, keys: list[str]) -> Iterator[list[str]]:
    """Split sorted keys into groups; the range of each group touches a bounded number of bytes in files."""
    files = [(file.low or "", file.high, file.size) for file in table.files(address)]

    def touched(low: str, high: str) -> int:
        return sum(size for begin, end, size in files if begin <= high and (end is None or end >= low))

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


def _operations(
    updates: pa.Table, removed: pa.Table | None, primary_key: Sequence[str], schema: pa.Schema
) -> pa.Table:
    """Updates and removals as one MERGE source."""
    fields = [schema.field(name) for name in updates.schema.names]
    source_schema = pa.schema([*fields, pa.field(_OPERATION, pa.string())])
    sources = [
        updates.cast(pa.schema(fields)).append_column(
            source_schema.field(_OPERATION), pa.array([_SET] * updates.num_rows, pa.string())
        )
    ]
    if removed is not None and removed.num_rows:
        count = removed.num_rows
        columns = [
            removed[field.name] if field.name in primary_key else pa.nulls(count, field.type)
            for field in fields
        ]
        sources.append(pa.table([*columns, pa.array([_REMOVE] * count)], schema=source_schema))
    return pa.concat_tables(sources)


def fresh(table: pa.Table) -> pa.Table:
    """A copy whose arrays start at offset 0: deltalake aborts on sliced nested arrays."""
    if not table.num_rows:
        return table
    return table.take(pa.array(range(table.num_rows), pa.int64()))
