"""The result of one mailbox's sync on the command line: `RunResult`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["CheckResult", "RunResult", "StepFailure"]


@dataclass(frozen=True, slots=True)
class StepFailure:
    """A failed step: class name and message of the error."""

    error: str
    message: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one asset check of a table."""

    table: str
    check: str
    passed: bool
    message: str


@dataclass(slots=True)
class RunResult:
    """The result of one mailbox's run.

    Attributes:
        mailbox: Configured name of the mailbox.
        run_id: Id of the Dagster run; None without a run.
        tables: Materialization metadata by table, as plain values.
        failures: Failed steps by name.
        skipped: Tables that were not tried after an error of the whole mailbox.
        checks: Results of the asset checks.
        interrupted: The run was stopped by Ctrl-C or SIGTERM.
        unchanged: Every table was up to date, so there was no run.
    """

    mailbox: str
    run_id: str | None
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, StepFailure] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    checks: list[CheckResult] = field(default_factory=list)
    interrupted: bool = False
    unchanged: bool = False

    @property
    def complete(self) -> bool:
        """Whether every materialized table is complete: the time budget ended none of them early."""
        return all(metadata.get("complete", True) for metadata in self.tables.values())
