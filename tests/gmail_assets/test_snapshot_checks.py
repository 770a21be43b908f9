"""The asset checks of snapshot tables: they pass after a run, and each fails on the problem that it detects."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from gmail_assets import gmail_definitions
from gmail_assets.delta.lake import Lake
from gmail_client.emulator import Emulator
from gmail_client.tables import CATALOGUE

SNAPSHOTS = [name for name, table in CATALOGUE.items() if table.cursor is None]
Checks = dict[tuple[str, str], dg.AssetCheckEvaluation]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def evaluations(result: dg.ExecuteInProcessResult) -> Checks:
    return {(e.asset_key.path[-1], e.check_name): e for e in result.get_asset_check_evaluations()}


def load(gmail: Emulator, instance: dg.DagsterInstance, *tables: str) -> Checks:
    job = gmail_definitions().resolve_job_def("gmail_snapshots")
    selection = [dg.AssetKey(["gmail", table]) for table in tables] or None
    return evaluations(
        job.execute_in_process(partition_key=gmail.addresses[0], instance=instance, asset_selection=selection)
    )


def check(gmail: Emulator, instance: dg.DagsterInstance, **options: Any) -> Checks:
    """Run only the job of the checks; its mailbox is in a tag."""
    job = gmail_definitions(**options).resolve_job_def("gmail_checks")
    tags = {"dagster/partition": gmail.addresses[0]}
    return evaluations(job.execute_in_process(instance=instance, tags=tags))


def overwrite(lake: Lake, table: str, times: int) -> None:
    """Replace the rows with `times` copies of them, as another program could."""
    rows = DeltaTable(lake.location(table)).to_pyarrow_table()
    indices = pa.array([*range(rows.num_rows)] * times, pa.int64())
    write_deltalake(lake.location(table), rows.take(indices), mode="overwrite")


def test_checks_pass_after_a_run_and_cost_little(environment: Emulator, instance: dg.DagsterInstance):
    checks = load(environment, instance)
    names = {"primary_key_unique", "matches_gmail", "recently_read"}
    assert {check for check in checks if check[0] in SNAPSHOTS} == {(t, n) for t in SNAPSHOTS for n in names}
    assert all(found.passed for (table, _), found in checks.items() if table in SNAPSHOTS), checks
    assert {found.partition for found in checks.values()} == {environment.addresses[0]}
    environment.usage.reset()
    check(environment, instance)
    assert sum(environment.usage.units.values()) <= 20


def test_a_change_since_the_last_read_is_a_warning(environment: Emulator, instance: dg.DagsterInstance):
    load(environment, instance, "labels")
    environment.mailbox().create_label("New")
    found = check(environment, instance)["labels", "matches_gmail"]
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert "1 added and 0 deleted" in found.description


def test_an_empty_table_is_an_error_if_gmail_has_rows(
    environment: Emulator, instance: dg.DagsterInstance, lake_of_test: Lake
):
    load(environment, instance, "labels", "profile")
    overwrite(lake_of_test, "labels", 0)
    overwrite(lake_of_test, "profile", 0)
    checks = check(environment, instance)
    for table in ("labels", "profile"):
        assert not checks[table, "matches_gmail"].passed
        assert checks[table, "matches_gmail"].severity == dg.AssetCheckSeverity.ERROR


def test_a_duplicate_is_found(environment: Emulator, instance: dg.DagsterInstance, lake_of_test: Lake):
    load(environment, instance, "send_as")
    overwrite(lake_of_test, "send_as", 2)
    checks = check(environment, instance)
    assert not checks["send_as", "primary_key_unique"].passed
    assert checks["send_as", "matches_gmail"].passed


def test_a_forbidden_table_is_not_compared(environment: Emulator, instance: dg.DagsterInstance):
    found = load(environment, instance, "delegates")["delegates", "matches_gmail"]
    assert found.passed
    assert "not allowed" in found.description


def test_an_old_snapshot_fails_the_check(environment: Emulator, instance: dg.DagsterInstance):
    load(environment, instance, "labels")
    checks = check(environment, instance, max_snapshot_age=timedelta(0))
    assert not checks["labels", "recently_read"].passed
    assert "last read at 20" in checks["labels", "recently_read"].description


def test_without_a_materialization_the_last_read_is_unknown(
    environment: Emulator, instance: dg.DagsterInstance
):
    load(environment, instance, "labels")
    with dg.DagsterInstance.ephemeral() as other:
        assert not check(environment, other)["labels", "recently_read"].passed


def test_before_the_first_run_the_checks_report_it(environment: Emulator, instance: dg.DagsterInstance):
    found = check(environment, instance)["labels", "matches_gmail"]
    assert not found.passed
    assert "no rows" in found.description
