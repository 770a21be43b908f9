"""Soft-deleted rows, and rows that a restore of a Delta table brings back."""

from __future__ import annotations

import contextlib
from unittest import mock

import pytest
from deltalake import DeltaTable
from support.chaos import Killed, client_of
from support.faulty_mailbox import before_calls
from support.lake import assert_lake_equals_mailbox, stored_rows
from support.sync_scenarios import (
    BOTH,
    deliver,
    deliver_reply,
    kill_at_cursor_commit,
    on_first_call,
    run,
    spec,
    toggle_star,
)

from gmail_assets.delta.lake import Lake
from gmail_assets.syncing import sync
from gmail_client.emulator import Emulator


def test_a_soft_deleted_row_returns_only_if_it_matches_q(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    hay = deliver(mailbox, "hay")
    run(gmail, lake, [spec("messages", deletes="keep")])
    mailbox.trash(hay)
    run(gmail, lake, [spec("messages", deletes="keep")])
    narrow = [spec("messages", deletes="keep", q="subject:needle")]
    run(gmail, lake, narrow, allow_mass_delete=True)
    mailbox.untrash(hay)
    run(gmail, lake, narrow)
    assert_lake_equals_mailbox(lake, gmail, narrow)


def test_a_soft_deleted_row_returns_with_its_current_labels(gmail: Emulator, lake: Lake) -> None:
    tables = [spec("messages", deletes="keep"), spec("threads", deletes="keep")]
    mailbox = gmail.mailbox()
    message_id = deliver(mailbox, "one")
    run(gmail, lake, tables)
    mailbox.trash(message_id)
    mailbox.modify(message_id, [], [label for label in mailbox.label_ids(message_id) if label != "TRASH"])
    run(gmail, lake, tables)
    mailbox.untrash(message_id)
    mailbox.modify(message_id, [], list(mailbox.label_ids(message_id)))
    run(gmail, lake, tables)
    assert_lake_equals_mailbox(lake, gmail, tables)


def test_soft_deletes_can_be_switched_on_and_off(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake)
    mailbox = gmail.mailbox()
    first, second, third = [row["id"] for row in gmail.truth("messages", format="minimal")][:3]
    keep = [spec("messages", deletes="keep"), spec("threads", deletes="keep")]
    run(gmail, lake, keep, reconcile=True)
    mailbox.delete(first)
    toggle_star(mailbox, third)
    run(gmail, lake, keep)
    assert_lake_equals_mailbox(lake, gmail, keep)
    mailbox.delete(second)
    run(gmail, lake)
    assert_lake_equals_mailbox(lake, gmail, BOTH)
    rows = DeltaTable(lake.location("messages")).to_pyarrow_table().to_pylist()
    assert {row["id"] for row in rows if row["_deletedAt"]} == {first}


def test_another_format_keeps_soft_deleted_rows(gmail: Emulator, lake: Lake) -> None:
    keep = [spec("messages", deletes="keep")]
    run(gmail, lake, keep)
    gone = gmail.truth("messages", format="minimal")[0]["id"]
    gmail.mailbox().delete(gone)
    run(gmail, lake, keep)
    metadata = [spec("messages", deletes="keep", format="metadata")]
    run(gmail, lake, metadata)
    assert_lake_equals_mailbox(lake, gmail, metadata)
    rows = DeltaTable(lake.location("messages")).to_pyarrow_table().to_pylist()
    assert [row["id"] for row in rows if row["_deletedAt"]] == [gone]


def test_rows_restored_from_before_a_format_change_are_fetched_again(gmail: Emulator, lake: Lake) -> None:
    metadata = [spec("messages", format="metadata"), spec("threads", format="minimal")]
    run(gmail, lake, metadata)
    versions = {name: lake.table(name).delta.version() for name in ("messages", "threads")}
    run(gmail, lake)
    for name, version in versions.items():
        DeltaTable(lake.location(name)).restore(version)
    run(gmail, lake)
    assert_lake_equals_mailbox(lake, gmail, BOTH)


def test_rows_restored_to_the_middle_of_a_run_get_their_labels(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake, BOTH[:1])
    mailbox = gmail.mailbox()
    first = gmail.truth("messages", format="minimal")[0]["id"]
    toggle_star(mailbox, first)
    deliver_reply(mailbox, first)
    run(gmail, lake, BOTH[:1])
    delta = DeltaTable(lake.location("messages"))
    delta.restore(delta.version() - 1)  # the reply is there, the star is not
    with mock.patch("gmail_assets.syncing.labels._SAMPLE", 0):
        run(gmail, lake, BOTH[:1])
    assert_lake_equals_mailbox(lake, gmail, BOTH[:1])


UNREAD = [spec("messages", q="is:unread"), spec("threads", q="is:unread")]


@pytest.mark.parametrize("killed", [False, True])
def test_rows_that_a_restore_brings_back_are_matched_again(gmail: Emulator, lake: Lake, killed: bool) -> None:
    mailbox = gmail.mailbox()
    one = deliver(mailbox, "one")
    mailbox.modify(one, ["UNREAD"], [])
    run(gmail, lake, UNREAD)
    mailbox.modify(one, [], ["UNREAD"])
    run(gmail, lake, UNREAD)
    delta = DeltaTable(lake.location("messages"))
    delta.restore(delta.version() - 1)
    if killed:
        mailbox.modify(deliver(mailbox, "two"), ["UNREAD"], [])
        with kill_at_cursor_commit(), pytest.raises(Killed):
            run(gmail, lake, UNREAD)
    run(gmail, lake, UNREAD)
    assert one not in {row["id"] for row in stored_rows(lake, "messages")}
    assert_lake_equals_mailbox(lake, gmail, UNREAD)


def test_rows_restored_from_other_options_are_removed(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake, UNREAD[:1])
    run(gmail, lake, BOTH[:1])
    version = lake.table("messages").delta.version()
    run(gmail, lake, UNREAD[:1], allow_mass_delete=True)
    DeltaTable(lake.location("messages")).restore(version)
    with kill_at_cursor_commit(), contextlib.suppress(Killed):
        run(gmail, lake, UNREAD[:1], allow_mass_delete=True)
    run(gmail, lake, UNREAD[:1], allow_mass_delete=True)
    assert_lake_equals_mailbox(lake, gmail, UNREAD[:1])


def test_a_full_refresh_soft_deletes_rows_deleted_since(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    one, two = deliver(mailbox, "one"), deliver(mailbox, "two")
    keep = [spec("messages", deletes="keep"), spec("threads", deletes="keep")]
    run(gmail, lake, keep)
    mailbox.delete(one)
    late = on_first_call("get_many", lambda: mailbox.delete(two))
    sync(before_calls(client_of(gmail).mailbox(), late), lake, keep, full_refresh=True)
    rows = lake.table("messages", keep_deleted=True).delta.to_pyarrow_table().to_pylist()
    assert {row["id"] for row in rows if row["_deletedAt"] is not None} == {one, two}
    assert_lake_equals_mailbox(lake, gmail, keep)
