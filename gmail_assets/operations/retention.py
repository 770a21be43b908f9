"""Apply a retention to all tables of a lake: soft-deleted rows, and files of old versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from deltalake.exceptions import DeltaError

from gmail_assets.delta.erase import own_tables
from gmail_assets.delta.errors import unwritable
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.maintenance import delete_expired, vacuum

__all__ = ["Retained", "apply_retention"]


@dataclass(frozen=True, slots=True)
class Retained:
    """What a retention removed from one table: soft-deleted rows, files of old versions."""

    table: str
    rows: int
    files: int


def apply_retention(
    lake: Lake, *, versions: timedelta | None, deleted: timedelta | None
) -> Iterator[Retained]:
    """Delete soft-deleted rows and remove files of old versions, table by table.

    Args:
        lake: The lake.
        versions: Versions younger than this stay readable; None removes no file.
        deleted: Rows that were soft-deleted longer ago are deleted; None deletes none.

    Raises:
        LakeError: A table can't be read or written.
    """
    for name, _, table in own_tables(lake):
        try:
            rows = 0 if deleted is None else delete_expired(table, deleted)
            files = 0 if versions is None else vacuum(table, versions)
        except (DeltaError, OSError) as error:
            raise unwritable(lake.location(name), error) from error
        yield Retained(name, rows, files)
