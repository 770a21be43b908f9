"""The messages to fetch, in groups with one format each."""

from __future__ import annotations

from pathlib import Path

import pytest

from gmail_assets.delta.lake import Lake
from gmail_assets.syncing.planner import open_table
from gmail_assets.syncing.sync_plan import FetchPlan, includes, newest_first
from gmail_assets.syncing.table import TableSync
from gmail_client.quota import preset
from gmail_client.spec import SpecTable

CURRENT = preset("current")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path))


def table(lake: Lake, name: str, format_: str = "full") -> TableSync:
    spec = SpecTable.parse({"source_table": name, "table_configuration": {"format": format_}})
    return open_table(lake, spec, "ada@example.test")


def requested(plan: FetchPlan) -> dict[str, dict[str, set[str]]]:
    return {group.format: group.missing for group in plan.groups}


def test_tables_of_one_format_share_a_fetch(lake: Lake) -> None:
    plan = FetchPlan()
    plan.add(table(lake, "messages"), {"t1": {"a", "b"}})
    plan.add(table(lake, "threads"), {"t1": {"a", "b"}})
    assert requested(plan) == {"full": {"t1": {"a", "b"}}}
    assert plan.units(CURRENT) == 40
    assert len(plan) == 2


@pytest.mark.parametrize("order", [0, 1])
def test_a_poorer_format_shares_only_the_threads_of_a_richer_one(lake: Lake, order: int) -> None:
    plan = FetchPlan()
    needs = [
        (table(lake, "messages"), {"t1": {"a"}}),
        (table(lake, "threads", "minimal"), {"t1": {"a", "b"}, "t2": {"c"}}),
    ]
    for one, missing in needs if not order else reversed(needs):
        plan.add(one, missing)
    assert requested(plan) == {"full": {"t1": {"a", "b"}}, "minimal": {"t2": {"c"}}}
    assert plan.units(CURRENT) == 40 + 20


def test_raw_is_not_shared(lake: Lake) -> None:
    plan = FetchPlan()
    plan.add(table(lake, "messages", "raw"), {"t1": {"a"}})
    plan.add(table(lake, "threads", "minimal"), {"t1": {"a"}})
    assert requested(plan) == {"raw": {"t1": {"a"}}, "minimal": {"t1": {"a"}}}


def test_which_format_includes_which() -> None:
    formats = ("full", "metadata", "minimal", "raw")
    assert {(a, b) for a in formats for b in formats if includes(a, b)} == {
        *((one, one) for one in formats),
        ("full", "metadata"),
        ("full", "minimal"),
        ("metadata", "minimal"),
        ("raw", "minimal"),
    }


def test_newest_is_first_even_if_ids_gain_a_digit() -> None:
    assert newest_first(["9", "ff", "100", "a"]) == ["100", "ff", "a", "9"]
