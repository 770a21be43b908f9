"""Runs the deployment of deploy/: Postgres, an S3 server, daemon, code server, webserver, and the emulator."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.deployment import Deployment
from support.lake import stored_rows, true_rows
from support.object_store import ObjectStore
from support.postgres import Postgres

from gmail_assets.delta.errors import LakeError
from gmail_assets.delta.lake import Lake
from gmail_client.emulator import Emulator, Fault
from gmail_client.spec import Spec

pytestmark = pytest.mark.slow

TABLES = ("messages", "threads", "labels")


def ids(rows: list[dict[str, object]]) -> list[object]:
    return sorted(str(row["id"]) for row in rows)


@pytest.fixture
def gmail() -> Iterator[Emulator]:
    with Emulator(mailboxes=2, messages=60, seed=11) as emulator:
        yield emulator


class Site:
    """A running deployment, its database, its lake and the emulator."""

    def __init__(self, deployment: Deployment, gmail: Emulator, database: Postgres, lake: Lake) -> None:
        self.deployment = deployment
        self.gmail = gmail
        self.database = database
        self.lake = lake

    def wait_until_synced(self, what: str, tables: tuple[str, ...] = TABLES[:2]) -> None:
        """Wait until the tables have the rows of every mailbox."""
        specs = [entry for entry in Spec.default().tables if entry.source_table in tables]

        def is_synced() -> bool:
            try:
                return all(
                    ids(stored_rows(self.lake, spec.table_name, address))
                    == ids(true_rows(self.gmail, spec, address))
                    for spec in specs
                    for address in self.gmail.addresses
                )
            except LakeError:
                return False

        self.deployment.wait_until(is_synced, what)

    def deliver(self) -> None:
        """Deliver one new message to every mailbox."""
        for address in self.gmail.addresses:
            self.gmail.mailbox(address).receive(b"Subject: new\r\nFrom: a@b.test\r\n\r\nText")

    def block_a_run(self) -> list[int]:
        """Deliver mail that Gmail refuses to return, wait for the run that requests it, and return its process ids."""
        self.gmail.faults.add(Fault("messages.get", status=503))
        self.gmail.faults.add(Fault("threads.get", status=503))
        self.deliver()
        self.deployment.wait_until(
            lambda: bool(self.deployment.run_processes()) and self._has_requested_mail(),
            "a run requests the mail",
        )
        return self.deployment.run_processes()

    def _has_requested_mail(self) -> bool:
        return any(fault["done"] for fault in self.gmail.faults.listed())

    def statuses(self) -> dict[str, int]:
        rows = self.database.query("select status, count(*) from runs group by status")
        return {status: int(count) for status, count in (row.split("|") for row in rows)}


@pytest.fixture
def site(database: Postgres, store: ObjectStore, gmail: Emulator, tmp_path: Path) -> Iterator[Site]:
    environment = {
        **database.environment,
        **store.environment,
        "GMAIL_LAKE": store.uri("lake"),
        "GMAIL_SERVICE_ACCOUNT_FILE": str(gmail.service_account_file(tmp_path / "key.json")),
        "GMAIL_API_ROOT": gmail.url,
        "GMAIL_OAUTH_ROOT": gmail.url,
        "GMAIL_QUOTA": "1200000",
        "GMAIL_DIRECTORY": "all",
        "GMAIL_DIRECTORY_ADMIN": gmail.addresses[0],
        "GMAIL_SENSOR": "true",
        "GMAIL_SENSOR_INITIAL_LOAD": "true",
    }
    with Deployment(tmp_path / "home", environment) as deployment:
        yield Site(deployment, gmail, database, store.lake("lake"))


def test_a_deployment_recovers_from_killed_runs_and_a_database_stop(site: Site) -> None:
    # Discovery, the first load, and the checks.
    site.wait_until_synced("the first load")
    registered = site.database.query("select partition from dynamic_partitions order by 1")
    assert registered == sorted(site.gmail.addresses)
    site.deployment.wait_until(lambda: set(site.statuses()) == {"SUCCESS"}, "the run ends")
    checks = site.database.query("select distinct check_name from asset_check_executions")
    assert {"row_count", "threads_and_messages_agree"} <= set(checks)

    # New mail, synced by the sensor.
    site.deliver()
    site.wait_until_synced("the sensor's run")

    # kill -9 of a run.
    for number in site.block_a_run():
        os.kill(number, signal.SIGKILL)
    site.deployment.wait_until(lambda: site.statuses().get("FAILURE", 0) > 0, "the killed run is reported")
    site.gmail.faults.clear()
    site.wait_until_synced("the run after the killed one")

    # Postgres stops while a run is in progress.
    site.block_a_run()
    site.database.stop()
    site.gmail.faults.clear()
    time.sleep(5)
    site.database.start()
    site.deliver()
    site.wait_until_synced("after the stop of the database")
    site.deployment.wait_until(
        lambda: not set(site.statuses()) & {"STARTED", "QUEUED"}, "no run stays in progress"
    )
    assert site.deployment.alive() == ["code", "daemon", "webserver"]
    answer = site.deployment.server.ask("{ version }")
    assert answer["data"]["version"]
