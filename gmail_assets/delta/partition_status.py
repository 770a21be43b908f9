"""Where a mailbox's tables stand, read from the lake alone: nothing is created, nothing is asked of Gmail."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gmail_assets.delta.lake import Lake, LakeTable
from gmail_assets.delta.partition import MailboxPartition
from gmail_client.spec import SpecTable

__all__ = ["OpenTables", "PartitionStatus", "partition_statuses"]


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One mailbox's part of one table that is in use.

    Attributes:
        spec: What the table is asked for.
        rows: Rows of the mailbox, ones kept after deletion included.
        size: Bytes of their files, roughly.
        cursor: History id up to which they are true; None for a snapshot, and where a comparison is due.
        anchor: History id at which an unfinished load began.
        part: The part itself.
    """

    spec: SpecTable
    rows: int
    size: int
    cursor: int | None
    anchor: int | None
    part: MailboxPartition


class OpenTables:
    """Tables of the lake as they are at one moment, opened once for any number of mailboxes.

    Args:
        lake: The lake.
        tables: Which tables, and with which options: these name the cursor. One that is not there is left out.

    Raises:
        LakeError: A table can't be read.
    """

    def __init__(self, lake: Lake, tables: Iterable[SpecTable]) -> None:
        self._open: list[tuple[SpecTable, LakeTable, dict[str, tuple[int, int]]]] = []
        for spec in tables:
            if lake.find(spec.table_name) is None:
                continue
            table = lake.table(spec.source_table, name=spec.table_name, keep_deleted=spec.deletes == "keep")
            sums: dict[str, tuple[int, int]] = {}
            for file in table.files():
                rows, size = sums.get(file.mailbox, (0, 0))
                sums[file.mailbox] = rows + file.rows, size + file.size
            self._open.append((spec, table, sums))

    def partition_statuses(self, address: str) -> dict[str, PartitionStatus]:
        """Where the tables in use stand, by their Gmail names; those that hold nothing of the mailbox are left out.

        Args:
            address: The mailbox's real address.
        """
        statuses = {}
        for spec, table, sums in self._open:
            part = MailboxPartition(table, address, spec.options.fingerprint, spec.options.format)
            rows, size = sums.get(address, (0, 0))
            # One that was restored to a time before its rows is in use all the same.
            if rows or part.restored or part.cursor is not None or part.anchor is not None:
                statuses[spec.source_table] = PartitionStatus(
                    spec, rows, size, part.cursor, part.anchor, part
                )
        return statuses


def partition_statuses(lake: Lake, address: str, tables: Iterable[SpecTable]) -> dict[str, PartitionStatus]:
    """`OpenTables(lake, tables).partition_statuses(address)`, for one mailbox alone."""
    return OpenTables(lake, tables).partition_statuses(address)
