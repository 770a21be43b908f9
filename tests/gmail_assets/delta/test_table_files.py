"""Files of a table: found by mailbox and key range, also without statistics, and read whatever their size."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import example, given
from hypothesis import strategies as st

from gmail_assets.delta import table_files as module
from gmail_assets.delta.errors import LakeError
from gmail_assets.delta.scan import open_files, read_columns
from gmail_assets.delta.table_files import TableFile, open_file, table_files

ADA = "ada+mail=%2F@exämple.test"
BOB = "bob@example.test"
ID = pa.schema([("id", pa.string())])
KEYS = st.frozensets(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=4)


@given(stored=KEYS, wanted=KEYS)
@example(stored=frozenset("a"), wanted=frozenset("a"))
@example(stored=frozenset("ac"), wanted=frozenset("b"))
def test_a_file_with_a_wanted_key_is_never_left_out(stored: frozenset[str], wanted: frozenset[str]) -> None:
    for low, high in ((min(stored), max(stored)), (None, None), (min(stored), None), (None, max(stored))):
        file = TableFile(low, high, 1, len(stored), ADA, "part")
        assert file.may_hold(min(wanted), max(wanted)) or not stored & wanted


def test_a_file_beyond_the_wanted_keys_is_left_out() -> None:
    file = TableFile("b", "d", 1, 2, ADA, "part")
    assert not file.may_hold("a", "a")
    assert not file.may_hold("e", "f")


def written(folder: Path, ids: dict[str, list[str]], **configuration: str) -> DeltaTable:
    for address, keys in ids.items():
        rows = pa.table({"mailbox": [address] * len(keys), "id": keys})
        write_deltalake(
            folder, rows, mode="append", partition_by=["mailbox"], configuration=dict(configuration)
        )
    return DeltaTable(folder)


def ids_of(table: DeltaTable, address: str | None) -> list[str]:
    return sorted(key for file in open_files(table, address) for key in file.read(["id"])["id"].to_pylist())


@pytest.mark.parametrize("read_at_once", [0, 2**30])
def test_the_files_of_a_mailbox_are_read(
    tmp_path: Path, read_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_READ_AT_ONCE", read_at_once)
    table = written(tmp_path / "a lake ü", {ADA: ["1", "2"], BOB: ["3"]})
    assert read_columns(table, ADA, ["id"], ID)["id"].to_pylist() == ["1", "2"]
    assert (ids_of(table, BOB), ids_of(table, None), ids_of(table, "c@d.test")) == (
        ["3"],
        ["1", "2", "3"],
        [],
    )
    [file] = table_files(table, "id", ADA)
    assert file[:2] == ("1", "2")
    assert (file.rows, file.mailbox) == (2, ADA)


def test_files_without_statistics_are_read(tmp_path: Path) -> None:
    none = {"delta.dataSkippingNumIndexedCols": "0"}
    table = written(tmp_path, {ADA: ["1", "2"]}, **none)
    [file] = table_files(table, "id", ADA)
    assert (file.low, file.high) == (None, None)
    assert ids_of(table, ADA) == ["1", "2"]


def test_a_table_that_is_not_partitioned_is_read(tmp_path: Path) -> None:
    write_deltalake(tmp_path, pa.table({"id": ["1"]}))
    [file] = table_files(DeltaTable(tmp_path))
    assert file.mailbox is None
    assert ids_of(DeltaTable(tmp_path), None) == ["1"]


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    table = written(tmp_path, {BOB: ["1"]})
    [path] = tmp_path.glob("mailbox=*/*.parquet")
    path.write_bytes(b"PAR?" * 100)
    with pytest.raises(LakeError, match=path.name):
        ids_of(table, BOB)
    path.unlink()
    with pytest.raises(LakeError, match=r"(?i)no such file|not found"):
        ids_of(table, BOB)


@pytest.mark.parametrize(
    "path", ["../other.parquet", "mailbox=x/%2E%2E/../../other.parquet", "a/%2e%2e/%2e%2e/other.parquet"]
)
def test_a_log_does_not_lead_out_of_the_table(tmp_path: Path, path: str) -> None:
    write_deltalake(tmp_path / "table", pa.table({"id": ["1"]}))
    table = DeltaTable(tmp_path / "table")
    (tmp_path / "table" / "a").mkdir()
    pq.write_table(pa.table({"id": ["2"]}), tmp_path / "other.parquet")
    [file] = table_files(table)
    with pytest.raises(OSError, match="outside"), open_file(table, file._replace(path=path)):
        pass
