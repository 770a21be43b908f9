"""Which mailboxes Dagster is working on, and what became of the runs that the sensor requested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from gmail_assets.sensor_cursor import Requested, RunOutcome, iso_time

__all__ = ["LOAD_TAG", "REQUEST_TAG", "RequestedRuns", "RunsInProgress", "request_name"]

REQUEST_TAG = "gmail/request"
"""Tag of the runs that the sensor requests: it identifies one request and so its outcome."""
LOAD_TAG = "gmail/first_load"
"""Tag of the sensor's runs that load mailboxes for the first time."""

_PARTITION_TAG = "dagster/partition"
_RANGE_START_TAG = "dagster/asset_partition_range_start"
_RANGE_END_TAG = "dagster/asset_partition_range_end"
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(slots=True)
class RunsInProgress:
    """Queued and running runs of any origin: the sensor, schedules, backfills, asset pages, other jobs.

    Attributes:
        mailboxes: Their mailboxes.
        loads: Number of the sensor's runs of first loads.
    """

    mailboxes: set[str] = field(default_factory=set)
    loads: int = 0

    @classmethod
    def of(cls, instance: dg.DagsterInstance, mailboxes: Sequence[str]) -> RunsInProgress:
        """Read them.

        Args:
            instance: The Dagster instance.
            mailboxes: All partition keys, in the order of the partitions.
        """
        found = cls()
        for run in instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED)):
            found.mailboxes.update(_mailboxes_of(run.tags, run.run_config, mailboxes))
            found.loads += LOAD_TAG in run.tags
        return found


def _mailboxes_of(
    tags: Mapping[str, str], run_config: Mapping[str, Any], mailboxes: Sequence[str]
) -> Iterator[str]:
    """Mailboxes of a run: one partition, a range of partitions, or a list in the run config of a step."""
    if _PARTITION_TAG in tags:
        yield tags[_PARTITION_TAG]
    start, end = tags.get(_RANGE_START_TAG), tags.get(_RANGE_END_TAG)
    if start in mailboxes and end in mailboxes:
        yield from mailboxes[mailboxes.index(start) : mailboxes.index(end) + 1]
    steps = run_config.get("ops")
    for step in steps.values() if isinstance(steps, Mapping) else ():
        config = step.get("config") if isinstance(step, Mapping) else None
        listed = config.get("mailboxes") if isinstance(config, Mapping) else None
        yield from listed if isinstance(listed, list) else ()


class RequestedRuns:
    """Outcomes of the runs that a sensor requested; each run is read once.

    Args:
        instance: The Dagster instance.
        key: Asset whose materializations say that a mailbox succeeded in a run that failed with another one.
    """

    def __init__(self, instance: dg.DagsterInstance, key: dg.AssetKey) -> None:
        self._instance = instance
        self._key = key
        self._runs: dict[str, dg.DagsterRun | None] = {}

    def outcome(self, mailbox: str, requested: Requested) -> RunOutcome:
        """Outcome of a requested run for one of its mailboxes."""
        name = request_name(requested.at)
        if name not in self._runs:
            runs = self._instance.get_runs(filters=dg.RunsFilter(tags={REQUEST_TAG: name}), limit=1)
            self._runs[name] = runs[0] if runs else None
        run = self._runs[name]
        if run is None:
            return "none"
        if run.status == dg.DagsterRunStatus.SUCCESS or (
            _PARTITION_TAG not in run.tags and self._was_materialized(mailbox, run.run_id)
        ):
            return "succeeded"
        return "failed"

    def _was_materialized(self, mailbox: str, run_id: str) -> bool:
        newest = self._instance.fetch_materializations(
            dg.AssetRecordsFilter(self._key, asset_partitions=[mailbox]), limit=1
        )
        return any(record.run_id == run_id for record in newest.records)


def request_name(at: float) -> str:
    """Value of `REQUEST_TAG` for a request at this time (epoch seconds)."""
    return str(iso_time(at))
