"""Asset checks of the snapshot tables: unique keys, agreement with the mailbox, time of the last read.

All of them together cost about ten quota units, and none right after a run that read the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from gmail_assets.check_outcomes import NOTHING_STORED, CheckKey, CheckSubject, Outcome, Severity
from gmail_assets.operations.snapshot_drift import gmail_keys, stored_keys
from gmail_assets.syncing.identity import stored_address
from gmail_client.client import Mailbox
from gmail_client.spec import SpecTable

__all__ = ["DEFAULT_MAX_AGE", "SnapshotChecks"]

DEFAULT_MAX_AGE = timedelta(hours=26)
"""Age of a snapshot at which it is out of date: a day, and some time for a late run."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the checks need to know of one mailbox's rows in a snapshot table.

    Attributes:
        keys: Keys of the stored rows, duplicates included.
        read_keys: Returns the keys that the mailbox has; None if this account is not allowed to read the table.
        last_read: Time of the last materialization; None if Dagster knows of none.
        max_age: See `build_snapshot_checks`.
        now: Current time.
    """

    keys: Sequence[str]
    read_keys: Callable[[], Set[str] | None]
    last_read: datetime | None
    max_age: timedelta
    now: datetime


def primary_key_unique(snapshot: Snapshot) -> Outcome:
    """No two rows of the mailbox have the same key."""
    duplicates = len(snapshot.keys) - len(set(snapshot.keys))
    message = f"{len(snapshot.keys):,} rows, {duplicates:,} of them duplicates"
    return Outcome(not duplicates, message, {"duplicates": duplicates})


def matches_gmail(snapshot: Snapshot) -> Outcome:
    """The rows have the keys that this run has read, or that the mailbox has now; it is an error if all are missing."""
    present = snapshot.read_keys()
    if present is None:
        return Outcome(True, "not applicable: this account is not allowed to read the table")
    stored = set(snapshot.keys)
    added, deleted = len(present - stored), len(stored - present)
    numbers = {"rows": len(stored), "gmail_total": len(present), "added": added, "deleted": deleted}
    message = f"{len(stored):,} rows; Gmail has {len(present):,}"
    if added or deleted:
        message += f" ({added:,} added and {deleted:,} deleted since the last read)"
    empty = bool(present) and not stored
    severity = Severity.ERROR if empty else Severity.WARN
    return Outcome(not added and not deleted, message, numbers, severity)


def recently_read(snapshot: Snapshot) -> Outcome:
    """The table was read from Gmail within the allowed time."""
    if snapshot.last_read is None:
        return Outcome(False, "Dagster has no materialization of it", severity=Severity.WARN)
    age = snapshot.now - snapshot.last_read
    minutes = max(int(age.total_seconds() // 60), 0)
    message = f"last read at {snapshot.last_read.isoformat(timespec='seconds')}"
    return Outcome(age <= snapshot.max_age, message, {"age_minutes": minutes}, Severity.WARN)


_CHECKS: tuple[Callable[[Snapshot], Outcome], ...] = (primary_key_unique, matches_gmail, recently_read)


class SnapshotChecks:
    """The checks of the snapshot tables, for one mailbox at a time.

    Args:
        tables: The snapshot tables of the spec.
        max_age: Age of a snapshot at which `recently_read` fails.

    Attributes:
        functions: Table and function of each check.
    """

    description = "Unique keys, agreement with the mailbox, time of the last read."

    def __init__(self, tables: Sequence[SpecTable], max_age: timedelta = DEFAULT_MAX_AGE) -> None:
        self._max_age = max_age
        self.functions: dict[CheckKey, tuple[SpecTable, Callable[[Snapshot], Outcome]]] = {
            CheckKey(entry.source_table, function.__name__): (entry, function)
            for entry in tables
            for function in _CHECKS
        }

    def evaluate(self, subject: CheckSubject, selected: Iterable[CheckKey]) -> dict[CheckKey, Outcome]:
        """Run checks.

        Raises:
            GmailError: A request failed, or the lake can't be read.
        """
        mailbox = subject.mailbox()
        address = stored_address(mailbox, subject.lake)
        snapshots: dict[str, Snapshot | None] = {}
        outcomes = {}
        for key in sorted(selected):
            entry, function = self.functions[key]
            if entry.source_table not in snapshots:
                stored = stored_keys(subject.lake, address, entry)
                snapshots[entry.source_table] = None
                if stored is not None:
                    snapshots[entry.source_table] = Snapshot(
                        stored,
                        partial(_keys_in_gmail, subject, mailbox, entry),
                        subject.last_read(key.table),
                        self._max_age,
                        datetime.now(UTC),
                    )
            snapshot = snapshots[entry.source_table]
            outcomes[key] = NOTHING_STORED if snapshot is None else function(snapshot)
        return outcomes


def _keys_in_gmail(subject: CheckSubject, mailbox: Mailbox, entry: SpecTable) -> Set[str] | None:
    table = entry.source_table
    if table in subject.keys_read:
        return subject.keys_read[table]
    return gmail_keys(mailbox.api, table, mailbox.address, entry.options.policy)
