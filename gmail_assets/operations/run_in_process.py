"""Run the Dagster assets in this process, without a server: one run for one mailbox, or for several at once.

`Runner.run_mailboxes` materializes tables of mailboxes and returns the result of each. The runs are recorded in the
Dagster instance that DAGSTER_HOME names; without it, in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from gmail_assets.asset_specs import asset_keys
from gmail_assets.assets import mail_step_name
from gmail_assets.factory import gmail_definitions
from gmail_assets.failures import ERROR_KEY
from gmail_assets.mailbox_partitions import range_arguments
from gmail_assets.operations.dagster_instance import dagster_instance
from gmail_assets.operations.interrupts import watching_for_interrupts
from gmail_assets.run_settings import RunSettings
from gmail_assets.syncing.progress import Reporter, current_reporter, reporting
from gmail_assets.syncing.results import Progress, SyncResult
from gmail_client.discovery import mailboxes_of
from gmail_client.options import TableOptions
from gmail_client.settings import Settings
from gmail_client.spec import Spec, SpecTable, SpecView
from gmail_client.tables import CATALOGUE, CHANGE_TABLES, table
from gmail_client.views import CONTENT_VIEWS, CONTENTS, VIEWS

__all__ = ["CheckResult", "RunResult", "Runner", "StepFailure"]

_KEY_PREFIX = ["gmail"]
_EVENTS = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_CHECK_EVALUATION}
_SILENT = {"console": {"config": {"log_level": "CRITICAL"}}}


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
        run_id: Id of the Dagster run.
        tables: Materialization metadata by table, as plain values.
        failures: Failed steps by name.
        skipped: Tables that were not tried after an error of the whole mailbox.
        checks: Results of the asset checks.
        interrupted: The run was stopped by Ctrl-C or SIGTERM.
    """

    mailbox: str
    run_id: str
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, StepFailure] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    checks: list[CheckResult] = field(default_factory=list)
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """Whether every materialized table is complete: the time budget ended none of them early."""
        return all(metadata.get("complete", True) for metadata in self.tables.values())


class Runner:
    """Materializes tables with the settings of the environment.

    Args:
        spec: Tables and their options. None: GMAIL_SPEC, else all ten tables.
        filters: Table options by name (`q`, `labelIds`) that override those of `messages` and `threads`.
        run_settings: How several mailboxes share a run. None: configured by the environment.

    Raises:
        ConfigurationError: The spec or a setting is invalid.
    """

    def __init__(
        self,
        spec: Spec | None = None,
        *,
        filters: Mapping[str, Any] | None = None,
        run_settings: RunSettings | None = None,
    ) -> None:
        settings = Settings()
        self.spec = spec if spec is not None else Spec.load(settings.spec)
        self.spec.require_each_once()
        self._settings = settings
        self._filters = dict(filters or {})
        self._run_settings = run_settings

    @property
    def mailboxes(self) -> tuple[str, ...]:
        """The mailboxes of the settings, their file or their directory.

        Raises:
            GmailError: The directory can't be read.
        """
        return mailboxes_of(self._settings)

    def tables(self, names: Sequence[str]) -> list[str]:
        """The named tables, or all of the spec, in catalogue order, derived tables last.

        Raises:
            UnknownTableError: Neither one of the ten tables nor a derived table.
        """
        for name in names:
            if name not in (*VIEWS, CONTENTS):
                table(name)
        in_spec = [entry.source_table for entry in self.spec.entries]
        return [name for name in (*CATALOGUE, *VIEWS, CONTENTS) if name in (names or in_spec)]

    def run_mailbox(
        self, mailbox: str, tables: Sequence[str], *, mail_config: Mapping[str, Any] | None = None
    ) -> RunResult:
        """Materialize tables of one mailbox; see `run_mailboxes`."""
        (run,) = self.run_mailboxes([mailbox], tables, mail_config=mail_config)
        return run

    def _spec_with(self, tables: Sequence[str]) -> Spec:
        """The spec, extended by the named tables that it lacks, with the filters applied."""
        spec = _with_tables(self.spec, tables)
        return spec.model_copy(update={"tables": tuple(self._filtered(entry) for entry in spec.tables)})

    def _filtered(self, entry: SpecTable) -> SpecTable:
        if not self._filters or entry.source_table not in CHANGE_TABLES:
            return entry
        options = entry.options.model_dump(by_alias=True, exclude_defaults=True, mode="json")
        parsed = TableOptions.parse(entry.source_table, {**options, **self._filters})
        return entry.model_copy(update={"options": parsed})

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
        spec = self._spec_with(tables)
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


def _with_tables(spec: Spec, names: Sequence[str]) -> Spec:
    """Add the named tables, and the sources of derived tables, with default options unless the spec has them."""
    known = {entry.source_table for entry in spec.entries}
    derived = {**VIEWS, CONTENTS: CONTENT_VIEWS[CONTENTS]}
    needed = set(names)
    for name in [CONTENTS, *VIEWS]:  # each before the tables that it is computed from
        if name in needed:
            needed.update(derived[name].sources)
    needed -= known
    default = Spec.default()
    return spec.model_copy(
        update={
            "tables": (*spec.tables, *(entry for entry in default.tables if entry.source_table in needed)),
            "views": (*spec.views, *(entry for entry in default.views if entry.source_table in needed)),
            "contents": SpecView(source_table=CONTENTS) if CONTENTS in needed else spec.contents,
        }
    )


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
