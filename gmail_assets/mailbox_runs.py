"""Runs over several mailboxes: `MailboxRuns`.

In such a run, the first step of this package does the work of all steps, for many mailboxes concurrently: snapshots,
messages and threads, derived tables, checks. So each mailbox is materialized or fails separately. The other steps have
nothing left to do, and Dagster shows them as finished or skipped.

The mailboxes are a range of partitions (a backfill, the schedule), or a list in the run config (the sensor, for
mailboxes that are not adjacent). A mailbox that failed has no materialization in the run, so Dagster shows its
partitions as failed if they are a range; in both cases the check `synced` fails for it, with the error and its fix.
"""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from gmail_assets.check_outcomes import CheckKey, MailboxChecks, Outcome
from gmail_assets.checks import SYNCED
from gmail_assets.columns import table_metadata
from gmail_assets.failures import ERROR_KEY, StepContext, dagster_failures
from gmail_assets.mailbox_work import MailboxWork, SyncChoices, WorkPlan, units_of
from gmail_assets.renamed import find_renamed
from gmail_assets.resources import GmailResource, ResourceKeys
from gmail_assets.run_metadata import open_entry, result_metadata, whole_table_metadata
from gmail_assets.run_settings import RunSettings
from gmail_assets.runs_in_progress import REQUEST_TAG
from gmail_assets.spark_engine import SparkEngine
from gmail_assets.syncing.many import MailboxOutcome, run_mailboxes
from gmail_assets.syncing.progress import current_reporter
from gmail_assets.syncing.results import Progress
from gmail_assets.syncing.stopping import RunGroup
from gmail_client.client import Mailbox
from gmail_client.errors import GmailError
from gmail_client.printable import printable
from gmail_client.spec import Spec, SpecTable, SpecView

__all__ = ["MailboxRuns", "SyncChoices"]

_LOG_SECONDS = 60.0
_MOST_LINES = 10
"""Maximum number of failed mailboxes in the log and the failure of a run; the check `synced` has all of them."""


class MailboxRuns:
    """The runs over several mailboxes of one set of definitions.

    Args:
        spec: The tables.
        keys: Their asset keys, by source table.
        partitions: The mailboxes.
        asset_steps: The steps that materialize assets, by name, with their tables. The first one in a run works.
        check_steps: The steps of the checks, by name.
        resources: Names of the resources.
        settings: Number of concurrent mailboxes, and the time limit of requests.
        engine: If given, it reads first loads and snapshots.
    """

    def __init__(
        self,
        spec: Spec,
        keys: Mapping[str, dg.AssetKey],
        partitions: dg.PartitionsDefinition[str],
        *,
        asset_steps: Mapping[str, Sequence[SpecTable | SpecView]],
        check_steps: Mapping[str, MailboxChecks],
        resources: ResourceKeys,
        settings: RunSettings,
        engine: SparkEngine | None = None,
    ) -> None:
        self.spec = spec
        self.keys = keys
        self.resources = resources
        self.engine = engine
        self._partitions = partitions
        self._settings = settings
        self._asset_steps = dict(asset_steps)
        self._check_steps = dict(check_steps)

    def mailboxes(self, context: StepContext, named: Sequence[str]) -> list[str] | None:
        """The mailboxes of a run over several; None for a run over one partition.

        Args:
            context: The context of a step.
            named: The mailboxes in the step's config.

        Raises:
            dagster.Failure: The config names a mailbox that is not a partition.
        """
        step = context.op_execution_context
        if step.has_partition_key:
            return None
        known = list(self._partitions.get_partition_keys(dynamic_partitions_store=context.instance))
        if step.has_partition_key_range:
            chosen = step.partition_key_range
            return known[known.index(chosen.start) : known.index(chosen.end) + 1]
        unknown = len(set(named).difference(known))
        if unknown:
            # Without their names, because anyone who can launch a run can choose the text.
            raise dg.Failure(
                f"The run config names {unknown} mailboxes that are not partitions.\n"
                "Fix: add them to GMAIL_MAILBOXES, or remove them from `mailboxes` of the run config.",
                allow_retries=False,
            )
        return list(dict.fromkeys(named))

    def note_renamed(self, context: StepContext) -> Mapping[str, GmailError]:
        """Record mailboxes that were renamed, so that they are not loaded again under their new address.

        The command line does it itself: its runs do not have all mailboxes of the deployment.

        Returns:
            Mailboxes for which it is unknown, with the error: they must not be loaded now.

        Raises:
            LakeError: The lake can't be read or written.
        """
        if current_reporter() is None:
            gmail: GmailResource = getattr(context.resources, self.resources.gmail)
            known = self._partitions.get_partition_keys(dynamic_partitions_store=context.instance)
            lake = getattr(context.resources, self.resources.lake).lake()
            return find_renamed(lake, gmail.client_of_many(self._settings).mailbox, known).undecided
        return {}

    def do_work(
        self,
        context: StepContext,
        step: str,
        mailboxes: Sequence[str],
        choices: SyncChoices | None = None,
    ) -> None:
        """Do the work of the run, if this is its first step; otherwise nothing is left to do.

        Args:
            context: The context of the step.
            step: Its name.
            mailboxes: The result of `mailboxes`.
            choices: How messages and threads are synced.

        Raises:
            dagster.Failure: A mailbox failed, or the run has none.
        """
        present = [name for name in (*self._asset_steps, *self._check_steps) if _is_in_run(context, name)]
        leads = present[0] == step
        # If no asset is selected, there is no step before the checks: then each step does its own work.
        if not leads and (step not in self._check_steps or present[0] in self._asset_steps):
            return
        if not mailboxes:
            raise dg.Failure(
                "The run has no mailbox.\nFix: select partitions, set the tag dagster/partition to a mailbox, or name "
                "the mailboxes in the run config: `mailboxes` of the first step.",
                allow_retries=False,
            )
        if step in self._check_steps:
            present = [step]
        tables = {
            entry.source_table: entry
            for name in present
            for entry in self._asset_steps.get(name, ())
            if self._is_selected(context, self.keys[entry.source_table])
        }
        checks = [
            (
                self._check_steps[name],
                [key for key in self._check_steps[name].functions if self._is_check_selected(context, key)],
            )
            for name in present
            if name in self._check_steps
        ]
        with dagster_failures(context):
            undecided = self.note_renamed(context)
        settings = self._settings
        gmail_lake = getattr(context.resources, self.resources.lake)

        def open_mailbox(name: str) -> Mailbox:
            gmail: GmailResource = getattr(context.resources, self.resources.gmail)
            return gmail.client_of_many(settings).mailbox(name)

        plan = WorkPlan(
            self.spec,
            tables,
            checks,
            choices or SyncChoices(),
            gmail_lake.lake(),
            gmail_lake.upkeep(),
            self.engine,
            open_mailbox,
            lambda table, name: last_materialization(context, self.keys[table], name),
            RunGroup(settings.megabytes_in_flight * 2**20),
            # The sensor syncs a busy mailbox many times an hour.
            seldom_compared=REQUEST_TAG in context.run.tags,
            undecided=undecided,
        )
        _SeveralMailboxes(self, context, plan, settings).run(mailboxes)

    @staticmethod
    def _is_selected(context: StepContext, key: dg.AssetKey) -> bool:
        return not context.run.asset_selection or key in context.run.asset_selection

    def _is_check_selected(self, context: StepContext, key: CheckKey) -> bool:
        selected, asset = context.run.asset_check_selection, self.keys[key.table]
        return (
            dg.AssetCheckKey(asset, key.name) in selected if selected else self._is_selected(context, asset)
        )

    def evaluation(
        self, key: CheckKey, mailbox: str, outcome: Outcome, more: Mapping[str, str] | None = None
    ) -> dg.AssetCheckEvaluation:
        """The event of a check's result."""
        arguments = outcome_arguments(outcome)
        arguments["metadata"] |= more or {}
        return dg.AssetCheckEvaluation(
            asset_key=self.keys[key.table], check_name=key.name, partition=mailbox, **arguments
        )

    def report_failure(self, context: StepContext, mailbox: str, error: Exception) -> None:
        """Let the check `synced` fail for a mailbox."""
        for checks in self._check_steps.values():
            for key in checks.functions:
                if key.name == SYNCED:
                    failed = Outcome(False, _text(error))
                    evaluation = self.evaluation(key, mailbox, failed, {ERROR_KEY: type(error).__name__})
                    _log_check(context, evaluation)


def _is_in_run(context: StepContext, step: str) -> bool:
    steps = context.run.step_keys_to_execute
    job = context.op_execution_context.job_def
    return bool(job.has_node_named(step)) and (steps is None or step in steps)


class _SeveralMailboxes:
    """The work of one run."""

    def __init__(
        self, runs: MailboxRuns, context: StepContext, plan: WorkPlan, settings: RunSettings
    ) -> None:
        self._runs = runs
        self._context = context
        self._plan = plan
        self._settings = settings
        self._work: dict[str, MailboxWork] = {}
        self._done: list[MailboxOutcome[None]] = []
        self._logged = time.monotonic()
        self._reporter = current_reporter()  # a signal arrives in a thread without it

    def run(self, mailboxes: Sequence[str]) -> None:
        """Work on all of them.

        Raises:
            dagster.Failure: Not all were synced.
        """
        self._work = {name: MailboxWork(self._plan, name) for name in mailboxes}
        self._context.log.info(f"{len(mailboxes):,} mailboxes, at most {self._settings.jobs} at once")
        self._preload(mailboxes)
        outcomes = run_mailboxes(
            mailboxes,
            lambda name: self._work[name].run(),
            jobs=self._settings.jobs,
            stop=self._plan.group,
            on_done=self._finish,
            on_wait=self._log_progress,
            on_signal=self._log_stop,
        )
        failed = [outcome for outcome in outcomes if outcome.error is not None]
        self._log_row_counts()
        self._log_summary(len(failed))
        if failed:
            raise dg.Failure(
                _failure_text(failed, len(self._work)),
                metadata={ERROR_KEY: _most_frequent(failed), "mailboxes_failed": len(failed)},
                allow_retries=False,
            )

    def _preload(self, mailboxes: Sequence[str]) -> None:
        """With the Spark engine, load new mailboxes first, many in one job."""
        with dagster_failures(self._context):
            brought = self._plan.preload(mailboxes)
        if brought.mailboxes:
            self._context.log.info(
                f"Spark loaded {len(brought.mailboxes):,} mailboxes; {brought.units:,} quota units"
            )
        for error in brought.errors[:_MOST_LINES]:
            self._context.log.warning(printable(f"Spark left a mailbox to this process: {error}"))

    def _finish(self, outcome: MailboxOutcome[None]) -> None:
        """Log the events of a mailbox: materializations, checks, or its failure."""
        self._done.append(outcome)
        self._plan.progress.pop(outcome.mailbox, None)
        work = self._work[outcome.mailbox]
        for table, result in work.results.items():
            self._context.op_execution_context.log_event(
                dg.AssetMaterialization(
                    self._runs.keys[table],
                    partition=outcome.mailbox,
                    metadata={
                        **table_metadata(self._plan.lake, self._plan.entries[table]),
                        **result_metadata(result),
                    },
                )
            )
        for key, checked in work.outcomes.items():
            _log_check(self._context, self._runs.evaluation(key, outcome.mailbox, checked))
        if outcome.error is not None:
            self._runs.report_failure(self._context, outcome.mailbox, outcome.error)
            if sum(done.error is not None for done in self._done) <= _MOST_LINES:
                self._context.log.error(printable(f"{outcome.mailbox}: {_text(outcome.error)}"))
        reporter = current_reporter()
        if reporter is not None:
            reporter.mailbox_finished(outcome.mailbox, work.results, outcome.error)
        self._log_progress()

    def _log_row_counts(self) -> None:
        """Log the rows of each table, once per run: for each mailbox, they would be read from the log again."""
        synced = {table for work in self._work.values() for table in work.results}
        for table, entry in self._plan.entries.items():
            if table not in synced:
                continue
            try:
                metadata = whole_table_metadata(open_entry(self._plan.lake, entry))
            except GmailError as error:
                self._context.log.warning(printable(f"The number of rows of {table} is unknown: {error}"))
                continue
            observation = dg.AssetObservation(self._runs.keys[table], metadata=metadata)
            self._context.op_execution_context.log_event(observation)

    def _log_stop(self) -> None:
        reporter = self._reporter
        if reporter is None:
            self._context.log.info("Stopping after the fetched data is written.")
        else:
            reporter.progress(Progress("stopping"))

    def _log_progress(self) -> None:
        reporter = current_reporter()
        if reporter is not None:
            units = sum(units_of(work.results) for work in self._work.values())
            units += sum(progress.units for progress in list(self._plan.progress.values()))
            reporter.progress(Progress("mailboxes", len(self._done), len(self._work), units=units))
        elif time.monotonic() - self._logged >= _LOG_SECONDS:
            self._logged = time.monotonic()
            at_work = sum(progress.done for progress in list(self._plan.progress.values()))
            self._context.log.info(
                f"{len(self._done):,} of {len(self._work):,} mailboxes done; {at_work:,} messages of those at work"
            )

    def _log_summary(self, failed: int) -> None:
        results = [result for work in self._work.values() for result in work.results.values()]
        rows = {
            "new": sum(result.rows_written for result in results),
            "changed": sum(result.rows_updated for result in results),
            "deleted": sum(result.rows_deleted for result in results),
        }
        changes = ", ".join(f"{count:,} rows {word}" for word, count in rows.items())
        units = sum(units_of(work.results) for work in self._work.values())
        warned = sum(bool(result.warnings) for result in results)
        self._context.log.info(
            f"{len(self._work) - failed:,} mailboxes synced, {failed:,} failed; {changes}; {units:,} quota units"
            + (f"; {warned:,} tables with warnings, see their metadata" if warned else "")
        )


def last_materialization(context: StepContext, key: dg.AssetKey, mailbox: str) -> datetime | None:
    """Time of an asset's last materialization for a mailbox; None if Dagster knows of none."""
    records = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(key, asset_partitions=[mailbox]), limit=1
    ).records
    return datetime.fromtimestamp(records[0].timestamp, UTC) if records else None


def _log_check(context: StepContext, evaluation: dg.AssetCheckEvaluation) -> None:
    context.op_execution_context.log_event(evaluation)  # type: ignore[arg-type]  # Dagster accepts it


def outcome_arguments(outcome: Outcome) -> dict[str, Any]:
    """The arguments that `AssetCheckResult` and `AssetCheckEvaluation` share."""
    return {
        "passed": outcome.passed,
        "severity": dg.AssetCheckSeverity[outcome.severity.name],
        "description": printable(outcome.message),
        "metadata": dict(outcome.numbers),
    }


def _text(error: Exception) -> str:
    if isinstance(error, GmailError):
        return str(error)
    return f"{type(error).__name__}: {error}\nFix: this is a bug in gmail-assets; please report it."


def _failure_text(failed: Sequence[MailboxOutcome[None]], total: int) -> str:
    lines = [f"{len(failed):,} of {total:,} mailboxes failed; the others are synced."]
    for outcome in failed[:_MOST_LINES]:
        error = outcome.error
        if error is not None:
            lines.append(f"{outcome.mailbox}: " + _text(error).replace("\n", " "))
    if len(failed) > _MOST_LINES:
        lines.append(
            f"... and {len(failed) - _MOST_LINES:,} more: see the check {SYNCED!r} of their partitions."
        )
    return printable("\n".join(lines))


def _most_frequent(failed: Sequence[MailboxOutcome[None]]) -> str:
    ((name, _),) = Counter(type(outcome.error).__name__ for outcome in failed).most_common(1)
    return name
