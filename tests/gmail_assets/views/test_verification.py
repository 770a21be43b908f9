"""The results of `verify_views` and `count_views` for derived tables that are correct, outdated or wrong."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest
from support.views import ADA, Tables, message

from gmail_assets.delta.scan import read_present
from gmail_assets.delta.writer import PartitionWriter
from gmail_assets.views.verification import (
    ViewCounts,
    ViewVerdict,
    count_views,
    verify_views,
)
from gmail_client.views import VIEWS


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    tables = Tables(tmp_path)
    tables.add(*(message(f"m{n}", "INBOX", "Label_1", attachments=n % 3) for n in range(6)))
    tables.name(Label_1="Work")
    tables.derive()
    return tables


def verdicts(tables: Tables, sample: int = 100) -> dict[str, ViewVerdict]:
    return verify_views(tables.lake, ADA, tables.sources, sample=sample, rng=random.Random(1))


def writer(tables: Tables, name: str) -> PartitionWriter:
    return PartitionWriter(tables.lake.view(VIEWS[name]), ADA, VIEWS[name].primary_key)


def counts_of(tables: Tables) -> dict[str, ViewCounts]:
    messages = tables.sources.open_messages(tables.lake)
    schema = pa.schema([messages.schema.field("id"), messages.schema.field("labelIds")])
    rows = read_present(messages, ADA, schema.names, schema)
    return count_views(tables.lake, ADA, tables.sources, rows)


def test_correct_tables(tables: Tables) -> None:
    found = verdicts(tables)
    assert {name: (v.rows, v.outdated, v.differing) for name, v in found.items()} == {
        "emails": (6, 0, 0),
        "message_labels": (12, 0, 0),
        "attachments": (6, 0, 0),
    }
    assert found["emails"].sampled == 6
    counts = counts_of(tables)
    assert counts == {
        "emails": ViewCounts(6, 0, 6),
        "message_labels": ViewCounts(12, 0, 12),
        "attachments": ViewCounts(6, 0, 6),
    }


def test_outdated_tables(tables: Tables) -> None:
    tables.relabel("m1", ["INBOX"], 900)
    tables.remove("m2")
    tables.add(message("n", "INBOX", attachments=1))
    found = verdicts(tables, sample=0)
    assert (found["emails"].outdated, found["emails"].examples) == (3, ["m1", "m2", "n"])
    assert found["message_labels"].outdated == 4
    assert counts_of(tables)["message_labels"].expected == 10


def test_wrong_rows_are_found_by_the_sample(tables: Tables) -> None:
    writer(tables, "emails").merge(pa.table({"message_id": ["m3"], "subject": ["forged"]}))
    wrong = pa.table({"message_id": ["m1"], "part_id": ["1"], "filename": ["forged.exe"]})
    writer(tables, "attachments").merge(wrong)
    found = verdicts(tables)
    assert (found["emails"].differing, found["emails"].examples) == (1, ["m3"])
    assert (found["attachments"].differing, found["attachments"].examples) == (1, ["m1"])


def test_duplicate_rows_are_counted(tables: Tables) -> None:
    row = pa.table({"message_id": ["m1"]}).cast(pa.schema([("message_id", pa.string())]))
    schema = VIEWS["emails"].schema
    nulls = [row["message_id"] if field.name == "message_id" else pa.nulls(1, field.type) for field in schema]
    writer(tables, "emails").append(pa.table(nulls, schema=schema))
    assert counts_of(tables)["emails"] == ViewCounts(7, 1, 6)


def test_nothing_is_stored(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    assert counts_of(tables) == {}
    assert verdicts(tables) == {name: ViewVerdict() for name in VIEWS}
    tables.add(message("a", "INBOX"))
    assert counts_of(tables) == {}
    assert verdicts(tables)["emails"].outdated == 1
