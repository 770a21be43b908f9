"""One run over one mailbox: what must hold when tables differ, messages are refused and moments are unlucky."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from deltalake import DeltaTable
from support.chaos import Killed, client_of
from support.lake import assert_lake_holds, assert_lake_is_true, stored_rows
from support.refusing import answering, asking, refusing

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.partition_status import partition_statuses
from gmail_assets.delta.sync_state import SyncState
from gmail_assets.syncing import SyncResult, sync
from gmail_client.client import Mailbox
from gmail_client.emulator import Behavior, EmulatedMailbox, Emulator, Fault
from gmail_client.errors import GmailError, UnavailableError
from gmail_client.http.calls import ApiResult
from gmail_client.spec import SpecTable


def spec(table: str, **configuration: Any) -> SpecTable:
    return SpecTable.parse({"source_table": table, "table_configuration": configuration})


BOTH = [spec("messages"), spec("threads")]


@pytest.fixture
def gmail() -> Iterator[Emulator]:
    with Emulator(messages=30, seed=5) as emulator:
        yield emulator


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def run(gmail: Emulator, lake: Lake, tables: list[SpecTable] = BOTH, **named: Any) -> dict[str, SyncResult]:
    return sync(client_of(gmail).mailbox(), lake, tables, sample=random.Random(1), **named)


def unfetched(lake: Lake, table: str) -> set[str]:
    delta = lake.find("_gmail_unfetched")
    rows = delta.to_pyarrow_table().to_pylist() if delta is not None else []
    return {row["id"] for row in rows if row["table"] == table}


def mail(mailbox: EmulatedMailbox, subject: str, body: str = "Hello.", reply_to: str = "") -> str:
    """New mail; its id."""
    raw = (
        f"From: eve@example.test\r\nTo: {mailbox.address}\r\nSubject: {subject}\r\n"
        f"Message-ID: <{random.random()}@example.test>\r\n"
    )
    if reply_to:
        original = mailbox.message(reply_to).content.message_id
        raw += f"In-Reply-To: {original}\r\nReferences: {original}\r\n"
    return mailbox.receive(f"{raw}\r\n{body}\r\n".encode())


def answer(mailbox: EmulatedMailbox, message_id: str) -> str:
    """A reply in the same thread."""
    return mailbox.receive(mailbox.random_mail(reply_to=message_id))


def star(mailbox: EmulatedMailbox, message_id: str) -> None:
    """Put the star on, or take it off."""
    carried = "STARRED" in mailbox.label_ids(message_id)
    mailbox.modify(message_id, [] if carried else ["STARRED"], ["STARRED"] if carried else [])


def kill_before_merge() -> contextlib.AbstractContextManager[Any]:
    return mock.patch.object(MailboxPartition, "_merge_group", side_effect=Killed)


@pytest.mark.parametrize("tables", [BOTH, BOTH[:1], BOTH[1:]], ids=["both", "messages", "threads"])
def test_a_thread_that_grew_before_a_kill_is_no_proof_that_its_labels_are_read(
    gmail: Emulator, lake: Lake, tables: list[SpecTable]
) -> None:
    run(gmail, lake, tables)
    mailbox = gmail.mailbox()
    for first in [row["id"] for row in gmail.truth("messages", format="minimal")][:3]:
        star(mailbox, first)
        answer(mailbox, first)
    with kill_before_merge() if tables != BOTH[1:] else dying_after_growth(), contextlib.suppress(Killed):
        run(gmail, lake, tables)
    gmail.expire_history()
    with mock.patch("gmail_assets.syncing.labels._SAMPLE", 0):
        run(gmail, lake, tables)
    assert_lake_is_true(lake, gmail, tables)


@contextlib.contextmanager
def dying_after_growth() -> Iterator[None]:
    """Dies at the commit that carries the cursor."""
    write = MailboxPartition._write

    def dying(self: MailboxPartition, act: Any, state: SyncState | None = None) -> None:
        if state is not None and state.cursor and state.cursor != self.state.cursor:
            raise Killed
        write(self, act, state)

    with mock.patch.object(MailboxPartition, "_write", dying):
        yield


def test_a_message_that_is_read_ahead_of_the_cursor_hides_no_change_of_its_thread(
    gmail: Emulator, lake: Lake
) -> None:
    run(gmail, lake, BOTH[:1])
    mailbox = gmail.mailbox()
    first = gmail.truth("messages", format="minimal")[0]["id"]
    new = answer(mailbox, first)
    told = []

    def meanwhile(name: str) -> None:
        if name == "get_many" and not told:
            told.append(name)
            star(mailbox, first)
            star(mailbox, new)

    sync(asking(client_of(gmail).mailbox(), meanwhile), lake, BOTH[:1])
    assert told
    gmail.expire_history()
    with mock.patch("gmail_assets.syncing.labels._SAMPLE", 0):
        run(gmail, lake, BOTH[:1])
    assert_lake_is_true(lake, gmail, BOTH[:1])


def test_tables_of_different_formats_and_filters_pay_only_for_what_they_lack(
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


def test_a_reply_that_q_does_not_name_joins_its_thread_after_an_expired_history(
    gmail: Emulator, lake: Lake
) -> None:
    mailbox = gmail.mailbox()
    first = mail(mailbox, "needle")
    thread = mailbox.message(first).thread.id
    tables = [spec("threads", q="is:unread subject:needle")]
    run(gmail, lake, tables)
    mailbox.modify(first, [], ["UNREAD"])
    reply = answer(mailbox, first)
    assert mailbox.message(reply).thread.id == thread
    gmail.expire_history()
    run(gmail, lake, tables)
    (row,) = stored_rows(lake, "threads")
    assert [member["id"] for member in row["messages"]] == [first, reply]


@pytest.mark.parametrize("hides", [True, False])
def test_a_filtered_thread_enters_with_its_members_in_the_trash(lake: Lake, hides: bool) -> None:
    with Emulator(messages=20, seed=3, behavior=Behavior(threads_get_includes_trash=not hides)) as gmail:
        mailbox = gmail.mailbox()
        label = mailbox.create_label("Keep")
        first = mail(mailbox, "one")
        mailbox.trash(answer(mailbox, first))
        tables = [spec("threads", labelIds=label, includeSpamTrash=True)]
        run(gmail, lake, tables)
        mailbox.modify(first, [label], [])
        run(gmail, lake, tables)
        assert_lake_is_true(lake, gmail, tables)


@pytest.mark.parametrize("hides", [True, False])
def test_a_filtered_thread_is_loaded_with_its_members_in_the_trash(lake: Lake, hides: bool) -> None:
    with Emulator(messages=60, seed=3, behavior=Behavior(threads_get_includes_trash=not hides)) as gmail:
        mailbox = gmail.mailbox()
        label = mailbox.create_label("Keep")
        first = mail(mailbox, "one")
        mailbox.trash(answer(mailbox, first))
        mailbox.modify(first, [label], [])
        tables = [spec("threads", labelIds=label, includeSpamTrash=True, maxResults=5)]
        run(gmail, lake, tables)
        assert_lake_is_true(lake, gmail, tables)


def test_a_filtered_thread_that_cannot_be_read_comes_later(lake: Lake) -> None:
    with Emulator(messages=60, seed=3) as gmail:
        mailbox = gmail.mailbox()
        first = mail(mailbox, "one")
        named = mail(mailbox, "Re: one", "A needle.", reply_to=first)
        assert mailbox.message(named).thread.id == mailbox.message(first).thread.id
        tables = [spec("threads", q="needle", maxResults=5)]
        results = sync(refusing(client_of(gmail).mailbox(), {named}), lake, tables)
        assert results["threads"].unfetched == 1
        assert stored_rows(lake, "threads") == []
        run(gmail, lake, tables)
        assert_lake_is_true(lake, gmail, tables)


def test_labels_that_cannot_be_read_hold_nobody_up_and_come_later(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake)
    mailbox = gmail.mailbox()
    changed = [row["id"] for row in gmail.truth("messages", format="minimal")][:6]
    for message_id in changed:
        star(mailbox, message_id)
    gmail.expire_history()
    results = sync(refusing(client_of(gmail).mailbox(), {changed[0]}), lake, BOTH)
    assert results["messages"].unfetched
    stored = {row["id"]: row for row in stored_rows(lake, "messages")}
    assert sorted(stored[changed[5]]["labelIds"]) == sorted(mailbox.label_ids(changed[5]))
    assert changed[0] in unfetched(lake, "messages")
    run(gmail, lake)
    assert_lake_is_true(lake, gmail, BOTH)
    assert not unfetched(lake, "messages")


def test_many_messages_that_never_come_do_not_stop_the_runs_to_come(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake)
    mailbox = gmail.mailbox()
    lost: set[str] = set()
    with mock.patch("gmail_assets.syncing.failures._MOST_FAILURES", 4):
        for _ in range(3):
            lost |= {mail(mailbox, "lost") for _ in range(3)}
            results = sync(refusing(client_of(gmail).mailbox(), lost), lake, BOTH)
            assert results["messages"].unfetched == len(lost)
    new = mail(mailbox, "had")
    sync(refusing(client_of(gmail).mailbox(), lost), lake, BOTH)
    assert new in {row["id"] for row in stored_rows(lake, "messages")}


@pytest.mark.parametrize("tables", [BOTH, BOTH[:1], BOTH[1:]])
def test_more_messages_that_never_come_than_an_outage_has_do_not_stop_the_load_for_ever(
    gmail: Emulator, lake: Lake, tables: list[SpecTable]
) -> None:
    lost = set(sorted(gmail.mailbox().message_ids())[-12:])
    with mock.patch("gmail_assets.syncing.failures._MOST_FAILURES", 4):
        for _ in range(2):
            with pytest.raises(GmailError, match="refused by the test"):
                sync(refusing(client_of(gmail).mailbox(), lost), lake, tables)
        results = sync(refusing(client_of(gmail).mailbox(), lost), lake, tables)
    assert all(result.complete for result in results.values())
    run(gmail, lake, tables)
    assert_lake_is_true(lake, gmail, tables)
    assert not any(unfetched(lake, table.source_table) for table in tables)


@pytest.mark.parametrize("tables", [BOTH, BOTH[:1]], ids=["both", "messages"])
def test_a_retry_queue_longer_than_an_outage_ends_no_run(lake: Lake, tables: list[SpecTable]) -> None:
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
        # Nothing but the queue, then with new mail.
        run(gmail, lake, tables)
        new = gmail.mailbox().receive(gmail.mailbox().random_mail())
        run(gmail, lake, tables)
        assert new in {row["id"] for row in stored_rows(lake, "messages")}
        gmail.faults.clear()
        run(gmail, lake, tables)
        assert_lake_is_true(lake, gmail, tables)


@pytest.mark.parametrize("count", [5, 12])
def test_messages_that_gmail_never_serves_do_not_end_the_first_load(
    gmail: Emulator, lake: Lake, count: int
) -> None:
    mailbox = gmail.mailbox()
    first = mail(mailbox, "a thread")
    mail(mailbox, "Re: a thread", reply_to=first)
    # The newest ones are read first.
    rows = sorted(gmail.truth("messages", format="minimal"), key=lambda row: row["id"])
    broken = {row["id"] for row in rows[-count:]}
    for one in broken | {row["threadId"] for row in rows[-count:]}:
        gmail.faults.add(Fault(id=one, status=503, reason="backendError"))
    results = run(gmail, lake)
    assert all(result.complete and result.unfetched == count for result in results.values())
    assert {row["id"] for row in stored_rows(lake, "messages")} == {row["id"] for row in rows} - broken
    assert unfetched(lake, "messages") == unfetched(lake, "threads") == broken
    # What is served is paid once; a probe after five failures costs one unit, or one message more.
    content = gmail.usage.units["messages.get"] + gmail.usage.units["threads.get"]
    assert content <= 20 * (len(rows) - count) + 40 * (count // 5 + 1)
    gmail.faults.clear()
    gmail.usage.reset()
    run(gmail, lake)
    assert_lake_is_true(lake, gmail, BOTH)
    assert gmail.usage.fetched_twice == {}


def test_an_outage_ends_the_first_load_and_what_was_served_is_kept(gmail: Emulator, lake: Lake) -> None:
    results = iter(range(10))

    def fail(given: ApiResult) -> ApiResult:
        if next(results, None) is None:
            gmail.faults.add(Fault(status=503, reason="backendError"))
        return given

    with pytest.raises(UnavailableError):
        sync(answering(client_of(gmail, workers=1).mailbox(), fail), lake, BOTH)
    gmail.faults.clear()
    assert len(stored_rows(lake, "messages")) >= 10
    run(gmail, lake)
    assert_lake_is_true(lake, gmail, BOTH)
    assert gmail.usage.fetched_twice == {}


def test_one_message_that_gmail_cannot_give_keeps_no_other_of_its_thread(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    first = mail(mailbox, "one")
    bad, *others = [mail(mailbox, "Re: one", reply_to=first) for _ in range(4)]
    sync(refusing(client_of(gmail).mailbox(), {bad}), lake, BOTH)
    assert {row["id"] for row in stored_rows(lake, "messages")} >= {first, *others}
    (thread,) = [row for row in stored_rows(lake, "threads") if row["id"] == first]
    assert {message["id"] for message in thread["messages"]} == {first, *others}
    assert unfetched(lake, "messages") == unfetched(lake, "threads") == {bad}
    run(gmail, lake)
    assert_lake_is_true(lake, gmail, BOTH)


def test_a_load_that_dies_between_the_first_rows_of_both_tables_has_begun_for_both(
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


def test_a_failure_is_noted_for_the_table_that_lacks_the_message(gmail: Emulator, lake: Lake) -> None:
    tables = [spec("messages", format="raw"), spec("threads")]
    run(gmail, lake, tables)
    mailbox = gmail.mailbox()
    lost = mail(mailbox, "lost")
    sync(refusing(client_of(gmail).mailbox(), {lost}, {"raw"}), lake, tables)
    assert (unfetched(lake, "messages"), unfetched(lake, "threads")) == ({lost}, set())
    run(gmail, lake, tables)
    assert_lake_is_true(lake, gmail, tables)


def test_a_message_that_q_does_not_want_is_not_let_in_by_another_tables_failure(
    gmail: Emulator, lake: Lake
) -> None:
    tables = [spec("messages", q="subject:needle"), spec("threads")]
    mailbox = gmail.mailbox()
    lost = mail(mailbox, "hay")
    sync(refusing(client_of(gmail).mailbox(), {lost}), lake, tables)
    run(gmail, lake, tables)
    assert_lake_is_true(lake, gmail, tables)


@pytest.mark.parametrize("read", [False, True])
def test_a_refused_message_that_comes_late_enters_if_it_matches_then(
    gmail: Emulator, lake: Lake, read: bool
) -> None:
    tables = [spec("messages", q="is:unread subject:needle")]
    mailbox = gmail.mailbox()
    lost = mail(mailbox, "needle")
    sync(refusing(client_of(gmail).mailbox(), {lost}), lake, tables)
    assert unfetched(lake, "messages") == {lost}
    mailbox.modify(lost, ["STARRED"], ["UNREAD"] if read else [])
    run(gmail, lake, tables)
    assert [row["id"] for row in stored_rows(lake, "messages")] == [lost][read:]
    assert not unfetched(lake, "messages")


def test_a_kept_row_comes_back_only_where_q_wants_it(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    hay = mail(mailbox, "hay")
    run(gmail, lake, [spec("messages", deletes="keep")])
    mailbox.trash(hay)
    run(gmail, lake, [spec("messages", deletes="keep")])
    narrow = [spec("messages", deletes="keep", q="subject:needle")]
    run(gmail, lake, narrow, allow_mass_delete=True)
    mailbox.untrash(hay)
    run(gmail, lake, narrow)
    assert_lake_is_true(lake, gmail, narrow)


def test_a_kept_row_comes_back_with_the_labels_that_it_has_now(gmail: Emulator, lake: Lake) -> None:
    tables = [spec("messages", deletes="keep"), spec("threads", deletes="keep")]
    mailbox = gmail.mailbox()
    message_id = mail(mailbox, "one")
    run(gmail, lake, tables)
    mailbox.trash(message_id)
    mailbox.modify(message_id, [], [label for label in mailbox.label_ids(message_id) if label != "TRASH"])
    run(gmail, lake, tables)
    mailbox.untrash(message_id)
    mailbox.modify(message_id, [], list(mailbox.label_ids(message_id)))
    run(gmail, lake, tables)
    assert_lake_is_true(lake, gmail, tables)


def test_deleted_rows_may_be_kept_from_now_on_and_no_longer(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake)
    mailbox = gmail.mailbox()
    first, second, third = [row["id"] for row in gmail.truth("messages", format="minimal")][:3]
    keep = [spec("messages", deletes="keep"), spec("threads", deletes="keep")]
    run(gmail, lake, keep, reconcile=True)
    mailbox.delete(first)
    star(mailbox, third)
    run(gmail, lake, keep)
    assert_lake_is_true(lake, gmail, keep)
    mailbox.delete(second)
    run(gmail, lake)
    assert_lake_is_true(lake, gmail, BOTH)
    rows = DeltaTable(lake.location("messages")).to_pyarrow_table().to_pylist()
    assert {row["id"] for row in rows if row["_deletedAt"]} == {first}


def test_another_format_keeps_the_rows_that_were_to_be_kept(gmail: Emulator, lake: Lake) -> None:
    keep = [spec("messages", deletes="keep")]
    run(gmail, lake, keep)
    gone = gmail.truth("messages", format="minimal")[0]["id"]
    gmail.mailbox().delete(gone)
    run(gmail, lake, keep)
    metadata = [spec("messages", deletes="keep", format="metadata")]
    run(gmail, lake, metadata)
    assert_lake_is_true(lake, gmail, metadata)
    rows = DeltaTable(lake.location("messages")).to_pyarrow_table().to_pylist()
    assert [row["id"] for row in rows if row["_deletedAt"]] == [gone]


def test_a_history_that_expires_again_and_again_reads_labels_only_once(lake: Lake) -> None:
    with Emulator(messages=60, seed=8) as gmail:
        run(gmail, lake)
        mailbox = gmail.mailbox()
        for message_id in mailbox.message_ids():
            star(mailbox, message_id)
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
        assert_lake_is_true(lake, gmail, BOTH)


def test_a_thread_whose_newest_message_goes_while_it_is_read_shows_what_is_left(lake: Lake) -> None:
    with Emulator(messages=20, seed=3, behavior=Behavior(threads_get_snippet=False)) as gmail:
        mailbox = gmail.mailbox()
        first = mail(mailbox, "one", "The first.")
        second = mail(mailbox, "Re: one", "The second.", reply_to=first)
        gone = []

        def meanwhile(name: str) -> None:
            if name == "get_many" and not gone:
                gone.append(mailbox.delete(second))

        sync(asking(client_of(gmail).mailbox(), meanwhile), lake, BOTH)
        assert_lake_is_true(lake, gmail, BOTH)


def test_what_failed_under_other_options_is_not_wanted_for_that(gmail: Emulator, lake: Lake) -> None:
    hay = mail(gmail.mailbox(), "hay")
    sync(refusing(client_of(gmail).mailbox(), {hay}), lake, BOTH)
    assert unfetched(lake, "messages") == {hay}
    narrow = [spec("messages", q="subject:needle"), spec("threads", q="subject:needle")]
    run(gmail, lake, narrow, allow_mass_delete=True)
    assert_lake_is_true(lake, gmail, narrow)
    assert not unfetched(lake, "messages")


def test_rows_restored_from_before_another_format_are_read_anew(gmail: Emulator, lake: Lake) -> None:
    metadata = [spec("messages", format="metadata"), spec("threads", format="minimal")]
    run(gmail, lake, metadata)
    versions = {name: lake.table(name).delta.version() for name in ("messages", "threads")}
    run(gmail, lake)
    for name, version in versions.items():
        DeltaTable(lake.location(name)).restore(version)
    run(gmail, lake)
    assert_lake_is_true(lake, gmail, BOTH)


def test_rows_restored_to_a_moment_within_a_run_get_their_labels(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake, BOTH[:1])
    mailbox = gmail.mailbox()
    first = gmail.truth("messages", format="minimal")[0]["id"]
    star(mailbox, first)
    answer(mailbox, first)
    run(gmail, lake, BOTH[:1])
    delta = DeltaTable(lake.location("messages"))
    delta.restore(delta.version() - 1)  # the reply is there, the star is not
    with mock.patch("gmail_assets.syncing.labels._SAMPLE", 0):
        run(gmail, lake, BOTH[:1])
    assert_lake_is_true(lake, gmail, BOTH[:1])


def test_narrower_options_do_not_drop_what_changed_back_since_it_was_stored(
    gmail: Emulator, lake: Lake
) -> None:
    mailbox = gmail.mailbox()
    everything = [spec("messages", includeSpamTrash=True), spec("threads", includeSpamTrash=True)]
    trashed = mail(mailbox, "back soon")
    mailbox.trash(trashed)
    run(gmail, lake, everything)
    mailbox.untrash(trashed)
    run(gmail, lake)
    assert_lake_is_true(lake, gmail, BOTH)


def test_a_thread_stays_for_the_label_that_one_message_gained_while_another_was_deleted(
    gmail: Emulator, lake: Lake
) -> None:
    mailbox = gmail.mailbox()
    first = mail(mailbox, "one")
    second = mail(mailbox, "Re: one", reply_to=first)
    third = mail(mailbox, "Re: one", reply_to=first)
    starred = [spec("messages", labelIds="STARRED"), spec("threads", labelIds="STARRED")]
    star(mailbox, third)
    run(gmail, lake, starred)
    star(mailbox, second)
    mailbox.delete(third)
    gmail.expire_history()
    run(gmail, lake, starred)
    assert stored_rows(lake, "threads")
    assert_lake_is_true(lake, gmail, starred)


def test_a_row_that_narrower_options_let_go_is_not_brought_back_by_its_label(
    gmail: Emulator, lake: Lake
) -> None:
    mailbox = gmail.mailbox()
    hay = mail(mailbox, "hay")
    run(gmail, lake, [spec(name, deletes="keep") for name in ("messages", "threads")])
    star(mailbox, hay)
    narrow = [spec(name, deletes="keep", q="has:attachment") for name in ("messages", "threads")]
    run(gmail, lake, narrow, allow_mass_delete=True)
    assert_lake_is_true(lake, gmail, narrow)


def at_first(name: str, act: Callable[[], object]) -> Callable[[str], None]:
    """For `asking`: act when the endpoint of that name is first asked."""
    done: list[object] = []

    def before(asked: str) -> None:
        if asked == name and not done:
            done.append(act())

    return before


def test_what_another_tables_filters_fetched_makes_no_half_a_thread(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    tables = [spec("messages"), spec("threads", labelIds="STARRED")]
    one = mail(mailbox, "one")
    mail(mailbox, "Re: one", reply_to=one)
    run(gmail, lake, tables)
    three = mail(mailbox, "Re: one", reply_to=one)
    starred = at_first("get_many", lambda: star(mailbox, three))
    sync(asking(client_of(gmail).mailbox(), starred), lake, tables)
    run(gmail, lake, tables)
    assert stored_rows(lake, "threads")
    assert_lake_is_true(lake, gmail, tables)


def test_a_row_that_gets_the_label_while_narrower_options_let_it_go_is_there(
    gmail: Emulator, lake: Lake
) -> None:
    mailbox = gmail.mailbox()
    one = mail(mailbox, "one")
    run(gmail, lake, BOTH[:1])
    starred = [spec("messages", labelIds="STARRED")]
    late = at_first("history", lambda: star(mailbox, one))
    sync(asking(client_of(gmail).mailbox(), late), lake, starred, allow_mass_delete=True)
    assert one in {row["id"] for row in stored_rows(lake, "messages")}
    assert_lake_is_true(lake, gmail, starred)


@pytest.mark.parametrize("tables", [BOTH[:1], BOTH[1:]], ids=["messages", "threads"])
def test_labels_that_came_late_are_due_until_they_are_written(
    gmail: Emulator, lake: Lake, tables: list[SpecTable]
) -> None:
    run(gmail, lake, tables)
    mailbox = gmail.mailbox()
    first = gmail.truth("messages", format="minimal")[0]["id"]
    star(mailbox, first)
    gmail.expire_history()
    sync(refusing(client_of(gmail).mailbox(), {first}), lake, tables)
    with kill_before_merge(), pytest.raises(Killed):
        run(gmail, lake, tables)
    run(gmail, lake, tables)
    assert_lake_is_true(lake, gmail, tables)
    assert not unfetched(lake, tables[0].source_table)


def test_a_thread_that_grew_is_written_once(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake)
    answer(gmail.mailbox(), gmail.truth("messages", format="minimal")[0]["id"])
    before = lake.table("threads").delta.version()
    run(gmail, lake)
    delta = lake.table("threads").delta
    done = [commit["operation"] for commit in delta.history(delta.version() - before)]
    assert done.count("MERGE") == 1
    assert_lake_is_true(lake, gmail, BOTH)


UNREAD = [spec("messages", q="is:unread"), spec("threads", q="is:unread")]


@pytest.mark.parametrize("killed", [False, True])
def test_rows_that_a_restore_brings_back_are_judged_again(gmail: Emulator, lake: Lake, killed: bool) -> None:
    mailbox = gmail.mailbox()
    one = mail(mailbox, "one")
    mailbox.modify(one, ["UNREAD"], [])
    run(gmail, lake, UNREAD)
    mailbox.modify(one, [], ["UNREAD"])
    run(gmail, lake, UNREAD)
    delta = DeltaTable(lake.location("messages"))
    delta.restore(delta.version() - 1)
    if killed:
        mailbox.modify(mail(mailbox, "two"), ["UNREAD"], [])
        with dying_after_growth(), pytest.raises(Killed):
            run(gmail, lake, UNREAD)
    run(gmail, lake, UNREAD)
    assert one not in {row["id"] for row in stored_rows(lake, "messages")}
    assert_lake_is_true(lake, gmail, UNREAD)


def test_rows_restored_from_other_options_do_not_stay(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake, UNREAD[:1])
    run(gmail, lake, BOTH[:1])
    version = lake.table("messages").delta.version()
    run(gmail, lake, UNREAD[:1], allow_mass_delete=True)
    DeltaTable(lake.location("messages")).restore(version)
    with dying_after_growth(), contextlib.suppress(Killed):
        run(gmail, lake, UNREAD[:1], allow_mass_delete=True)
    run(gmail, lake, UNREAD[:1], allow_mass_delete=True)
    assert_lake_is_true(lake, gmail, UNREAD[:1])


def test_a_full_refresh_keeps_the_rows_of_what_was_deleted_since(gmail: Emulator, lake: Lake) -> None:
    mailbox = gmail.mailbox()
    one, two = mail(mailbox, "one"), mail(mailbox, "two")
    keep = [spec("messages", deletes="keep"), spec("threads", deletes="keep")]
    run(gmail, lake, keep)
    mailbox.delete(one)
    late = at_first("get_many", lambda: mailbox.delete(two))
    sync(asking(client_of(gmail).mailbox(), late), lake, keep, full_refresh=True)
    rows = lake.table("messages", keep_deleted=True).delta.to_pyarrow_table().to_pylist()
    assert {row["id"] for row in rows if row["_deletedAt"] is not None} == {one, two}
    assert_lake_is_true(lake, gmail, keep)


def test_a_comparison_that_runs_out_of_time_is_gone_on_with(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake)
    delta = DeltaTable(lake.location("messages"))
    delta.delete(f"id IN ('{gmail.mailbox().message_ids()[0]}', '{gmail.mailbox().message_ids()[-1]}')")
    with mock.patch.dict("gmail_client.fetch.chunks.__kwdefaults__", {"messages": 1}):
        first = run(gmail, lake, reconcile=True, deadline=0.0)
    assert not first["messages"].complete
    assert run(gmail, lake)["messages"].mode == "reconcile"
    assert_lake_is_true(lake, gmail, BOTH)


class Lagging:
    """An API whose profile names an earlier history id."""

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
def test_a_profile_that_lags_behind_the_history_reads_no_labels_again(
    gmail: Emulator, lake: Lake, tables: list[SpecTable]
) -> None:
    run(gmail, lake)
    star(gmail.mailbox(), gmail.mailbox().message_ids()[0])
    run(gmail, lake)
    gmail.usage.reset()
    mailbox = client_of(gmail).mailbox()
    lagging = Mailbox(mailbox.client, mailbox.user_id, Lagging(mailbox.api, 1))  # type: ignore[arg-type]
    with mock.patch("gmail_assets.syncing.labels._SAMPLE", 0):
        results = sync(lagging, lake, tables, allow_mass_delete=True)
    assert results["threads"].mode == "incremental"
    assert not gmail.usage.units["messages.get"] + gmail.usage.units["threads.get"]
    assert_lake_is_true(lake, gmail, tables)


def test_a_cursor_past_the_head_is_not_believed_once_the_head_has_passed_it(
    gmail: Emulator, lake: Lake
) -> None:
    run(gmail, lake)
    mailbox = gmail.mailbox()
    past = int(mailbox.head) + 100
    for name in ("messages", "threads"):
        partition = MailboxPartition(lake.table(name), mailbox.address, "all", "full")
        partition.commit(partition.state.synced(past))
    star(mailbox, mailbox.message_ids()[0])
    killed = at_first("list_threads", mock.Mock(side_effect=Killed))
    with pytest.raises(Killed):
        sync(asking(client_of(gmail).mailbox(), killed), lake, BOTH)
    while int(mailbox.head) <= past:
        star(mailbox, mailbox.message_ids()[1])
    run(gmail, lake)
    assert_lake_is_true(lake, gmail, BOTH)


@pytest.mark.parametrize("expires", [False, True])
def test_labels_that_only_reading_tells_are_read_on_by_the_next_run(lake: Lake, expires: bool) -> None:
    with Emulator(messages=60, seed=8, behavior=Behavior(thread_history_moves_with_labels=False)) as gmail:
        run(gmail, lake)
        mailbox = gmail.mailbox()
        for message_id in mailbox.message_ids():
            star(mailbox, message_id)
        gmail.expire_history()
        gmail.usage.reset()
        with (
            mock.patch("gmail_assets.syncing.labels._LABELS_AT_ONCE", 5),
            mock.patch("gmail_assets.syncing.labels._SAMPLE", 2),
        ):
            for _ in range(3):
                assert not run(gmail, lake, deadline=0.0)["messages"].complete
                star(mailbox, mailbox.message_ids()[0])
                star(mailbox, mailbox.message_ids()[-1])
            if expires:
                gmail.expire_history()
            assert run(gmail, lake)["messages"].complete
        assert_lake_is_true(lake, gmail, BOTH)
        once = sum(min(20 * len(row["messages"]), 40) for row in gmail.truth("threads", format="minimal"))
        if not expires:
            assert gmail.usage.units["threads.get"] + gmail.usage.units["messages.get"] <= once + 2 * 40


def test_a_table_that_is_new_when_the_other_one_s_history_is_gone_is_loaded(
    gmail: Emulator, lake: Lake
) -> None:
    run(gmail, lake, BOTH[:1])
    mailbox = gmail.mailbox()
    mailbox.receive(mailbox.random_mail())
    gmail.expire_history()
    results = run(gmail, lake)
    assert {name: result.mode for name, result in results.items()} == {
        "messages": "reconcile",
        "threads": "full_load",
    }
    assert_lake_is_true(lake, gmail, BOTH)


def test_a_thread_whose_first_message_leaves_has_its_other_labels_read(lake: Lake) -> None:
    """Its id is the thread's: a key of a row that leaves must not be taken for the thread."""
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


def test_a_message_that_comes_along_in_its_thread_is_not_taken_from_the_lake_too(lake: Lake) -> None:
    with Emulator(messages=10, seed=5, mean_json_kb=2) as gmail:
        mailbox = gmail.mailbox()
        first = mailbox.receive(mailbox.random_mail())
        for _ in range(2):
            mailbox.receive(mailbox.random_mail(reply_to=first))
        run(gmail, lake, BOTH[1:])
        for _ in range(3):  # three new ones: the thread is read whole
            mailbox.receive(mailbox.random_mail(reply_to=first))
        run(gmail, lake, BOTH[:1])
        assert_lake_is_true(lake, gmail, BOTH[:1])


def test_a_message_that_was_refused_and_is_hidden_now_is_not_read_again(gmail: Emulator, lake: Lake) -> None:
    lost = gmail.truth("messages", format="minimal")[0]["id"]
    sync(refusing(client_of(gmail).mailbox(), {lost}), lake, BOTH[:1])
    gmail.mailbox().trash(lost)
    gmail.usage.reset()
    run(gmail, lake)
    assert not gmail.usage.units.get("messages.get")
    assert_lake_is_true(lake, gmail, BOTH)
