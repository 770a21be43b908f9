"""Commits to one mailbox's partition of a table, with a fence.

Every commit carries a transaction (`writer`, see `gmail_assets.delta.app_ids`) that only its own run may move: Delta
refuses a second run's commit, and nothing of it is visible.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
from deltalake import Transaction

from gmail_assets.delta.app_ids import StateReader
from gmail_assets.delta.group_commit import Fenced, commit_fenced
from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.delta.rewrite import PartitionRewrite, updated

__all__ = ["PartitionWriter", "before_commit", "next_fence"]


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
        self._read_at = table.delta.version()
        self._read = StateReader(table.delta, address, table.source, table.transactions)
        self._fence_app = f"{self._read.base}/writer"
        self._fence = self._read(self._fence_app)
        self._known = self._read.hashed(self._fence_app)

    def read(self, field: str) -> int | None:
        """The version of one of this partition's transactions, by the last part of its id."""
        return self._read(f"{self._read.base}/{field}")

    def transaction(self, field: str, version: int) -> Transaction:
        """A transaction of this partition, for `commit`."""
        return Transaction(f"{self._read.base}/{field}", version)

    def append(self, rows: pa.Table, transactions: Iterable[Transaction] = ()) -> None:
        """Add rows whose keys are not in the partition, in one commit."""
        keys = rows.select(list(self.primary_key)).slice(0, 0)
        rewrite = PartitionRewrite(self.table, self.address, keys, lambda stored: stored, rows)
        self.commit(transactions, rewrite)

    def merge(
        self, updates: pa.Table, removed: pa.Table | None = None, inserts: pa.Table | None = None
    ) -> None:
        """Set columns of rows that are in the partition, remove rows, and add new rows.

        The files that contain the rows are rewritten one after the other and replaced in one commit.

        Args:
            updates: The primary key and the columns to set, one row per key.
            removed: Primary keys of the rows to remove.
            inserts: Whole rows whose keys are not in the partition.
        """
        schema = pa.schema([self.table.schema.field(name) for name in self.primary_key])
        tables = [updates] if removed is None else [updates, removed]
        keys = pa.concat_tables([table.select(schema.names).cast(schema) for table in tables])
        if keys.num_rows or (inserts is not None and inserts.num_rows):
            rewrite = PartitionRewrite(
                self.table, self.address, keys, lambda rows: updated(rows, updates, self.primary_key), inserts
            )
            self.commit((), rewrite)

    def commit(self, transactions: Iterable[Transaction], change: PartitionRewrite | None = None) -> None:
        """Commit transactions, without rows unless there is a change."""
        fence = next_fence(self.table, self._fence)
        written = [Transaction(self._fence_app, fence), *transactions]
        given = {entry.app_id for entry in written}
        carried = [field for field in self._carried if f"{self._read.base}/{field}" not in given]
        written += self._read.migration(fence, carried=carried)
        fenced = Fenced(self.address, written, self._fence_app, self._known, self._read_at)
        self._read_at = commit_fenced(self.table, fenced, change)
        self._known = fence  # the log, read again, may already have the fence of another run
        self._read = StateReader(self.table.delta, self.address, self.table.source, self.table.transactions)
        self._fence = fence


def next_fence(table: LakeTable, fence: int | None) -> int:
    """The next number of the fencing transaction: at most the version of its commit."""
    return max(table.delta.version() + 1, (fence or 0) + 1)


def before_commit(fence: int | None) -> int:
    """A version from which the commit with this fence was computed, or an earlier one.

    Another engine may have committed between that version and the commit, with the number of the fence as its version.
    """
    return max((fence or 0) - 1, 0)
