"""Progress of a run and its result: `Progress`, `SyncResult`."""

from __future__ import annotations

from dataclasses import dataclass, field

from gmail_assets.delta.row_changes import RowChanges

__all__ = ["Progress", "SyncResult"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a run.

    Attributes:
        phase: `listing messages`, `listing threads`, `fetching`, `applying`, `stopping` (a signal ends the run) or
            `done`.
        done: Messages (or threads) listed or fetched in this phase.
        total: Total of this phase; None while unknown.
        rows: Rows written so far, over all tables.
        units: Quota units spent so far.
    """

    phase: str
    done: int = 0
    total: int | None = None
    rows: int = 0
    units: int = 0


@dataclass(slots=True)
class SyncResult:
    """Result of one table.

    Attributes:
        table: Its name in Gmail's catalogue, for example `messages`.
        address: The address under which the mailbox is stored: its first one.
        mode: `full_load`, `reconcile` (with a listing), `incremental` (from the history), `snapshot`,
            `derived` (from other tables) or `refused`.
        rows_written: Rows that are new.
        rows_updated: Rows that changed.
        rows_deleted: Rows deleted or soft-deleted.
        rows_total: Rows of this mailbox afterwards.
        units: Quota units spent, for all tables of the run together.
        calls: API calls made, for all tables of the run together.
        bytes: Bytes of JSON received, for all tables of the run together.
        seconds: Time taken, for all tables of the run together.
        history_id: The cursor; None for snapshots and for a load that the next run continues.
        synced_before: Time of the previous sync with changes, in epoch seconds; None if unknown.
        complete: False when the time budget ended the run before the work was done.
        unfetched: Messages that could not be fetched; later runs retry them.
        upkeep: Maintenance done on the table, in words; None for none.
        warnings: Warnings for users of the table.
        changes: Which rows were written; None for snapshots and derived tables.
        keys: Primary keys of the rows that a snapshot read; None for other tables, and if it was refused.
    """

    table: str
    address: str
    mode: str
    rows_written: int = 0
    rows_updated: int = 0
    rows_deleted: int = 0
    rows_total: int = 0
    units: int = 0
    calls: int = 0
    bytes: int = 0
    seconds: float = 0.0
    history_id: int | None = None
    synced_before: int | None = None
    complete: bool = True
    unfetched: int = 0
    upkeep: str | None = None
    warnings: list[str] = field(default_factory=list)
    changes: RowChanges | None = None
    keys: frozenset[str] | None = None
