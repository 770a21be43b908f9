"""Where a mailbox's tables stand, read from the lake alone: nothing is created, nothing is asked of Gmail."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gmail_assets.lake import Lake
from gmail_assets.part import Part
from gmail_client.options import SpecTable

__all__ = ["Standing", "standing_of"]


@dataclass(frozen=True, slots=True)
class Standing:
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
    part: Part


def standing_of(lake: Lake, address: str, tables: Iterable[SpecTable]) -> dict[str, Standing]:
    """Where the tables in use stand, by their Gmail names; tables that hold nothing of the mailbox are left out.

    Args:
        lake: The lake.
        address: The mailbox's real address.
        tables: Which tables, and with which options: these name the cursor.

    Raises:
        LakeError: A table can't be read.
    """
    standings = {}
    for spec in tables:
        if lake.find(spec.table_name) is None:
            continue
        table = lake.table(spec.source_table, name=spec.table_name, keep_deleted=spec.deletes == "keep")
        part = Part(table, address, spec.options.fingerprint, spec.options.format)
        rows = part.count()
        if rows or part.cursor is not None or part.anchor is not None:
            standings[spec.source_table] = Standing(
                spec, rows, table.size(address), part.cursor, part.anchor, part
            )
    return standings
