"""A table from which another program deleted rows is detected, reported as incomplete, and reconciled once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from deltalake import DeltaTable
from support.lake import assert_lake_equals_mailbox

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition_status import partition_statuses
from gmail_assets.operations.completeness import combine_findings, record_findings
from gmail_assets.syncing import sync
from gmail_client import GmailClient
from gmail_client.client import Mailbox
from gmail_client.emulator import Emulator
from gmail_client.spec import Spec
from gmail_client.tables import CHANGE_TABLES

MAIL = [entry for entry in Spec.default().tables if entry.source_table in CHANGE_TABLES]


@pytest.fixture
def gmail() -> Iterator[Emulator]:
    with Emulator(messages=60, seed=7, mean_json_kb=2) as gmail:
        yield gmail


@pytest.fixture
def mailbox(gmail: Emulator, monkeypatch: pytest.MonkeyPatch) -> Mailbox:
    for name, value in gmail.environment().items():
        monkeypatch.setenv(name, value)
    return GmailClient.from_settings().mailbox("me")


def lose_rows(folder: Path, table: str, count: int) -> None:
    delta = DeltaTable(folder / table)
    ids = sorted(delta.to_pyarrow_table(columns=["id"])["id"].to_pylist())[:count]
    delta.delete("id IN ({})".format(",".join(f"'{one}'" for one in ids)))


def found(lake: Lake, gmail: Emulator) -> dict[str, int]:
    return {
        name: status.unexplained
        for name, status in partition_statuses(lake, gmail.addresses[0], MAIL).items()
    }


@pytest.mark.slow
def test_a_finding_is_reconciled_once(tmp_path: Path, gmail: Emulator, mailbox: Mailbox) -> None:
    lake = Lake(str(tmp_path))
    sync(mailbox, lake, MAIL)
    lose_rows(tmp_path, "messages", 3)
    record_findings(partition_statuses(lake, gmail.addresses[0], MAIL), {"messages": -3, "threads": 0})
    assert found(lake, gmail) == {"messages": -3, "threads": 0}
    results = sync(mailbox, lake, MAIL)
    assert {name: result.mode for name, result in results.items()} == {
        "messages": "reconcile",
        "threads": "incremental",
    }
    assert_lake_equals_mailbox(lake, gmail, MAIL)
    # If the difference remained, it would be reported but not reconciled again.
    record_findings(partition_statuses(lake, gmail.addresses[0], MAIL), {"messages": -3})
    assert found(lake, gmail) == {"messages": 0, "threads": 0}
    record_findings(partition_statuses(lake, gmail.addresses[0], MAIL), {"messages": -2})
    assert found(lake, gmail)["messages"] == -2


@pytest.mark.slow
def test_an_unfinished_load_is_no_finding(tmp_path: Path, gmail: Emulator, mailbox: Mailbox) -> None:
    lake = Lake(str(tmp_path))
    sync(mailbox, lake, MAIL, deadline=0.0)
    record_findings(partition_statuses(lake, gmail.addresses[0], MAIL), {"messages": -30})
    assert found(lake, gmail)["messages"] == 0


def test_the_first_difference_of_a_table_counts() -> None:
    assert combine_findings([{"messages": 0}, {"messages": -2, "threads": -1}, {"threads": 5}]) == {
        "messages": -2,
        "threads": -1,
    }


def materialize(instance: dg.DagsterInstance, definitions: dg.Definitions, **request: Any) -> set[str]:
    """Run the sync job as the sensor requests it; returns the modes."""
    result = definitions.resolve_job_def("gmail_sync").execute_in_process(
        partition_key="me", instance=instance, raise_on_error=False, **request
    )
    assert result.success
    return {
        str(event.materialization.metadata["sync_mode"].value)
        for event in result.get_asset_materialization_events()
        if "sync_mode" in event.materialization.metadata
    } - {"derived"}


@pytest.mark.slow
def test_dagster_detects_reports_and_repairs_it(
    tmp_path: Path, gmail: Emulator, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gmail_assets import gmail_definitions

    monkeypatch.setenv("GMAIL_LAKE", str(tmp_path))
    definitions = gmail_definitions(mailboxes=["me"])
    sensor = definitions.get_repository_def().get_sensor_def("gmail_changes")
    cursor: str | None = None

    def tick(instance: dg.DagsterInstance) -> Any:
        nonlocal cursor
        with dg.build_sensor_context(
            instance=instance, cursor=cursor, definitions=definitions, resources=definitions.resources
        ) as context:
            result = sensor.evaluate_tick(context)
        cursor = result.cursor
        return result

    with dg.DagsterInstance.ephemeral() as instance:
        assert materialize(instance, definitions) == {"full_load"}
        assert not tick(instance).run_requests
        lose_rows(tmp_path, "messages", 4)
        receiver = gmail.mailbox()
        receiver.receive(receiver.random_mail())
        (request,) = tick(instance).run_requests
        assert materialize(instance, definitions, run_config=request.run_config) == {"incremental"}
        (request,) = tick(
            instance
        ).run_requests  # nothing changed in Gmail, but the table has to be reconciled
        assert "reconcile" in materialize(instance, definitions, run_config=request.run_config)
        assert_lake_equals_mailbox(Lake(str(tmp_path)), gmail, MAIL)
        assert not tick(instance).run_requests
