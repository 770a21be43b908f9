"""The steps of the asset checks: `build_check_step` makes one of a set of checks."""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
import warnings
from collections.abc import Iterator, Mapping

import dagster as dg

from gmail_assets.check_outcomes import CheckSubject, MailboxChecks
from gmail_assets.failures import dagster_failures
from gmail_assets.mailbox_runs import MailboxRuns, last_materialization, outcome_arguments
from gmail_assets.resources import GmailResource, ResourceKeys
from gmail_assets.run_config import MailboxesConfig, config_schema

__all__ = ["build_check_step"]


def build_check_step(
    name: str,
    checks: MailboxChecks,
    keys: Mapping[str, dg.AssetKey],
    partitions: dg.PartitionsDefinition[str],
    *,
    resources: ResourceKeys | None = None,
    pool: str | None = None,
    uses_gmail: bool = True,
    runs: MailboxRuns,
) -> dg.AssetChecksDefinition:
    """One step with all checks of a set, so that they share what they read.

    Args:
        name: Name of the step.
        checks: The checks.
        keys: The asset keys, by source table.
        partitions: The mailboxes.
        resources: Names of the resources.
        pool: The pool of the step.
        uses_gmail: Whether the checks call Gmail.
        runs: Does the work of runs over several mailboxes.
    """
    resources = resources or ResourceKeys()
    selectable = {dg.AssetCheckKey(keys[key.table], key.name): key for key in checks.functions}

    @dg.multi_asset_check(
        name=name,
        specs=_specs(checks, keys, partitions),
        can_subset=True,
        description=checks.description,
        config_schema=config_schema(MailboxesConfig),
        required_resource_keys=resources.required if uses_gmail else {resources.lake},
        pool=pool,
    )
    def step(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        config = MailboxesConfig.model_validate(context.op_execution_context.op_config)
        mailboxes = runs.mailboxes(context, config.mailboxes)
        if mailboxes is not None:
            runs.do_work(context, name, mailboxes)
            return
        mailbox = context.partition_key
        with dagster_failures(context):
            subject = CheckSubject(
                mailbox,
                getattr(context.resources, resources.lake).lake(),
                lambda user: _gmail(context, resources).mailbox(user),
                lambda table: last_materialization(context, keys[table], mailbox),
            )
            outcomes = checks.evaluate(
                subject, [selectable[key] for key in context.selected_asset_check_keys]
            )
        for key, outcome in outcomes.items():
            yield dg.AssetCheckResult(
                asset_key=keys[key.table], check_name=key.name, **outcome_arguments(outcome)
            )

    return step


def _gmail(context: dg.AssetCheckExecutionContext, resources: ResourceKeys) -> GmailResource:
    found: GmailResource = getattr(context.resources, resources.gmail)
    return found


def _specs(
    checks: MailboxChecks, keys: Mapping[str, dg.AssetKey], partitions: dg.PartitionsDefinition[str]
) -> list[dg.AssetCheckSpec]:
    with warnings.catch_warnings():
        # Dagster warns that partitioned checks are in preview. Without partitions, the result of one mailbox would
        # replace that of another.
        warnings.simplefilter("ignore")
        return [
            dg.AssetCheckSpec(
                key.name,
                asset=keys[key.table],
                description=" ".join((function.__doc__ or "").split()),
                partitions_def=partitions,
            )
            for key, (_, function) in checks.functions.items()
        ]
