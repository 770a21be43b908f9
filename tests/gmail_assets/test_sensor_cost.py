"""What a tick of the sensor costs: units of Gmail, reads of the Delta log, and requests to an object store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.lake import assert_lake_equals_mailbox
from support.object_store import CountingProxy, ObjectStore, why_not

from benchmarks.sensor import write_states
from gmail_assets import gmail_definitions
from gmail_assets.delta import table_log
from gmail_assets.delta.lake import Lake
from gmail_assets.resources import LakeLocation, LakeResource
from gmail_client.emulator import Emulator
from gmail_client.spec import Spec
from gmail_client.tables import CHANGE_TABLES

COUNT = 500
MAIL = [entry for entry in Spec.default().tables if entry.source_table in CHANGE_TABLES]


class Daemon:
    """Ticks of the sensor over all mailboxes of an emulator, read with a service account."""

    def __init__(self, gmail: Emulator, lake: Lake) -> None:
        self.gmail = gmail
        location = LakeLocation(uri=lake.uri, storage_options=dict(lake.storage_options))
        self.definitions = gmail_definitions(mailboxes=gmail.addresses, lake=LakeResource(location))
        self.sensor = self.definitions.get_repository_def().get_sensor_def("gmail_changes")
        self.cursor: str | None = None

    def tick(self, instance: dg.DagsterInstance | None = None) -> list[dg.RunRequest]:
        with (
            dg.DagsterInstance.ephemeral() if instance is None else nullcontext(instance) as instance,
            dg.build_sensor_context(
                instance=instance,
                cursor=self.cursor,
                definitions=self.definitions,
                resources=self.definitions.resources,
            ) as context,
        ):
            found = self.sensor.evaluate_tick(context)
        self.cursor = found.cursor
        return list(found.run_requests or [])


def set_up(gmail: Emulator, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gmail.service_account_file(folder / "key.json")
    monkeypatch.setenv("GMAIL_SERVICE_ACCOUNT_FILE", str(folder / "key.json"))
    monkeypatch.setenv("GMAIL_API_ROOT", gmail.url)
    monkeypatch.setenv("GMAIL_OAUTH_ROOT", gmail.url)


def heads_of(gmail: Emulator) -> dict[str, int]:
    return {address: int(gmail.mailbox(address).head) for address in gmail.addresses}


@pytest.fixture
def crowd(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with Emulator(mailboxes=12, messages=1, seed=5) as gmail:
        set_up(gmail, clean_environment, monkeypatch)
        yield gmail


def test_an_idle_tick_reads_one_commit_per_table_and_spends_a_unit_per_mailbox(
    crowd: Emulator, lake_of_test: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_states(lake_of_test, heads_of(crowd))
    daemon = Daemon(crowd, lake_of_test)
    assert daemon.tick() == []
    read: list[Any] = []
    original = table_log._TableLog._read

    def counted(log: table_log._TableLog, path: str) -> bytes | None:
        read.append(path)
        return original(log, path)

    monkeypatch.setattr(table_log._TableLog, "_read", counted)
    crowd.usage.reset()
    assert daemon.tick() == []
    assert len(read) == 2  # one commit per table, to see whether it is the same table
    assert crowd.usage.units == {"getProfile": 12}
    assert all(entry["requested"] is None for entry in json.loads(daemon.cursor or "").values())


def test_a_change_of_one_table_costs_a_read_of_one_commit(
    crowd: Emulator, lake_of_test: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = heads_of(crowd)
    write_states(lake_of_test, heads)
    daemon = Daemon(crowd, lake_of_test)
    daemon.tick()
    read: list[str] = []
    original = table_log._TableLog._read

    def counted(log: table_log._TableLog, path: str) -> bytes | None:
        read.append(path)
        return original(log, path)

    monkeypatch.setattr(table_log._TableLog, "_read", counted)
    first = crowd.addresses[0]
    write_states(lake_of_test, {first: heads[first] - 1}, ["threads"])
    read.clear()
    (request,) = daemon.tick()
    assert request.partition_key == first
    assert len(read) == 3  # the new commit, and one per table to see whether it is the same table


def test_changed_mailboxes_that_are_no_neighbors_are_synced_by_one_run(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch, lake_of_test: Lake
) -> None:
    with Emulator(mailboxes=3, messages=2, seed=5) as gmail, dg.DagsterInstance.ephemeral() as instance:
        set_up(gmail, clean_environment, monkeypatch)
        monkeypatch.setenv("GMAIL_SENSOR_INITIAL_LOAD", "true")
        daemon = Daemon(gmail, lake_of_test)
        job = daemon.definitions.resolve_job_def("gmail_sync")

        def run() -> list[str]:
            (request,) = daemon.tick(instance)
            assert request.partition_key is None
            result = job.execute_in_process(
                asset_selection=request.asset_selection,
                run_config=request.run_config,
                tags=request.tags,
                instance=instance,
            )
            assert result.success
            return list(request.run_config["ops"]["gmail_mail"]["config"]["mailboxes"])

        assert sorted(run()) == sorted(gmail.addresses)
        assert daemon.tick(instance) == []
        changed = sorted(gmail.addresses[::2])
        for address in changed:
            gmail.mailbox(address).insert(b"Subject: new\r\n\r\nText", ["INBOX"])
        assert sorted(run()) == changed
        for address in gmail.addresses:
            assert_lake_equals_mailbox(lake_of_test, gmail, MAIL, address=address)
        assert daemon.tick(instance) == []


@pytest.mark.slow
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_an_idle_tick_over_500_mailboxes_costs_less_than_50_requests_to_the_store(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        Emulator(mailboxes=COUNT, messages=1, seed=5) as gmail,
        ObjectStore() as store,
        CountingProxy(store) as counting,
    ):
        set_up(gmail, clean_environment, monkeypatch)
        heads = heads_of(gmail)
        write_states(store.lake("gmail"), heads)
        daemon = Daemon(gmail, counting.lake("gmail"))
        while (
            gmail.usage.units["getProfile"] < COUNT
        ):  # a tick that takes too long leaves mailboxes to the next
            assert daemon.tick() == []
        gmail.usage.reset()
        counting.requests.clear()
        assert daemon.tick() == []
        assert gmail.usage.units == {"getProfile": COUNT}
        assert len(counting.requests) < 50, counting.requests
        changed = gmail.addresses[::10]
        for address in changed:
            gmail.mailbox(address).insert(b"Subject: new\r\n\r\nText", ["INBOX"])
        counting.requests.clear()
        requests = daemon.tick()
        assert len(requests) <= 3
        asked = [
            name
            for request in requests
            for name in request.run_config["ops"]["gmail_mail"]["config"]["mailboxes"]
        ]
        assert sorted(asked) == sorted(changed)
        assert len(counting.requests) < 50, counting.requests
