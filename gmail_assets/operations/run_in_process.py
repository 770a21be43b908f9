"""Run the Dagster assets in this process, without a server: one run for one mailbox, or for several at once.

`Runner.run_mailboxes` materializes tables of mailboxes and returns the result of each. The runs are recorded in the
Dagster instance that DAGSTER_HOME names; without it, in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg

from gmail_assets.asset_specs import asset_keys
from gmail_assets.assets import mail_step_name
from gmail_assets.factory import gmail_definitions
from gmail_assets.failures import ERROR_KEY
from gmail_assets.mailbox_partitions import range_arguments
from gmail_assets.operations.dagster_instance import dagster_instance
from gmail_assets.operations.interrupts import watching_for_interrupts
from gmail_assets.operations.run_results import CheckResult, RunResult, StepFailure
from gmail_assets.operations.table_selection import TableSelection
from gmail_assets.run_settings import RunSettings
from gmail_assets.syncing.progress import Reporter, current_reporter, reporting
from gmail_assets.syncing.results import Progress, SyncResult
from gmail_client.discovery import mailboxes_of
from gmail_client.settings import Settings
from gmail_client.tables import CHANGE_TABLES

__all__ = ["Runner"]

_KEY_PREFIX = ["gmail"]
_EVENTS = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_CHECK_EVALUATION}
_SILENT = {"console": {"config": {"log_level": "CRITICAL"}}}


class Runner:
    """Materializes tables with the settings of the environment.

    Args:
        selection: The tables. None: those of GMAIL_SPEC, else all.
        run_settings: How several mailboxes share a run. None: configured by the environment.

    Raises:
        ConfigurationError: The spec or a setting is invalid.
    """

    def __init__(
        self, selection: TableSelection | None = None, *, run_settings: RunSettings | None = None
    ) -> None:
        self.selection = selection or TableSelection()
        self._settings = Settings()
        self._run_settings = run_settings

    @property
    def mailboxes(self) -> tuple[str, ...]:
        """The mailboxes of the settings, their file or their directory.

        Raises:
            GmailError: The directory can't be read.
        """
        return mailboxes_of(self._settings)

    def run_mailbox(
        self, mailbox: str, tables: Sequence[str], *, mail_config: Mapping[str, Any] | None = None
    ) -> RunResult:
        """Materialize tables of one mailbox; see `run_mailboxes`."""
        (run,) = self.run_mailboxes([mailbox], tables, mail_config=mail_config)
        return run

    def run_mailboxes(
        self, mailboxes: Sequence[str], tables: Sequence[str], *, mail_config: Mapping[str, Any] | None = None
    ) -> list[RunResult]:
        """Materialize tables of mailboxes, in one run.

        Args:
            mailboxes: Addresses, or `me`; they do not have to be configured.
            tables: Names of tables. A table that is not in the spec has default options.
            mail_config: Run config of the step that syncs messages and threads (`SyncConfig`).

        Returns:
            A result for each mailbox, in this order.
        """
        spec = self.selection.spec_with(tables)
        definitions = gmail_definitions(
            spec=spec, key_prefix=_KEY_PREFIX, mailboxes=list(mailboxes), run_settings=self._run_settings
        )
        keys = asset_keys(spec, _KEY_PREFIX)
        by_key = {key: name for name, key in keys.items()}
        run_config: dict[str, Any] = {"loggers": _SILENT}
        if any(name in CHANGE_TABLES for name in tables) and mail_config:
            run_config["ops"] = {mail_step_name(_KEY_PREFIX): {"config": dict(mail_config)}}
        reporter = _FailureCollector(current_reporter())
        with _instance() as instance, watching_for_interrupts() as interrupted, reporting(reporter):
            result = definitions.resolve_job_def("gmail_all").execute_in_process(
                **range_arguments(mailboxes),
                asset_selection=[keys[name] for name in tables],
                instance=instance,
                run_config=run_config,
                raise_on_error=False,
            )
            # Not those of `result`: it lacks what a step logged before it failed.
            events = [
                entry.dagster_event
                for entry in instance.all_logs(result.run_id, of_type=_EVENTS)
                if entry.dagster_event is not None
            ]
            runs = {name: RunResult(name, result.run_id, interrupted=interrupted()) for name in mailboxes}
        for event in events:
            partition = event.partition
            if event.is_step_materialization and event.asset_key is not None and partition is not None:
                runs[partition].tables[by_key[event.asset_key]] = {
                    name: value.value
                    for name, value in event.materialization.metadata.items()
                    if isinstance(value.value, str | int | float)
                }
        for event in events:
            if event.is_step_materialization:
                continue
            evaluation = event.asset_check_evaluation_data
            run = runs[evaluation.partition or mailboxes[0]]
            if ERROR_KEY in evaluation.metadata:
                continue  # the reporter knows it as well
            run.checks.append(
                CheckResult(
                    by_key[evaluation.asset_key],
                    evaluation.check_name,
                    evaluation.passed,
                    evaluation.description or "",
                )
            )
        failures = _failures(result)
        for run in runs.values():
            run.interrupted = run.interrupted or any(
                failure.error == "DagsterExecutionInterruptedError" for failure in failures.values()
            )
            error = reporter.errors.get(run.mailbox)
            if error is not None:
                run.failures["mailbox"] = StepFailure(type(error).__name__, str(error))
            elif not reporter.errors:
                run.failures |= failures
            failed = {table for step in run.failures for table in step.split(", ")}
            run.skipped = [name for name in tables if name not in run.tables and name not in failed]
        return list(runs.values())


def _failures(result: dg.ExecuteInProcessResult) -> dict[str, StepFailure]:
    """The failed steps of a run."""
    failures = {
        _step_text(event.step_key): _failure(event)
        for event in result.all_events
        if event.is_step_failure and event.step_key is not None
    }
    if not result.success and not failures:
        failures["run"] = StepFailure("Error", _run_failure(result))
    return failures


class _FailureCollector:
    """A `Reporter` that keeps the errors of mailboxes and passes everything on.

    Args:
        reporter: The reporter of the caller, if any.
    """

    def __init__(self, reporter: Reporter | None) -> None:
        self._reporter = reporter
        self.errors: dict[str, Exception] = {}

    def progress(self, progress: Progress) -> None:
        """See `Reporter`."""
        if self._reporter is not None:
            self._reporter.progress(progress)

    def finished(self, table: str, result: SyncResult) -> None:
        """See `Reporter`."""
        if self._reporter is not None:
            self._reporter.finished(table, result)

    def mailbox_finished(
        self, mailbox: str, results: Mapping[str, SyncResult], error: Exception | None
    ) -> None:
        """See `Reporter`."""
        if error is not None:
            self.errors[mailbox] = error
        if self._reporter is not None:
            self._reporter.mailbox_finished(mailbox, results, error)


@contextmanager
def _instance() -> Iterator[dg.DagsterInstance]:
    # Ctrl-C during the close of a connection makes the pool log a traceback before it raises.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    with dagster_instance() as persistent:
        if persistent is not None:
            yield persistent
            return
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def _step_text(step: str) -> str:
    """The tables that a step materializes, for messages."""
    name = step.removeprefix("_".join([*_KEY_PREFIX, ""]))
    return ", ".join(CHANGE_TABLES) if step == mail_step_name(_KEY_PREFIX) else name


def _run_failure(result: dg.ExecuteInProcessResult) -> str:
    return next(
        (event.message for event in reversed(result.all_events) if event.is_failure and event.message),
        "The run failed before its first step.",
    )


def _failure(event: dg.DagsterEvent) -> StepFailure:
    data = event.step_failure_data
    if data.user_failure_data is not None:
        error = data.user_failure_data.metadata.get(ERROR_KEY)
        return StepFailure(str(error.value) if error else "Failure", data.user_failure_data.description or "")
    info = data.error
    if info is None:
        return StepFailure("Error", "The step failed without an error message.")
    while info.cause is not None:  # Dagster wraps the original error
        info = info.cause
    name = (info.cls_name or "Error").rpartition(".")[2]
    return StepFailure(name, info.message.strip().removeprefix(f"{info.cls_name}: "))
