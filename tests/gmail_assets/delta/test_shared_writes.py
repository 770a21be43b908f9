"""Writes of concurrent threads to one small table share commits, and none is lost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.registry import MAILBOXES, MailboxRegistry
from gmail_assets.delta.shared_writes import SharedWrites

SECONDS = 20


class Table:
    """Commits that wait until `gate` is open, and fail if they contain a row of `refused`."""

    def __init__(self, *refused: str) -> None:
        self.gate = threading.Event()
        self.begun = threading.Event()
        self.refused = set(refused)
        self.commits: list[tuple[list[str], str]] = []

    def commit(self, rows: pa.Table, where: str) -> None:
        names = rows["name"].to_pylist()
        self.begun.set()
        assert self.gate.wait(SECONDS)
        if self.refused & set(names):
            raise OSError(f"refused: {names}")
        self.commits.append((names, where))


def write(writes: SharedWrites, table: Table, name: str, *keys: str) -> None:
    writes.write(pa.table({"name": [name]}), f"name = '{name}'", frozenset(keys), table.commit)


def wait_for(writes: SharedWrites, count: int) -> None:
    ended = threading.Event()
    for _ in range(SECONDS * 100):
        if len(writes._waiting) == count:
            return
        ended.wait(0.01)
    raise AssertionError(f"{len(writes._waiting)} writes wait, not {count}")


def test_writes_that_wait_share_the_next_commit() -> None:
    writes, table = SharedWrites(), Table()
    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(write, writes, table, "a", "1")]
        assert table.begun.wait(SECONDS)
        # "c" and "d" have a common key, and "e" has none: they are not combined with each other.
        for name, *keys in (("b", "2"), ("c", "3"), ("d", "3"), ("e",)):
            done.append(pool.submit(write, writes, table, name, *keys))
            wait_for(writes, len(done))
        table.gate.set()
        for future in done:
            future.result(SECONDS)
    assert table.commits[0] == (["a"], "(name = 'a')")
    assert sorted(name for names, _ in table.commits for name in names) == ["a", "b", "c", "d", "e"]
    assert ["e"] in [names for names, _ in table.commits]
    assert len(table.commits) == 4
    assert not any({"c", "d"} <= set(names) for names, _ in table.commits)
    assert any(where.count(" OR ") == len(names) - 1 == 1 for names, where in table.commits)
    assert writes._waiting == []


def test_an_error_is_raised_in_the_thread_whose_rows_it_concerns() -> None:
    writes, table = SharedWrites(), Table("bad")
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(write, writes, table, "a", "1")
        assert table.begun.wait(SECONDS)
        good = [pool.submit(write, writes, table, name, name) for name in ("b", "c")]
        bad = pool.submit(write, writes, table, "bad", "bad")
        wait_for(writes, 4)
        table.gate.set()
        first.result(SECONDS)
        with pytest.raises(OSError, match="refused"):
            bad.result(SECONDS)
        for future in good:
            future.result(SECONDS)
    assert sorted(name for names, _ in table.commits for name in names) == ["a", "b", "c"]
    assert writes._waiting == []


def test_a_table_of_an_earlier_release_is_compacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = MailboxRegistry(Lake(str(tmp_path / "lake")))
    addresses = [f"user{number}@gmail.test" for number in range(12)]
    with monkeypatch.context() as patched:
        patched.setattr("gmail_assets.delta.internal_table._MOST_FILES", 100)
        for address in addresses:
            registry.check_name(address, address)

    def files() -> int:
        table = Lake(str(tmp_path / "lake")).find(MAILBOXES)
        assert table is not None
        return len(table.file_uris())

    assert files() == 12
    registry.check_name(addresses[0], addresses[0], record=False)
    assert files() == 12
    assert registry.check_name(addresses[0], addresses[0]) == addresses[0]
    assert files() == 1
    assert registry.addresses() == {address: address for address in addresses}


def test_names_of_many_mailboxes_are_in_few_files(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    addresses = [f"user{number}@gmail.test" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda address: MailboxRegistry(lake).check_name(address, address), addresses))
    assert MailboxRegistry(lake).addresses() == {address: address for address in addresses}
    table = lake.find(MAILBOXES)
    assert table is not None
    assert len(table.file_uris()) <= 8
    for address in addresses[:20]:  # one after the other
        MailboxRegistry(lake).check_name(f"alias.{address}", address)
    table = lake.find(MAILBOXES)
    assert table is not None
    assert len(table.file_uris()) <= 8
    assert len(MailboxRegistry(lake).addresses()) == 60
