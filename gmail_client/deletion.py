"""Deletion, the same for the lake and for Spark: the soft-delete column, and when a mass deletion is refused."""

from __future__ import annotations

from gmail_client.errors import GmailError

__all__ = ["DELETED_AT", "MassDeletionError", "check_mass_deletion", "is_mass"]

DELETED_AT = "_deletedAt"
"""Column of a table with soft deletes: when a sync found that the row was deleted or no longer matches, else null."""

_MOST_ROWS = 100
_MOST_SHARE = 0.2


class MassDeletionError(GmailError):
    """A reconciliation would delete so many rows that a person should check it first."""


def is_mass(missing: int, rows: int) -> bool:
    """Whether so many of all rows are missing that it may be an error: more than 100, and more than a fifth."""
    return missing > _MOST_ROWS and missing > rows * _MOST_SHARE


def check_mass_deletion(table: str, address: str, *, deletions: int, rows: int, confirm: str) -> None:
    """Refuse a reconciliation that would delete too many rows (`is_mass`).

    Args:
        table: The table's name.
        address: The mailbox.
        deletions: Rows that it would delete.
        rows: Rows of the mailbox in the table.
        confirm: How to confirm the deletion, as the end of the sentence "run once with ...".

    Raises:
        MassDeletionError: It would; nothing was deleted.
    """
    if is_mass(deletions, rows):
        raise MassDeletionError(
            f"A reconciliation of {table} with {address} would delete {deletions} of {rows} rows.",
            fix=f"Check that it is the right mailbox and the right filters; then run once with {confirm}.",
        )
