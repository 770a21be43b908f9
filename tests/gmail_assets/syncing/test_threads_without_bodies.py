"""`threads` in a smaller format than `messages`: one fetch for both, at no further units."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from support.chaos import client_of
from support.lake import assert_lake_equals_mailbox
from support.sync_scenarios import deliver, deliver_reply, toggle_star

from gmail_assets.delta.lake import Lake
from gmail_assets.syncing import sync
from gmail_client.emulator import Emulator
from gmail_client.spec import SpecTable


def tables(threads_format: str) -> list[SpecTable]:
    return [
        SpecTable.parse({"source_table": "messages"}),
        SpecTable.parse({"source_table": "threads", "table_configuration": {"format": threads_format}}),
    ]


def visible(gmail: Emulator) -> list[str]:
    return sorted(row["id"] for row in gmail.truth("messages", format="minimal"))


def nothing(gmail: Emulator) -> None:
    """The mailbox stays as it is."""


def new_mail(gmail: Emulator) -> None:
    ids = visible(gmail)
    for number in range(4):
        deliver(gmail.mailbox(), f"new {number}", "Hello.")
        deliver_reply(gmail.mailbox(), ids[number * 3])


def labels(gmail: Emulator) -> None:
    for message_id in random.Random(1).sample(visible(gmail), 9):
        toggle_star(gmail.mailbox(), message_id)


def deletions(gmail: Emulator) -> None:
    for message_id in random.Random(2).sample(visible(gmail), 5):
        gmail.mailbox().delete(message_id)


def expired(gmail: Emulator) -> None:
    labels(gmail)
    new_mail(gmail)
    gmail.expire_history()


PHASES: list[Callable[[Emulator], None]] = [nothing, new_mail, labels, deletions, expired, nothing]


def units(folder: Path, threads_format: str) -> list[int]:
    """Units of each phase; after each, both tables equal the mailbox."""
    spent = []
    specs = tables(threads_format)
    with Emulator(messages=40, seed=5, mean_json_kb=4) as gmail:
        lake, client = Lake(str(folder)), client_of(gmail)
        for change in PHASES:
            change(gmail)
            before = gmail.usage.total_units
            sync(client.mailbox(), lake, specs, sample=random.Random(1))
            spent.append(gmail.usage.total_units - before)
            assert_lake_equals_mailbox(lake, gmail, specs)
    return spent


@pytest.mark.parametrize("threads_format", ["minimal", pytest.param("metadata", marks=pytest.mark.slow)])
def test_threads_without_bodies_cost_no_further_units(tmp_path: Path, threads_format: str) -> None:
    full = units(tmp_path / "full", "full")
    assert full[0] > 500
    assert units(tmp_path / "smaller", threads_format) == full


def test_threads_without_bodies_are_made_from_stored_messages(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    messages, threads = tables("minimal")
    with Emulator(messages=40, seed=5) as gmail:
        mailbox = client_of(gmail).mailbox()
        sync(mailbox, lake, [messages])
        gets = gmail.usage.units["messages.get"] + gmail.usage.units["threads.get"]
        sync(mailbox, lake, [messages, threads])
        assert gmail.usage.units["messages.get"] + gmail.usage.units["threads.get"] == gets
        assert_lake_equals_mailbox(lake, gmail, [messages, threads])


@pytest.mark.parametrize("threads_format", ["full", "minimal"])
def test_threads_that_are_synced_less_often_cost_only_their_history(
    tmp_path: Path, threads_format: str
) -> None:
    lake = Lake(str(tmp_path))
    messages, threads = tables(threads_format)
    with Emulator(messages=40, seed=5) as gmail:
        mailbox = client_of(gmail).mailbox()
        sync(mailbox, lake, [messages, threads])
        for change in (new_mail, labels, new_mail):
            change(gmail)
            sync(mailbox, lake, [messages])
        before = gmail.usage.units.copy()
        sync(mailbox, lake, [threads], pipeline=[messages, threads])
        spent = gmail.usage.units - before
        assert not spent["messages.get"]
        assert not spent["threads.get"]
        assert_lake_equals_mailbox(lake, gmail, [messages, threads])


def test_dropping_the_bodies_of_stored_threads_costs_no_fetch(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    with Emulator(messages=40, seed=5) as gmail:
        mailbox = client_of(gmail).mailbox()
        sync(mailbox, lake, tables("full"))
        before = gmail.usage.units.copy()
        sync(mailbox, lake, tables("minimal"))
        spent = gmail.usage.units - before
        assert not spent["messages.get"]
        assert not spent["threads.get"]
        assert_lake_equals_mailbox(lake, gmail, tables("minimal"))
