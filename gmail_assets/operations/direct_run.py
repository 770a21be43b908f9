"""Sync mailboxes in this process without Dagster, which takes a second to import and to start: `DirectRunner`.

It does the work of a Dagster run (tables, checks, retries, time budget) and records nothing outside of the lake. The
command line uses it where no Dagster instance is configured.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from gmail_assets.check_outcomes import CheckKey, MailboxChecks
from gmail_assets.checks import MailChecks
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.maintenance import DEFAULT_UPKEEP
from gmail_assets.derived_checks import DerivedChecks
from gmail_assets.error_policy import MAX_RETRIES, concerns_whole_mailbox, retry_wait
from gmail_assets.mailbox_work import TIME_BUDGET_MINUTES, MailboxWork, SyncChoices, WorkPlan, units_of
from gmail_assets.operations.interrupts import watching_for_interrupts
from gmail_assets.operations.run_results import CheckResult, RunResult, StepFailure
from gmail_assets.operations.table_selection import TableSelection
from gmail_assets.run_metadata import location_metadata, open_entry, result_metadata, size_metadata
from gmail_assets.run_settings import WORKERS_OF_MANY, RunSettings
from gmail_assets.snapshot_checks import SnapshotChecks
from gmail_assets.spark_engine import SparkEngine
from gmail_assets.syncing.many import MailboxOutcome, run_mailboxes
from gmail_assets.syncing.progress import Reporter, current_reporter
from gmail_assets.syncing.results import Progress
from gmail_assets.syncing.stopping import RunGroup
from gmail_client.client import GmailClient
from gmail_client.errors import GmailError
from gmail_client.http.sessions import new_session
from gmail_client.printable import printable, printable_line
from gmail_client.settings import Settings
from gmail_client.spec import Spec
from gmail_client.tables import CATALOGUE

__all__ = ["DirectRunner"]

_MOST_LINES = 10
"""Maximum number of mailboxes that are logged because Spark could not load them."""

_log = logging.getLogger(__name__)


class DirectRunner:
    """Syncs tables with the settings of the environment.

    Args:
        selection: The tables.
        settings: Credentials and endpoints.
        lake: The lake.
        run_settings: How several mailboxes share a run.
        sizes: Whether the result of a single mailbox includes the sizes of the tables.
    """

    def __init__(
        self,
        selection: TableSelection,
        settings: Settings,
        lake: Lake,
        run_settings: RunSettings,
        *,
        sizes: bool = True,
    ) -> None:
        self._selection = selection
        self._settings = settings
        self._lake = lake
        self._run_settings = run_settings
        self._sizes = sizes

    def run_mailboxes(
        self, mailboxes: Sequence[str], tables: Sequence[str], *, mail_config: Mapping[str, Any] | None = None
    ) -> list[RunResult]:
        """Sync tables of mailboxes.

        Args:
            mailboxes: Addresses, or `me`; they do not have to be configured.
            tables: Names of tables. A table that is not in the spec has default options.
            mail_config: Further arguments of `gmail_assets.syncing.sync`.

        Returns:
            A result for each mailbox, in this order.

        Raises:
            ConfigurationError: Credentials are missing or contradict each other, or a setting is invalid.
        """
        plan = self._plan(tables, mailboxes, SyncChoices(dict(mail_config or {}), _deadline()))
        run = _Run(plan, mailboxes, current_reporter())
        with watching_for_interrupts() as interrupted, _sigterm_as_interrupt():
            try:
                run.run(self._run_settings.jobs)
                stopped = interrupted()
            except KeyboardInterrupt:
                stopped = True
        sizes = self._sizes and len(mailboxes) == 1
        return [run.result(name, tables, interrupted=stopped, sizes=sizes) for name in mailboxes]

    def _plan(self, tables: Sequence[str], mailboxes: Sequence[str], choices: SyncChoices) -> WorkPlan:
        spec, settings = self._selection.spec_with(tables), self._run_settings
        if len(mailboxes) == 1:
            client = GmailClient.from_settings(self._settings)
        else:
            client = GmailClient.from_settings(
                self._settings,
                workers=WORKERS_OF_MANY,
                session=partial(new_session, settings.jobs * WORKERS_OF_MANY),
                retry_seconds=settings.retry_seconds,
            )
        return WorkPlan(
            spec,
            {entry.source_table: entry for entry in spec.entries if entry.source_table in tables},
            _checks(spec, tables),
            choices,
            self._lake,
            DEFAULT_UPKEEP,
            SparkEngine.chosen(),
            client.mailbox,
            lambda table, mailbox: None,
            RunGroup(settings.megabytes_in_flight * 2**20),
            # Half of the time for which a read counts: an unchanged mailbox is then read about as often as otherwise.
            record_every=settings.snapshot_minutes * 60 / 2,
        )


def _deadline() -> float:
    return time.monotonic() + TIME_BUDGET_MINUTES * 60


def _checks(spec: Spec, tables: Sequence[str]) -> list[tuple[MailboxChecks, Sequence[CheckKey]]]:
    """The checks of these tables."""
    mail = [entry for entry in spec.tables if CATALOGUE[entry.source_table].cursor]
    snapshots = [entry for entry in spec.tables if not CATALOGUE[entry.source_table].cursor]
    sets: list[MailboxChecks] = []
    if mail:
        sets.append(MailChecks(mail))
    if snapshots:
        sets.append(SnapshotChecks(snapshots))
    if spec.views:
        sets.append(DerivedChecks(spec))
    return [(checks, [key for key in checks.functions if key.table in tables]) for checks in sets]


class _Run:
    """One run; it reports progress of tables for one mailbox, of mailboxes for several."""

    def __init__(self, plan: WorkPlan, mailboxes: Sequence[str], reporter: Reporter | None) -> None:
        self._plan = plan
        self._reporter = reporter
        self._work = {name: MailboxWork(plan, name) for name in mailboxes}
        self._errors: dict[str, Exception] = {}
        self._done = 0

    def run(self, jobs: int) -> None:
        """Do the work.

        Raises:
            KeyboardInterrupt: A signal arrived; what was fetched is committed.
        """
        names, plan = list(self._work), self._plan
        if len(names) == 1 and self._reporter is not None:
            plan.on_progress, plan.on_table = self._reporter.progress, self._reporter.finished
        try:
            brought = plan.preload(names)
        except GmailError as error:  # of Spark: no mailbox can be read with it
            self._errors = dict.fromkeys(names, error)
            return
        for problem in brought.errors[:_MOST_LINES]:
            _log.warning("%s", printable_line(f"Spark left a mailbox to this process: {problem.what}"))
        run_mailboxes(
            names,
            self._with_retries if len(names) == 1 else lambda name: self._work[name].run(),
            jobs=jobs,
            stop=plan.group,
            attempts=1 if len(names) == 1 else 2,
            on_done=self._finish,
            on_wait=self._report,
            on_signal=self._report_stop,
        )

    def _with_retries(self, name: str) -> None:
        """The work for the only mailbox: a transient error is retried after a wait, as Dagster retries a step."""
        stop = threading.Event()
        self._plan.group.add(stop)
        work, retries = self._work[name], 0
        while True:
            try:
                work.run()
                return
            except Exception as error:
                transient = _transient(error, work)
                if transient is None or retries == MAX_RETRIES or stop.wait(retry_wait(transient)):
                    raise
                retries += 1

    def _finish(self, outcome: MailboxOutcome[None]) -> None:
        self._done += 1
        self._plan.progress.pop(outcome.mailbox, None)
        if outcome.error is not None:
            self._errors[outcome.mailbox] = outcome.error
        if self._reporter is not None and len(self._work) > 1:
            results = self._work[outcome.mailbox].results
            self._reporter.mailbox_finished(outcome.mailbox, results, outcome.error)
            self._report()

    def _report(self) -> None:
        if self._reporter is not None and len(self._work) > 1:
            units = sum(units_of(work.results) for work in self._work.values())
            units += sum(progress.units for progress in list(self._plan.progress.values()))
            self._reporter.progress(Progress("mailboxes", self._done, len(self._work), units=units))

    def _report_stop(self) -> None:
        if self._reporter is not None:
            self._reporter.progress(Progress("stopping"))

    def result(self, mailbox: str, tables: Sequence[str], *, interrupted: bool, sizes: bool) -> RunResult:
        """The result of one mailbox."""
        work, lake = self._work[mailbox], self._plan.lake
        result = RunResult(mailbox, None, interrupted=interrupted)
        for table, synced in list(work.results.items()):  # after a second Ctrl-C, its thread still works
            entry = self._plan.entries[table]
            metadata = {**location_metadata(lake, entry), **result_metadata(synced)}
            if sizes:
                metadata |= size_metadata(open_entry(lake, entry), synced.address)
            result.tables[table] = metadata
        result.checks = [
            CheckResult(key.table, key.name, outcome.passed, printable(outcome.message))
            for key, outcome in list(work.outcomes.items())
        ]
        error = self._errors.get(mailbox)
        if error is not None:
            failures = dict(work.failures) if len(self._work) == 1 else {}
            if error not in failures.values():
                failures["mailbox"] = error
            result.failures = {
                step: StepFailure(type(failed).__name__, _text(failed)) for step, failed in failures.items()
            }
        named = {table for step in result.failures for table in step.split(", ")}
        result.skipped = [name for name in tables if name not in result.tables and name not in named]
        return result


def _transient(error: Exception, work: MailboxWork) -> GmailError | None:
    """The error for which the work is worth another attempt: a transient one of any table."""
    if isinstance(error, GmailError) and concerns_whole_mailbox(error):
        return None
    errors = (error, *work.failures.values())
    return next((one for one in errors if isinstance(one, GmailError) and one.retryable), None)


def _text(error: Exception) -> str:
    if isinstance(error, GmailError):
        return str(error)
    return f"{type(error).__name__}: {error}\nFix: this is a bug in gmail-assets; please report it."


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Within the block, SIGTERM raises KeyboardInterrupt, unless it is ignored or handled."""
    unhandled = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not unhandled or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
