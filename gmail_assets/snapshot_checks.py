"""Asset checks of the snapshot tables: unique keys, agreement with the mailbox, time of the last read.

All of them together cost about ten quota units.
"""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from gmail_assets.asset_specs import DEFAULT_MAX_AGE
from gmail_assets.checks import NOTHING_STORED, Outcome, require_partition
from gmail_assets.failures import dagster_failures
from gmail_assets.operations.snapshot_drift import gmail_keys, stored_keys
from gmail_assets.resources import ResourceKeys
from gmail_client.client import Mailbox
from gmail_client.minimize import ContentPolicy
from gmail_client.spec import SpecTable

__all__ = ["build_snapshot_checks"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the checks need to know of one mailbox's rows in a snapshot table.

    Attributes:
        table: Name of the source table.
        mailbox: The mailbox.
        keys: Keys of the stored rows, duplicates included.
        last_read: Time of the last materialization; None if Dagster knows of none.
        max_age: See `build_snapshot_checks`.
        now: Current time.
        policy: What the table's options remove or hash.
    """

    table: str
    mailbox: Mailbox
    keys: Sequence[str]
    last_read: datetime | None
    max_age: timedelta
    now: datetime
    policy: ContentPolicy | None = None


def primary_key_unique(snapshot: Snapshot) -> Outcome:
    """No two rows of the mailbox have the same key."""
    duplicates = len(snapshot.keys) - len(set(snapshot.keys))
    message = f"{len(snapshot.keys):,} rows, {duplicates:,} of them duplicates"
    return Outcome(not duplicates, message, {"duplicates": duplicates})


def matches_gmail(snapshot: Snapshot) -> Outcome:
    """The rows have the keys that the mailbox has now; an empty table is an error if the mailbox has any."""
    present = gmail_keys(snapshot.mailbox.api, snapshot.table, snapshot.mailbox.address, snapshot.policy)
    if present is None:
        return Outcome(True, "not applicable: this account is not allowed to read the table")
    stored = set(snapshot.keys)
    added, deleted = len(present - stored), len(stored - present)
    numbers = {"rows": len(stored), "gmail_total": len(present), "added": added, "deleted": deleted}
    message = f"{len(stored):,} rows; Gmail has {len(present):,}"
    if added or deleted:
        message += f" ({added:,} added and {deleted:,} deleted since the last read)"
    empty = bool(present) and not stored
    severity = dg.AssetCheckSeverity.ERROR if empty else dg.AssetCheckSeverity.WARN
    return Outcome(not added and not deleted, message, numbers, severity)


def recently_read(snapshot: Snapshot) -> Outcome:
    """The table was read from Gmail within the allowed time."""
    if snapshot.last_read is None:
        return Outcome(False, "Dagster has no materialization of it", severity=dg.AssetCheckSeverity.WARN)
    age = snapshot.now - snapshot.last_read
    minutes = max(int(age.total_seconds() // 60), 0)
    message = f"last read at {snapshot.last_read.isoformat(timespec='seconds')}"
    return Outcome(age <= snapshot.max_age, message, {"age_minutes": minutes}, dg.AssetCheckSeverity.WARN)


_CHECKS: tuple[Callable[[Snapshot], Outcome], ...] = (primary_key_unique, matches_gmail, recently_read)


def build_snapshot_checks(
    name: str,
    tables: Sequence[SpecTable],
    keys: Mapping[str, dg.AssetKey],
    partitions: dg.PartitionsDefinition[str],
    *,
    max_age: timedelta = DEFAULT_MAX_AGE,
    resources: ResourceKeys | None = None,
    pool: str | None = None,
) -> dg.AssetChecksDefinition:
    """The checks of the snapshot tables, as one step.

    Args:
        name: Name of the step.
        tables: The snapshot tables of the spec.
        keys: Their asset keys, by source table.
        partitions: The mailboxes.
        max_age: Age of a snapshot at which `recently_read` fails.
        resources: Names of the resources.
        pool: The pool of the step.
    """
    resources = resources or ResourceKeys()
    functions: dict[dg.AssetCheckKey, tuple[SpecTable, Callable[[Snapshot], Outcome]]] = {}
    for entry in tables:
        for function in _CHECKS:
            functions[dg.AssetCheckKey(keys[entry.source_table], function.__name__)] = (entry, function)

    @dg.multi_asset_check(
        name=name,
        specs=[_spec(key, function, partitions) for key, (_, function) in functions.items()],
        can_subset=True,
        description="Unique keys, agreement with the mailbox, time of the last read.",
        required_resource_keys=resources.required,
        pool=pool,
    )
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        gmail, gmail_lake = resources.of_run(context.resources)
        require_partition(context)
        snapshots: dict[str, Snapshot | None] = {}
        with dagster_failures(context):
            mailbox, lake = gmail.mailbox(context.partition_key), gmail_lake.lake()
            for key in sorted(context.selected_asset_check_keys):
                entry, function = functions[key]
                if entry.source_table not in snapshots:
                    stored = stored_keys(lake, mailbox.address, entry)
                    last_read = _last_materialization(context, key.asset_key)
                    snapshots[entry.source_table] = (
                        Snapshot(
                            entry.source_table,
                            mailbox,
                            stored,
                            last_read,
                            max_age,
                            datetime.now(UTC),
                            entry.options.policy,
                        )
                        if stored is not None
                        else None
                    )
                snapshot = snapshots[entry.source_table]
                outcome = NOTHING_STORED if snapshot is None else function(snapshot)
                yield dg.AssetCheckResult(
                    passed=outcome.passed,
                    asset_key=key.asset_key,
                    check_name=key.name,
                    severity=outcome.severity,
                    description=outcome.message,
                    metadata=dict(outcome.numbers),
                )

    return checks


def _spec(
    key: dg.AssetCheckKey,
    function: Callable[[Snapshot], Outcome],
    partitions: dg.PartitionsDefinition[str],
) -> dg.AssetCheckSpec:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # partitioned checks are in preview
        return dg.AssetCheckSpec(
            key.name,
            asset=key.asset_key,
            description=" ".join((function.__doc__ or "").split()),
            partitions_def=partitions,
        )


def _last_materialization(context: dg.AssetCheckExecutionContext, key: dg.AssetKey) -> datetime | None:
    records = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(key, asset_partitions=[context.partition_key]), limit=1
    ).records
    return datetime.fromtimestamp(records[0].timestamp, UTC) if records else None
