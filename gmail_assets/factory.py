"""`gmail_definitions`: all Dagster definitions as one value, to be merged into any project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from gmail_assets.asset_specs import Translation, build_asset_specs
from gmail_assets.assets import build_assets, mail_step_name, snapshot_step_name
from gmail_assets.automation_settings import AutomationSettings
from gmail_assets.check_outcomes import MailboxChecks
from gmail_assets.check_steps import build_check_step
from gmail_assets.checks import DEFAULT_MAX_LAG, MailChecks
from gmail_assets.content_assets import build_content_asset
from gmail_assets.derived_assets import build_derived_assets
from gmail_assets.derived_checks import DerivedChecks
from gmail_assets.discovery import discovery_sensor
from gmail_assets.inputs import TableInputs
from gmail_assets.mailbox_partitions import MailboxPartitions
from gmail_assets.mailbox_runs import MailboxRuns
from gmail_assets.resources import GmailResource, LakeResource, ResourceKeys
from gmail_assets.run_settings import RunSettings
from gmail_assets.schedules import DAILY, snapshot_schedule
from gmail_assets.sensors import change_sensor
from gmail_assets.snapshot_checks import DEFAULT_MAX_AGE, SnapshotChecks
from gmail_assets.spark_engine import SparkEngine
from gmail_assets.views import ContentSources
from gmail_client.client import checked_mailbox_name
from gmail_client.settings import Settings
from gmail_client.spec import Spec, SpecTable, SpecView
from gmail_client.tables import CATALOGUE
from gmail_client.views import CONTENTS

__all__ = ["gmail_definitions"]

# Dagster merges definitions with the same resource key only if the resource is the same object.
_GMAIL = GmailResource()
_LAKE = LakeResource()
_TABLES = TableInputs(_LAKE)


def gmail_definitions(
    *,
    spec: Spec | Mapping[str, Any] | str | Path | None = None,
    key_prefix: str | Sequence[str] = "gmail",
    group_name: str = "gmail",
    mailboxes: Sequence[str] | None = None,
    owners: Sequence[str] = (),
    gmail: GmailResource | None = None,
    lake: LakeResource | None = None,
    snapshot_cron: str = DAILY,
    max_lag: timedelta = DEFAULT_MAX_LAG,
    max_snapshot_age: timedelta = DEFAULT_MAX_AGE,
    pool: str | None = None,
    translation: Translation | None = None,
    run_settings: RunSettings | None = None,
) -> dg.Definitions:
    """Assets, checks, jobs, schedule, sensor and resources.

    Args:
        spec: Tables and their options: a pipeline spec as a value or a file. Default: GMAIL_SPEC, else all ten tables.
        key_prefix: Prefix of the asset keys.
        group_name: Group of the assets, and prefix of the names of jobs, schedule, sensor and resources. Each
            account of a project needs its own group name and its own key prefix.
        mailboxes: The partitions: addresses, or `me`. Default: GMAIL_MAILBOXES, else GMAIL_USER_ID, else `me`. With
            GMAIL_DIRECTORY or GMAIL_MAILBOXES_FILE, a sensor registers the mailboxes as dynamic partitions.
        owners: Owners of the assets: email addresses, or `team:...`.
        gmail: Access to Gmail (`GmailResource(GmailAccess(...))`). Default: configured by the environment.
        lake: Location of the tables (`LakeResource(LakeLocation(...))`). Default: configured by the environment.
        snapshot_cron: Cron expression of the snapshot schedule, in UTC.
        max_lag: Age of the oldest unsynced message at which the check `up_to_date` fails.
        max_snapshot_age: Age of a snapshot at which the check `recently_read` and the freshness policy fail.
        pool: Dagster pool of all steps that call Gmail; a limit on it bounds the number of concurrent runs. Default:
            the group name.
        translation: Changes the spec of each asset: `lambda spec, table: spec.replace_attributes(...)`, where `table`
            is the name of the source table, or `account`.
        run_settings: How runs over several mailboxes share their time. Default: configured by the environment.

    Returns:
        Definitions without an executor, to be merged with others (`dagster.Definitions.merge`).

    Raises:
        ConfigurationError: The spec or a setting is invalid.
    """
    settings = Settings()
    automation = AutomationSettings()
    tables = spec if isinstance(spec, Spec) else Spec.load(spec if spec is not None else settings.spec)
    tables.require_each_once()
    prefix = [key_prefix] if isinstance(key_prefix, str) else list(key_prefix)
    discovers = mailboxes is None and settings.discovers
    if discovers:
        partitions = MailboxPartitions.registered(f"{group_name}_mailboxes")
    else:
        names = settings.mailbox_names if mailboxes is None else mailboxes
        partitions = MailboxPartitions.fixed(tuple(map(checked_mailbox_name, names)))
    specs = build_asset_specs(
        tables,
        partitions.definition,
        key_prefix=prefix,
        group_name=group_name,
        owners=owners,
        max_snapshot_age=max_snapshot_age,
        translation=translation,
    )
    keys = specs.keys
    resources = ResourceKeys.of(group_name)
    pool = pool or group_name
    mail = [entry for entry in tables.tables if CATALOGUE[entry.source_table].cursor]
    read_whole = [entry for entry in tables.tables if not CATALOGUE[entry.source_table].cursor]
    changing = [keys[entry.source_table] for entry in mail]
    snapshots = [keys[entry.source_table] for entry in read_whole]
    derived = [keys[entry.source_table] for entry in tables.views]
    content_sources = ContentSources.of(tables)
    contents = [keys[CONTENTS]] if content_sources else []

    assets = dg.AssetSelection.assets
    jobs = [
        _job(f"{group_name}_all", assets(*keys.values()), "Syncs all tables of a mailbox."),
        _job(
            f"{group_name}_checks",
            dg.AssetSelection.checks_for_assets(*keys.values()),
            "Runs all checks for the mailbox in the tag dagster/partition.",
        ),
    ]
    mail_step, views_step = mail_step_name(prefix), "_".join([*prefix, "views"])
    contents_step = "_".join([*prefix, CONTENTS])
    asset_steps: dict[str, Sequence[SpecTable | SpecView]] = {}
    check_sets: dict[str, MailboxChecks] = {}
    if mail:
        asset_steps[mail_step] = mail
        check_sets[f"{mail_step}_checks"] = MailChecks(mail, max_lag)
    for entry in read_whole:
        asset_steps[snapshot_step_name(keys[entry.source_table])] = [entry]
    if read_whole:
        check_sets["_".join([*prefix, "snapshot_checks"])] = SnapshotChecks(read_whole, max_snapshot_age)
    if derived:
        asset_steps[views_step] = tables.views
        check_sets[f"{views_step}_checks"] = DerivedChecks(tables)
    if content_sources:
        asset_steps[contents_step] = [content_sources.contents]
    engine = SparkEngine.chosen()
    run_settings = run_settings or RunSettings()
    runs = MailboxRuns(
        tables,
        keys,
        partitions.definition,
        asset_steps=asset_steps,
        check_steps=check_sets,
        resources=resources,
        settings=run_settings,
        engine=engine,
    )
    backfill_policy = dg.BackfillPolicy.multi_run(run_settings.mailboxes_per_run)
    schedules = []
    sensors = []
    if discovers:
        sensors.append(
            discovery_sensor(
                f"{group_name}_discovery", partitions, running=automation.sensor, resources=resources
            )
        )
    checks = [
        build_check_step(
            name,
            checked,
            keys,
            partitions.definition,
            resources=resources,
            pool=None if isinstance(checked, DerivedChecks) else pool,
            uses_gmail=not isinstance(checked, DerivedChecks),
            runs=runs,
        )
        for name, checked in check_sets.items()
    ]
    if changing:
        jobs += [
            _job(
                f"{group_name}_sync",
                assets(*changing, *derived, *contents),
                "Syncs messages, threads and the derived tables of a mailbox, then runs their checks.",
            ),
        ]
        sensors.append(
            change_sensor(
                f"{group_name}_changes",
                f"{group_name}_sync",
                mail_step,
                mail,
                keys,
                partitions,
                running=automation.sensor,
                initial_load=automation.sensor_initial_load,
                quiet_minutes=automation.sensor_quiet_minutes,
                mailboxes_per_run=run_settings.mailboxes_per_run,
                resources=resources,
            )
        )
    if snapshots:
        jobs.append(
            _job(
                f"{group_name}_snapshots",
                # Derived tables contain label names.
                assets(*snapshots, *derived),
                "Refreshes the snapshot tables of a mailbox, then its derived tables.",
            )
        )
        schedules.append(
            snapshot_schedule(
                f"{group_name}_daily_snapshots",
                f"{group_name}_snapshots",
                partitions,
                cron=snapshot_cron,
                running=automation.schedule,
                mailboxes_per_run=run_settings.mailboxes_per_run,
            )
        )
    built = build_assets(
        tables,
        specs,
        key_prefix=prefix,
        engine=engine,
        resources=resources,
        pool=pool,
        runs=runs,
        backfill_policy=backfill_policy,
    )
    if derived:
        built.append(
            build_derived_assets(
                views_step, tables, specs, resources=resources, runs=runs, backfill_policy=backfill_policy
            )
        )
    if content_sources:
        built.append(
            build_content_asset(
                contents_step,
                content_sources,
                specs,
                resources=resources,
                pool=pool,
                runs=runs,
                backfill_policy=backfill_policy,
            )
        )
    return dg.Definitions(
        assets=built,
        asset_checks=checks,
        jobs=jobs,
        schedules=schedules,
        sensors=sensors,
        resources={
            resources.gmail: gmail or _GMAIL,
            resources.lake: lake or _LAKE,
            resources.tables: TableInputs(lake) if lake else _TABLES,
        },
    )


def _job(name: str, selection: dg.AssetSelection, description: str) -> Any:
    # One process for all steps: with one process per step, a run takes ten times as long and cannot share the access
    # token and the rate limiter.
    return dg.define_asset_job(
        name,
        selection=selection,
        description=description,
        executor_def=dg.in_process_executor,
    )
