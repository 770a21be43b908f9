"""A listing that lacks most of a table's rows deletes none of them."""

from __future__ import annotations

import json

import pytest
from support.memory_gmail import MemoryGmail
from support.streams import MAILBOXES, READERS, Query, StreamReader, Streams, Target

from gmail_client.deletion import MassDeletionError

pytestmark = pytest.mark.usefixtures("gmail_in_memory")


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def mailbox(messages: int) -> MemoryGmail:
    gmail = MemoryGmail()
    for _ in range(messages):
        gmail.insert(("INBOX",))
    return gmail


@pytest.mark.parametrize("table", ["messages", "threads"])
@pytest.mark.parametrize("filters", ["all", "inbox"])
def test_after_an_expired_history_a_mass_deletion_is_refused(reader: str, table: str, filters: str) -> None:
    streams = Streams(mailbox(130), reader, table, filters)
    streams.run()
    kept = streams.gmail.messages
    streams.gmail.messages = dict(list(kept.items())[:29])
    streams.gmail.expire()
    for _ in range(2):
        with pytest.raises(MassDeletionError, match="would delete 101 of 130 rows") as caught:
            streams.deletes.run()
        assert f"a full refresh of {table}" in caught.value.fix
    assert not streams.target.deleted
    streams.gmail.messages = kept
    streams.run()
    streams.assert_equal()


@pytest.mark.parametrize(("messages", "left"), [(100, 0), (510, 408)])
def test_fewer_deletes_are_found_after_an_expired_history(reader: str, messages: int, left: int) -> None:
    streams = Streams(mailbox(messages), reader, "messages", "inbox")
    streams.run()
    streams.gmail.messages = dict(list(streams.gmail.messages.items())[:left])
    streams.gmail.expire()
    streams.run()
    streams.assert_equal()


def test_a_batch_that_is_repeated_is_refused_too() -> None:
    streams = Streams(mailbox(130), "stream reader", "messages", "inbox")
    streams.run()
    streams.gmail.delete(list(streams.gmail.messages)[:1])
    streams.gmail.expire()
    streams.run(None, 8)  # killed in the batch that compares the ids
    assert len(streams.deletes.offsets) == streams.deletes.committed + 1
    streams.gmail.messages = {}
    with pytest.raises(MassDeletionError, match="would delete 130 of 130 rows"):
        streams.deletes.run()
    assert not streams.target.deleted


def test_one_of_many_mailboxes_is_refused_and_the_others_continue() -> None:
    names = ("ada@example.com", "bo@example.com")
    MAILBOXES.update({name: mailbox(130) for name in names})
    target = Target("messages")
    options = {
        "client_id": "id",
        "client_secret": "secret",
        "refresh_token": "token",
        "tablename": "messages",
    }
    options |= {"format": "minimal", "mailboxes": ",".join(names)}
    flows = [
        Query(lambda deletes=deletes: StreamReader({**options, "isdeleteflow": deletes}), write)
        for deletes, write in (("false", target.upsert), ("true", target.delete))
    ]
    for flow in flows:
        flow.run()
    for name in names:
        MAILBOXES[name].messages = dict(
            list(MAILBOXES[name].messages.items())[: 29 if name == names[0] else 120]
        )
        MAILBOXES[name].expire()
    flows[1].run()
    assert len(set(target.deleted)) == 10
    assert {key[0] for key in target.rows} == set(names)
    assert json.loads(flows[1].offsets[-1])["refused"] == [names[0]]


def test_many_deletes_are_passed_in_several_arrow_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakeflow_entry.datasource._DELETES", 30)
    streams = Streams(mailbox(100), "stream reader", "messages")
    streams.run()
    gone = list(streams.gmail.messages)[:70]
    streams.gmail.delete(gone)
    reader = streams.deletes.make().reader
    start = json.loads(streams.deletes.offsets[-1])
    (part,) = reader.partitions(start, reader.latestOffset(start, None))
    batches = list(reader.read(part))
    assert [batch.num_rows for batch in batches] == [30, 30, 10]
    assert [key for batch in batches for key in batch["id"].to_pylist()] == gone
