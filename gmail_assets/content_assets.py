"""The asset `attachment_contents`: the bytes of attachments, downstream of `attachments`, fetched from Gmail."""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
import time
from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from gmail_assets.asset_specs import AssetSpecs
from gmail_assets.assets import log_progress, materialized
from gmail_assets.failures import dagster_failures, skip_after_failure
from gmail_assets.mailbox_runs import MailboxRuns, SyncChoices
from gmail_assets.resources import ResourceKeys
from gmail_assets.run_config import MailboxesConfig, config_schema
from gmail_assets.syncing.progress import current_reporter
from gmail_assets.views import ContentSources, fetch_contents
from gmail_client.printable import printable
from gmail_client.views import CONTENTS

__all__ = ["ContentConfig", "build_content_asset"]


class ContentConfig(MailboxesConfig):
    """Run config of the step that fetches the contents of attachments."""

    time_budget_minutes: float = Field(
        default=60.0,
        gt=0,
        description="Stop cleanly after this time, with progress committed; the next run continues.",
    )


def build_content_asset(
    name: str,
    sources: ContentSources,
    specs: AssetSpecs,
    *,
    resources: ResourceKeys | None = None,
    pool: str | None = None,
    runs: MailboxRuns,
    backfill_policy: dg.BackfillPolicy | None = None,
) -> dg.AssetsDefinition:
    """The asset of the contents, in a separate step.

    Args:
        name: Name of the step.
        sources: The tables that the contents follow.
        specs: What Dagster shows of them.
        resources: Names of the resources.
        pool: The pool of steps that call Gmail.
        runs: Does the work of runs over several mailboxes.
        backfill_policy: How backfills are split into runs.
    """
    resources = resources or ResourceKeys()

    @dg.multi_asset(
        name=name,
        specs=[specs.tables[CONTENTS]],
        description="Fetches the bytes of attachments that are not stored yet.",
        config_schema=config_schema(ContentConfig),
        required_resource_keys=resources.required,
        pool=pool,
        backfill_policy=backfill_policy,
    )
    def contents(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        config = ContentConfig.model_validate(context.op_execution_context.op_config)
        deadline = time.monotonic() + config.time_budget_minutes * 60
        mailboxes = runs.mailboxes(context, config.mailboxes)
        if mailboxes is not None:
            runs.do_work(context, name, mailboxes, SyncChoices(deadline=deadline))
            return
        if skip_after_failure(context):
            return
        gmail, gmail_lake = resources.of_run(context.resources)
        reporter = current_reporter()
        with dagster_failures(context):
            lake = gmail_lake.lake()
            result = fetch_contents(
                gmail.mailbox(context.partition_key),
                lake,
                sources,
                deadline=deadline,
                progress=reporter.progress if reporter else log_progress(context),
                upkeep=gmail_lake.upkeep(),
            )
        for warning in result.warnings:
            context.log.warning(printable(warning))
        yield materialized(context, specs.keys[CONTENTS], sources.contents, result, lake)

    return contents
