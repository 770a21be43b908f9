"""Asset checks of the derived tables: unique keys, and as many rows as messages give. They read the lake alone."""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
import warnings
from collections.abc import Callable, Iterator, Mapping

import dagster as dg

from gmail_assets.checks import NOTHING_STORED, Outcome, require_partition
from gmail_assets.delta.registry import MailboxRegistry
from gmail_assets.failures import dagster_failures
from gmail_assets.resources import ResourceKeys
from gmail_assets.views import ViewSources
from gmail_assets.views.verification import ViewCounts, count_views
from gmail_client.spec import Spec

__all__ = ["build_derived_checks"]


def primary_key_unique(counts: ViewCounts) -> Outcome:
    """No two rows of the mailbox share a key."""
    message = f"{counts.rows:,} rows, {counts.doubled:,} of them duplicates"
    return Outcome(counts.doubled == 0, message, {"doubled": counts.doubled})


def rows_match_messages(counts: ViewCounts) -> Outcome:
    """As many rows as the present rows of messages give."""
    numbers = {"rows": counts.rows, "expected": counts.expected}
    message = f"{counts.rows:,} rows where messages give {counts.expected:,}"
    return Outcome(counts.rows == counts.expected, message, numbers)


_CHECKS: tuple[Callable[[ViewCounts], Outcome], ...] = (primary_key_unique, rows_match_messages)


def build_derived_checks(
    name: str,
    spec: Spec,
    keys: Mapping[str, dg.AssetKey],
    partitions: dg.PartitionsDefinition[str],
    *,
    resources: ResourceKeys | None = None,
) -> dg.AssetChecksDefinition:
    """The checks of the derived tables, as one step that shares what it reads.

    Args:
        name: Name of the step.
        spec: Which tables.
        keys: The asset keys of all tables, by source table.
        partitions: The mailboxes.
        resources: Names of the resources.
    """
    resources = resources or ResourceKeys()
    sources = ViewSources.of(spec)
    functions: dict[dg.AssetCheckKey, tuple[str, Callable[[ViewCounts], Outcome]]] = {}
    specs = []
    for entry in spec.views:
        for function in _CHECKS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # checks by partition are a preview in Dagster
                check = dg.AssetCheckSpec(
                    function.__name__,
                    asset=keys[entry.source_table],
                    description=" ".join((function.__doc__ or "").split()),
                    partitions_def=partitions,
                )
            specs.append(check)
            functions[check.key] = (entry.source_table, function)

    @dg.multi_asset_check(
        name=name,
        specs=specs,
        can_subset=True,
        description="Unique keys, and the number of rows that messages give.",
        required_resource_keys={resources.lake},
    )
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        require_partition(context)
        with dagster_failures(context):
            lake = getattr(context.resources, resources.lake).lake()
            address = MailboxRegistry(lake).address_of(context.partition_key) or context.partition_key
            counts = count_views(lake, address, sources)
            for key in sorted(context.selected_asset_check_keys):
                table, function = functions[key]
                outcome = function(counts[table]) if table in counts else NOTHING_STORED
                yield dg.AssetCheckResult(
                    passed=outcome.passed,
                    asset_key=key.asset_key,
                    check_name=key.name,
                    severity=outcome.severity,
                    description=outcome.message,
                    metadata=dict(outcome.numbers),
                )

    return checks
