"""Removes a mailbox's data from the Dagster instance: its partition, entries of sensor cursors, and runs with logs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gmail_assets.operations.dagster_instance import dagster_instance

if TYPE_CHECKING:
    import dagster as dg

__all__ = ["DagsterTraces", "remove_traces", "unfinished_runs"]

_PARTITION_TAG = "dagster/partition"
_PARTITIONS = "gmail_mailboxes"
"""Where the discovery sensor registers the mailboxes (`mailbox_partitions.MailboxPartitions.registered`)."""


@dataclass(slots=True)
class DagsterTraces:
    """What was removed from the instance that DAGSTER_HOME names.

    Attributes:
        cursors: Sensor cursors that had an entry of the mailbox.
        runs: Runs of the mailbox, with their logs.
        remaining: What Dagster still keeps, and what to do about it.
    """

    cursors: int = 0
    runs: int = 0
    remaining: list[str] = field(default_factory=list)


def unfinished_runs() -> int:
    """Runs that are queued or in progress; 0 without an instance."""
    with dagster_instance() as instance:
        return 0 if instance is None else len(instance.get_runs(filters=_unfinished()))


def remove_traces(names: Sequence[str]) -> DagsterTraces:
    """Remove a mailbox's partition, its entries in sensor cursors, and its finished runs.

    Args:
        names: Its partition keys.

    Raises:
        ConfigurationError: The instance can't be opened.
    """
    traces = DagsterTraces()
    with dagster_instance() as instance:
        if instance is None:
            traces.remaining.append(
                "Dagster's runs and cursors, if there are any: set DAGSTER_HOME and run the command again."
            )
            return traces
        import dagster as dg

        unfinished = {run.run_id for run in instance.get_runs(filters=_unfinished())}
        for name in names:
            for run in instance.get_runs(filters=dg.RunsFilter(tags={_PARTITION_TAG: name})):
                if run.run_id in unfinished:
                    traces.remaining.append(
                        f"The run {run.run_id} is not finished: cancel it, then run the command again."
                    )
                else:
                    instance.delete_run(run.run_id)
                    traces.runs += 1
        # Those of the default group; another group has its own name in `gmail-assets mailboxes --unregister`.
        for name in set(names) & set(instance.get_dynamic_partitions(_PARTITIONS)):
            instance.delete_dynamic_partition(_PARTITIONS, name)
        traces.cursors = _remove_cursor_entries(instance, names)
    traces.remaining.append("Dagster's asset pages keep the names of partitions until an asset is wiped.")
    return traces


def _unfinished() -> dg.RunsFilter:
    import dagster as dg

    status = dg.DagsterRunStatus
    return dg.RunsFilter(
        statuses=[status.QUEUED, status.NOT_STARTED, status.STARTING, status.STARTED, status.CANCELING]
    )


def _remove_cursor_entries(instance: dg.DagsterInstance, names: Iterable[str]) -> int:
    changed = 0
    for state in instance.all_instigator_state():
        data: Any = state.instigator_data
        entries = _entries(getattr(data, "cursor", None))
        kept = {name: entry for name, entry in entries.items() if name not in names}
        if len(kept) < len(entries):
            instance.update_instigator_state(state.with_data(data._replace(cursor=json.dumps(kept))))
            changed += 1
    return changed


def _entries(cursor: str | None) -> dict[str, object]:
    """The mailboxes of a cursor of our sensor; nothing if it is another sensor's."""
    try:
        value = json.loads(cursor or "")
    except ValueError:
        return {}
    ours = isinstance(value, dict) and all(
        isinstance(entry, dict) and "committed" in entry for entry in value.values()
    )
    return value if ours else {}
