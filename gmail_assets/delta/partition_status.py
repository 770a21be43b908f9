"""Sync status of a mailbox's tables, read from the lake: creates nothing and does not call Gmail."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from deltalake.exceptions import DeltaError

from gmail_assets.delta.errors import unreadable
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.delta.partition import MailboxPartition
from gmail_client.spec import SpecTable

__all__ = ["OpenTables", "PartitionStatus", "is_loading", "partition_statuses"]


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One mailbox's partition of one table that is in use.

    Attributes:
        spec: Name and options of the table.
        rows: Rows of the mailbox, soft-deleted ones included.
        size: Approximate bytes of their files.
        partition: The partition itself.
    """

    spec: SpecTable
    rows: int
    size: int
    partition: MailboxPartition

    @property
    def cursor(self) -> int | None:
        """History id that the table is synced through; None for a snapshot, and where it has to be reconciled."""
        return self.partition.state.cursor

    @property
    def load_start(self) -> int | None:
        """History id from which an unfinished load is replayed."""
        return self.partition.state.load_start

    @property
    def unexplained(self) -> int:
        """Rows too many (or, negative, too few) that a check found and that the next sync reconciles."""
        return self.partition.state.unexplained


class _OpenTable:
    """A table at its present version, with rows and bytes by mailbox."""

    def __init__(self, spec: SpecTable, table: LakeTable) -> None:
        self.spec = spec
        self.table = table
        self.version = table.delta.version()

    @cached_property
    def sums(self) -> dict[str, tuple[int, int]]:
        """Rows and bytes by mailbox."""
        return self.table.sums()

    def partition(self, address: str) -> MailboxPartition:
        """A mailbox's partition."""
        options = self.spec.options
        return MailboxPartition(self.table, address, options.fingerprint, options.content_format)


class OpenTables:
    """Tables of the lake at one moment, opened once for any number of mailboxes; `refresh` moves on to the present.

    Args:
        lake: The lake.
        tables: Which tables, and with which options: the sync state belongs to these. One that is missing is left out.

    Raises:
        LakeError: A table can't be read.
    """

    def __init__(self, lake: Lake, tables: Iterable[SpecTable]) -> None:
        self._lake = lake
        self._specs = list(tables)
        self._open: dict[str, _OpenTable] = {}
        self.refresh()

    def refresh(self) -> None:
        """Move on to the tables' present versions. With nothing new, that is three small requests per table.

        Raises:
            LakeError: A table can't be read.
        """
        for spec in self._specs:
            known = self._open.pop(spec.table_name, None)
            if (opened := self._refreshed(spec, known)) is not None:
                self._open[spec.table_name] = opened

    def _refreshed(self, spec: SpecTable, known: _OpenTable | None) -> _OpenTable | None:
        location = self._lake.location(spec.table_name)
        try:
            if known is not None and known.table.refreshed():
                return (
                    known if known.version == known.table.delta.version() else _OpenTable(spec, known.table)
                )
        except (DeltaError, OSError) as error:
            raise unreadable(location, error) from error
        found = self._lake.opened(spec.table_name)
        if found is None:
            return None
        keep = spec.deletes == "keep"
        table = self._lake.table(spec.source_table, name=spec.table_name, keep_deleted=keep, found=found)
        return _OpenTable(spec, table)

    def table(self, source: str) -> LakeTable | None:
        """An open table, by its catalogue name; None if the lake does not have it."""
        return next((one.table for one in self._open.values() if one.spec.source_table == source), None)

    def partitions_of(self, address: str) -> dict[str, MailboxPartition]:
        """A mailbox's partition of each open table, by its catalogue name, used or not.

        Args:
            address: The mailbox's real address.
        """
        return {one.spec.source_table: one.partition(address) for one in self._open.values()}

    def statuses_of(self, address: str) -> dict[str, PartitionStatus]:
        """Status of each table in use, by its catalogue name; tables without rows of the mailbox are left out.

        Args:
            address: The mailbox's real address.
        """
        statuses = {}
        for opened in self._open.values():
            spec, partition = opened.spec, opened.partition(address)
            rows, size = opened.sums.get(address, (0, 0))
            # A table that was restored to a time before its rows is in use, too.
            if rows or partition.in_use:
                statuses[spec.source_table] = PartitionStatus(spec, rows, size, partition)
        return statuses


def partition_statuses(lake: Lake, address: str, tables: Iterable[SpecTable]) -> dict[str, PartitionStatus]:
    """`OpenTables(lake, tables).statuses_of(address)`, for one mailbox."""
    return OpenTables(lake, tables).statuses_of(address)


def is_loading(lake: Lake, address: str, tables: Iterable[SpecTable]) -> bool:
    """Whether a load of one of the tables has begun and is not finished."""
    return any(status.load_start is not None for status in partition_statuses(lake, address, tables).values())
