"""Which rows changes delete: only those that a table can have, and none because Gmail refused to say."""

from __future__ import annotations

import pytest
from support.memory_gmail import MemoryGmail

from gmail_client.options import TableOptions
from lakeflow_entry.stream.deletes import DeleteReader
from lakeflow_entry.stream.offsets import NEW


@pytest.mark.parametrize("table", ["messages", "threads"])
def test_a_message_that_no_row_can_have_is_not_searched(table: str) -> None:
    gmail = MemoryGmail(14)
    stored = next(iter(gmail.messages))
    reader = DeleteReader(gmail, table, TableOptions.parse(table, {"q": "is:starred"}))
    start, _ = reader.plan(NEW)
    gmail.insert(("INBOX",))
    gmail.calls.clear()
    end, rows = reader.plan(start, confirmed=True)
    assert rows == []
    assert not {"messages.list", "threads.list"} & set(gmail.calls)
    gmail.modify([stored], remove=["STARRED"], add=["INBOX"])
    assert reader.plan(end, confirmed=True)[1]
    assert {"messages.list", "threads.list"} & set(gmail.calls)
