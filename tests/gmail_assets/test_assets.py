"""The assets through Dagster's real runs, on an emulator."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.lake import assert_lake_equals_mailbox

from gmail_assets import gmail_definitions
from gmail_assets.delta.lake import Lake
from gmail_assets.failures import ERROR_KEY
from gmail_client.emulator import Emulator, Fault
from gmail_client.spec import Spec
from gmail_client.tables import CATALOGUE, CHANGE_TABLES

ALL = Spec.default().tables
OPEN = [entry for entry in ALL if entry.source_table != "delegates"]
MAIL = [entry for entry in ALL if entry.source_table in CHANGE_TABLES]


def materialize(
    gmail: Emulator,
    tables: Sequence[str] = tuple(CATALOGUE),
    *,
    mailbox: int = 0,
    mail_config: dict[str, Any] | None = None,
    instance: dg.DagsterInstance | None = None,
    **definitions: Any,
) -> dg.ExecuteInProcessResult:
    defs = gmail_definitions(mailboxes=gmail.addresses, **definitions)
    return defs.resolve_job_def("gmail_all").execute_in_process(
        partition_key=gmail.addresses[mailbox],
        asset_selection=[dg.AssetKey(["gmail", table]) for table in tables],
        instance=instance,
        run_config={"ops": {"gmail_mail": {"config": mail_config}}} if mail_config else None,
        raise_on_error=False,
    )


def metadata_of(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    return {
        event.asset_key.path[-1]: {
            name: value.value for name, value in event.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
    }


def failures_of(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    return {event.step_key: event.step_failure_data for event in result.all_events if event.is_step_failure}


def test_ten_tables_equal_the_mailbox(environment: Emulator, lake_of_test: Lake):
    result = materialize(environment)
    assert result.success
    assert_lake_equals_mailbox(lake_of_test, environment, OPEN, history=True)
    metadata = metadata_of(result)
    assert metadata.keys() == CATALOGUE.keys()
    del metadata["delegates"]  # closed to users, see below
    for table, fields in metadata.items():
        rows = len(environment.truth(table))
        assert fields["dagster/partition_row_count"] == fields["dagster/row_count"] == rows
        assert fields["rows_written"] == rows
        assert fields["dagster/uri"] == lake_of_test.location(table)
        assert fields["dagster/column_schema"].columns[0].name == "mailbox"
        assert fields["mailbox"] == environment.addresses[0]
        assert {"quota_units", "api_calls", "duration_seconds", "bytes_received"} <= fields.keys()
        assert datetime.fromisoformat(fields["synced_at"]).tzinfo is not None
    assert metadata["messages"]["synced_through"] == environment.mailbox().head
    page = (Path(__file__).parents[2] / "docs" / "dagster.md").read_text("utf-8")
    assert [key for key in metadata["messages"] if f"`{key}`" not in page] == []


def test_messages_and_threads_share_one_fetch(environment: Emulator):
    threads = environment.truth("threads", format="minimal")
    cheapest = sum(min(20 * len(thread["messages"]), 40) for thread in threads)
    fields = metadata_of(materialize(environment, CHANGE_TABLES))
    assert fields["messages"]["quota_units"] == fields["threads"]["quota_units"] <= 1.03 * cheapest + 20
    assert not environment.usage.fetched_twice


@pytest.mark.parametrize("table", CHANGE_TABLES)
def test_each_of_the_two_can_be_selected_alone(environment: Emulator, lake_of_test: Lake, table: str):
    result = materialize(environment, [table])
    assert result.success
    assert metadata_of(result).keys() == {table}
    assert_lake_equals_mailbox(
        lake_of_test, environment, [e for e in ALL if e.source_table == table], history=True
    )
    assert lake_of_test.find("threads" if table == "messages" else "messages") is None


def test_two_mailboxes_share_each_table(environment: Emulator, lake_of_test: Lake, monkeypatch):
    assert materialize(environment).success
    for name, value in environment.environment(environment.addresses[1]).items():
        monkeypatch.setenv(name, value)
    result = materialize(environment, mailbox=1)
    assert result.success
    for address in environment.addresses:
        assert_lake_equals_mailbox(lake_of_test, environment, OPEN, address, history=True)
    fields = metadata_of(result)["messages"]
    assert fields["dagster/row_count"] > fields["dagster/partition_row_count"]


def test_a_second_run_applies_changes_from_the_history(environment: Emulator, lake_of_test: Lake):
    materialize(environment)
    mailbox = environment.mailbox()
    mailbox.delete(environment.truth("messages", format="minimal")[0]["id"])
    mailbox.insert(mailbox.random_mail(), ["INBOX"])
    fields = metadata_of(materialize(environment, CHANGE_TABLES))
    assert_lake_equals_mailbox(lake_of_test, environment, MAIL)
    assert fields["messages"]["sync_mode"] == "incremental"
    assert fields["messages"]["rows_written"] == 1
    assert fields["messages"]["rows_deleted"] == 1


@pytest.mark.slow
def test_full_refresh_loads_everything_again(environment: Emulator, lake_of_test: Lake):
    materialize(environment, CHANGE_TABLES)
    fields = metadata_of(materialize(environment, CHANGE_TABLES, mail_config={"full_refresh": True}))
    assert fields["messages"]["sync_mode"] == "full_load"
    assert fields["messages"]["rows_written"] == fields["messages"]["dagster/partition_row_count"]
    assert_lake_equals_mailbox(lake_of_test, environment, MAIL)


@pytest.mark.slow
def test_reconcile_and_replay_are_options_of_the_run_config(environment: Emulator):
    start = environment.mailbox().head
    environment.mailbox().insert(environment.mailbox().random_mail(), ["INBOX"])
    materialize(environment, CHANGE_TABLES)
    compared = metadata_of(materialize(environment, CHANGE_TABLES, mail_config={"reconcile": True}))
    assert compared["messages"]["sync_mode"] == "reconcile"
    replayed = metadata_of(materialize(environment, CHANGE_TABLES, mail_config={"replay_from": start}))
    assert replayed["messages"]["sync_mode"] == "incremental"
    nonsense = materialize(environment, CHANGE_TABLES, mail_config={"replay_from": "yesterday"})
    (failure,) = failures_of(nonsense).values()
    assert "replay_from is not a history id" in failure.user_failure_data.description


@pytest.mark.slow
def test_a_spent_time_budget_stops_cleanly_and_the_next_run_resumes(
    environment: Emulator, lake_of_test: Lake
):
    result = materialize(environment, CHANGE_TABLES, mail_config={"time_budget_minutes": 1e-9})
    assert result.success
    assert metadata_of(result)["messages"]["complete"] is False
    assert materialize(environment, CHANGE_TABLES).success
    assert_lake_equals_mailbox(lake_of_test, environment, MAIL)


def test_a_forbidden_table_keeps_its_rows_and_is_reported(environment: Emulator):
    result = materialize(environment, ["delegates", "labels"])
    assert result.success
    fields = metadata_of(result)["delegates"]
    assert fields["sync_mode"] == "refused"
    assert "service account" in fields["warnings"]


def test_a_service_account_reads_every_mailbox_and_its_delegates(
    environment: Emulator, lake_of_test: Lake, tmp_path, monkeypatch
):
    for name in ("GMAIL_CLIENT_ID", "GMAIL_CLIENT_SECRET", "GMAIL_REFRESH_TOKEN"):
        monkeypatch.delenv(name)
    environment.service_account_file(tmp_path / "key.json")
    monkeypatch.setenv("GMAIL_SERVICE_ACCOUNT_FILE", str(tmp_path / "key.json"))
    for number, address in enumerate(environment.addresses):
        assert materialize(environment, ["delegates", "labels"], mailbox=number).success
        tables = [entry for entry in ALL if entry.source_table in ("delegates", "labels")]
        assert_lake_equals_mailbox(lake_of_test, environment, tables, address)


def test_a_revoked_token_fails_at_once_with_its_own_text(environment: Emulator, lake_of_test: Lake):
    environment.revoke_tokens()
    result = materialize(environment, ["labels", "messages"])
    assert not result.success
    (failure,) = failures_of(result).values()
    assert failure.user_failure_data.metadata[ERROR_KEY].value == "CredentialsError"
    assert "invalid_grant" in failure.user_failure_data.description
    assert "Fix: " in failure.user_failure_data.description
    assert not [event for event in result.all_events if event.is_step_up_for_retry]
    assert lake_of_test.find("labels") is None


def test_missing_credentials_fail_only_the_run(clean_environment, monkeypatch):
    monkeypatch.setenv("GMAIL_LAKE", str(clean_environment / "lake"))
    result = (
        gmail_definitions()
        .resolve_job_def("gmail_snapshots")
        .execute_in_process(
            partition_key="me", raise_on_error=False, asset_selection=[dg.AssetKey(["gmail", "labels"])]
        )
    )
    (failure,) = failures_of(result).values()
    assert "GMAIL_CLIENT_ID" in failure.user_failure_data.description


def test_an_unknown_mailbox_is_refused_by_dagster(environment: Emulator):
    job = gmail_definitions().resolve_job_def("gmail_all")
    with pytest.raises(dg.DagsterUnknownPartitionError, match="nobody@gmail"):
        job.execute_in_process(partition_key="nobody@gmail.test")


@pytest.mark.slow
def test_a_token_of_another_account_does_not_continue_this_one(
    environment: Emulator, lake_of_test: Lake, monkeypatch
):
    monkeypatch.setenv("GMAIL_USER_ID", "me")
    job = gmail_definitions().resolve_job_def("gmail_all")
    labels = [dg.AssetKey(["gmail", "labels"])]
    assert job.execute_in_process(partition_key="me", asset_selection=labels).success
    for name, value in environment.environment(environment.addresses[1]).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GMAIL_USER_ID", "me")
    job = gmail_definitions().resolve_job_def("gmail_all")
    result = job.execute_in_process(partition_key="me", asset_selection=labels, raise_on_error=False)
    (failure,) = failures_of(result).values()
    assert environment.addresses[0] in failure.user_failure_data.description
    assert lake_of_test.table("labels").mailboxes() == [environment.addresses[0]]


def test_secrets_stay_out_of_what_dagster_keeps(environment: Emulator):
    with dg.DagsterInstance.ephemeral() as instance:
        environment.faults.add(Fault(method="labels.list", status=400, reason="invalidArgument"))
        result = materialize(environment, ["labels", "profile", "messages"], instance=instance)
        kept = "".join(str(record) for record in instance.all_logs(result.run_id))
        kept += str(instance.get_run_by_id(result.run_id))
    for name in ("GMAIL_CLIENT_SECRET", "GMAIL_REFRESH_TOKEN"):
        assert environment.environment()[name] not in kept
    assert "Bearer" not in kept
