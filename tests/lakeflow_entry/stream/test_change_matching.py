"""Streams match changes against a search: correctly, for at most the units of a listing of the whole search."""

from __future__ import annotations

import random
from email.utils import formatdate
from typing import Any

import pytest
from support.chaos import InstantClock
from support.lakeflow import Pipeline, connector_of

from gmail_client.emulator import EmulatedMailbox, Emulator

DAY = 86_400
MESSAGES = 60
PAGE = 4
WALK = MESSAGES // PAGE * 5
SUBJECTS: dict[str, str] = {}
TABLES = pytest.mark.parametrize("table", ["messages", "threads"])


def mail(
    mailbox: EmulatedMailbox, at: float, labels: tuple[str, ...] = ("INBOX", "UNREAD"), reply_to: str = ""
) -> str:
    """A message of this date, in epoch seconds; its id. A reply is in the same thread."""
    subject = f"Re: {SUBJECTS[reply_to]}" if reply_to else str(random.random())
    raw = (
        f"From: eve@example.test\r\nTo: {mailbox.address}\r\nSubject: {subject}\r\n"
        f"Date: {formatdate(at)}\r\nMessage-ID: <{random.random()}@example.test>\r\n"
    )
    if reply_to:
        original = mailbox.message(reply_to).content.message_id
        raw += f"In-Reply-To: {original}\r\nReferences: {original}\r\n"
    message_id = mailbox.insert(f"{raw}\r\nHello.\r\n".encode(), labels, date_source="dateHeader")
    SUBJECTS[message_id] = subject.removeprefix("Re: ")
    return message_id


class Search:
    """A stream of unread mail, loaded: sixty rows, one each six hours, and one thread of two."""

    def __init__(self, gmail: Emulator, table: str, **options: str) -> None:
        self.gmail = gmail
        self.mailbox = gmail.mailbox()
        self.now = gmail.clock.time()
        self.ids = [mail(self.mailbox, self.now - number * DAY / 4 - DAY) for number in range(MESSAGES)]
        self.read = mail(self.mailbox, self.now - 3 * DAY, ("INBOX",))
        self.pipeline = Pipeline(gmail, table, q="is:unread", maxResults=str(PAGE), **options)
        self.pipeline.run()
        self.pipeline.run()
        self.pipeline.assert_true()

    def units(self) -> int:
        """Runs both flows; the units spent on matching: all listings, and the gets that fetch no content."""
        self.gmail.usage.reset()
        self.pipeline.batches.clear()
        self.pipeline.run()
        rows, units, calls = sum(self.pipeline.batches), self.gmail.usage.units, self.gmail.usage.calls
        gets = units["messages.get"] + units["threads.get"]
        fetched = 20 * rows
        if self.pipeline.table == "threads":  # a new conversation is one messages.get, and nothing else is
            fetched += 20 * (rows - calls["messages.get"])
        self.pipeline.assert_true()
        return int(units["messages.list"] + max(gets - fetched, 0))


@TABLES
def test_new_mail_costs_one_listing_where_it_matches_and_a_few_where_not(table: str) -> None:
    with Emulator(messages=0, seed=3, clock=InstantClock()) as gmail:
        search = Search(gmail, table)
        mail(search.mailbox, gmail.clock.time())
        # The delete flow has nothing to match.
        assert search.units() == 5
        mail(search.mailbox, gmail.clock.time(), ("INBOX",))
        first = search.units()
        assert first == 10
        # The next batch matches it once more, together with new mail.
        mail(search.mailbox, gmail.clock.time())
        assert search.units() <= first + 5 + 5
        assert search.units() == 0


@TABLES
def test_a_changed_message_is_looked_for_around_its_date(table: str) -> None:
    with Emulator(messages=0, seed=3, clock=InstantClock()) as gmail:
        search = Search(gmail, table)
        oldest = search.ids[-1]
        search.mailbox.modify(oldest, ["STARRED"], [])
        # One get for the date and one listing, in each flow of a process of its own.
        one = 20 + 5 if table == "messages" else 40 + 5
        spent = search.units()
        assert spent <= one + 5
        assert spent < WALK
        search.mailbox.modify(oldest, [], ["UNREAD"])
        assert search.units() <= one + 5
        assert oldest not in search.pipeline.rows


@TABLES
@pytest.mark.parametrize("count", [1, 3, 10, 40])
def test_matching_changes_never_costs_more_than_both_flows_listings_of_the_search(
    table: str, count: int
) -> None:
    with Emulator(messages=0, seed=3, clock=InstantClock()) as gmail:
        search = Search(gmail, table)
        for message_id in random.Random(count).sample(search.ids, count):
            search.mailbox.modify(message_id, ["STARRED"], [])
        assert search.units() <= 2 * WALK
        for message_id in random.Random(-count).sample(search.ids, count):
            search.mailbox.modify(message_id, [], ["UNREAD"])
        assert search.units() <= 2 * WALK


@TABLES
def test_old_mail_that_is_imported_is_found_by_its_date(table: str) -> None:
    with Emulator(messages=0, seed=3, clock=InstantClock()) as gmail:
        search = Search(gmail, table)
        old = mail(search.mailbox, search.now - 200 * DAY)
        other = mail(search.mailbox, search.now - 200 * DAY, ("INBOX",))
        search.mailbox.modify(search.read, ["UNREAD"], [])
        # Two listings since the last batch, then one get and one listing each, in either flow.
        assert search.units() <= 10 + 2 * WALK
        assert {old, search.read} <= search.pipeline.rows.keys()
        assert other not in search.pipeline.rows


def test_a_reply_brings_a_thread_in_and_a_read_one_takes_it_out() -> None:
    with Emulator(messages=0, seed=3, clock=InstantClock()) as gmail:
        search = Search(gmail, "threads")
        reply = mail(search.mailbox, gmail.clock.time(), reply_to=search.read)
        search.units()
        assert len(search.pipeline.rows[search.read]["messages"]) == 2
        search.mailbox.modify(reply, [], ["UNREAD"])
        search.units()
        assert search.read not in search.pipeline.rows


@TABLES
def test_a_stream_of_an_earlier_release_counts_the_rows_at_its_next_listing(table: str) -> None:
    with Emulator(messages=0, seed=3, clock=InstantClock()) as gmail:
        search = Search(gmail, table)
        for flow, offset in search.pipeline.checkpoints.items():
            kept = {name: one for name, one in offset.items() if name not in ("readAt", "rows")}
            search.pipeline.checkpoints[flow] = kept
        search.mailbox.modify(search.ids[-1], ["STARRED"], [])
        search.mailbox.modify(search.ids[0], [], ["UNREAD"])
        assert search.units() <= 2 * WALK
        assert search.pipeline.checkpoints["upserts"]["rows"] == MESSAGES - 1
        search.mailbox.modify(search.ids[-1], [], ["STARRED"])
        assert search.units() < WALK


@TABLES
@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"labelIds": "INBOX"}, marks=pytest.mark.slow),
        pytest.param({"includeSpamTrash": "true"}, marks=pytest.mark.slow),
    ],
    ids=["all", "inbox", "spam and trash"],
)
def test_a_stream_with_a_search_converges_to_the_mailbox(table: str, options: dict[str, Any]) -> None:
    with Emulator(messages=0, seed=3, clock=InstantClock()) as gmail:
        search = Search(gmail, table, **options)
        mailbox, chance = search.mailbox, random.Random(7)
        for _ in range(6):
            for _ in range(chance.choice([1, 4, 12])):
                one = chance.choice(mailbox.message_ids())
                kind = chance.randrange(7)
                if kind == 0:
                    mail(mailbox, gmail.clock.time(), chance.choice([("INBOX", "UNREAD"), ("INBOX",), ()]))
                elif kind == 1:
                    mail(mailbox, search.now - chance.random() * 90 * DAY, ("UNREAD",))
                elif kind == 2:
                    mail(mailbox, gmail.clock.time(), ("UNREAD",), reply_to=one)
                elif kind == 3:
                    mailbox.modify(one, ["UNREAD", "INBOX"], [])
                elif kind == 4:
                    mailbox.modify(one, ["STARRED"], ["UNREAD"])
                elif kind == 5:
                    chance.choice((mailbox.trash, mailbox.untrash))(one)
                else:
                    mailbox.delete(one)
            gmail.clock.sleep(chance.choice([60, DAY]))
            if chance.random() < 0.3:
                search.pipeline.crash("upserts", lambda: None)
            search.pipeline.run()
        search.pipeline.run()
        search.pipeline.assert_true()


def test_both_flows_of_a_process_read_a_date_once() -> None:
    with Emulator(messages=0, seed=3, clock=InstantClock()) as gmail:
        search = Search(gmail, "messages")
        search.mailbox.modify(search.ids[-1], ["STARRED"], [])
        gmail.usage.reset()
        connector = connector_of(gmail)
        search.pipeline.drain(connector, "upserts")
        search.pipeline.drain(connector, "deletes")
        assert gmail.usage.calls["messages.get"] == 2  # its date, and its content
