"""Commits to partitions of one table, those of several mailboxes together: `commit_fenced`.

Delta orders all commits to a table, so the mailboxes of a process can't commit at the same time. Changes that wait for
their turn are committed by the next one: fewer commits, and none is refused because of another mailbox of the process.
Each change keeps its own fence: one that a rival run has preceded is refused, and the others are committed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from gmail_assets.delta.commit_hooks import commit_hooks
from gmail_assets.delta.errors import LakeError, WriterConflictError, one_line, unwritable
from gmail_assets.delta.lake import MAILBOX
from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.delta.protocol import check_features

__all__ = ["Change", "Fenced", "commit_alone", "commit_fenced"]

_ATTEMPTS = 50
"""Commits of other processes that may come first: a rewrite of files is only committed to the version that it read."""
_LONGEST_WAIT = 0.2
"""Seconds before another attempt, at most."""


class Change(Protocol):
    """Files to add to one mailbox's partition, and to remove from it."""

    def prepare(self) -> None:
        """Write the files that the table's current version needs, and that are not written yet.

        Raises:
            DeltaError: The table can't be read.
            OSError: A file can't be read or written.
        """

    def actions(self) -> tuple[Sequence[AddAction], Sequence[RemoveAction]]:
        """The prepared files, added and removed.

        Raises:
            OSError: The path of a file is unknown.
        """


@dataclass(frozen=True, slots=True)
class Fenced:
    """The transactions of a commit to one mailbox's partition; one of them is the fence.

    Attributes:
        address: The mailbox's real address.
        transactions: What the commit carries.
        app_id: Id of the fence.
        known: The fence's version when the partition was read.
        read_at: Version of the table at that time.
    """

    address: str
    transactions: Sequence[Transaction]
    app_id: str
    known: int | None
    read_at: int

    @property
    def fence(self) -> int:
        """The new version of the fence."""
        return next(entry.version for entry in self.transactions if entry.app_id == self.app_id)


class _Waiting:
    """A change that waits for its commit."""

    def __init__(self, table: LakeTable, fenced: Fenced, change: Change | None) -> None:
        self.table = table
        self.fenced = fenced
        self.change = change
        self.committed_after: int | None = None
        """Version of the table before the commit."""
        self.error: LakeError | None = None
        """Why it was refused."""

    @property
    def is_open(self) -> bool:
        """Whether it is neither committed nor refused."""
        return self.committed_after is None and self.error is None

    def prepare(self, refused: Exception | None = None) -> None:
        """Check the fence, and write the files.

        Args:
            refused: The error of the last attempt.

        Raises:
            WriterConflictError: Another run has written the partition since it was read, or the table was restored.
            LakeError: The table can't be written.
        """
        try:
            if self._present() != self.fenced.known or self.table.restores(self.fenced.read_at):
                raise self.conflict(refused) from refused
            check_features(self.table.delta)
            if self.change is not None:
                self.change.prepare()
        except (DeltaError, OSError) as error:
            raise unwritable(self.table.delta.table_uri, error) from error

    def is_ready(self, refused: Exception | None = None) -> bool:
        """Whether it can be committed; keeps the error."""
        try:
            self.prepare(refused)
        except LakeError as error:
            self.error = error
        return self.error is None

    def finish(self, version: int) -> None:
        """Note that it was committed after this version of the table."""
        if self._present() == self.fenced.fence:
            self.committed_after = version
        else:
            self.error = self.conflict()

    def conflict(self, error: Exception | None = None) -> WriterConflictError:
        """The error for a rival's commit."""
        detail = f" ({one_line(error)})" if error else ""
        return WriterConflictError(
            f"Another run wrote {self.fenced.address}'s partition of {self.table.source!r} at the same time{detail}.",
            fix="The last commit of this run was rejected; wait until the other run has ended and run it again.",
        )

    def _present(self) -> int | None:
        """The fence, as far as the log was read."""
        return self.table.transactions([self.fenced.app_id])(self.fenced.app_id)


def commit_fenced(table: LakeTable, fenced: Fenced, change: Change | None = None) -> int:
    """Commit a change of one mailbox's partition, possibly in one commit with those of other mailboxes.

    It commits in any case, also if it changes nothing: another run may write the same number as its fence.
    Delta refuses a commit if another one removed files or, for a rewrite of files, came first at all, also of another
    mailbox. If the fence was not moved, no other run wrote this mailbox: the commit is retried on the current version.

    Args:
        table: The table.
        fenced: The transactions.
        change: The files; None for none.

    Returns:
        The version of the table before the commit.

    Raises:
        WriterConflictError: Another run moved the fence, or the table was restored; nothing was written.
        LakeError: The table can't be written.
    """
    table.check_writable()
    one = _Waiting(table, fenced, change)
    one.prepare()  # other threads may commit meanwhile
    waiting = table.shared.waiting
    waiting.append(one)
    try:
        with table.shared.turn:
            if one.is_open:
                _commit_with_others(one, [other for other in waiting if other.is_open])
    finally:
        waiting.remove(one)
    if one.error is not None:
        raise one.error
    assert one.committed_after is not None  # noqa: S101 - otherwise there is an error
    return one.committed_after


def _commit_with_others(first: _Waiting, others: Sequence[_Waiting]) -> None:
    """Commit a change together with others.

    Raises:
        LakeError: The table can't be written. The others are not affected: each of them tries again.
    """
    delta = first.table.delta
    # One of each partition: if two runs write the same, the second one is refused after the first.
    batch = {one.fenced.app_id: one for one in [*others, first]}
    refused: CommitFailedError | None = None
    try:
        for attempt in range(_ATTEMPTS):
            version = delta.version()
            ready = [one for one in batch.values() if one.is_open and one.is_ready(refused)]
            if first.error is not None:
                return
            try:
                _write(delta, ready)
                delta.update_incremental()
            except CommitFailedError as error:
                time.sleep(min(_LONGEST_WAIT, 0.005 * attempt))
                delta.update_incremental()
                if delta.version() == version:  # nobody else committed
                    raise
                refused = error
                continue
            for one in ready:
                one.finish(version)
            return
    except (DeltaError, OSError) as error:
        raise unwritable(delta.table_uri, error) from error
    first.error = first.conflict(refused)


def _write(delta: DeltaTable, changes: Sequence[_Waiting]) -> None:
    added: list[AddAction] = []
    removed: list[RemoveAction] = []
    for one in changes:
        if one.change is not None:
            new, old = one.change.actions()
            added += new
            removed += old
    written = [entry for one in changes for entry in one.fenced.transactions]
    # A rewrite is not retried by delta-rs: it does not notice when the files were compacted meanwhile, and keeps both.
    properties = CommitProperties(app_transactions=written, max_commit_retries=0 if removed else None)
    _commit(delta, [*removed, *added], properties)


def commit_alone(table: LakeTable, properties: CommitProperties) -> None:
    """Commit transactions without rows."""
    _commit(table.delta, [], properties)


def _commit(
    delta: DeltaTable, actions: Sequence[AddAction | RemoveAction], properties: CommitProperties
) -> None:
    delta.create_write_transaction(
        list(actions),
        "append",
        delta.schema(),
        partition_by=[MAILBOX],
        commit_properties=properties,
        post_commithook_properties=commit_hooks(delta),
    )
