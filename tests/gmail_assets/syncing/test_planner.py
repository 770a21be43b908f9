"""The cost of the filters `q` and `startDate`, and the rows that match them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any
from unittest import mock

import pytest
from deltalake import CommitProperties, Transaction
from support.chaos import InstantClock, client_of
from support.lake import assert_lake_equals_mailbox, stored_rows

from gmail_assets.delta.app_ids import app_base
from gmail_assets.delta.lake import Lake
from gmail_assets.operations.plan import plan_mailbox
from gmail_assets.operations.verify import verify_mailbox
from gmail_assets.syncing import SyncResult, sync
from gmail_assets.syncing.planner import SyncPlanner
from gmail_client.emulator import EmulatedMailbox, Emulator
from gmail_client.spec import Spec, SpecTable

DAY = 86_400
START = int(datetime(2025, 1, 31, tzinfo=UTC).timestamp())
GETS = ("messages.get", "threads.get")


def spec(table: str, **configuration: Any) -> SpecTable:
    return SpecTable.parse({"source_table": table, "table_configuration": configuration})


def both(**configuration: Any) -> list[SpecTable]:
    return [spec(name, **configuration) for name in ("messages", "threads")]


@pytest.fixture
def gmail() -> Iterator[Emulator]:
    with Emulator(messages=0, seed=5, clock=InstantClock()) as emulator:
        yield emulator


def run(gmail: Emulator, lake: Lake, tables: list[SpecTable], **named: Any) -> dict[str, SyncResult]:
    return sync(client_of(gmail).mailbox(), lake, tables, sample=random.Random(1), **named)


def units(gmail: Emulator, lake: Lake, tables: list[SpecTable], **named: Any) -> dict[str, int]:
    """Units of a sync by method, at most those of its plan."""
    plan = plan_mailbox(client_of(gmail).mailbox(), lake, Spec(tables=tuple(tables)))
    gmail.usage.reset()
    run(gmail, lake, tables, **named)
    spent = dict(gmail.usage.units)
    assert sum(spent.values()) <= plan.units + 10
    return spent


def mail(
    mailbox: EmulatedMailbox,
    subject: str = "one",
    *,
    at: float | None = None,
    labels: tuple[str, ...] = ("INBOX", "UNREAD"),
    reply_to: str = "",
) -> str:
    """Deliver a message, dated now or `at` epoch seconds; returns its id."""
    date = f"Date: {formatdate(at)}\r\n" if at is not None else ""
    answers = ""
    if reply_to:
        original = mailbox.message(reply_to).content
        subject = f"Re: {subject}"
        answers = f"In-Reply-To: {original.message_id}\r\nReferences: {original.message_id}\r\n"
    raw = (
        f"From: eve@example.test\r\nTo: {mailbox.address}\r\nSubject: {subject}\r\n{date}{answers}"
        f"Message-ID: <{random.random()}@example.test>\r\n\r\nHello.\r\n"
    )
    source = "dateHeader" if at is not None else "receivedTime"
    thread = mailbox.message(reply_to).thread.id if reply_to else None
    return mailbox.insert(raw.encode(), labels, date_source=source, thread_id=thread)


def daily_talks(mailbox: EmulatedMailbox, count: int) -> list[str]:
    """One message a day from START on; their ids."""
    return [mail(mailbox, f"talk {number}", at=START + number * DAY) for number in range(count)]


def ids(lake: Lake, table: str = "messages") -> set[str]:
    return {row["id"] for row in stored_rows(lake, table)}


# startDate


def test_a_first_load_since_a_date_costs_the_listing_of_what_it_includes(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    for number in range(40):
        mail(mailbox, f"old {number}", at=START - (number + 2) * DAY)
    new = {mail(mailbox, f"new {number}", at=START + number * DAY) for number in range(6)}
    tables = [spec("messages", startDate="2025-01-31", maxResults=5)]
    spent = units(gmail, lake, tables)
    assert ids(lake) == new
    assert spent["messages.list"] == 2 * 5
    assert spent["messages.get"] == 6 * 20
    assert_lake_equals_mailbox(lake, gmail, tables)
    assert not verify_mailbox(client_of(gmail).mailbox(), lake, Spec(tables=tuple(tables))).unexplained


def test_the_start_date_is_exact_although_the_listing_has_a_margin(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    before, first = mail(mailbox, "a", at=START - 1), mail(mailbox, "b", at=START)
    tables = both(startDate=START)
    for _ in range(2):
        run(gmail, lake, tables, reconcile=True)
        assert (ids(lake), ids(lake, "threads")) == ({first}, {first})
    run(gmail, lake, both())
    assert ids(lake) == {before, first}
    run(gmail, lake, tables)
    assert_lake_equals_mailbox(lake, gmail, tables)
    assert not verify_mailbox(client_of(gmail).mailbox(), lake, Spec(tables=tuple(tables))).unexplained


def test_labels_of_older_messages_cost_no_get(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    old = [mail(mailbox, f"old {number}", at=START - 9 * DAY) for number in range(30)]
    new = mail(mailbox, "new", at=START + DAY)
    tables = both(startDate="2025-01-31")
    run(gmail, lake, tables)
    mailbox.batch_modify([*old, new], ["STARRED"], ["UNREAD"])
    assert not {"messages.list", *GETS} & units(gmail, lake, tables).keys()
    mailbox.batch_modify(old, ["TRASH"], [])
    mailbox.batch_modify(old, [], ["TRASH"])
    assert not units(gmail, lake, tables).keys() & set(GETS)
    assert_lake_equals_mailbox(lake, gmail, tables)


def test_a_thread_is_stored_while_one_message_matches(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    old = mail(mailbox, "talk", at=START - 40 * DAY)
    new = mail(mailbox, "talk", at=START + DAY, reply_to=old)
    tables = both(startDate="2025-01-31")
    run(gmail, lake, tables)
    (row,) = stored_rows(lake, "threads")
    assert [member["id"] for member in row["messages"]] == [old, new]
    assert ids(lake) == {new}
    newer = mail(mailbox, "talk", reply_to=old)
    mailbox.delete(new)
    run(gmail, lake, tables)
    assert_lake_equals_mailbox(lake, gmail, tables)
    mailbox.trash(newer)
    run(gmail, lake, tables)
    assert (ids(lake), ids(lake, "threads")) == (set(), set())
    mailbox.untrash(newer)
    run(gmail, lake, tables)
    assert_lake_equals_mailbox(lake, gmail, tables)


@pytest.mark.parametrize("days", [1, -0.5])
def test_a_stored_thread_matches_a_new_start_date_by_a_message_that_is_not_stored(
    gmail: Emulator, lake: Lake, days: float
) -> None:
    mailbox = gmail.mailbox()
    old = mail(mailbox, "talk", at=START - 40 * DAY)
    new = mail(mailbox, "talk", at=START + days * DAY, reply_to=old)
    mailbox.trash(new)
    run(gmail, lake, both())
    mailbox.untrash(new)
    gmail.expire_history()
    tables = both(startDate="2025-01-31")
    run(gmail, lake, tables)
    assert ids(lake, "threads") == ({old} if days > 0 else set())
    assert_lake_equals_mailbox(lake, gmail, tables)


def test_a_table_of_messages_is_reconciled_by_listing_what_its_start_date_includes(
    gmail: Emulator, lake: Lake
) -> None:
    mailbox = gmail.mailbox()
    for number in range(40):
        mail(mailbox, f"old {number}", at=START - (number + 2) * DAY)
    new = [mail(mailbox, f"new {number}", at=START + number * DAY) for number in range(6)]
    tables = [spec("messages", startDate="2025-01-31", maxResults=5)]
    run(gmail, lake, tables)
    mailbox.delete(new[0])
    gmail.expire_history()
    spent = units(gmail, lake, tables)
    assert spent["messages.list"] <= 2 * 5 * 2
    assert spent["threads.list"] <= 2 * 10
    assert_lake_equals_mailbox(lake, gmail, tables)


# q


def unread(**more: Any) -> list[SpecTable]:
    return both(q="is:unread", **more)


def test_a_message_that_stops_matching_is_deleted_and_one_that_matches_again_is_copied_from_the_lake(
    gmail: Emulator, lake: Lake
) -> None:
    mailbox = gmail.mailbox()
    one, two = mail(mailbox), mail(mailbox)
    tables = [spec("messages", q="is:unread"), spec("threads")]
    run(gmail, lake, tables)
    mailbox.modify(one, [], ["UNREAD"])
    assert not set(GETS) & units(gmail, lake, tables).keys()
    assert ids(lake) == {two}
    mailbox.modify(one, ["UNREAD"], [])
    assert not set(GETS) & units(gmail, lake, tables).keys()
    assert ids(lake) == {one, two}
    assert_lake_equals_mailbox(lake, gmail, tables)


def test_a_changed_message_costs_one_page_for_any_number_of_rows(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    stored = daily_talks(mailbox, 40)
    tables = [spec("messages", q="is:unread", maxResults=5)]
    run(gmail, lake, tables)
    mailbox.modify(stored[7], ["STARRED"], [])
    assert units(gmail, lake, tables)["messages.list"] == 5
    mailbox.modify(stored[7], [], ["UNREAD"])
    mailbox.modify(stored[30], ["STARRED"], [])
    assert units(gmail, lake, tables)["messages.list"] == 2 * 5
    assert_lake_equals_mailbox(lake, gmail, tables)
    mailbox.batch_modify(stored, [], ["UNREAD"])
    assert units(gmail, lake, tables)["messages.list"] <= 8 * 5
    assert ids(lake) == set()


def test_new_mail_that_does_not_match_lists_no_old_mail(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    daily_talks(mailbox, 40)
    tables = [spec("messages", q="subject:talk", maxResults=5)]
    run(gmail, lake, tables)
    gmail.clock.sleep(DAY)
    mail(mailbox, "hay")
    spent = units(gmail, lake, tables)
    assert spent["messages.list"] == 2 * 5
    assert not set(GETS) & spent.keys()
    # It is matched again, because Gmail's search may find it late.
    assert units(gmail, lake, tables)["messages.list"] == 2 * 5
    assert "messages.list" not in units(gmail, lake, tables)
    new = mail(mailbox, "talk")
    assert units(gmail, lake, tables)["messages.list"] == 5
    assert new in ids(lake)
    assert_lake_equals_mailbox(lake, gmail, tables)


def test_new_mail_that_never_matches_costs_the_same_in_each_run(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    daily_talks(mailbox, 60)
    tables = [spec("messages", q="subject:talk", maxResults=5)]
    run(gmail, lake, tables)
    for _ in range(12):
        gmail.clock.sleep(DAY)
        new = {mail(mailbox, subject) for subject in ("talk", "talk", "hay", "hay", "hay", "hay")}
        # Since the run before the last one, less an hour: two pages of matches, and three pages of all mail.
        assert units(gmail, lake, tables)["messages.list"] <= 5 * 5
        assert len(new & ids(lake)) == 2
    assert_lake_equals_mailbox(lake, gmail, tables)


@pytest.mark.parametrize("subject", ["talk", "hay"])
def test_old_mail_that_is_imported_is_fetched_for_its_date(gmail: Emulator, lake: Lake, subject: str) -> None:
    mailbox = gmail.mailbox()
    daily_talks(mailbox, 60)
    tables = [spec("messages", q="subject:talk", maxResults=5)]
    run(gmail, lake, tables)
    gmail.clock.sleep(DAY)
    mail(mailbox, subject, at=START + 9 * DAY)
    spent = units(gmail, lake, tables)
    assert spent["messages.get"] == 20
    assert spent["messages.list"] == 3 * 5
    assert_lake_equals_mailbox(lake, gmail, tables)


def test_a_thread_is_deleted_if_the_message_fetched_for_its_date_does_not_match_either(
    gmail: Emulator, lake: Lake
) -> None:
    mailbox = gmail.mailbox()
    daily_talks(mailbox, 60)
    first = mail(mailbox, "talk", at=START + 9 * DAY)
    tables = [spec("threads", q="is:unread", maxResults=5)]
    run(gmail, lake, tables)
    gmail.clock.sleep(DAY)
    mailbox.modify(first, [], ["UNREAD"])
    mail(mailbox, "talk", reply_to=first, labels=("INBOX",), at=START + 10 * DAY)
    run(gmail, lake, tables)
    assert first not in ids(lake, "threads")
    assert_lake_equals_mailbox(lake, gmail, tables)


def test_an_imported_message_that_the_search_index_finds_late_is_matched_again(
    gmail: Emulator, lake: Lake
) -> None:
    mailbox = gmail.mailbox()
    daily_talks(mailbox, 60)
    tables = [spec("messages", q="subject:talk", maxResults=5)]
    run(gmail, lake, tables)
    gmail.clock.sleep(DAY)
    new = mail(mailbox, "talk", at=START + 9 * DAY)
    client = client_of(gmail).mailbox()
    with mock.patch.object(type(client.api), "list_messages", return_value=[[]]):
        sync(client, lake, tables)
    assert new not in ids(lake)
    run(gmail, lake, tables)
    assert_lake_equals_mailbox(lake, gmail, tables)


def test_a_late_search_index_loses_no_new_message(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    mail(mailbox)
    run(gmail, lake, unread())
    new = mail(mailbox)
    client = client_of(gmail).mailbox()
    with mock.patch.object(type(client.api), "list_messages", return_value=[[]]):
        sync(client, lake, unread())
    assert new not in ids(lake)
    run(gmail, lake, unread())
    assert_lake_equals_mailbox(lake, gmail, unread())


def test_a_thread_stays_if_a_reply_matches(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    first = mail(mailbox)
    run(gmail, lake, unread())
    mailbox.modify(first, [], ["UNREAD"])
    reply = mail(mailbox, reply_to=first)
    run(gmail, lake, unread())
    assert_lake_equals_mailbox(lake, gmail, unread())
    assert ids(lake, "threads") == {first}
    mailbox.modify(reply, [], ["UNREAD"])
    mail(mailbox, reply_to=first, labels=("INBOX",))
    spent = units(gmail, lake, unread())
    assert not set(GETS) & spent.keys()
    assert ids(lake, "threads") == set()


def test_a_lake_of_version_2_is_reconciled_once_without_fetching(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    one, aged = mail(mailbox), mail(mailbox)
    tables = both(q="is:unread newer_than:7d")
    run(gmail, lake, tables)
    gmail.clock.sleep(9 * DAY)
    new = mail(mailbox)
    mailbox.modify(one, [], ["UNREAD"])
    with mock.patch.object(
        SyncPlanner, "still_matching", lambda self, table, rows: {m for row in rows.values() for m in row}
    ):
        run(gmail, lake, tables)
    assert ids(lake) == {one, aged, new}
    for name in ("messages", "threads"):
        table = lake.table(name)
        # As written by code before the field `judged`.
        done = [Transaction(f"{app_base(table.delta, mailbox.address, name)}/judged", 0)]
        table.delta.create_write_transaction(
            [],
            "append",
            table.delta.schema(),
            partition_by=["mailbox"],
            commit_properties=CommitProperties(app_transactions=done),
        )
    gmail.usage.reset()
    results = run(gmail, lake, tables)
    assert {result.mode for result in results.values()} == {"reconcile"}
    assert any("stopped matching `q`" in text for text in results["messages"].warnings)
    # A sample of unchanged threads is read for their labels; no content is.
    assert gmail.usage.calls.get("threads.get", 0) == 0
    assert ids(lake) == ids(lake, "threads") == {aged, new}
    assert {result.mode for result in run(gmail, lake, tables).values()} == {"incremental"}


def test_a_renamed_label_takes_effect_at_the_next_reconciliation(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    label = mailbox.create_label("Errand")
    one, _ = mail(mailbox, labels=("INBOX", label)), mail(mailbox)
    tables = both(q="label:errand")
    run(gmail, lake, tables)
    mailbox.update_label(label, name="Home")
    run(gmail, lake, tables)
    assert ids(lake) == {one}
    run(gmail, lake, tables, reconcile=True)
    assert ids(lake) == ids(lake, "threads") == set()


def test_a_search_for_older_than_is_reported(gmail: Emulator, lake: Lake) -> None:
    mail(gmail.mailbox())
    tables = [spec("messages", q="older_than:2d")]
    assert any("older_than:" in text for text in run(gmail, lake, tables)["messages"].warnings)
    gmail.clock.sleep(3 * DAY)
    run(gmail, lake, tables)
    assert ids(lake) == set()
    run(gmail, lake, tables, reconcile=True)
    assert len(ids(lake)) == 1


def test_verify_counts_aged_rows_as_kept_and_others_as_extra(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    aged, read = mail(mailbox), mail(mailbox)
    tables = both(q="is:unread newer_than:7d")
    run(gmail, lake, tables)
    gmail.clock.sleep(9 * DAY)
    mailbox.modify(read, [], ["UNREAD"])
    with mock.patch.object(
        SyncPlanner, "still_matching", lambda self, table, rows: {m for row in rows.values() for m in row}
    ):
        run(gmail, lake, tables)
    verdict = verify_mailbox(client_of(gmail).mailbox(), lake, Spec(tables=tuple(tables)))
    assert {name: (table.kept, table.extra) for name, table in verdict.tables.items()} == {
        "messages": (1, 1),
        "threads": (1, 1),
    }
    assert ids(lake) == {aged, read}
