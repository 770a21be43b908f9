"""Messages that Gmail refuses or does not serve: recorded, retried by later runs, and no obstacle for others."""

from __future__ import annotations

from unittest import mock

import pytest
from support.chaos import Killed, client_of
from support.faulty_mailbox import map_results, refuse_messages
from support.lake import assert_lake_equals_mailbox, stored_rows
from support.sync_scenarios import (
    BOTH,
    deliver,
    kill_before_merge,
    run,
    spec,
    toggle_star,
    unfetched,
)

from gmail_assets.delta.lake import Lake
from gmail_assets.syncing import sync
from gmail_client.emulator import Emulator, Fault
from gmail_client.errors import GmailError, UnavailableError
from gmail_client.http.calls import ApiResult
from gmail_client.spec import SpecTable


def test_an_unavailable_filtered_thread_is_loaded_later(lake: Lake) -> None:
    with Emulator(messages=60, seed=3) as gmail:
        mailbox = gmail.mailbox()
        first = deliver(mailbox, "one")
        named = deliver(mailbox, "Re: one", "A needle.", reply_to=first)
        assert mailbox.message(named).thread.id == mailbox.message(first).thread.id
        tables = [spec("threads", q="needle", maxResults=5)]
        results = sync(refuse_messages(client_of(gmail).mailbox(), {named}), lake, tables)
        assert results["threads"].unfetched == 1
        assert stored_rows(lake, "threads") == []
        run(gmail, lake, tables)
        assert_lake_equals_mailbox(lake, gmail, tables)


def test_unavailable_labels_do_not_stop_others_and_are_retried(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake)
    mailbox = gmail.mailbox()
    changed = [row["id"] for row in gmail.truth("messages", format="minimal")][:6]
    for message_id in changed:
        toggle_star(mailbox, message_id)
    gmail.expire_history()
    results = sync(refuse_messages(client_of(gmail).mailbox(), {changed[0]}), lake, BOTH)
    assert results["messages"].unfetched
    stored = {row["id"]: row for row in stored_rows(lake, "messages")}
    assert sorted(stored[changed[5]]["labelIds"]) == sorted(mailbox.label_ids(changed[5]))
    assert changed[0] in unfetched(lake, "messages")
    run(gmail, lake)
    assert_lake_equals_mailbox(lake, gmail, BOTH)
    assert not unfetched(lake, "messages")


def test_many_permanently_unavailable_messages_do_not_stop_later_runs(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake)
    mailbox = gmail.mailbox()
    lost: set[str] = set()
    with mock.patch("gmail_assets.syncing.failures._MOST_FAILURES", 4):
        for _ in range(3):
            lost |= {deliver(mailbox, "lost") for _ in range(3)}
            results = sync(refuse_messages(client_of(gmail).mailbox(), lost), lake, BOTH)
            assert results["messages"].unfetched == len(lost)
    new = deliver(mailbox, "had")
    sync(refuse_messages(client_of(gmail).mailbox(), lost), lake, BOTH)
    assert new in {row["id"] for row in stored_rows(lake, "messages")}


@pytest.mark.parametrize("tables", [BOTH, BOTH[:1], BOTH[1:]])
def test_more_unavailable_messages_than_an_outage_do_not_stop_the_load_permanently(
    gmail: Emulator, lake: Lake, tables: list[SpecTable]
) -> None:
    lost = set(sorted(gmail.mailbox().message_ids())[-12:])
    with mock.patch("gmail_assets.syncing.failures._MOST_FAILURES", 4):
        for _ in range(2):
            with pytest.raises(GmailError, match="refused by the test"):
                sync(refuse_messages(client_of(gmail).mailbox(), lost), lake, tables)
        results = sync(refuse_messages(client_of(gmail).mailbox(), lost), lake, tables)
    assert all(result.complete for result in results.values())
    run(gmail, lake, tables)
    assert_lake_equals_mailbox(lake, gmail, tables)
    assert not any(unfetched(lake, table.source_table) for table in tables)


@pytest.mark.parametrize("tables", [BOTH, BOTH[:1]], ids=["both", "messages"])
def test_a_retry_queue_longer_than_an_outage_does_not_end_a_run(lake: Lake, tables: list[SpecTable]) -> None:
    with Emulator(messages=130, seed=5, mean_json_kb=2) as gmail:
        broken = [row["id"] for row in gmail.truth("messages", format="minimal")][:115]
        for one in broken:
            gmail.faults.add(Fault(status=403, reason="forbidden", id=one))
        gmail.faults.add(Fault(method="threads.get", status=403, reason="forbidden"))
        with pytest.raises(GmailError):
            run(gmail, lake, tables)
        run(gmail, lake, tables)
        for table in tables:
            assert unfetched(lake, table.source_table) == set(broken)
        # First with the retry queue only, then with new mail.
        run(gmail, lake, tables)
        new = gmail.mailbox().receive(gmail.mailbox().random_mail())
        run(gmail, lake, tables)
        assert new in {row["id"] for row in stored_rows(lake, "messages")}
        gmail.faults.clear()
        run(gmail, lake, tables)
        assert_lake_equals_mailbox(lake, gmail, tables)


@pytest.mark.parametrize("count", [5, 12])
def test_permanently_unavailable_messages_do_not_end_the_first_load(
    gmail: Emulator, lake: Lake, count: int
) -> None:
    mailbox = gmail.mailbox()
    first = deliver(mailbox, "a thread")
    deliver(mailbox, "Re: a thread", reply_to=first)
    # The newest messages are fetched first.
    rows = sorted(gmail.truth("messages", format="minimal"), key=lambda row: row["id"])
    broken = {row["id"] for row in rows[-count:]}
    for one in broken | {row["threadId"] for row in rows[-count:]}:
        gmail.faults.add(Fault(id=one, status=503, reason="backendError"))
    results = run(gmail, lake)
    assert all(result.complete and result.unfetched == count for result in results.values())
    assert {row["id"] for row in stored_rows(lake, "messages")} == {row["id"] for row in rows} - broken
    assert unfetched(lake, "messages") == unfetched(lake, "threads") == broken
    # Served messages are fetched once; a probe after five failures costs one unit, or one more message.
    content = gmail.usage.units["messages.get"] + gmail.usage.units["threads.get"]
    assert content <= 20 * (len(rows) - count) + 40 * (count // 5 + 1)
    gmail.faults.clear()
    gmail.usage.reset()
    run(gmail, lake)
    assert_lake_equals_mailbox(lake, gmail, BOTH)
    assert gmail.usage.fetched_twice == {}


def test_an_outage_ends_the_first_load_and_keeps_served_messages(gmail: Emulator, lake: Lake) -> None:
    results = iter(range(10))

    def fail(given: ApiResult) -> ApiResult:
        if next(results, None) is None:
            gmail.faults.add(Fault(status=503, reason="backendError"))
        return given

    with pytest.raises(UnavailableError):
        sync(map_results(client_of(gmail, workers=1).mailbox(), fail), lake, BOTH)
    gmail.faults.clear()
    assert len(stored_rows(lake, "messages")) >= 10
    run(gmail, lake)
    assert_lake_equals_mailbox(lake, gmail, BOTH)
    assert gmail.usage.fetched_twice == {}


def test_one_unavailable_message_does_not_block_its_thread(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    first = deliver(mailbox, "one")
    bad, *others = [deliver(mailbox, "Re: one", reply_to=first) for _ in range(4)]
    sync(refuse_messages(client_of(gmail).mailbox(), {bad}), lake, BOTH)
    assert {row["id"] for row in stored_rows(lake, "messages")} >= {first, *others}
    (thread,) = [row for row in stored_rows(lake, "threads") if row["id"] == first]
    assert {message["id"] for message in thread["messages"]} == {first, *others}
    assert unfetched(lake, "messages") == unfetched(lake, "threads") == {bad}
    run(gmail, lake)
    assert_lake_equals_mailbox(lake, gmail, BOTH)


def test_a_failure_is_recorded_for_the_table_that_misses_the_message(gmail: Emulator, lake: Lake) -> None:
    tables = [spec("messages", format="raw"), spec("threads")]
    run(gmail, lake, tables)
    mailbox = gmail.mailbox()
    lost = deliver(mailbox, "lost")
    sync(refuse_messages(client_of(gmail).mailbox(), {lost}, {"raw"}), lake, tables)
    assert (unfetched(lake, "messages"), unfetched(lake, "threads")) == ({lost}, set())
    run(gmail, lake, tables)
    assert_lake_equals_mailbox(lake, gmail, tables)


def test_a_failure_of_another_table_does_not_add_a_message_outside_q(gmail: Emulator, lake: Lake) -> None:
    tables = [spec("messages", q="subject:needle"), spec("threads")]
    mailbox = gmail.mailbox()
    lost = deliver(mailbox, "hay")
    sync(refuse_messages(client_of(gmail).mailbox(), {lost}), lake, tables)
    run(gmail, lake, tables)
    assert_lake_equals_mailbox(lake, gmail, tables)


@pytest.mark.parametrize("read", [False, True])
def test_a_retried_message_is_stored_if_it_matches_at_that_time(
    gmail: Emulator, lake: Lake, read: bool
) -> None:
    tables = [spec("messages", q="is:unread subject:needle")]
    mailbox = gmail.mailbox()
    lost = deliver(mailbox, "needle")
    sync(refuse_messages(client_of(gmail).mailbox(), {lost}), lake, tables)
    assert unfetched(lake, "messages") == {lost}
    mailbox.modify(lost, ["STARRED"], ["UNREAD"] if read else [])
    run(gmail, lake, tables)
    assert [row["id"] for row in stored_rows(lake, "messages")] == [lost][read:]
    assert not unfetched(lake, "messages")


def test_failures_under_other_options_are_not_retried(gmail: Emulator, lake: Lake) -> None:
    hay = deliver(gmail.mailbox(), "hay")
    sync(refuse_messages(client_of(gmail).mailbox(), {hay}), lake, BOTH)
    assert unfetched(lake, "messages") == {hay}
    narrow = [spec("messages", q="subject:needle"), spec("threads", q="subject:needle")]
    run(gmail, lake, narrow, allow_mass_delete=True)
    assert_lake_equals_mailbox(lake, gmail, narrow)
    assert not unfetched(lake, "messages")


@pytest.mark.parametrize("tables", [BOTH[:1], BOTH[1:]], ids=["messages", "threads"])
def test_retried_labels_stay_queued_until_they_are_written(
    gmail: Emulator, lake: Lake, tables: list[SpecTable]
) -> None:
    run(gmail, lake, tables)
    mailbox = gmail.mailbox()
    first = gmail.truth("messages", format="minimal")[0]["id"]
    toggle_star(mailbox, first)
    gmail.expire_history()
    sync(refuse_messages(client_of(gmail).mailbox(), {first}), lake, tables)
    with kill_before_merge(), pytest.raises(Killed):
        run(gmail, lake, tables)
    run(gmail, lake, tables)
    assert_lake_equals_mailbox(lake, gmail, tables)
    assert not unfetched(lake, tables[0].source_table)


def test_a_refused_message_that_is_hidden_now_is_not_fetched_again(gmail: Emulator, lake: Lake) -> None:
    lost = gmail.truth("messages", format="minimal")[0]["id"]
    sync(refuse_messages(client_of(gmail).mailbox(), {lost}), lake, BOTH[:1])
    gmail.mailbox().trash(lost)
    gmail.usage.reset()
    run(gmail, lake)
    assert not gmail.usage.units.get("messages.get")
    assert_lake_equals_mailbox(lake, gmail, BOTH)
