"""A lake that many threads use at once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gmail_assets.delta.errors import LakeError
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.registry import MailboxRegistry


def test_threads_that_create_a_table_at_once_get_the_same_one(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(lambda _: lake.table("threads"), range(8)))
        list(pool.map(lambda n: MailboxRegistry(lake).check_name(f"{n}@a.test", f"{n}@a.test"), range(8)))
    assert len({table.delta.metadata().id for table in tables}) == 1
    for folder in (tmp_path / "lake").iterdir():
        log = sorted((folder / "_delta_log").glob("*.json"))
        actions = [json.loads(line) for path in log for line in path.read_text("utf-8").splitlines()]
        assert sum("metaData" in action for action in actions) == 1
    assert len(MailboxRegistry(lake).addresses()) == 8


def test_a_store_that_does_not_exist_is_no_empty_lake() -> None:
    lake = Lake("s4://bucket/gmail")
    for use in (lake.find, lake.opened, lake.table):
        with pytest.raises(LakeError, match="s4"):
            use("labels")
