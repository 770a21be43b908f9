"""Rows that match the filters of a table only at some times, or by another message of their thread."""

from __future__ import annotations

import pytest
from support.chaos import client_of
from support.faulty_mailbox import before_calls
from support.lake import assert_lake_equals_mailbox, assert_lake_holds, stored_rows
from support.sync_scenarios import (
    BOTH,
    deliver,
    deliver_reply,
    on_first_call,
    run,
    spec,
    toggle_star,
)

from gmail_assets.delta.lake import Lake
from gmail_assets.syncing import sync
from gmail_client.emulator import Behavior, Emulator


def test_a_reply_outside_q_joins_its_thread_after_an_expired_history(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    first = deliver(mailbox, "needle")
    thread = mailbox.message(first).thread.id
    tables = [spec("threads", q="is:unread subject:needle")]
    run(gmail, lake, tables)
    mailbox.modify(first, [], ["UNREAD"])
    reply = deliver_reply(mailbox, first)
    assert mailbox.message(reply).thread.id == thread
    gmail.expire_history()
    run(gmail, lake, tables)
    (row,) = stored_rows(lake, "threads")
    assert [member["id"] for member in row["messages"]] == [first, reply]


@pytest.mark.parametrize("hides", [True, False])
def test_a_thread_that_starts_to_match_includes_its_trashed_messages(lake: Lake, hides: bool) -> None:
    with Emulator(messages=20, seed=3, behavior=Behavior(threads_get_includes_trash=not hides)) as gmail:
        mailbox = gmail.mailbox()
        label = mailbox.create_label("Keep")
        first = deliver(mailbox, "one")
        mailbox.trash(deliver_reply(mailbox, first))
        tables = [spec("threads", labelIds=label, includeSpamTrash=True)]
        run(gmail, lake, tables)
        mailbox.modify(first, [label], [])
        run(gmail, lake, tables)
        assert_lake_equals_mailbox(lake, gmail, tables)


@pytest.mark.parametrize("hides", [True, False])
def test_a_matching_thread_is_loaded_with_its_trashed_messages(lake: Lake, hides: bool) -> None:
    with Emulator(messages=60, seed=3, behavior=Behavior(threads_get_includes_trash=not hides)) as gmail:
        mailbox = gmail.mailbox()
        label = mailbox.create_label("Keep")
        first = deliver(mailbox, "one")
        mailbox.trash(deliver_reply(mailbox, first))
        mailbox.modify(first, [label], [])
        tables = [spec("threads", labelIds=label, includeSpamTrash=True, maxResults=5)]
        run(gmail, lake, tables)
        assert_lake_equals_mailbox(lake, gmail, tables)


def test_narrower_options_keep_a_row_that_changed_back_since_it_was_stored(
    gmail: Emulator, lake: Lake
) -> None:
    mailbox = gmail.mailbox()
    everything = [spec("messages", includeSpamTrash=True), spec("threads", includeSpamTrash=True)]
    trashed = deliver(mailbox, "back soon")
    mailbox.trash(trashed)
    run(gmail, lake, everything)
    mailbox.untrash(trashed)
    run(gmail, lake)
    assert_lake_equals_mailbox(lake, gmail, BOTH)


def test_a_thread_stays_if_one_message_gains_the_label_of_a_deleted_one(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    first = deliver(mailbox, "one")
    second = deliver(mailbox, "Re: one", reply_to=first)
    third = deliver(mailbox, "Re: one", reply_to=first)
    starred = [spec("messages", labelIds="STARRED"), spec("threads", labelIds="STARRED")]
    toggle_star(mailbox, third)
    run(gmail, lake, starred)
    toggle_star(mailbox, second)
    mailbox.delete(third)
    gmail.expire_history()
    run(gmail, lake, starred)
    assert stored_rows(lake, "threads")
    assert_lake_equals_mailbox(lake, gmail, starred)


def test_a_label_change_does_not_restore_a_row_outside_narrower_options(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    hay = deliver(mailbox, "hay")
    run(gmail, lake, [spec(name, deletes="keep") for name in ("messages", "threads")])
    toggle_star(mailbox, hay)
    narrow = [spec(name, deletes="keep", q="has:attachment") for name in ("messages", "threads")]
    run(gmail, lake, narrow, allow_mass_delete=True)
    assert_lake_equals_mailbox(lake, gmail, narrow)


def test_messages_fetched_for_another_table_make_no_partial_thread(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    tables = [spec("messages"), spec("threads", labelIds="STARRED")]
    one = deliver(mailbox, "one")
    deliver(mailbox, "Re: one", reply_to=one)
    run(gmail, lake, tables)
    three = deliver(mailbox, "Re: one", reply_to=one)
    starred = on_first_call("get_many", lambda: toggle_star(mailbox, three))
    sync(before_calls(client_of(gmail).mailbox(), starred), lake, tables)
    run(gmail, lake, tables)
    assert stored_rows(lake, "threads")
    assert_lake_equals_mailbox(lake, gmail, tables)


def test_a_row_that_gains_the_label_while_narrower_options_delete_it_is_kept(
    gmail: Emulator, lake: Lake
) -> None:
    mailbox = gmail.mailbox()
    one = deliver(mailbox, "one")
    run(gmail, lake, BOTH[:1])
    starred = [spec("messages", labelIds="STARRED")]
    late = on_first_call("history", lambda: toggle_star(mailbox, one))
    sync(before_calls(client_of(gmail).mailbox(), late), lake, starred, allow_mass_delete=True)
    assert one in {row["id"] for row in stored_rows(lake, "messages")}
    assert_lake_equals_mailbox(lake, gmail, starred)


def test_labels_are_read_for_a_thread_whose_first_message_is_deleted(lake: Lake) -> None:
    """Its id equals the thread id: the key of a deleted row must not be mistaken for the thread."""
    with Emulator(
        messages=12, seed=5, mean_json_kb=2, behavior=Behavior(thread_history_moves_with_labels=False)
    ) as gmail:
        mailbox = gmail.mailbox()
        first = mailbox.receive(mailbox.random_mail())
        second = mailbox.receive(mailbox.random_mail(reply_to=first))
        run(gmail, lake, BOTH[:1])
        mailbox.trash(second)
        trashed = [spec("messages", labelIds="TRASH")]
        sync(client_of(gmail).mailbox(), lake, trashed, allow_mass_delete=True)
        assert_lake_holds(lake, gmail, trashed, gmail.addresses[0])


def test_a_history_that_is_read_again_writes_no_equal_rows(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    tables = [spec(table, q="subject:needle") for table in ("messages", "threads")]
    stored = deliver(mailbox, "needle")
    run(gmail, lake, tables)
    deliver(mailbox, "hay")
    toggle_star(mailbox, stored)
    run(gmail, lake, tables)
    again = run(gmail, lake, tables)  # "hay" may be found late, so the history after it is read again
    assert [(result.rows_updated, result.rows_written) for result in again.values()] == [(0, 0), (0, 0)]
    assert_lake_equals_mailbox(lake, gmail, tables)
