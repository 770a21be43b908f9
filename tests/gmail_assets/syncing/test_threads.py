"""The history id of a row in the table of threads."""

from __future__ import annotations

from pathlib import Path

import pytest

from gmail_assets.delta.lake import Lake
from gmail_assets.syncing.chunk import Chunk
from gmail_assets.syncing.planner import open_table
from gmail_assets.syncing.table_plan import TablePlan
from gmail_client.changes import Changes, MessageChange
from gmail_client.fetch import FetchedThread
from gmail_client.spec import SpecTable

THREADS = SpecTable.parse({"source_table": "threads"})
ADDRESS = "a@b.test"


def message(message_id: str, history_id: int) -> dict[str, object]:
    return {"id": message_id, "threadId": "t", "labelIds": ["INBOX"], "historyId": str(history_id)}


def sequence(lake: Lake) -> int:
    delta = lake.find("threads")
    assert delta is not None
    (row,) = delta.to_pyarrow_table().to_pylist()
    assert row["historyId"] == str(row["historySequence"])
    return int(row["historySequence"])


@pytest.mark.parametrize(
    ("record", "head", "expected"), [(7, 9, 9), (9, 7, 9), (7, 0, 7), (3, 4, 5)], ids=str
)
def test_a_changed_thread_gets_the_highest_history_id(
    tmp_path: Path, record: int, head: int, expected: int
) -> None:
    lake = Lake(str(tmp_path))
    for writing in (True, False):
        table = open_table(lake, THREADS, ADDRESS)
        table.load(1)
        table.read_stored(None)
        if writing:
            table.begin(TablePlan(requested={"a", "b"}))
            pieces = [
                FetchedThread("t", [message("a", 2)], history_id="5"),
                FetchedThread("t", [message("b", 3)], history_id="4"),
            ]
            table.write_content(Chunk(pieces))
            assert sequence(lake) == 5
            continue
        table.thread_heads = {"t": head} if head else {}
        change = MessageChange("t", record, labels=("STARRED",))
        table.write_changes(Changes(0, 0, {"a": change}), table.state)
        assert sequence(lake) == expected
