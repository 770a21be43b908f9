"""The derived assets, `emails`, `message_labels` and `attachments`: one step, downstream of messages and labels.

They are computed in the lake and need neither Gmail credentials nor quota.
"""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
import time
from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from gmail_assets.asset_specs import AssetSpecs
from gmail_assets.assets import log_progress, materialized
from gmail_assets.delta.registry import MailboxRegistry
from gmail_assets.failures import dagster_failures, skip_after_failure
from gmail_assets.mailbox_runs import MailboxRuns, SyncChoices
from gmail_assets.resources import ResourceKeys
from gmail_assets.run_config import MailboxesConfig, config_schema
from gmail_assets.syncing.progress import current_reporter
from gmail_assets.views import ViewSources, derive
from gmail_client.printable import printable
from gmail_client.spec import Spec

__all__ = ["DeriveConfig", "build_derived_assets"]


class DeriveConfig(MailboxesConfig):
    """Run config of the step that computes the derived tables."""

    time_budget_minutes: float = Field(
        default=10.0,
        gt=0,
        description="Stop cleanly after this time with progress committed; the next run continues.",
    )


def build_derived_assets(
    name: str,
    spec: Spec,
    specs: AssetSpecs,
    *,
    resources: ResourceKeys | None = None,
    runs: MailboxRuns,
    backfill_policy: dg.BackfillPolicy | None = None,
) -> dg.AssetsDefinition:
    """One asset for each derived table of the spec.

    Args:
        name: Name of the step.
        spec: Which tables.
        specs: What Dagster shows of them.
        resources: Names of the resources.
        runs: Does the work of runs over several mailboxes.
        backfill_policy: How backfills are split into runs.
    """
    resources = resources or ResourceKeys()
    sources = ViewSources.of(spec)
    keys = specs.keys

    @dg.multi_asset(
        name=name,
        specs=[specs.tables[entry.source_table] for entry in spec.views],
        can_subset=True,
        description="Computes the derived tables from messages and labels; updates only changed rows.",
        config_schema=config_schema(DeriveConfig),
        required_resource_keys={resources.lake},
        backfill_policy=backfill_policy,
    )
    def views(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        config = DeriveConfig.model_validate(context.op_execution_context.op_config)
        deadline = time.monotonic() + config.time_budget_minutes * 60
        mailboxes = runs.mailboxes(context, config.mailboxes)
        if mailboxes is not None:
            runs.do_work(context, name, mailboxes, SyncChoices(deadline=deadline))
            return
        if skip_after_failure(context):
            return
        gmail_lake = getattr(context.resources, resources.lake)
        selected = [entry for entry in spec.views if keys[entry.source_table] in context.selected_asset_keys]
        reporter = current_reporter()
        with dagster_failures(context):
            lake = gmail_lake.lake()
            results = derive(
                lake,
                MailboxRegistry(lake).address_of(context.partition_key) or context.partition_key,
                sources,
                [entry.source_table for entry in selected],
                deadline=deadline,
                progress=reporter.progress if reporter else log_progress(context),
                upkeep=gmail_lake.upkeep(),
            )
        for entry in selected:
            result = results[entry.source_table]
            for warning in result.warnings:
                context.log.warning(printable(warning))
            yield materialized(context, keys[entry.source_table], entry, result, lake)

    return views
