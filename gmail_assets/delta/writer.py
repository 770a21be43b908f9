"""Commits to one mailbox's partition of a table, with a fence.

Every commit carries a transaction (`writer`, see `gmail_assets.delta.app_ids`) that only its own run may move: Delta
refuses a second run's commit, and nothing of it is visible.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa
from deltalake import CommitProperties, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError

from gmail_assets.delta.app_ids import StateReader
from gmail_assets.delta.commit_hooks import commit_hooks
from gmail_assets.delta.errors import WriterConflictError, one_line, unwritable
from gmail_assets.delta.lake import MAILBOX, LakeTable
from gmail_assets.delta.protocol import check_features
from gmail_assets.delta.rewrite import PartitionRewrite, updated

__all__ = [
    "PartitionWriter",
    "commit_alone",
    "commit_fenced",
    "next_fence",
]

_ATTEMPTS = 50
"""Commits of other mailboxes that may come first: a rewrite of files is only committed to the version that it read."""
_LONGEST_WAIT = 0.2
"""Seconds before another attempt, at most."""


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
        self._commit(rewrite.write, transactions, rewrite.prepare)

    def merge(self, updates: pa.Table, removed: pa.Table | None = None) -> None:
        """Set columns of rows that are in the partition, and remove rows.

        The files that contain the rows are rewritten one after the other and replaced in one commit.

        Args:
            updates: The primary key and the columns to set, one row per key.
            removed: Primary keys of the rows to remove.
        """
        schema = pa.schema([self.table.schema.field(name) for name in self.primary_key])
        tables = [updates] if removed is None else [updates, removed]
        keys = pa.concat_tables([table.select(schema.names).cast(schema) for table in tables])
        if keys.num_rows:
            rewrite = PartitionRewrite(
                self.table, self.address, keys, lambda rows: updated(rows, updates, self.primary_key)
            )
            self._commit(rewrite.write, (), rewrite.prepare)

    def commit(self, transactions: Iterable[Transaction]) -> None:
        """Commit transactions without data."""
        self._commit(lambda properties: commit_alone(self.table, properties), transactions)

    def _commit(
        self,
        write: Callable[[CommitProperties], object],
        transactions: Iterable[Transaction],
        prepare: Callable[[], object] = lambda: None,
    ) -> None:
        fence = next_fence(self.table, self._fence)
        written = [Transaction(self._fence_app, fence), *transactions]
        given = {entry.app_id for entry in written}
        carried = [field for field in self._carried if f"{self._read.base}/{field}" not in given]
        written += self._read.migration(fence, carried=carried)
        known = self._read.hashed(self._fence_app)
        self._read_at = commit_fenced(
            self.table,
            self.address,
            write,
            written,
            fence_app=self._fence_app,
            known=known,
            read_at=self._read_at,
            prepare=prepare,
        )
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
    known: int | None,
    read_at: int,
    prepare: Callable[[], object] = lambda: None,
) -> int:
    """Commit what `write` writes, with transactions; the one of id `fence_app` is the fence, `known` until now.

    `write` commits in any case, also if it changes nothing: another run may write the same number as its fence.
    Delta refuses a commit if another one removed files or, for a rewrite of files, came first at all, also of another
    mailbox. If the fence was not moved, no other run wrote this mailbox: the commit is retried on the current version.

    The threads of this process commit to a table one after the other.

    Args:
        table: The table.
        address: The mailbox's real address.
        write: Commits.
        transactions: What the commit carries.
        fence_app: Id of the fence.
        known: Its version when the partition was read.
        read_at: Version of the table at that time.
        prepare: Called first, while other threads may commit: it may write files.

    Returns:
        The version of the table before the commit.

    Raises:
        WriterConflictError: Another run moved the fence, or the table was restored; nothing was written.
        LakeError: The table can't be written.
    """
    table.check_writable()
    delta = table.delta
    fence = next(entry.version for entry in transactions if entry.app_id == fence_app)

    def present() -> int | None:
        return table.transactions([fence_app])(fence_app)

    def check_fence(error: Exception | None = None) -> None:
        if present() != known or table.restores(read_at):
            raise _conflict(table, address, error) from error

    properties = CommitProperties(app_transactions=list(transactions))
    try:
        check_fence()
        check_features(delta)
        prepare()
        for attempt in range(_ATTEMPTS):
            with table.shared.turn:
                version = delta.version()
                try:
                    check_fence()
                    check_features(delta)
                    write(properties)
                    delta.update_incremental()
                    break
                except CommitFailedError as error:
                    delta.update_incremental()
                    if delta.version() == version:  # nobody else committed
                        raise
                    check_fence(error)
                    if attempt == _ATTEMPTS - 1:
                        raise _conflict(table, address, error) from error
            time.sleep(min(_LONGEST_WAIT, 0.005 * attempt))
    except (DeltaError, OSError) as error:
        raise unwritable(delta.table_uri, error) from error
    if present() != fence:
        raise _conflict(table, address, None)
    return version


def commit_alone(table: LakeTable, properties: CommitProperties) -> None:
    """Commit transactions without rows."""
    delta = table.delta
    delta.create_write_transaction(
        [],
        "append",
        delta.schema(),
        partition_by=[MAILBOX],
        commit_properties=properties,
        post_commithook_properties=commit_hooks(delta),
    )


def _conflict(table: LakeTable, address: str, error: Exception | None) -> WriterConflictError:
    detail = f" ({one_line(error)})" if error else ""
    return WriterConflictError(
        f"Another run wrote {address}'s partition of {table.source!r} at the same time{detail}.",
        fix="The last commit of this run was rejected; wait until the other run has ended and run it again.",
    )
