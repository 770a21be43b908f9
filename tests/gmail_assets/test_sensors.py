"""The change sensor at its ticks, and the runs it asks for, on an emulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from support.lake import assert_lake_equals_mailbox
from support.matrix import slow_except

from gmail_assets import gmail_definitions
from gmail_assets.delta.lake import Lake
from gmail_assets.mailbox_partitions import MailboxPartitions
from gmail_assets.operations.forget import forget_mailbox
from gmail_assets.sensors import REQUEST_TAG
from gmail_client.emulator import Emulator, Fault
from gmail_client.spec import Spec
from gmail_client.tables import CHANGE_TABLES

MAIL = [entry for entry in Spec.default().tables if entry.source_table in CHANGE_TABLES]


def evaluated(
    sensor: dg.SensorDefinition, definitions: dg.Definitions, instance: dg.DagsterInstance, cursor: str | None
) -> dg.SensorResult:
    """A tick as Dagster's daemon makes it."""
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, definitions=definitions, resources=definitions.resources
    ) as context:
        found = sensor.evaluate_tick(context)
    return dg.SensorResult(
        run_requests=found.run_requests,
        skip_reason=found.skip_message,
        cursor=found.cursor,
        asset_events=found.asset_events,
    )


class Robot:
    """Dagster's daemon by hand: ticks of the sensor, and its runs, on one instance.

    All mailboxes are read with one token, so only the first can be loaded; the second shows what an error does.
    """

    def __init__(self, gmail: Emulator, instance: dg.DagsterInstance, **definitions: Any) -> None:
        self.gmail = gmail
        self.instance = instance
        self.address = gmail.addresses[0]
        self.definitions = gmail_definitions(**{"mailboxes": [self.address], **definitions})
        self.cursor: str | None = None

    def tick(self) -> dg.SensorResult:
        sensor = self.definitions.get_repository_def().get_sensor_def("gmail_changes")
        result = evaluated(sensor, self.definitions, self.instance, self.cursor)
        self.cursor = result.cursor
        return result

    def run(self, request: dg.RunRequest, *, expect_success: bool = True) -> dg.ExecuteInProcessResult:
        result = self.definitions.resolve_job_def("gmail_sync").execute_in_process(
            partition_key=request.partition_key,
            asset_selection=request.asset_selection,
            run_config=request.run_config,
            tags=request.tags,
            instance=self.instance,
            raise_on_error=False,
        )
        assert result.success is expect_success
        return result

    def load(self) -> None:
        self.run(dg.RunRequest(partition_key=self.address))

    def entry(self) -> dict[str, Any]:
        entry = json.loads(self.cursor or "{}")[self.address]
        assert isinstance(entry, dict)
        return entry

    def edit(self, **values: Any) -> None:
        cursor = json.loads(self.cursor or "{}")
        cursor[self.address].update(values)
        self.cursor = json.dumps(cursor)

    def receive_mail(self) -> None:
        mailbox = self.gmail.mailbox()
        mailbox.insert(mailbox.random_mail(), ["INBOX"])


@pytest.fixture
def robot(environment: Emulator) -> Iterator[Robot]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Robot(environment, instance)


def how(result: dg.ExecuteInProcessResult) -> set[str]:
    return {
        str(event.materialization.metadata["sync_mode"].value)
        for event in result.get_asset_materialization_events()
    }


def test_nothing_is_requested_before_the_first_load_by_default(robot: Robot):
    result = robot.tick()
    assert not result.run_requests
    assert result.skip_reason is not None
    assert "not loaded yet" in str(result.skip_reason)


def test_the_first_load_is_requested_if_configured(environment: Emulator, monkeypatch, lake_of_test: Lake):
    monkeypatch.setenv("GMAIL_SENSOR_INITIAL_LOAD", "true")
    with dg.DagsterInstance.ephemeral() as instance:
        robot = Robot(environment, instance)
        (request,) = robot.tick().run_requests or []
        robot.run(request)
        assert_lake_equals_mailbox(lake_of_test, environment, MAIL, history=True)
        assert "up to date" in str(robot.tick().skip_reason)


def test_a_change_is_detected_for_one_unit_and_synced(robot: Robot, lake_of_test: Lake):
    robot.load()
    assert "up to date" in str(robot.tick().skip_reason)
    robot.receive_mail()
    robot.gmail.usage.reset()
    (request,) = robot.tick().run_requests or []
    assert sum(robot.gmail.usage.units.values()) == 1
    assert request.run_key is None
    assert request.partition_key == robot.address
    assert how(robot.run(request)) == {"incremental"}
    assert_lake_equals_mailbox(lake_of_test, robot.gmail, MAIL)
    assert "up to date" in str(robot.tick().skip_reason)
    assert robot.entry()["synced_through"] == robot.entry()["latest_history_id"] == robot.gmail.mailbox().head


def test_only_tables_in_use_are_kept_in_sync(robot: Robot):
    robot.run(
        dg.RunRequest(partition_key=robot.address, asset_selection=[dg.AssetKey(["gmail", "messages"])])
    )
    robot.receive_mail()
    (request,) = robot.tick().run_requests or []
    assert request.asset_selection == [dg.AssetKey(["gmail", "messages"])]


@pytest.mark.parametrize(
    "status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
)
def test_no_run_is_requested_while_one_is_unfinished(robot: Robot, status: dg.DagsterRunStatus):
    robot.load()
    robot.receive_mail()
    job = robot.definitions.resolve_job_def("gmail_all")
    run = robot.instance.create_run_for_job(job, status=status, tags={"dagster/partition": robot.address})
    assert "queued or in progress" in str(robot.tick().skip_reason)
    robot.instance.delete_run(run.run_id)
    assert robot.tick().run_requests


def test_a_failed_run_is_retried_with_backoff(robot: Robot):
    robot.load()
    robot.receive_mail()
    (request,) = robot.tick().run_requests or []
    robot.gmail.faults.add(Fault(method="history.list", status=400, reason="invalidArgument"))
    robot.run(request, expect_success=False)
    assert "next attempt in" in str(robot.tick().skip_reason)
    requested = robot.entry()["requested"]
    earlier = datetime.fromisoformat(requested["at"]) - timedelta(seconds=61)
    robot.edit(requested={**requested, "at": earlier.isoformat()})
    # The tag identifies the run by the time of its request: editing the time loses the run, not the backoff.
    (again,) = robot.tick().run_requests or []
    assert robot.entry()["requested"]["attempt"] == 2
    robot.gmail.faults.clear()
    robot.run(again)
    assert "up to date" in str(robot.tick().skip_reason)


def test_a_run_that_stopped_with_work_left_is_followed_at_once(robot: Robot):
    robot.run(
        dg.RunRequest(
            partition_key=robot.address,
            run_config={"ops": {"gmail_mail": {"config": {"time_budget_minutes": 1e-9}}}},
        )
    )
    (request,) = robot.tick().run_requests or []
    robot.run(request)
    assert "up to date" in str(robot.tick().skip_reason)


def test_a_cursor_set_back_replays_from_there(robot: Robot, lake_of_test: Lake):
    start = robot.gmail.mailbox().head
    robot.receive_mail()
    robot.load()
    robot.tick()
    robot.edit(synced_through=start)
    (request,) = robot.tick().run_requests or []
    assert request.run_config == {"ops": {"gmail_mail": {"config": {"replay_from": start}}}}
    robot.run(request)
    assert "up to date" in str(robot.tick().skip_reason)
    assert robot.entry()["synced_through"] == robot.gmail.mailbox().head
    assert_lake_equals_mailbox(lake_of_test, robot.gmail, MAIL)


def test_a_cursor_set_to_null_reconciles(robot: Robot):
    robot.load()
    robot.tick()
    robot.edit(synced_through=None)
    (request,) = robot.tick().run_requests or []
    assert how(robot.run(request)) == {"reconcile"}
    assert "up to date" in str(robot.tick().skip_reason)


@pytest.mark.parametrize("cursor", slow_except(["", "nonsense", "[]", '{"ada": 1}'], ["nonsense"]))
def test_a_cleared_or_invalid_cursor_is_harmless(robot: Robot, cursor: str, lake_of_test: Lake):
    robot.load()
    robot.receive_mail()
    robot.cursor = cursor
    (request,) = robot.tick().run_requests or []
    assert how(robot.run(request)) == {"incremental"}
    assert_lake_equals_mailbox(lake_of_test, robot.gmail, MAIL)


def test_a_cursor_set_forward_is_refused(robot: Robot, lake_of_test: Lake):
    robot.load()
    robot.tick()
    robot.receive_mail()
    robot.edit(synced_through=str(int(robot.gmail.mailbox().head) + 1000))
    (request,) = robot.tick().run_requests or []
    assert robot.entry()["synced_through"] != robot.gmail.mailbox().head
    robot.run(request)
    assert_lake_equals_mailbox(lake_of_test, robot.gmail, MAIL)


def test_expired_history_costs_a_listing_and_no_content(robot: Robot, lake_of_test: Lake):
    robot.load()
    robot.receive_mail()
    robot.gmail.expire_history()
    (request,) = robot.tick().run_requests or []
    assert how(robot.run(request)) == {"reconcile"}
    assert_lake_equals_mailbox(lake_of_test, robot.gmail, MAIL)


def test_a_failing_mailbox_does_not_stop_others(environment: Emulator):
    closed = environment.addresses[1]  # the token may not read it
    with dg.DagsterInstance.ephemeral() as instance:
        robot = Robot(environment, instance, mailboxes=[closed, environment.addresses[0]])
        robot.load()
        robot.receive_mail()
        result = robot.tick()
    assert [request.partition_key for request in result.run_requests or []] == [robot.address]


def test_a_mailbox_that_stays_unreadable_fails_its_check_once_until_it_recovers(
    environment: Emulator, monkeypatch, tmp_path
):
    for name in ("GMAIL_CLIENT_ID", "GMAIL_CLIENT_SECRET", "GMAIL_REFRESH_TOKEN"):
        monkeypatch.delenv(name)
    environment.service_account_file(tmp_path / "key.json")
    monkeypatch.setenv("GMAIL_SERVICE_ACCOUNT_FILE", str(tmp_path / "key.json"))
    monkeypatch.setattr("gmail_assets.poll_schedule.backoff_seconds", lambda failures: 0)
    ill = environment.addresses[1]
    with dg.DagsterInstance.ephemeral() as instance:
        robot = Robot(environment, instance, mailboxes=environment.addresses)
        environment.faults.add(Fault(kind="mail-not-enabled", mailbox=ill))
        seen = [robot.tick().asset_events for _ in range(3)]
        environment.faults.clear()
        seen += [robot.tick().asset_events for _ in range(2)]
        assert [len(events) for events in seen] == [0, 1, 0, 1, 0]
        failed, recovered = seen[1][0], seen[3][0]
        assert isinstance(failed, dg.AssetCheckEvaluation)
        assert isinstance(recovered, dg.AssetCheckEvaluation)
        assert (failed.check_name, failed.partition, failed.passed) == ("synced", ill, False)
        assert "Mail service not enabled" in (failed.description or "")
        assert "Fix: " in (failed.description or "")
        assert (recovered.check_name, recovered.partition, recovered.passed) == ("synced", ill, True)
        key = dg.AssetCheckKey(failed.asset_key, failed.check_name)
        assert key in robot.definitions.get_repository_def().asset_graph.asset_check_keys


def test_the_tick_fails_if_all_mailboxes_fail(robot: Robot):
    robot.gmail.revoke_tokens()
    with pytest.raises(dg.Failure, match="invalid_grant"):
        robot.tick()


def test_many_mailboxes_take_turns(environment: Emulator, monkeypatch, tmp_path):
    from gmail_assets.sensors import change_sensor

    for name in ("GMAIL_CLIENT_ID", "GMAIL_CLIENT_SECRET", "GMAIL_REFRESH_TOKEN"):
        monkeypatch.delenv(name)
    environment.service_account_file(tmp_path / "key.json")
    monkeypatch.setenv("GMAIL_SERVICE_ACCOUNT_FILE", str(tmp_path / "key.json"))
    definitions = gmail_definitions(mailboxes=environment.addresses)
    keys = {table: dg.AssetKey(["gmail", table]) for table in CHANGE_TABLES}
    partitions = MailboxPartitions.fixed(environment.addresses)
    sensor = change_sensor("turns", "gmail_sync", "gmail_mail", MAIL, keys, partitions, polls_per_tick=1)
    seen, cursor = [], None
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(4):
            result = evaluated(sensor, definitions, instance, cursor)
            cursor = result.cursor
            seen.append(str(result.skip_reason).partition(":")[0].rpartition("'")[2])
    assert seen[0] != seen[1]
    assert seen[:2] == seen[2:]


def test_mailboxes_that_are_no_longer_configured_are_removed_from_the_cursor(robot: Robot):
    robot.cursor = json.dumps({"gone@gmail.test": {"synced_through": "5", "tables_synced_through": "5"}})
    robot.tick()
    assert json.loads(robot.cursor).keys() == {robot.address}


def test_the_request_tag_links_run_and_cursor(robot: Robot):
    robot.load()
    robot.receive_mail()
    (request,) = robot.tick().run_requests or []
    assert request.tags[REQUEST_TAG] == robot.entry()["requested"]["at"]


def test_a_forgotten_mailbox_is_not_checked_and_is_removed_from_the_cursor(
    mailbox_server: Emulator, robot: Robot, lake_of_test: Lake
) -> None:
    robot.load()
    robot.tick()
    assert robot.address in json.loads(robot.cursor or "{}")
    forget_mailbox(lake_of_test, robot.address)
    mailbox_server.mailbox().insert(b"Subject: new\r\n\r\nText")
    mailbox_server.usage.reset()
    result = robot.tick()
    assert not result.run_requests
    assert "erased with `gmail-assets forget`" in str(result.skip_reason)
    assert json.loads(robot.cursor or "{}") == {}
    assert not mailbox_server.usage.units
    failed = robot.run(dg.RunRequest(partition_key=robot.address), expect_success=False)
    assert not lake_of_test.table("messages").mailboxes()
    assert not failed.get_asset_materialization_events()
