"""The history that the streams of a mailbox share."""

from __future__ import annotations

from typing import Any

import pytest
from support.lakeflow import Pipeline, connector_of
from support.memory_gmail import MemoryGmail

from gmail_client.emulator import Emulator
from lakeflow_entry.stream.history import HistoryRange
from lakeflow_entry.stream.offsets import NEW, Offset


def test_a_slice_ends_at_its_limit_and_the_next_one_continues_there() -> None:
    gmail = MemoryGmail(8)
    start = Offset(gmail.head)
    first, second, *others = list(gmail.messages)
    gmail.modify([first], add=["STARRED"])
    gmail.modify([second], add=["STARRED"])
    gmail.modify(others, add=["STARRED"])
    history = HistoryRange(gmail)
    seen: list[tuple[str, ...]] = []
    offset = start
    while True:
        part = history.next("messages", offset, 2)
        if part.end == offset:
            break
        assert history.between("messages", offset, part.end).keys == part.keys
        seen.append(part.keys)
        offset = part.end
    assert seen == [(first, second), *(tuple(others[at : at + 2]) for at in range(0, len(others), 2))]
    assert offset == Offset(gmail.head)


@pytest.mark.parametrize("table", ["messages", "threads"])
def test_a_record_that_is_partly_delivered_is_finished_alone(table: str) -> None:
    gmail = MemoryGmail(8)
    start = Offset(gmail.head)
    ids = list(gmail.messages)
    gmail.modify(ids, add=["STARRED"])
    history = HistoryRange(gmail)
    part = history.next(table, start, 2)
    assert part.end.seen == 2
    gmail.modify(ids[:1], remove=["STARRED"])
    rest = history.next(table, part.end, 1_000)
    assert part.keys + rest.keys == history.between(table, start, rest.end).keys
    assert history.next(table, rest.end, 1_000).keys == (ids[0],)


def test_nothing_after_the_head_is_read() -> None:
    gmail = MemoryGmail(8)
    head = gmail.head
    gmail.delete(list(gmail.messages)[:1])
    gmail.calls.clear()
    part = HistoryRange(gmail).next("messages", Offset(head), 9, head)
    assert (part.keys, part.end, gmail.calls) == ((), Offset(head), [])


def test_a_new_stream_has_no_history() -> None:
    with pytest.raises(ValueError, match="new stream"):
        HistoryRange(MemoryGmail()).next("messages", NEW, 9)


@pytest.mark.parametrize("table", ["messages", "threads"])
def test_both_flows_of_a_process_read_each_page_once(table: str) -> None:
    with Emulator(messages=30, seed=4, mean_json_kb=2.0) as gmail:
        connector = connector_of(gmail)
        pipeline = Pipeline(gmail, table)

        def run() -> None:
            pipeline.drain(connector, "upserts")
            pipeline.drain(connector, "deletes")

        run()
        run()
        mailbox = gmail.mailbox()
        mailbox.insert(mailbox.random_mail(), ("INBOX",))
        mailbox.delete(mailbox.message_ids()[0])
        gmail.usage.reset()
        run()
        calls: dict[str, Any] = dict(gmail.usage.calls)
        assert calls["history.list"] == 1
        pipeline.assert_true()
