"""Runs over several mailboxes: each is materialized or failed by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from support.lake import assert_lake_equals_mailbox

from gmail_assets import gmail_definitions, mailbox_work
from gmail_assets.checks import ASKS_GMAIL
from gmail_assets.delta.lake import Lake
from gmail_assets.mailbox_work import in_same_hour, units_of
from gmail_assets.runs_in_progress import REQUEST_TAG
from gmail_client.emulator import Emulator, Fault
from gmail_client.spec import Spec
from gmail_client.tables import CATALOGUE, CHANGE_TABLES
from gmail_client.views import VIEWS

MAIL = [entry for entry in Spec.default().tables if entry.source_table in CHANGE_TABLES]


@pytest.fixture
def domain(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Three mailboxes that a service account reads."""
    with Emulator(mailboxes=3, messages=4, seed=11) as gmail:
        gmail.service_account_file(clean_environment / "key.json")
        monkeypatch.setenv("GMAIL_SERVICE_ACCOUNT_FILE", str(clean_environment / "key.json"))
        monkeypatch.setenv("GMAIL_MAILBOXES", ",".join(gmail.addresses))
        monkeypatch.setenv("GMAIL_API_ROOT", gmail.url)
        monkeypatch.setenv("GMAIL_OAUTH_ROOT", gmail.url)
        monkeypatch.setenv("GMAIL_LAKE", str(clean_environment / "lake"))
        monkeypatch.setenv("GMAIL_QUOTA", "1200000")
        monkeypatch.setenv("GMAIL_RETRY_SECONDS", "0")
        yield gmail


def run(
    gmail: Emulator,
    instance: dg.DagsterInstance,
    *,
    job: str = "gmail_all",
    ends: tuple[int, int] | None = (0, -1),
    tables: Sequence[str] | None = None,
    config: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    tags = dict(tags or {})
    if ends is not None:
        first, last = (gmail.addresses[end] for end in ends)
        tags |= {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    return (
        gmail_definitions()
        .resolve_job_def(job)
        .execute_in_process(
            instance=instance,
            tags=tags,
            asset_selection=None if tables is None else [dg.AssetKey(["gmail", table]) for table in tables],
            run_config={"ops": config} if config else None,
            raise_on_error=False,
        )
    )


def statuses(instance: dg.DagsterInstance, gmail: Emulator, table: str) -> list[str | None]:
    found = instance.get_status_by_partition(
        dg.AssetKey(["gmail", table]), gmail.addresses, dg.StaticPartitionsDefinition(gmail.addresses)
    )
    assert found is not None
    return [None if status is None else status.value for status in (found[name] for name in gmail.addresses)]


def checks(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> list[dg.AssetCheckEvaluation]:
    logs = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    return [entry.dagster_event.asset_check_evaluation_data for entry in logs if entry.dagster_event]


def materialized(result: dg.ExecuteInProcessResult) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for event in result.get_asset_materialization_events():
        assert event.asset_key is not None
        assert event.partition is not None
        found.setdefault(event.partition, set()).add(event.asset_key.path[-1])
    return found


def row_counts(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """Rows of each table; an error if a run logs them more than once."""
    found: dict[str, Any] = {}
    for entry in instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION):
        assert entry.dagster_event is not None
        observation = entry.dagster_event.asset_observation_data.asset_observation
        table = observation.asset_key.path[-1]
        assert table not in found
        found[table] = observation.metadata["dagster/row_count"].value
    return found


@pytest.mark.slow
def test_a_range_is_synced_in_one_run_with_events_for_each_mailbox(domain: Emulator, lake_of_test: Lake):
    with dg.instance_for_test() as instance:
        result = run(domain, instance)
        assert result.success
        assert materialized(result) == {name: {*CATALOGUE, *VIEWS} for name in domain.addresses}
        assert statuses(instance, domain, "emails") == ["MATERIALIZED"] * 3
    for address in domain.addresses:
        assert_lake_equals_mailbox(lake_of_test, domain, Spec.default().tables, address, history=True)
    found = {(check.partition, check.check_name) for check in result.get_asset_check_evaluations()}
    assert {(address, "row_count") for address in domain.addresses} <= found
    assert {(address, "rows_match_messages") for address in domain.addresses} <= found
    assert all(check.passed for check in result.get_asset_check_evaluations())


def test_sick_mailboxes_fail_alone_and_are_named_with_the_fix(domain: Emulator, lake_of_test: Lake):
    ill, gone = domain.addresses[0], domain.addresses[1]
    domain.faults.add(Fault(status=503, mailbox=ill))
    domain.faults.add(Fault(kind="mail-not-enabled", mailbox=gone))
    with dg.instance_for_test() as instance:
        result = run(domain, instance, tables=[*CHANGE_TABLES, "labels"])
        assert not result.success
        assert statuses(instance, domain, "messages") == ["FAILED", "FAILED", "MATERIALIZED"]
        (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
        assert failure.user_failure_data.description.startswith("2 of 3 mailboxes failed")
        for address in (ill, gone):
            assert f"{address}: " in failure.user_failure_data.description
        failed = {
            check.partition: check.description for check in checks(instance, result) if not check.passed
        }
        assert failed.keys() == {ill, gone}
        assert "Fix: " in failed[ill]
        lines = [entry for entry in instance.all_logs(result.run_id) if not entry.is_dagster_event]
        assert len(lines) <= 10
        healthy = [address for address in domain.addresses if address not in failed]
        for address in healthy:
            assert_lake_equals_mailbox(lake_of_test, domain, MAIL, address, history=True)

        domain.faults.clear()
        again = run(domain, instance, tables=[*CHANGE_TABLES, "labels"])
        assert again.success
        assert statuses(instance, domain, "messages") == ["MATERIALIZED"] * 3
        assert all(check.passed for check in checks(instance, again))
        stored = len(lake_of_test.table("messages").delta.to_pyarrow_table(columns=["id"]))
        assert row_counts(instance, result)["messages"] < row_counts(instance, again)["messages"] == stored
        assert row_counts(instance, again).keys() == {*CHANGE_TABLES, "labels"}


@pytest.mark.slow
def test_mailboxes_that_are_no_neighbours_are_named_in_the_run_config(domain: Emulator, lake_of_test: Lake):
    chosen = [domain.addresses[2], domain.addresses[0]]
    with dg.instance_for_test() as instance:
        result = run(
            domain,
            instance,
            job="gmail_sync",
            ends=None,
            config={"gmail_mail": {"config": {"mailboxes": chosen}}},
        )
        assert result.success
        assert materialized(result) == {name: {*CHANGE_TABLES, *VIEWS} for name in chosen}
        stranger = run(
            domain,
            instance,
            job="gmail_sync",
            ends=None,
            config={"gmail_mail": {"config": {"mailboxes": ["hush@else.test"]}}},
        )
        assert not stranger.success
        assert all(
            "hush" not in str(event.step_failure_data)
            for event in stranger.all_events
            if event.is_step_failure
        )
    for address in chosen:
        assert_lake_equals_mailbox(lake_of_test, domain, MAIL, address, history=True)


def test_a_run_without_mailboxes_says_what_to_do(domain: Emulator):
    with dg.instance_for_test() as instance:
        result = run(domain, instance, job="gmail_snapshots", ends=None)
        failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
        assert "The run has no mailbox." in failures[0].user_failure_data.description


@pytest.mark.slow
def test_checks_alone_take_a_range_too(domain: Emulator):
    with dg.instance_for_test() as instance:
        assert run(domain, instance, job="gmail_sync").success
        result = run(domain, instance, job="gmail_checks")
        found = {(check.partition, check.check_name) for check in result.get_asset_check_evaluations()}
        assert {(address, "labels_known") for address in domain.addresses} <= found
        assert {(address, "matches_gmail") for address in domain.addresses} <= found


def test_units_are_counted_while_the_mailbox_is_worked_on() -> None:
    class Finishing:
        @property
        def units(self) -> int:
            """Another table is finished in the mailbox's thread, while this one counts."""
            results.setdefault("drafts", SimpleNamespace(units=5))
            return 10

    results: dict[str, Any] = {"profile": Finishing(), "labels": SimpleNamespace(units=1)}
    assert units_of(results) == 11


@pytest.mark.slow
def test_a_second_attempt_continues_a_full_refresh(domain: Emulator):
    with dg.instance_for_test() as instance:
        assert run(domain, instance, tables=CHANGE_TABLES, job="gmail_sync").success
        domain.usage.reset()
        domain.faults.add(Fault(method="history.list", mailbox=domain.addresses[1], status=500, times=1))
        config = {"gmail_mail": {"config": {"full_refresh": True}}}
        result = run(domain, instance, tables=CHANGE_TABLES, job="gmail_sync", config=config)
    assert result.success
    assert domain.usage.fetched_twice == {}
    assert domain.usage.fetched > 0


@pytest.mark.slow
def test_frequent_runs_of_the_sensor_are_compared_with_gmail_once_an_hour(
    domain: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The units of a sync with one new message: 3 to find it, 20 to fetch it, and 4 for the first checks of an hour."""

    def synced(instance: dg.DagsterInstance, same_hour: bool) -> tuple[float, set[str]]:
        for address in domain.addresses:
            domain.mailbox(address).insert(domain.mailbox(address).random_mail(), ["INBOX"])
        monkeypatch.setattr(mailbox_work, "in_same_hour", lambda mailbox, before, now: same_hour)
        domain.usage.reset()
        found = run(domain, instance, tables=CHANGE_TABLES, tags={REQUEST_TAG: "1"})
        assert found.success
        assert all(check.passed for check in checks(instance, found))
        units = domain.usage.total_units / len(domain.addresses)
        return units, {check.check_name for check in checks(instance, found)}

    with dg.instance_for_test() as instance:
        assert run(domain, instance, tables=CHANGE_TABLES).success
        units, names = synced(instance, same_hour=False)
        assert (units, names >= ASKS_GMAIL) == (3 + 20 + 4, True)
        units, names = synced(instance, same_hour=True)
        assert units == 3 + 20
        assert names == {"synced", "primary_key_unique", "threads_and_messages_agree"}


@pytest.mark.parametrize("seconds", [0, 1, 60, 3599])
def test_each_mailbox_has_its_own_hours(seconds: int) -> None:
    now = 1_700_000_000.0
    names = [f"{number}@example.test" for number in range(200)]
    same = sum(in_same_hour(name, now, now + seconds) for name in names) / len(names)
    assert same == pytest.approx(1 - seconds / 3600, abs=0.15)
    assert not any(in_same_hour(name, now, now + 3600) for name in names)
