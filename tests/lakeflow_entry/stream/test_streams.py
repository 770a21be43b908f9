"""Both flows on a changing mailbox, with limits, crashes and replays, converge to the mailbox."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from support.chaos import InstantClock
from support.lakeflow import Pipeline, connector_of, drained

from gmail_client.emulator import Behavior, EmulatedMailbox, Emulator

BEHAVIORS = {
    "defaults": Behavior(),
    "one record per message, split over pages": Behavior(
        history_groups="message", record_split_across_pages=True
    ),
    "threads.get hides trash, history ids grow a digit": Behavior(
        threads_get_includes_trash=False, history_near_rollover=True, empty_label_ids="empty"
    ),
    "thread history stands still, listings shuffled": Behavior(
        thread_history_moves_with_labels=False, listing_order="shuffled", history_labels_of_deleted=False
    ),
}
OPTIONS = {
    "all": {},
    "inbox": {"labelIds": "INBOX"},
    "spam and trash": {"includeSpamTrash": "true"},
}


def writer(gmail: Emulator, seed: int) -> Callable[[], None]:
    """A function that makes a random change of the mailbox with each call."""
    chance = random.Random(seed)
    mailbox = gmail.mailbox()

    def happen() -> None:
        ids = mailbox.message_ids()
        kind = chance.randrange(9)
        some = chance.sample(ids, min(len(ids), chance.choice((1, 2, 12))))
        if kind == 0:
            mailbox.insert(mailbox.random_mail(), chance.choice([("INBOX",), (), ("INBOX", "STARRED")]))
        elif kind == 1:
            mailbox.insert(mailbox.random_mail(reply_to=some[0]), ("INBOX",))
        elif kind == 2:
            mailbox.batch_modify(some, add=["INBOX"], remove=["UNREAD"])
        elif kind == 3:
            mailbox.batch_modify(some, remove=["INBOX"])
        elif kind == 4:
            mailbox.trash(some[0])
        elif kind == 5:
            mailbox.untrash(some[0])
        elif kind == 6:
            mailbox.batch_delete(some)
        elif kind == 7:
            thread = chance.choice(mailbox.thread_ids())
            chance.choice((mailbox.trash_thread, mailbox.untrash_thread, mailbox.delete_thread))(thread)
        else:
            mailbox.batch_modify(some, add=["SPAM"], remove=["INBOX"])

    return happen


@pytest.mark.parametrize("behavior", BEHAVIORS.values(), ids=BEHAVIORS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("table", ["messages", "threads"])
def test_a_stream_converges_to_the_mailbox(table: str, options: dict[str, str], behavior: Behavior) -> None:
    with Emulator(messages=70, seed=11, mean_json_kb=2.0, behavior=behavior) as gmail:
        happen = writer(gmail, 5)
        for cap in ("7", "25"):
            chance = random.Random(cap)
            pipeline = Pipeline(gmail, table, max_records_per_batch=cap, **options)
            for _ in range(14):
                happen()
                flow = chance.choice(["upserts", "upserts", "deletes"])
                if chance.random() < 0.4:
                    pipeline.crash(flow, happen)
                else:
                    pipeline.step(connector_of(gmail), flow)
            pipeline.run()
            pipeline.run()
            pipeline.assert_true()
            assert max(pipeline.batches) <= int(cap)


def test_a_stream_on_a_busy_mailbox_ends() -> None:
    with Emulator(messages=40, seed=2, mean_json_kb=2.0) as gmail:
        happen = writer(gmail, 1)
        for table in ("messages", "threads"):
            for read in ("read_table", "read_table_deletes"):
                connector = connector_of(gmail)
                offset: dict[str, Any] = {}
                for _ in range(60):
                    happen()
                    records, end = getattr(connector, read)(table, offset, {"max_records_per_batch": "5"})
                    assert len(list(records)) <= 5
                    if end == offset:
                        break
                    offset = end
                else:
                    raise AssertionError(f"{read} of {table} never ends")


def test_a_stream_that_ended_delivers_new_mail_in_the_next_run() -> None:
    with Emulator(messages=10, seed=2) as gmail:
        connector = connector_of(gmail)
        offset = drained(connector, "messages")
        arrived = gmail.mailbox().insert(gmail.mailbox().random_mail(), ("INBOX",))
        records, _ = connector.read_table("messages", offset, {})
        assert [row["id"] for row in records] == [arrived]


def test_the_first_load_starts_with_the_newest_thread_and_resumes_on_another_instance() -> None:
    with Emulator(messages=60, seed=3, mean_json_kb=2.0) as gmail:
        offset: dict[str, Any] = {}
        threads: list[str] = []
        while True:
            records, end = connector_of(gmail).read_table("messages", offset, {"max_records_per_batch": "10"})
            rows = list(records)
            threads += sorted({row["threadId"] for row in rows}, reverse=True)
            if end == offset:
                break
            offset = end
        assert list(dict.fromkeys(threads)) == sorted(set(threads), reverse=True)
        assert offset.keys() == {"version", "historyId", "limit", "mailbox", "filters", "content"}


def test_only_mail_that_matches_the_search_is_delivered() -> None:
    with Emulator(messages=40, seed=3, mean_json_kb=2.0) as gmail:
        for table in ("messages", "threads"):
            pipeline = Pipeline(gmail, table, q="is:starred")
            pipeline.run()
            pipeline.assert_true()
            mailbox = gmail.mailbox()
            new = [mailbox.insert(mailbox.random_mail(), labels) for labels in ((), ("STARRED",), ())]
            pipeline.batches.clear()
            pipeline.run()
            assert sum(pipeline.batches) == 1
            pipeline.assert_true()
            mailbox.delete(new[1])
            pipeline.run()
            pipeline.assert_true()


DAY = 86_400


def mail(mailbox: EmulatedMailbox, at: float, labels: tuple[str, ...] = ("INBOX", "UNREAD")) -> str:
    """Deliver a message with this date, in epoch seconds; returns its id."""
    raw = (
        f"From: eve@example.test\r\nTo: {mailbox.address}\r\nSubject: {random.random()}\r\n"
        f"Date: {formatdate(at)}\r\nMessage-ID: <{random.random()}@example.test>\r\n\r\nHello.\r\n"
    )
    return mailbox.insert(raw.encode(), labels, date_source="dateHeader")


@pytest.mark.parametrize("table", ["messages", "threads"])
def test_a_changed_message_is_updated_or_deleted_according_to_the_search(table: str) -> None:
    with Emulator(messages=0, seed=3, clock=InstantClock()) as gmail:
        mailbox = gmail.mailbox()
        one, two, other = (mail(mailbox, gmail.clock.time()) for _ in range(3))
        mailbox.modify(other, [], ["UNREAD"])
        pipeline = Pipeline(gmail, table, q="is:unread")
        pipeline.run()
        mailbox.modify(one, ["STARRED"], [])
        mailbox.modify(two, [], ["UNREAD"])
        pipeline.run()
        assert pipeline.rows.keys() == {one}
        pipeline.assert_true()
        mailbox.modify(other, ["UNREAD"], [])
        mailbox.modify(two, ["UNREAD"], [])
        pipeline.run()
        pipeline.assert_true()
        mailbox.modify(one, [], ["UNREAD"])
        gmail.expire_history()
        pipeline.run()
        assert pipeline.rows.keys() == {two, other}


@pytest.mark.parametrize("table", ["messages", "threads"])
def test_the_passage_of_time_neither_deletes_nor_adds_rows_of_a_stream(table: str) -> None:
    with Emulator(messages=0, seed=3, clock=InstantClock()) as gmail:
        mailbox = gmail.mailbox()
        old, one, two = (mail(mailbox, gmail.clock.time() - age * DAY) for age in (20, 3, 1))
        pipeline = Pipeline(gmail, table, q="newer_than:7d is:unread")
        pipeline.run()
        gmail.clock.sleep(9 * DAY)
        late = mail(mailbox, gmail.clock.time())
        mailbox.batch_modify([old, one], ["STARRED"], [])
        mailbox.modify(two, [], ["UNREAD"])
        pipeline.run()
        assert pipeline.rows.keys() == {one, late}
        row = pipeline.rows[one]
        assert "STARRED" in (row["labelIds"] if table == "messages" else row["messages"][0]["labelIds"])


@pytest.mark.parametrize("table", ["messages", "threads"])
def test_a_search_for_older_than_is_reported_and_applies_to_changes(
    table: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Emulator(messages=0, seed=3, clock=InstantClock()) as gmail:
        mailbox = gmail.mailbox()
        one, two, old = (mail(mailbox, gmail.clock.time() - age * DAY) for age in (1, 1, 9))
        pipeline = Pipeline(gmail, table, q="older_than:2d")
        with caplog.at_level(logging.WARNING):
            pipeline.run()
        assert f"{table}: the search has `older_than:`" in caplog.text
        gmail.clock.sleep(3 * DAY)
        mailbox.modify(one, ["STARRED"], [])
        pipeline.run()
        assert pipeline.rows.keys() == {one, old}
        caplog.clear()
        pipeline = Pipeline(gmail, table, q="newer_than:2d")
        pipeline.run()
        assert "older_than" not in caplog.text
        assert two not in pipeline.rows


@pytest.mark.parametrize("table", ["messages", "threads"])
def test_a_stream_with_a_start_date_reads_no_older_message(table: str) -> None:
    with Emulator(messages=0, seed=3) as gmail:
        mailbox = gmail.mailbox()
        start = int(gmail.clock.time()) - 30 * DAY
        old = [mail(mailbox, start - 9 * DAY) for _ in range(5)]
        near, one, two = mail(mailbox, start - 1), mail(mailbox, start), mail(mailbox, start + DAY)
        pipeline = Pipeline(gmail, table, startDate=str(start))
        pipeline.run()
        assert pipeline.rows.keys() == {one, two}
        gmail.usage.reset()
        mailbox.batch_modify([*old, near, one], ["STARRED"], [])
        mailbox.trash(two)
        pipeline.run()
        assert pipeline.rows.keys() == {one}
        assert gmail.usage.calls.get("messages.get", 0) + gmail.usage.calls.get("threads.get", 0) <= 3
        mailbox.untrash(two)
        pipeline.run()
        assert pipeline.rows.keys() == {one, two}
