"""The metadata that Dagster shows before any run: `AssetSpecs`, one `dagster.AssetSpec` per table and the account.

A translation can change each of them (key, group, owners, tags ...); the keys of jobs, checks and dependencies follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import dagster as dg

from gmail_assets.columns import column_schema
from gmail_assets.snapshot_checks import DEFAULT_MAX_AGE
from gmail_client.spec import Spec, SpecTable, SpecView
from gmail_client.tables import CATALOGUE
from gmail_client.views import CONTENT_VIEWS, CONTENTS, VIEWS

__all__ = ["AssetSpecs", "Translation", "asset_keys", "build_asset_specs"]

Translation = Callable[[dg.AssetSpec, str], dg.AssetSpec]
"""Changes the spec of an asset; its second argument is the name of the table, or `account` for the Gmail account."""

_SHORTEST_WINDOW = timedelta(minutes=1)
"""Dagster accepts no shorter window of a freshness policy."""

_ACCOUNT = "account"
_KINDS = {"gmail", "deltalake"}


@dataclass(frozen=True, slots=True)
class AssetSpecs:
    """The specs of all assets of a pipeline.

    Attributes:
        account: The Gmail account: an external asset.
        tables: The spec of each table, derived ones included, by the name of its source table.
    """

    account: dg.AssetSpec
    tables: Mapping[str, dg.AssetSpec]

    @property
    def keys(self) -> dict[str, dg.AssetKey]:
        """The asset key of each table, by the name of its source table."""
        return {name: spec.key for name, spec in self.tables.items()}


def asset_keys(spec: Spec, key_prefix: Sequence[str]) -> dict[str, dg.AssetKey]:
    """The asset key of every table in the spec, derived ones included, by the name of its source table.

    `destination_schema` replaces the last component of the prefix, `destination_table` replaces the table name.
    """
    return {
        entry.source_table: dg.AssetKey([*_prefix(entry, key_prefix), entry.table_name])
        for entry in spec.entries
    }


def build_asset_specs(
    spec: Spec,
    partitions: dg.PartitionsDefinition[str],
    *,
    key_prefix: Sequence[str],
    group_name: str,
    owners: Sequence[str] = (),
    max_snapshot_age: timedelta = DEFAULT_MAX_AGE,
    translation: Translation | None = None,
) -> AssetSpecs:
    """Describe each table of the spec, and the account upstream of them.

    Args:
        spec: The tables.
        partitions: The mailboxes.
        key_prefix: Prefix of the asset keys.
        group_name: Group of the assets.
        owners: Owners of the assets.
        max_snapshot_age: Age of a snapshot at which its freshness policy fails.
        translation: Changes each spec, before the dependencies are added.
    """
    keys = asset_keys(spec, key_prefix)
    translate = translation or (lambda asset, _: asset)

    def described(entry: SpecTable | SpecView) -> dg.AssetSpec:
        base = dg.AssetSpec(
            keys[entry.source_table],
            group_name=group_name,
            kinds=_KINDS,
            owners=list(owners),
            partitions_def=partitions,
            skippable=True,
        )
        described = (
            _view(base, entry) if isinstance(entry, SpecView) else _table(base, entry, max_snapshot_age)
        )
        return translate(described, entry.source_table)

    account = translate(
        dg.AssetSpec(
            [*key_prefix, _ACCOUNT],
            description="The Gmail account, as the Gmail API serves it: the source of the tables. An external asset "
            "that Dagster does not materialize.",
            group_name=group_name,
            kinds={"gmail"},
            owners=list(owners),
        ),
        _ACCOUNT,
    )
    tables = {entry.source_table: described(entry) for entry in spec.entries}
    return AssetSpecs(account, {name: _with_upstream(name, tables, account) for name in tables})


def _prefix(entry: SpecTable | SpecView, key_prefix: Sequence[str]) -> list[str]:
    if entry.destination_schema is None:
        return list(key_prefix)
    return [*key_prefix[:-1], entry.destination_schema]


def _with_upstream(name: str, tables: Mapping[str, dg.AssetSpec], account: dg.AssetSpec) -> dg.AssetSpec:
    """The asset with its dependencies: of a derived table its sources and the labels, else the account."""
    asset = tables[name]
    if name == CONTENTS:
        upstream = [account, *(tables[source] for source in CONTENT_VIEWS[CONTENTS].sources)]
    elif name in VIEWS:
        upstream = [tables[source] for source in (*VIEWS[name].sources, "labels") if source in tables]
    else:
        upstream = [account]
    return asset.replace_attributes(deps=[*asset.deps, *(source.key for source in upstream)])


def _table(base: dg.AssetSpec, entry: SpecTable, max_snapshot_age: timedelta) -> dg.AssetSpec:
    table = CATALOGUE[entry.source_table]
    how = (
        "Kept in sync by change data capture from Gmail's history."
        if table.cursor
        else "A snapshot: each run replaces the mailbox's rows in one commit."
    )
    # An unchanged mailbox materializes no messages for days, so only snapshots have a policy.
    window = max(max_snapshot_age, _SHORTEST_WINDOW)
    policy = None if table.cursor else dg.FreshnessPolicy.time_window(fail_window=window)
    return base.replace_attributes(
        description=f"{table.description} {how}",
        tags={"gmail/ingestion": table.ingestion_type},
        freshness_policy=policy,
        metadata={
            "dagster/column_schema": column_schema(table),
            "dagster/table_name": entry.table_name,
            "dagster/storage_kind": "deltalake",
            "primary_key": ", ".join(["mailbox", *table.primary_key]),
            "options": _options_text(entry),
        },
    ).merge_attributes(kinds=_KINDS)


def _view(base: dg.AssetSpec, entry: SpecView) -> dg.AssetSpec:
    view = CONTENT_VIEWS[CONTENTS] if entry.source_table == CONTENTS else VIEWS[entry.source_table]
    how = (
        f"Fetched from Gmail once; `{entry.links_name}` says which attachment has which content."
        if entry.source_table == CONTENTS
        else "Computed from messages and labels in the lake, without Gmail."
    )
    return base.replace_attributes(
        description=f"{view.description} {how}",
        tags={"gmail/ingestion": "contents" if entry.source_table == CONTENTS else "derived"},
        automation_condition=dg.AutomationCondition.eager(),
        metadata={
            "dagster/column_schema": column_schema(view),
            "dagster/table_name": entry.table_name,
            "dagster/storage_kind": "deltalake",
            "primary_key": ", ".join(["mailbox", *view.primary_key]),
        },
    ).merge_attributes(kinds=_KINDS)


def _options_text(entry: SpecTable) -> str:
    given = entry.options.model_dump(by_alias=True, exclude_defaults=True, mode="json")
    if entry.deletes == "keep":
        given["deletes"] = "keep"
    return ", ".join(f"{name}={value}" for name, value in given.items()) or "defaults"
