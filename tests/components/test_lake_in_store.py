"""A lake in an object store: kills, rivals, restores and compaction, with `gmail-assets` in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable
from support.deployment import wait_until
from support.lake import assert_lake_equals_mailbox
from support.object_store import ObjectStore
from support.pages import ROOT

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.maintenance import Upkeep, keep_up
from gmail_client.emulator import Emulator
from gmail_client.spec import Spec
from gmail_client.tables import CHANGE_TABLES

pytestmark = pytest.mark.slow

MAIL = [entry for entry in Spec.default().tables if entry.source_table in CHANGE_TABLES]


@pytest.fixture
def gmail() -> Iterator[Emulator]:
    with Emulator(mailboxes=2, messages=60, seed=4) as emulator:
        yield emulator


class Commands:
    """Runs `gmail-assets sync` on a folder of the store."""

    def __init__(self, store: ObjectStore, gmail: Emulator, folder: str, place: Path) -> None:
        self.lake: Lake = store.lake(folder)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("GMAIL_", "DAGSTER_"))}
        self._environment = {
            **kept,
            **store.environment,
            "PYTHONPATH": str(ROOT),
            "GMAIL_LAKE": store.uri(folder),
            "GMAIL_SERVICE_ACCOUNT_FILE": str(gmail.service_account_file(place / "key.json")),
            "GMAIL_MAILBOXES": ",".join(gmail.addresses),
            "GMAIL_API_ROOT": gmail.url,
            "GMAIL_OAUTH_ROOT": gmail.url,
            "GMAIL_QUOTA": "1200000",
        }
        self._place = place

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "gmail_assets.cli", "sync", "--quiet", "messages", "threads", *arguments],
            env=self._environment,
            cwd=self._place,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def sync(self, *arguments: str) -> None:
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=600)
        assert process.returncode == 0, said


@pytest.fixture
def commands(store: ObjectStore, gmail: Emulator, tmp_path: Path, request: pytest.FixtureRequest) -> Commands:
    return Commands(store, gmail, request.node.name, tmp_path)


def assert_true(commands: Commands, gmail: Emulator) -> None:
    for address in gmail.addresses:
        assert_lake_equals_mailbox(commands.lake, gmail, MAIL, address)


def change(gmail: Emulator, address: str, number: int) -> None:
    """Mail comes, a message is deleted, and one is read."""
    mailbox = gmail.mailbox(address)
    mailbox.receive(f"Subject: new {number}\r\nFrom: a@b.test\r\n\r\nText".encode())
    first, second, *_ = mailbox.message_ids()
    mailbox.delete(first)
    mailbox.modify(second, add=["STARRED"])


def test_two_writers_at_once(commands: Commands, gmail: Emulator) -> None:
    """One process per mailbox: they commit to the same tables, and conditional writes keep all of it."""
    for number in range(2):
        writers = [commands.start("--mailbox", address) for address in gmail.addresses]
        for writer in writers:
            said, _ = writer.communicate(timeout=600)
            assert writer.returncode == 0, said
        assert_true(commands, gmail)
        for address in gmail.addresses:
            change(gmail, address, number)


def test_two_writers_of_one_mailbox(commands: Commands, gmail: Emulator) -> None:
    rivals = [commands.start() for _ in range(2)]
    codes = []
    for rival in rivals:
        said, _ = rival.communicate(timeout=600)
        codes.append(rival.returncode)
        assert rival.returncode == 0 or "another run" in said.lower() or "Another" in said, said
    assert 0 in codes
    commands.sync()
    assert_true(commands, gmail)


def test_a_killed_load_resumes(store: ObjectStore, tmp_path: Path) -> None:
    with Emulator(messages=2_600, seed=5, mean_json_kb=2, latency_ms=40) as gmail:
        commands = Commands(store, gmail, "killed", tmp_path)
        load = commands.start()
        wait_until(
            lambda: (
                any("mailbox=" in key for key in store.keys("killed/messages/")) or load.poll() is not None
            ),
            "the first chunk",
        )
        load.send_signal(signal.SIGKILL)
        load.communicate()
        assert load.returncode == -signal.SIGKILL, "the load was over too soon"
        stored = commands.lake.table("messages").count()
        assert 0 < stored < 2_600
        gmail.usage.reset()
        commands.sync()
        calls = gmail.usage.as_json()["calls"]
        assert_lake_equals_mailbox(commands.lake, gmail, MAIL, gmail.addresses[0])
        assert calls.get("messages.get", 0) + calls.get("threads.get", 0) < 2_600


def test_a_restored_table_is_reconciled(commands: Commands, gmail: Emulator) -> None:
    commands.sync()
    before = commands.lake.table("messages").delta.version()
    change(gmail, gmail.addresses[0], 1)
    commands.sync()
    DeltaTable(commands.lake.location("messages"), storage_options=commands.lake.options).restore(before)
    commands.sync()
    assert_true(commands, gmail)


def test_compaction_and_vacuum_keep_every_row(commands: Commands, gmail: Emulator) -> None:
    commands.sync()
    for number in range(3):
        gmail.mailbox(gmail.addresses[0]).receive(f"Subject: more {number}\r\n\r\nText".encode())
        commands.sync()
    for name in CHANGE_TABLES:
        table = commands.lake.table(name)
        files = len(table.delta.file_uris())
        keep_up(table, gmail.addresses[0], Upkeep(2, timedelta(0)))
        assert len(commands.lake.table(name).delta.file_uris()) < files
    assert_true(commands, gmail)
    change(gmail, gmail.addresses[0], 9)
    commands.sync()
    assert_true(commands, gmail)
