"""The change reader: the content of a plan, and no gap between a listing and the history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.chaos import client_of

from gmail_client.emulator import Emulator
from gmail_client.options import TableOptions
from lakeflow_entry.stream.batch import read_batch
from lakeflow_entry.stream.changes import ChangeReader
from lakeflow_entry.stream.offsets import Offset


class Meanwhile:
    """An API that calls a function after the last page of a listing."""

    def __init__(self, api: Any, happen: Callable[[], None]) -> None:
        self._api = api
        self._happen = happen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    def list_messages(self, **named: Any) -> Iterator[list[dict[str, Any]]]:
        yield from self._api.list_messages(**named)
        self._happen()


def options(table: str, **configuration: Any) -> TableOptions:
    return TableOptions.parse(table, configuration)


def all_ids(reader: ChangeReader, offset: Offset) -> set[str]:
    """Read a stream to its end; returns the ids of its messages."""
    found: set[str] = set()
    for _ in range(100):
        end, batch = reader.plan(offset)
        found.update(one for ids in batch.threads.values() for one in ids)
        if end == offset:
            return found
        offset = end
    raise AssertionError("the stream never ends")


@pytest.mark.parametrize("table", ["messages", "threads"])
@pytest.mark.parametrize("limit", ["5", "1000"])
def test_mail_that_arrives_between_the_listing_and_the_history_is_read(table: str, limit: str) -> None:
    with Emulator(messages=20, seed=2, mean_json_kb=1.0) as gmail:
        mailbox = gmail.mailbox()
        arrived: list[str] = []

        def arrive() -> None:
            if not arrived:
                arrived.append(mailbox.insert(mailbox.random_mail(), ("INBOX",)))

        api = Meanwhile(client_of(gmail).mailbox().api, arrive)
        reader = ChangeReader(api, table, options(table, max_records_per_batch=limit))  # type: ignore[arg-type]
        assert all_ids(reader, Offset()) >= {*arrived, *(row["id"] for row in gmail.truth("messages"))}
        assert arrived


@pytest.mark.parametrize("table", ["messages", "threads"])
def test_mail_that_arrives_during_the_listing_of_a_reload_is_read(table: str) -> None:
    with Emulator(messages=20, seed=2, mean_json_kb=1.0) as gmail:
        mailbox = gmail.mailbox()
        start = int(mailbox.head)
        gmail.expire_history()
        arrived: list[str] = []

        def arrive() -> None:
            if not arrived:
                arrived.append(mailbox.insert(mailbox.random_mail(), ("INBOX",)))

        api = Meanwhile(client_of(gmail).mailbox().api, arrive)
        reader = ChangeReader(api, table, options(table))  # type: ignore[arg-type]
        assert set(arrived) <= all_ids(reader, Offset(start))
        assert arrived


@pytest.mark.parametrize("table", ["messages", "threads"])
def test_a_changed_row_is_not_older_than_its_history_record(table: str) -> None:
    with Emulator(messages=20, seed=2, mean_json_kb=1.0) as gmail:
        api = client_of(gmail).mailbox().api
        reader = ChangeReader(api, table, options(table))
        mailbox = gmail.mailbox()
        start = int(mailbox.head)
        message_id = next(row["id"] for row in gmail.truth("messages") if "STARRED" not in row["labelIds"])
        mailbox.modify(message_id, ["STARRED"], [])
        _, batch = reader.plan(Offset(start))
        record = int(mailbox.head)
        (key,) = batch.sequence
        assert batch.sequence[key] == record
        for raised in (0, 1_000):
            later = type(batch)(batch.threads, {key: record + raised}, batch.heads, batch.changed)
            rows = [row for page in read_batch(api, table, options(table), later) for row in page]
            assert [row["id"] for row in rows] == [key]
            assert int(rows[0]["historyId"]) >= record + raised


@pytest.mark.parametrize("table", ["messages", "threads"])
def test_a_reloaded_row_is_not_older_than_the_reload(table: str) -> None:
    with Emulator(messages=20, seed=2, mean_json_kb=1.0) as gmail:
        api = client_of(gmail).mailbox().api
        start = int(gmail.mailbox().head)
        gmail.expire_history()
        offset, batch = ChangeReader(api, table, options(table)).plan(Offset(start))
        assert not batch.threads
        end, batch = ChangeReader(api, table, options(table)).plan(offset)
        rows = [row for page in read_batch(api, table, options(table), batch) for row in page]
        assert len(rows) == len(gmail.truth(table))
        if table == "threads":
            assert end.reloaded
            assert min(int(row["historyId"]) for row in rows) >= end.reloaded


def test_a_conversation_that_grows_before_it_is_read_is_followed_by_a_newer_row() -> None:
    with Emulator(messages=20, seed=2, mean_json_kb=1.0) as gmail:
        mailbox = gmail.mailbox()
        api = client_of(gmail).mailbox().api
        reader = ChangeReader(api, "threads", options("threads"))
        start = Offset(int(mailbox.head))
        first = mailbox.insert(mailbox.random_mail(), ["INBOX"])
        end, batch = reader.plan(start)
        assert batch.new == {first}
        mailbox.receive(mailbox.random_mail(reply_to=first))
        mailbox.modify(first, ["STARRED"], [])
        rows = []
        for part in (batch, reader.plan(end)[1]):
            rows += [row for page in read_batch(api, "threads", options("threads"), part) for row in page]
        assert [row["id"] for row in rows] == [first, first]
        assert [len(row["messages"]) for row in rows] == [1, 2]
        assert int(rows[0]["historyId"]) < int(rows[1]["historyId"])
