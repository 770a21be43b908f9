"""Tables that several processes create, or change, at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from support.domain import read_domain
from support.lake import assert_lake_equals_mailbox

from gmail_assets.delta import creation, internal_table, lake
from gmail_assets.delta.creation import add_columns, create_table
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.registry import MailboxRegistry
from gmail_assets.syncing import snapshot, sync
from gmail_client.client import GmailClient
from gmail_client.emulator import Emulator
from gmail_client.settings import Settings
from gmail_client.spec import Spec

SCHEMA = pa.schema([("mailbox", pa.string()), ("id", pa.string())])
MORE = SCHEMA.append(pa.field("more", pa.string()))
TABLES = [entry for entry in Spec.default().tables if entry.source_table in ("messages", "threads", "labels")]


def together(count: int, work: Any) -> list[Any]:
    """The results of this work in several threads that begin at the same moment."""
    ready = threading.Barrier(count)

    def begin(number: int) -> Any:
        ready.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def test_a_table_has_one_id_although_many_create_it(tmp_path: Path) -> None:
    for name in map(str, range(8)):
        location = str(tmp_path / name)
        tables = together(4, lambda _, uri=location: create_table(uri, SCHEMA, None))
        assert len({table.metadata().id for table in tables}) == 1
        assert DeltaTable(location).version() == 0


def test_columns_are_added_once_although_many_add_them(tmp_path: Path) -> None:
    for name in map(str, range(4)):
        location = str(tmp_path / name)
        create_table(location, SCHEMA, None)
        opened = [DeltaTable(location) for _ in range(4)]
        together(4, lambda number, tables=opened: add_columns(tables[number], MORE))
        found = DeltaTable(location)
        assert [field.name for field in found.schema().fields] == MORE.names
        assert found.version() == 1


@pytest.fixture
def gmail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    with Emulator(mailboxes=2, messages=10, seed=4) as emulator:
        read_domain(emulator, tmp_path, monkeypatch)
        yield emulator


def test_two_processes_that_load_two_mailboxes_into_an_empty_lake(
    gmail: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find that a table is missing before either creates it; then both go on to write it."""
    place = Lake(str(tmp_path / "lake"))
    meet_before_creation(monkeypatch)

    def load(number: int) -> None:
        mailbox = GmailClient.from_settings(Settings()).mailbox(gmail.addresses[number])
        for entry in TABLES[2:]:
            snapshot(mailbox, place, entry)
        sync(mailbox, place, TABLES[:2])

    together(2, load)
    for address in gmail.addresses:
        assert_lake_equals_mailbox(place, gmail, TABLES, address)
        client = GmailClient.from_settings(Settings())
        results = sync(client.mailbox(address), place, TABLES[:2])
        assert {result.mode for result in results.values()} == {"incremental"}
    assert sorted(MailboxRegistry(place).addresses()) == sorted(gmail.addresses)


def meet_before_creation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two threads behave like processes: no lock is shared, and both create each table."""
    for module in (lake, internal_table):
        monkeypatch.setattr(module, "CREATION", nullcontext())
    meetings: dict[str, threading.Barrier] = {}
    guard = threading.Lock()

    class Meeting(DeltaTable):
        @classmethod
        def create(cls, table_uri: Any, *arguments: Any, **options: Any) -> DeltaTable:
            with guard:
                meeting = meetings.setdefault(str(table_uri), threading.Barrier(2))
            with suppress(threading.BrokenBarrierError):
                meeting.wait(timeout=0.5)
            return DeltaTable.create(table_uri, *arguments, **options)

    monkeypatch.setattr(creation, "DeltaTable", Meeting)
