"""One run over one mailbox: tables with different options, kills, and changes during the run."""

from __future__ import annotations

import contextlib
from typing import Any
from unittest import mock

import pytest
from deltalake import DeltaTable
from support.chaos import Killed, client_of
from support.faulty_mailbox import before_calls
from support.lake import assert_lake_equals_mailbox
from support.sync_scenarios import (
    BOTH,
    deliver,
    deliver_reply,
    kill_at_cursor_commit,
    kill_before_merge,
    on_first_call,
    run,
    spec,
    toggle_star,
)

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.partition_status import partition_statuses
from gmail_assets.syncing import sync
from gmail_client.client import Mailbox
from gmail_client.emulator import Behavior, Emulator
from gmail_client.spec import SpecTable


@pytest.mark.parametrize("tables", [BOTH, BOTH[:1], BOTH[1:]], ids=["both", "messages", "threads"])
def test_a_thread_that_grew_before_a_kill_still_has_its_labels_read(
    gmail: Emulator, lake: Lake, tables: list[SpecTable]
) -> None:
    run(gmail, lake, tables)
    mailbox = gmail.mailbox()
    for first in [row["id"] for row in gmail.truth("messages", format="minimal")][:3]:
        toggle_star(mailbox, first)
        deliver_reply(mailbox, first)
    with kill_before_merge() if tables != BOTH[1:] else kill_at_cursor_commit(), contextlib.suppress(Killed):
        run(gmail, lake, tables)
    gmail.expire_history()
    with mock.patch("gmail_assets.syncing.labels._SAMPLE", 0):
        run(gmail, lake, tables)
    assert_lake_equals_mailbox(lake, gmail, tables)


def test_a_message_fetched_ahead_of_the_cursor_hides_no_change_of_its_thread(
    gmail: Emulator, lake: Lake
) -> None:
    run(gmail, lake, BOTH[:1])
    mailbox = gmail.mailbox()
    first = gmail.truth("messages", format="minimal")[0]["id"]
    new = deliver_reply(mailbox, first)
    called = []

    def meanwhile(name: str) -> None:
        if name == "get_many" and not called:
            called.append(name)
            toggle_star(mailbox, first)
            toggle_star(mailbox, new)

    sync(before_calls(client_of(gmail).mailbox(), meanwhile), lake, BOTH[:1])
    assert called
    gmail.expire_history()
    with mock.patch("gmail_assets.syncing.labels._SAMPLE", 0):
        run(gmail, lake, BOTH[:1])
    assert_lake_equals_mailbox(lake, gmail, BOTH[:1])


def test_tables_of_different_formats_and_filters_fetch_only_missing_content(
    gmail: Emulator, lake: Lake
) -> None:
    some = [spec("messages", q="has:attachment", format="raw")]
    run(gmail, lake, some)
    alone = gmail.usage.units["messages.get"]
    other = Lake(lake.uri + "2")
    gmail.usage.reset()
    run(gmail, other, BOTH[1:])
    threads = gmail.usage.units["messages.get"] + gmail.usage.units["threads.get"]
    gmail.usage.reset()
    run(gmail, Lake(lake.uri + "3"), [*some, BOTH[1]])
    assert gmail.usage.units["messages.get"] + gmail.usage.units["threads.get"] == alone + threads


def test_a_load_killed_between_the_first_rows_of_both_tables_has_started_for_both(
    gmail: Emulator, lake: Lake
) -> None:
    with (
        mock.patch("gmail_assets.syncing.threads.ThreadsSync.write_content", side_effect=Killed),
        pytest.raises(Killed),
    ):
        run(gmail, lake)
    begun = partition_statuses(lake, gmail.addresses[0], BOTH)
    assert {name: status.rows > 0 for name, status in begun.items()} == {
        "messages": True,
        "threads": False,
    }
    assert begun["messages"].load_start == begun["threads"].load_start


def test_a_repeatedly_expired_history_reads_labels_only_once(lake: Lake) -> None:
    with Emulator(messages=60, seed=8) as gmail:
        run(gmail, lake)
        mailbox = gmail.mailbox()
        for message_id in mailbox.message_ids():
            toggle_star(mailbox, message_id)
        gmail.expire_history()
        gmail.usage.reset()
        run(gmail, lake)
        once = gmail.usage.units["threads.get"] + gmail.usage.units["messages.get"]
        mailbox.receive(mailbox.random_mail())
        gmail.expire_history()
        gmail.usage.reset()
        with mock.patch("gmail_assets.syncing.labels._SAMPLE", 0):
            run(gmail, lake)
        assert gmail.usage.units["threads.get"] + gmail.usage.units["messages.get"] == 20 < once
        assert_lake_equals_mailbox(lake, gmail, BOTH)


def test_a_thread_whose_newest_message_is_deleted_during_the_read_shows_the_rest(lake: Lake) -> None:
    with Emulator(messages=20, seed=3, behavior=Behavior(threads_get_snippet=False)) as gmail:
        mailbox = gmail.mailbox()
        first = deliver(mailbox, "one", "The first.")
        second = deliver(mailbox, "Re: one", "The second.", reply_to=first)
        deleted = []

        def meanwhile(name: str) -> None:
            if name == "get_many" and not deleted:
                deleted.append(mailbox.delete(second))

        sync(before_calls(client_of(gmail).mailbox(), meanwhile), lake, BOTH)
        assert_lake_equals_mailbox(lake, gmail, BOTH)


def test_a_thread_that_grew_is_written_once(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake)
    deliver_reply(gmail.mailbox(), gmail.truth("messages", format="minimal")[0]["id"])
    before = lake.table("threads").delta.version()
    run(gmail, lake)
    delta = lake.table("threads").delta
    done = [commit["operation"] for commit in delta.history(delta.version() - before)]
    assert done == ["WRITE"]
    assert_lake_equals_mailbox(lake, gmail, BOTH)


def test_a_reconciliation_that_runs_out_of_time_is_resumed(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake)
    delta = DeltaTable(lake.location("messages"))
    delta.delete(f"id IN ('{gmail.mailbox().message_ids()[0]}', '{gmail.mailbox().message_ids()[-1]}')")
    with mock.patch.dict("gmail_client.fetch.chunks.__kwdefaults__", {"messages": 1}):
        first = run(gmail, lake, reconcile=True, deadline=0.0)
    assert not first["messages"].complete
    assert run(gmail, lake)["messages"].mode == "reconcile"
    assert_lake_equals_mailbox(lake, gmail, BOTH)


class Lagging:
    """An API whose profile has an earlier history id."""

    def __init__(self, api: Any, by: int) -> None:
        self._api = api
        self._by = by

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    def profile(self) -> dict[str, Any]:
        profile = self._api.profile()
        return {**profile, "historyId": str(int(profile["historyId"]) - self._by)}


@pytest.mark.parametrize(
    "tables", [BOTH, [spec("messages", labelIds="INBOX"), BOTH[1]]], ids=["same", "other"]
)
def test_a_profile_behind_the_history_causes_no_label_reads(
    gmail: Emulator, lake: Lake, tables: list[SpecTable]
) -> None:
    run(gmail, lake)
    toggle_star(gmail.mailbox(), gmail.mailbox().message_ids()[0])
    run(gmail, lake)
    gmail.usage.reset()
    mailbox = client_of(gmail).mailbox()
    lagging = Mailbox(mailbox.client, mailbox.user_id, Lagging(mailbox.api, 1))  # type: ignore[arg-type]
    with mock.patch("gmail_assets.syncing.labels._SAMPLE", 0):
        results = sync(lagging, lake, tables, allow_mass_delete=True)
    assert results["threads"].mode == "incremental"
    assert not gmail.usage.units["messages.get"] + gmail.usage.units["threads.get"]
    assert_lake_equals_mailbox(lake, gmail, tables)


def test_a_cursor_past_the_head_stays_invalid_once_the_head_passes_it(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake)
    mailbox = gmail.mailbox()
    past = int(mailbox.head) + 100
    for name in ("messages", "threads"):
        partition = MailboxPartition(lake.table(name), mailbox.address, "all", "full")
        partition.commit(partition.state.synced(past))
    toggle_star(mailbox, mailbox.message_ids()[0])
    kill = on_first_call("list_threads", mock.Mock(side_effect=Killed))
    with pytest.raises(Killed):
        sync(before_calls(client_of(gmail).mailbox(), kill), lake, BOTH)
    while int(mailbox.head) <= past:
        toggle_star(mailbox, mailbox.message_ids()[1])
    run(gmail, lake)
    assert_lake_equals_mailbox(lake, gmail, BOTH)


@pytest.mark.parametrize("expires", [False, True])
def test_label_reads_resume_in_the_next_run(lake: Lake, expires: bool) -> None:
    with Emulator(messages=60, seed=8, behavior=Behavior(thread_history_moves_with_labels=False)) as gmail:
        run(gmail, lake)
        mailbox = gmail.mailbox()
        for message_id in mailbox.message_ids():
            toggle_star(mailbox, message_id)
        gmail.expire_history()
        gmail.usage.reset()
        with (
            mock.patch("gmail_assets.syncing.labels._LABELS_AT_ONCE", 5),
            mock.patch("gmail_assets.syncing.labels._SAMPLE", 2),
        ):
            for _ in range(3):
                assert not run(gmail, lake, deadline=0.0)["messages"].complete
                toggle_star(mailbox, mailbox.message_ids()[0])
                toggle_star(mailbox, mailbox.message_ids()[-1])
            if expires:
                gmail.expire_history()
            assert run(gmail, lake)["messages"].complete
        assert_lake_equals_mailbox(lake, gmail, BOTH)
        once = sum(min(20 * len(row["messages"]), 40) for row in gmail.truth("threads", format="minimal"))
        if not expires:
            assert gmail.usage.units["threads.get"] + gmail.usage.units["messages.get"] <= once + 2 * 40


def test_a_new_table_is_loaded_when_the_history_of_the_other_is_expired(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake, BOTH[:1])
    mailbox = gmail.mailbox()
    mailbox.receive(mailbox.random_mail())
    gmail.expire_history()
    results = run(gmail, lake)
    assert {name: result.mode for name, result in results.items()} == {
        "messages": "reconcile",
        "threads": "full_load",
    }
    assert_lake_equals_mailbox(lake, gmail, BOTH)


def test_a_message_fetched_with_its_thread_is_not_also_copied_from_the_lake(lake: Lake) -> None:
    with Emulator(messages=10, seed=5, mean_json_kb=2) as gmail:
        mailbox = gmail.mailbox()
        first = mailbox.receive(mailbox.random_mail())
        for _ in range(2):
            mailbox.receive(mailbox.random_mail(reply_to=first))
        run(gmail, lake, BOTH[1:])
        for _ in range(3):  # three new messages, so the whole thread is fetched
            mailbox.receive(mailbox.random_mail(reply_to=first))
        run(gmail, lake, BOTH[:1])
        assert_lake_equals_mailbox(lake, gmail, BOTH[:1])
