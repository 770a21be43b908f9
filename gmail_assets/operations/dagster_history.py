"""What a Dagster instance recorded of some mailboxes: last materializations and last runs, read for all at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg

    from gmail_client.spec import Spec

__all__ = ["DagsterHistory", "LastRun"]

_KEY_PREFIX = ["gmail"]
_PARTITION_TAG = "dagster/partition"
_AT_ONCE = 500
"""Values in one query; databases limit them."""


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest Dagster run of a mailbox alone, or run over several that materialized one of its tables.

    Attributes:
        run_id: Its id.
        status: Its status; a run over several mailboxes fails if one of them fails.
        ended: When it ended; None if it is in progress.
        several: Whether it is a run over several mailboxes.
    """

    run_id: str
    status: str
    ended: datetime | None
    several: bool = False


class DagsterHistory:
    """The last materialization of each table, and the last run, of some mailboxes.

    Args:
        instance: The Dagster instance.
        spec: The tables.
        mailboxes: Names of the mailboxes, which are the partitions.
    """

    def __init__(self, instance: dg.DagsterInstance, spec: Spec, mailboxes: Sequence[str]) -> None:
        from gmail_assets.asset_specs import asset_keys

        self._instance = instance
        self._materialized: dict[str, dict[str, datetime]] = {name: {} for name in mailboxes}
        newest: dict[str, tuple[float, str]] = {}
        for table, key in asset_keys(spec, _KEY_PREFIX).items():
            for record in self._last_materializations(key, mailboxes):
                name = str(record.partition_key)
                self._materialized[name][table] = datetime.fromtimestamp(record.timestamp, UTC)
                newest[name] = max(newest.get(name, (0.0, "")), (record.timestamp, record.run_id))
        # A run over several mailboxes has no tag with their names.
        self._run_ids = {name: run_id for name, (_, run_id) in newest.items()}
        self._runs = self._runs_of(sorted(set(self._run_ids.values())))

    def materialized(self, mailbox: str) -> Mapping[str, datetime]:
        """Time of the last materialization by table; tables without one are left out."""
        return self._materialized[mailbox]

    def last_run(self, mailbox: str) -> LastRun | None:
        """The newest run; None if there is none."""
        import dagster as dg

        own = self._instance.get_run_records(dg.RunsFilter(tags={_PARTITION_TAG: mailbox}), limit=1)
        materialized = self._runs.get(self._run_ids.get(mailbox, ""))
        records = [*own, *([materialized] if materialized is not None else [])]
        if not records:
            return None
        record = max(records, key=lambda record: record.create_timestamp)
        run = record.dagster_run
        ended = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else None
        return LastRun(run.run_id, run.status.value.lower(), ended, _PARTITION_TAG not in run.tags)

    def _last_materializations(
        self, key: dg.AssetKey, mailboxes: Sequence[str]
    ) -> Iterator[dg.EventLogRecord]:
        import dagster as dg

        for start in range(0, len(mailboxes), _AT_ONCE):
            ids = self._instance.get_latest_storage_id_by_partition(
                key, dg.DagsterEventType.ASSET_MATERIALIZATION, set(mailboxes[start : start + _AT_ONCE])
            )
            if ids:
                some = dg.AssetRecordsFilter(key, storage_ids=list(ids.values()))
                yield from self._instance.fetch_materializations(some, limit=len(ids)).records

    def _runs_of(self, run_ids: Sequence[str]) -> dict[str, dg.RunRecord]:
        import dagster as dg

        chunks = (run_ids[start : start + _AT_ONCE] for start in range(0, len(run_ids), _AT_ONCE))
        records = (self._instance.get_run_records(dg.RunsFilter(run_ids=list(chunk))) for chunk in chunks)
        return {record.dagster_run.run_id: record for found in records for record in found}
