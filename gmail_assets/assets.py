"""The ten assets, created from the catalogue: messages and threads as one step with one fetch, and eight snapshots.

Every asset is partitioned by mailbox and writes its Delta table itself; it yields metadata, not data.
"""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from pydantic import BaseModel, Field

from gmail_assets.asset_specs import AssetSpecs
from gmail_assets.columns import table_metadata
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition_status import is_loading
from gmail_assets.failures import dagster_failures, skip_after_failure
from gmail_assets.mailbox_runs import MailboxRuns, SyncChoices
from gmail_assets.mailbox_work import TIME_BUDGET_MINUTES
from gmail_assets.resources import ResourceKeys
from gmail_assets.run_config import MailboxesConfig, config_schema
from gmail_assets.run_metadata import open_entry, result_metadata, size_metadata
from gmail_assets.spark_engine import Preloaded, SparkEngine
from gmail_assets.syncing.identity import stored_address
from gmail_assets.syncing.progress import current_reporter
from gmail_assets.syncing.results import Progress, SyncResult
from gmail_assets.syncing.run import read_here, snapshot, sync
from gmail_client.errors import ConfigurationError
from gmail_client.printable import printable
from gmail_client.spec import Spec, SpecTable, SpecView
from gmail_client.tables import CATALOGUE

__all__ = [
    "SyncConfig",
    "build_assets",
    "log_progress",
    "mail_step_name",
    "materialized",
    "snapshot_step_name",
]

_LOG_SECONDS = 60.0


class SyncConfig(BaseModel):
    """Run config of the step that syncs messages and threads."""

    full_refresh: bool = Field(
        default=False,
        description="Fetch everything again and replace what is stored. Costs as much as a first load.",
    )
    reconcile: bool = Field(
        default=False,
        description="Reconcile with a listing instead of replaying the history; fetches only what differs.",
    )
    replay_from: str | None = Field(
        default=None,
        description="Replay the history from this earlier history id; never later than the table's own cursor.",
    )
    allow_mass_delete: bool = Field(
        default=False,
        description="Continue where a reconciliation would delete more than a fifth of the mailbox's rows.",
    )
    mailboxes: list[str] = Field(
        default_factory=list,
        description="The mailboxes of a run over several without a partition; each has to be a partition.",
    )
    time_budget_minutes: float = Field(
        default=TIME_BUDGET_MINUTES,
        gt=0,
        description="Stop cleanly after this time, with progress committed; the next run continues. "
        "Keep it below run_monitoring.max_runtime_seconds of the instance.",
    )


def mail_step_name(key_prefix: Sequence[str]) -> str:
    """Name of the step that syncs messages and threads, for run config."""
    return _step_name([*key_prefix, "mail"])


def _step_name(parts: Sequence[str]) -> str:
    """Dagster takes letters, digits and underscores there; an asset's key may have others."""
    return re.sub(r"\W", "_", "_".join(parts))


def build_assets(
    spec: Spec,
    specs: AssetSpecs,
    *,
    key_prefix: Sequence[str],
    engine: SparkEngine | None = None,
    resources: ResourceKeys | None = None,
    pool: str | None = None,
    runs: MailboxRuns,
    backfill_policy: dg.BackfillPolicy | None = None,
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Create one asset per table of the spec, and the external asset of the account upstream of them.

    Args:
        spec: The tables.
        specs: What Dagster shows of them.
        key_prefix: Prefix of the step names.
        engine: If given, it reads first loads and snapshots.
        resources: Names of the resources.
        pool: The pool of the steps.
        runs: Does the work of runs over several mailboxes.
        backfill_policy: How backfills are split into runs.
    """
    resources = resources or ResourceKeys()
    shared = _Shared(engine, resources, pool, runs, backfill_policy)
    changing = [entry for entry in spec.tables if CATALOGUE[entry.source_table].cursor]
    snapshots = [entry for entry in spec.tables if not CATALOGUE[entry.source_table].cursor]
    assets = [_snapshot(specs.tables[entry.source_table], entry, shared) for entry in snapshots]
    if changing:
        name = mail_step_name(key_prefix)
        selected = [specs.tables[entry.source_table] for entry in changing]
        assets.insert(0, _mail(name, selected, changing, specs.keys, shared))
    return [specs.account, *assets]


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the steps have in common."""

    engine: SparkEngine | None
    resources: ResourceKeys
    pool: str | None
    runs: MailboxRuns
    backfill_policy: dg.BackfillPolicy | None


def snapshot_step_name(key: dg.AssetKey) -> str:
    """Name of the step that reads a snapshot table."""
    return _step_name(key.path)


def _mail(
    name: str,
    specs: Sequence[dg.AssetSpec],
    entries: Sequence[SpecTable],
    keys: Mapping[str, dg.AssetKey],
    shared: _Shared,
) -> dg.AssetsDefinition:
    engine, resources, runs = shared.engine, shared.resources, shared.runs

    @dg.multi_asset(
        name=name,
        specs=specs,
        can_subset=True,
        description="Syncs messages and threads with one fetch; either can be selected alone.",
        config_schema=config_schema(SyncConfig),
        required_resource_keys=resources.required,
        pool=shared.pool,
        backfill_policy=shared.backfill_policy,
    )
    def mail(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        config = SyncConfig.model_validate(context.op_execution_context.op_config)
        deadline = time.monotonic() + config.time_budget_minutes * 60
        mailboxes = runs.mailboxes(context, config.mailboxes)
        if mailboxes is not None:
            with dagster_failures(context):
                replay_from = _history_id(config.replay_from)
            chosen = {"reconcile": config.reconcile, "replay_from": replay_from}
            chosen |= {"full_refresh": config.full_refresh, "allow_mass_delete": config.allow_mass_delete}
            runs.do_work(context, name, mailboxes, SyncChoices(chosen, deadline))
            return
        if skip_after_failure(context):
            return
        gmail, gmail_lake = resources.of_run(context.resources)
        selected = [entry for entry in entries if keys[entry.source_table] in context.selected_asset_keys]
        reporter = current_reporter()
        with dagster_failures(
            context, lambda error: runs.report_failure(context, context.partition_key, error)
        ):
            undecided = runs.note_renamed(context).get(context.partition_key)
            if undecided is not None:
                raise undecided
            mailbox, lake = gmail.mailbox(context.partition_key), gmail_lake.lake()
            # A retry continues the full refresh of the first attempt instead of starting it over.
            begun = context.retry_number > 0 and is_loading(lake, stored_address(mailbox, lake), selected)
            brought = Preloaded()
            if engine is not None and not config.full_refresh:
                brought = engine.preload(lake, selected, [mailbox])
            results = sync(
                mailbox,
                lake,
                selected,
                pipeline=entries,
                full_refresh=config.full_refresh and not begun,
                reconcile=config.reconcile,
                replay_from=_history_id(config.replay_from),
                allow_mass_delete=config.allow_mass_delete,
                deadline=deadline,
                progress=reporter.progress if reporter else log_progress(context),
                upkeep=gmail_lake.upkeep(),
            )
        for result in results.values():
            brought.add_to(result)
        # A warning can concern both tables: log it once, keep it in the metadata of each.
        for warning in dict.fromkeys(w for result in results.values() for w in result.warnings):
            context.log.warning(printable(warning))
        for entry in selected:
            yield materialized(context, keys[entry.source_table], entry, results[entry.source_table], lake)

    return mail


def log_progress(context: dg.AssetExecutionContext) -> Callable[[Progress], None]:
    """Log progress: a line per phase, then at most one per minute."""
    phase, logged = "", 0.0

    def log(progress: Progress) -> None:
        nonlocal phase, logged
        if progress.phase == "stopping":
            context.log.info("Stopping: what was fetched is written first.")
            return
        if progress.phase == phase and time.monotonic() - logged < _LOG_SECONDS:
            return
        phase, logged = progress.phase, time.monotonic()
        of = f" of {progress.total:,}" if progress.total else ""
        context.log.info(f"{phase}: {progress.done:,}{of} messages, {progress.units:,} quota units")

    return log


def _history_id(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal():
        raise ConfigurationError(
            "replay_from is not a history id: it has other characters than digits.",
            fix="Give a history id such as '123456'.",
        )
    return int(text)


def _snapshot(spec: dg.AssetSpec, entry: SpecTable, shared: _Shared) -> dg.AssetsDefinition:
    resources, runs = shared.resources, shared.runs
    read = read_here if shared.engine is None else shared.engine.read
    name = snapshot_step_name(spec.key)

    @dg.multi_asset(
        name=name,
        specs=[spec],
        description=spec.description,
        config_schema=config_schema(MailboxesConfig),
        required_resource_keys=resources.required,
        pool=shared.pool,
        backfill_policy=shared.backfill_policy,
    )
    def read_snapshot(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        config = MailboxesConfig.model_validate(context.op_execution_context.op_config)
        mailboxes = runs.mailboxes(context, config.mailboxes)
        if mailboxes is not None:
            runs.do_work(context, name, mailboxes)
            return
        if skip_after_failure(context):
            return
        gmail, gmail_lake = resources.of_run(context.resources)
        with dagster_failures(context):
            lake = gmail_lake.lake()
            mailbox = gmail.mailbox(context.partition_key)
            result = snapshot(mailbox, lake, entry, read=read, upkeep=gmail_lake.upkeep())
        for warning in result.warnings:
            context.log.warning(printable(warning))
        yield materialized(context, spec.key, entry, result, lake)

    return read_snapshot


def materialized(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    entry: SpecTable | SpecView,
    result: SyncResult,
    lake: Lake,
) -> dg.MaterializeResult[None]:
    """The result of one table and mailbox for Dagster."""
    if not result.complete:
        context.log.warning(
            "The time budget ended this run; committed data is kept and the next run continues."
        )
    reporter = current_reporter()
    if reporter:
        reporter.finished(result.table, result)
    metadata = {
        **table_metadata(lake, entry),
        **size_metadata(open_entry(lake, entry), result.address),
        **result_metadata(result),
    }
    return dg.MaterializeResult(asset_key=key, metadata=metadata)
