"""Records tables that a check found incomplete, so that the next sync reconciles them, once for each finding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gmail_assets.delta.errors import WriterConflictError
from gmail_assets.delta.partition_status import PartitionStatus

__all__ = ["combine_findings", "record_findings"]


def combine_findings(findings: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Differences by table, from several checks: the first one that is not 0 counts."""
    combined: dict[str, int] = {}
    for finding in findings:
        for table, difference in finding.items():
            combined[table] = combined.get(table, 0) or difference
    return combined


def record_findings(statuses: Mapping[str, PartitionStatus], findings: Mapping[str, int]) -> None:
    """Record in the lake how many rows are surplus (negative: missing), so that the next sync reconciles.

    A difference that remained after a reconciliation is not recorded again (`SyncState.counted`). A table whose load
    is not finished is ignored: its next sync completes it anyway.

    Args:
        statuses: The tables by name.
        findings: Unexplained rows by table; 0 where a check has passed.
    """
    for table, difference in findings.items():
        status = statuses.get(table)
        if status is None or status.cursor is None:
            continue
        state = status.partition.state.counted(difference)
        if state == status.partition.state:
            continue
        try:
            status.partition.commit(state)
        except WriterConflictError:
            continue  # a sync is writing the table; the checks after it count again
