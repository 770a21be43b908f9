"""What the streams spend, in quota units, on loads, changes and deletes."""

from __future__ import annotations

from typing import Any

import pytest
from support.lakeflow import Pipeline, connector_of
from support.memory_gmail import MemoryGmail

from gmail_client.emulator import EmulatedMailbox, Emulator
from gmail_client.errors import NotFoundError
from gmail_client.options import TableOptions
from lakeflow_entry.stream.thread_listing import listed_if_cheaper

HEAD, HISTORY, MESSAGE, THREAD, MESSAGES, THREADS, LABEL = 1, 2, 20, 40, 5, 10, 1


class Spending:
    """A pipeline, and the units of each of its runs."""

    def __init__(self, gmail: Emulator, table: str, **options: str) -> None:
        self.gmail = gmail
        self.pipeline = Pipeline(gmail, table, **options)

    def run(self) -> tuple[int, int]:
        """The units of the upserts and of the deletes; the target is correct afterwards."""
        units = []
        for flow in ("upserts", "deletes"):
            self.gmail.usage.reset()
            self.pipeline.drain(connector_of(self.gmail), flow)
            units.append(self.gmail.usage.total_units)
        self.pipeline.assert_true()
        return units[0], units[1]


def conversations(mailbox: EmulatedMailbox, count: int, *labels: str) -> list[str]:
    """Insert messages that are no replies; returns their ids."""
    return [mailbox.insert(mailbox.random_mail(), labels) for _ in range(count)]


def test_a_first_load_costs_the_least_for_each_thread() -> None:
    with Emulator(messages=60, seed=7, mean_json_kb=1.0) as gmail:
        sizes: dict[str, int] = {}
        for row in gmail.truth("messages", format="minimal"):
            sizes[row["threadId"]] = sizes.get(row["threadId"], 0) + 1
        least = sum(min(MESSAGE * size, THREAD) for size in sizes.values())
        assert Spending(gmail, "messages").run()[0] == HEAD + MESSAGES + least
        assert Spending(gmail, "threads").run()[0] == HEAD + THREADS + MESSAGES + least


def test_messages_cost_their_changes_and_one_read_of_the_history() -> None:
    with Emulator(messages=30, seed=7, mean_json_kb=1.0) as gmail:
        mailbox = gmail.mailbox()
        inbox = Spending(gmail, "messages", labelIds="INBOX")
        inbox.run()
        assert inbox.run() == (HEAD, HEAD)
        new = conversations(mailbox, 6, "INBOX", "UNREAD")
        assert inbox.run() == (HEAD + HISTORY + 6 * MESSAGE, HEAD + HISTORY)
        other = conversations(mailbox, 6, "CATEGORY_PROMOTIONS")
        mailbox.batch_modify(other, ["STARRED"], [])
        mailbox.batch_modify(new[:2], [], ["INBOX"])
        mailbox.batch_delete(new[2:4])
        assert inbox.run() == (HEAD + HISTORY, HEAD + HISTORY)


@pytest.mark.parametrize("spam", ["false", "true"])
def test_a_new_conversation_costs_one_message_and_a_grown_one_its_thread(spam: str) -> None:
    with Emulator(messages=30, seed=7, mean_json_kb=1.0) as gmail:
        mailbox = gmail.mailbox()
        threads = Spending(gmail, "threads", includeSpamTrash=spam)
        threads.run()
        hidden = 2 * MESSAGES if spam == "true" else 0
        first, other = conversations(mailbox, 2, "INBOX", "UNREAD")
        mailbox.modify(other, remove=["UNREAD"])
        assert threads.run()[0] == HEAD + HISTORY + 2 * MESSAGE
        mailbox.receive(mailbox.random_mail(reply_to=first))
        assert threads.run()[0] == HEAD + HISTORY + THREAD + hidden
        mailbox.modify(other, add=["STARRED"])
        assert threads.run()[0] == HEAD + HISTORY + THREAD + hidden


@pytest.mark.parametrize(("labels", "estimate"), [("", HEAD), ("INBOX", LABEL)])
def test_threads_that_left_the_table_or_never_were_in_it_cost_one_listing(labels: str, estimate: int) -> None:
    with Emulator(messages=30, seed=7, mean_json_kb=1.0) as gmail:
        mailbox = gmail.mailbox()
        new = conversations(mailbox, 9, "INBOX")
        threads = Spending(gmail, "threads", labelIds=labels)
        threads.run()
        listing = HEAD + HISTORY + estimate + THREADS
        mailbox.batch_delete(new[:3])
        for message_id in new[3:6]:
            mailbox.trash(message_id)
        assert threads.run() == (listing, listing)
        if labels:
            mailbox.batch_modify(new[6:], [], ["INBOX"])
            assert threads.run() == (listing, listing)
            other = conversations(mailbox, 5)
            mailbox.batch_modify(other, ["STARRED"], [])
            assert threads.run() == (listing, HEAD + HISTORY)


def test_a_thread_is_read_if_a_listing_costs_more() -> None:
    with Emulator(messages=30, seed=7, mean_json_kb=1.0) as gmail:
        mailbox = gmail.mailbox()
        new = conversations(mailbox, 2, "INBOX")
        threads = Spending(gmail, "threads", maxResults="1")
        threads.run()
        mailbox.delete(new[0])
        assert threads.run() == (HEAD + HISTORY + HEAD + THREAD, HEAD + HISTORY + HEAD + THREAD)


class Ghost(MemoryGmail):
    """A mailbox whose messages have a label that labels.get does not know."""

    def label(self, label_id: str) -> dict[str, Any]:
        raise NotFoundError(f"{label_id} is not found.", fix="")


def test_the_size_of_a_label_without_a_resource_is_that_of_the_mailbox() -> None:
    gmail = Ghost(12)
    threads = gmail.thread_ids()
    options = TableOptions.parse("threads", {"labelIds": "INBOX"})
    assert listed_if_cheaper(gmail, options, threads) == gmail.rows("threads", ("INBOX",)).keys()
    assert gmail.calls == ["getProfile", "threads.list"]
    assert listed_if_cheaper(gmail, options.model_copy(update={"max_results": 1}), threads[:1]) is None
    assert listed_if_cheaper(gmail, options, ()) is None
