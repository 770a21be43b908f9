"""The rows and the cost of a sync, with units counted by the emulator."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from support.chaos import Chaos, Killed, client_of
from support.lake import assert_lake_equals_mailbox, stored_rows

from gmail_assets.delta.lake import Lake
from gmail_assets.syncing import MassDeletionError, SyncResult, snapshot, sync
from gmail_client.client import GmailClient
from gmail_client.emulator import Behavior, Emulator, Fault
from gmail_client.errors import ConfigurationError, UnavailableError
from gmail_client.fetch import chunks
from gmail_client.quota import preset
from gmail_client.spec import Spec, SpecTable


def spec(table: str, **configuration: Any) -> SpecTable:
    return SpecTable.parse({"source_table": table, "table_configuration": configuration})


BOTH = [spec("messages"), spec("threads")]


@pytest.fixture
def gmail() -> Iterator[Emulator]:
    with Emulator(messages=80, seed=5) as emulator:
        yield emulator


def run(gmail: Emulator, lake: Lake, tables: list[SpecTable] = BOTH, **named: Any) -> dict[str, SyncResult]:
    return sync(client_of(gmail).mailbox(), lake, tables, sample=random.Random(1), **named)


def thread_units(gmail: Emulator, message: int = 20, thread: int = 40) -> int:
    """The sum over threads of their cheapest calls."""
    return sum(
        min(message * len(row["messages"]), thread) for row in gmail.truth("threads", format="minimal")
    )


def units_of(gmail: Emulator, *methods: str) -> int:
    return sum(gmail.usage.units[method] for method in methods)


@pytest.mark.parametrize(
    ("seed", "quota"),
    [
        (1, "current"),
        (2, "legacy"),
        *[
            pytest.param(seed, quota, marks=pytest.mark.slow)
            for seed, quota in [(1, "legacy"), (2, "current"), (3, "current"), (3, "legacy")]
        ],
    ],
)
def test_every_table_equals_the_mailbox_field_by_field(seed: int, quota: str, lake: Lake) -> None:
    behavior = Behavior(threads_get_snippet=True)
    with Emulator(messages=100, seed=seed, quota="none", behavior=behavior) as gmail:
        client = client_of(gmail)
        client.plan = preset(quota)
        tables = Spec.default().tables
        sync(client.mailbox(), lake, tables[:2])
        for table in tables[2:]:
            snapshot(client.mailbox(), lake, table)
        readable = [table for table in tables if table.source_table != "delegates"]
        assert_lake_equals_mailbox(lake, gmail, readable, history=True)
        assert stored_rows(lake, "delegates") == []


def test_a_first_load_of_both_tables_costs_the_cheapest_calls_and_the_listings(
    gmail: Emulator, lake: Lake
) -> None:
    results = run(gmail, lake)
    assert units_of(gmail, "messages.get", "threads.get") == thread_units(gmail)
    assert units_of(gmail, "messages.list", "threads.list", "history.list", "getProfile") == 5 + 10 + 2 + 1
    assert results["messages"].units == gmail.usage.total_units
    assert not gmail.usage.fetched_twice


def test_each_table_can_be_loaded_alone(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake, BOTH[:1])
    assert units_of(gmail, "messages.get", "threads.get") == thread_units(gmail)
    run(gmail, lake, BOTH[1:])
    assert_lake_equals_mailbox(lake, gmail, BOTH)


def test_label_changes_on_two_pages_of_history_cost_no_get(lake: Lake) -> None:
    with Emulator(messages=600, seed=2, mean_json_kb=2) as gmail:
        run(gmail, lake)
        mailbox = gmail.mailbox()
        visible = [row["id"] for row in gmail.truth("messages", format="minimal")]
        for message_id in visible[:510]:
            carried = "STARRED" in mailbox.label_ids(message_id)
            mailbox.modify(message_id, [] if carried else ["STARRED"], ["STARRED"] if carried else [])
        gmail.usage.reset()
        results = run(gmail, lake)
        assert not units_of(gmail, "messages.get", "threads.get", "threads.list", "messages.list")
        assert gmail.usage.total_units <= 2 * 2 + 5
        assert results["messages"].rows_updated == 510
        assert_lake_equals_mailbox(lake, gmail, BOTH)


def test_new_messages_cost_the_cheapest_calls_for_each_touched_thread(lake: Lake) -> None:
    with Emulator(messages=100, seed=3, mean_json_kb=4) as gmail:
        run(gmail, lake)
        mailbox = gmail.mailbox()
        rng = random.Random(4)
        new: dict[str, int] = {}
        threads = mailbox.thread_ids()[:35]
        answered = [rng.choice(threads) for _ in range(50)]
        rows = {row["id"]: row for row in gmail.truth("threads", include_spam_trash=True, format="minimal")}
        for thread_id in answered:
            member = rows[thread_id]
            message_id = mailbox.receive(mailbox.random_mail(reply_to=member["messages"][-1]["id"]))
            thread = mailbox.message(message_id).thread.id
            new[thread] = new.get(thread, 0) + 1
        for _ in range(50):
            thread = mailbox.message(mailbox.receive(mailbox.random_mail())).thread.id
            new[thread] = new.get(thread, 0) + 1
        gmail.usage.reset()
        run(gmail, lake)
        assert units_of(gmail, "messages.get", "threads.get") <= sum(min(20 * k, 40) for k in new.values())
        assert gmail.usage.total_units - units_of(gmail, "messages.get", "threads.get") <= 2 + 2
        assert_lake_equals_mailbox(lake, gmail, BOTH)


def test_an_expired_history_fetches_no_content_again(lake: Lake) -> None:
    with Emulator(messages=900, seed=6, mean_json_kb=2) as gmail:
        run(gmail, lake)
        full = gmail.usage.total_units
        gmail.expire_history()
        gmail.usage.reset()
        results = run(gmail, lake)
        sample = units_of(gmail, "messages.get", "threads.get")
        assert results["messages"].mode == results["threads"].mode == "reconcile"
        assert sample <= 20 * 40
        # 2 pages of messages twice, 2 of threads, and the history: a larger mailbox costs a smaller share.
        assert gmail.usage.total_units - sample <= 2 * 5 * 2 + 2 * 10 + 2 * 2 + 3
        assert gmail.usage.total_units - sample < full * 0.005
        assert gmail.usage.fetched == 0
        assert_lake_equals_mailbox(lake, gmail, BOTH)


def test_an_expired_history_reads_only_the_threads_that_changed(lake: Lake) -> None:
    with Emulator(messages=250, seed=7, mean_json_kb=4) as gmail:
        run(gmail, lake)
        mailbox = gmail.mailbox()
        changed = mailbox.thread_ids()[::12]
        for thread_id in changed:
            mailbox.modify_thread(thread_id, ["STARRED"], ["UNREAD"])
        gone = mailbox.message_ids()[7]
        mailbox.delete(gone)
        price = sum(
            min(20 * len(row["messages"]), 40)
            for row in gmail.truth("threads", include_spam_trash=True)
            if row["id"] in changed
        )
        gmail.expire_history()
        gmail.usage.reset()
        run(gmail, lake)
        assert units_of(gmail, "messages.get", "threads.get") <= price + 40 + 20 * 40
        assert gmail.usage.fetched == 0
        assert_lake_equals_mailbox(lake, gmail, BOTH)


def test_thread_history_ids_that_ignore_label_changes_are_detected(lake: Lake) -> None:
    with Emulator(messages=60, seed=8, behavior=Behavior(thread_history_moves_with_labels=False)) as gmail:
        run(gmail, lake)
        mailbox = gmail.mailbox()
        for message_id in mailbox.message_ids():
            mailbox.modify(message_id, [], ["UNREAD"])
        gmail.expire_history()
        results = run(gmail, lake)
        assert any("history id did not" in warning for warning in results["messages"].warnings)
        assert_lake_equals_mailbox(lake, gmail, BOTH)


def small_chunks(monkeypatch: pytest.MonkeyPatch, messages: int) -> None:
    monkeypatch.setitem(chunks.__kwdefaults__, "messages", messages)


@pytest.mark.parametrize(
    ("step", "messages"),
    [
        *[(step, 120) for step in (2, 12, 60, 140)],
        *[
            pytest.param(step, 400, marks=pytest.mark.slow)
            for step in (*range(2, 30, 9), *range(30, 700, 67))
        ],
    ],
)
def test_a_killed_first_load_resumes_and_fetches_at_most_one_chunk_again(
    step: int, messages: int, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_chunks(monkeypatch, messages // 4)
    with Emulator(messages=messages, seed=9) as gmail:
        chaos = Chaos(die_at=step)
        with chaos.commits(), contextlib.suppress(Killed):
            sync(chaos.mailbox(client_of(gmail).mailbox()), lake, BOTH)
        run(gmail, lake)
        assert_lake_equals_mailbox(lake, gmail, BOTH)
        needed = sum(min(len(row["messages"]), 1) for row in gmail.truth("threads", format="minimal"))
        calls = gmail.usage.calls["messages.get"] + gmail.usage.calls["threads.get"]
        in_flight = 40 + 20  # parts that the workers had requested, and a batch that was not consumed yet
        assert calls - needed <= messages // 4 + in_flight


def test_a_run_out_of_time_stops_cleanly_and_the_next_run_resumes(
    gmail: Emulator, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_chunks(monkeypatch, 20)
    first = run(gmail, lake, deadline=time.monotonic())
    assert not first["messages"].complete
    assert 0 < first["messages"].rows_total < 60
    assert first["messages"].history_id is None
    runs = 1
    while not run(gmail, lake, deadline=time.monotonic())["messages"].complete:
        runs += 1
        assert runs < 20
    assert runs > 2
    assert_lake_equals_mailbox(lake, gmail, BOTH)


@pytest.mark.parametrize(
    "configuration",
    [
        {"q": "has:attachment"},
        {"q": "is:unread -in:chats", "labelIds": "INBOX"},
        {"q": "larger:5k", "includeSpamTrash": "true"},
    ],
)
def test_filters_apply_to_the_load_and_to_later_changes(
    gmail: Emulator, lake: Lake, configuration: dict[str, Any]
) -> None:
    tables = [spec("messages", **configuration), spec("threads", **configuration)]
    run(gmail, lake, tables)
    assert_lake_equals_mailbox(lake, gmail, tables)
    mailbox = gmail.mailbox()
    before = set(mailbox.message_ids())
    for _ in range(20):
        mailbox.receive(mailbox.random_mail())
    run(gmail, lake, tables)
    entered = {row["id"] for row in stored_rows(lake, "messages")} - before
    true = {
        row["id"]
        for row in gmail.truth(
            "messages",
            q=configuration["q"],
            label_ids=tuple(configuration.get("labelIds", "").split(","))
            if configuration.get("labelIds")
            else (),
            include_spam_trash=bool(configuration.get("includeSpamTrash")),
        )
    }
    assert entered == true - before


@pytest.mark.parametrize("reach", [True, False])
@pytest.mark.parametrize("options", [{"labelIds": "TRASH"}, {"q": "in:trash"}, {"labelIds": "SPAM"}])
def test_spam_and_trash_are_loaded_if_a_filter_includes_them(
    lake: Lake, options: dict[str, str], reach: bool
) -> None:
    with Emulator(messages=60, seed=5, behavior=Behavior(label_ids_reach_spam_trash=reach)) as gmail:
        gmail.mailbox().insert(gmail.mailbox().random_mail(), ["SPAM"])
        tables = [spec("messages", **options), spec("threads", **options)]
        run(gmail, lake, tables)
        assert stored_rows(lake, "messages")
        assert_lake_equals_mailbox(lake, gmail, tables)


def test_a_row_is_deleted_when_its_message_stops_matching_q_or_is_deleted(
    gmail: Emulator, lake: Lake
) -> None:
    tables = [spec("messages", q="is:unread")]
    run(gmail, lake, tables)
    entered = {row["id"] for row in stored_rows(lake, "messages")}
    mailbox = gmail.mailbox()
    read, deleted, *_ = sorted(entered)
    mailbox.modify(read, [], ["UNREAD"])
    mailbox.delete(deleted)
    run(gmail, lake, tables)
    assert {row["id"] for row in stored_rows(lake, "messages")} == entered - {read, deleted}
    assert_lake_equals_mailbox(lake, gmail, tables)


def test_changed_filters_delete_rows_that_no_longer_match(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake, [spec("messages"), spec("threads")])
    narrow = [
        spec("messages", labelIds="INBOX", q="has:attachment"),
        spec("threads", labelIds="INBOX", q="has:attachment"),
    ]
    run(gmail, lake, narrow, allow_mass_delete=True)
    assert_lake_equals_mailbox(lake, gmail, narrow)
    wide = [spec("messages", includeSpamTrash=True), spec("threads", includeSpamTrash=True)]
    run(gmail, lake, wide)
    assert_lake_equals_mailbox(lake, gmail, wide)


def test_another_format_fetches_everything_again(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake)
    metadata = [spec("messages", format="metadata"), spec("threads", format="minimal")]
    run(gmail, lake, metadata)
    assert_lake_equals_mailbox(lake, gmail, metadata)
    raw = [spec("messages", format="raw")]
    run(gmail, lake, raw)
    assert len(stored_rows(lake, "messages")) + len(run(gmail, lake, raw)["messages"].warnings) > 60


def test_soft_deletes_keep_rows_with_the_time(gmail: Emulator, lake: Lake) -> None:
    tables = [spec("messages", deletes="keep"), spec("threads", deletes="keep")]
    run(gmail, lake, tables)
    mailbox = gmail.mailbox()
    gone, trashed = [row["id"] for row in gmail.truth("messages", format="minimal")][3:5]
    mailbox.delete(gone)
    mailbox.trash(trashed)
    run(gmail, lake, tables)
    rows = {row["id"]: row for row in DeltaTable(lake.location("messages")).to_pyarrow_table().to_pylist()}
    assert rows[gone]["_deletedAt"] is not None
    assert rows[gone]["payload"] is not None
    assert rows[trashed]["_deletedAt"] is not None
    gmail.usage.reset()
    mailbox.untrash(trashed)
    run(gmail, lake, tables)
    assert_lake_equals_mailbox(lake, gmail, tables)


def test_a_mass_deletion_stops_before_anything_is_removed(lake: Lake) -> None:
    with Emulator(messages=400, seed=11) as gmail:
        run(gmail, lake)
        gmail.mailbox().batch_delete(gmail.mailbox().message_ids()[:200])
        gmail.expire_history()
        before = stored_rows(lake, "messages")
        with pytest.raises(MassDeletionError, match=r"would delete .* of .* rows") as caught:
            run(gmail, lake)
        assert "allow_mass_delete" in caught.value.fix
        assert len(stored_rows(lake, "messages")) == len(before)
        run(gmail, lake, allow_mass_delete=True)
        assert_lake_equals_mailbox(lake, gmail, BOTH)


def test_rows_whose_labels_stop_matching_count_as_a_mass_deletion(lake: Lake) -> None:
    inbox = [spec("messages", labelIds="INBOX"), spec("threads", labelIds="INBOX")]
    with Emulator(messages=300, seed=8) as gmail:
        run(gmail, lake, inbox)
        before = len(stored_rows(lake, "messages"))
        gmail.mailbox().batch_modify(gmail.mailbox().message_ids(), [], ["INBOX"])
        gmail.expire_history()
        with pytest.raises(MassDeletionError):
            run(gmail, lake, inbox)
        assert len(stored_rows(lake, "messages")) == before
        run(gmail, lake, inbox, allow_mass_delete=True)
        assert_lake_equals_mailbox(lake, gmail, inbox)


def test_an_unavailable_message_does_not_stop_others_and_is_retried(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake)
    mailbox = gmail.mailbox()
    new = [mailbox.receive(mailbox.random_mail()) for _ in range(5)]
    starred = mailbox.message_ids()[40]
    mailbox.modify(starred, ["STARRED"], [])
    gmail.faults.add(Fault(method="messages.get", status=400, reason="failedPrecondition", nth=2))
    first = run(gmail, lake)
    assert first["messages"].unfetched == 1
    assert first["messages"].history_id == int(mailbox.head)
    stored = {row["id"]: row for row in stored_rows(lake, "messages")}
    assert len(stored.keys() & set(new)) == 4
    assert "STARRED" in stored[starred]["labelIds"]
    assert DeltaTable(lake.location("_gmail_unfetched")).to_pyarrow_table().num_rows == 2
    gmail.faults.clear()
    run(gmail, lake)
    assert_lake_equals_mailbox(lake, gmail, BOTH)
    assert DeltaTable(lake.location("_gmail_unfetched")).to_pyarrow_table().num_rows == 0


def test_an_outage_does_not_fill_the_retry_queue(gmail: Emulator, lake: Lake) -> None:
    gmail.faults.add(Fault(method="messages.get", status=503))
    gmail.faults.add(Fault(method="threads.get", status=503))
    with pytest.raises(UnavailableError):
        run(gmail, lake)
    gmail.faults.clear()
    run(gmail, lake)
    assert_lake_equals_mailbox(lake, gmail, BOTH)


def test_tables_deleted_or_restored_by_hand_are_repaired(gmail: Emulator, lake: Lake, tmp_path: Path) -> None:
    run(gmail, lake)
    mailbox = gmail.mailbox()
    for _ in range(5):
        mailbox.receive(mailbox.random_mail())
    mailbox.modify(mailbox.message_ids()[20], ["STARRED"], [])
    mailbox.delete(mailbox.message_ids()[30])
    run(gmail, lake)
    DeltaTable(lake.location("messages")).restore(2)
    (tmp_path / "lake" / "threads").rename(tmp_path / "elsewhere")
    results = run(gmail, lake)
    assert results["messages"].mode == "reconcile"
    assert any("restored" in warning for warning in results["messages"].warnings)
    assert results["threads"].mode == "full_load"
    assert_lake_equals_mailbox(lake, gmail, BOTH)


def test_a_user_id_never_becomes_another_account(lake: Lake) -> None:
    with Emulator(mailboxes=2, messages=10, seed=1) as gmail:
        first, second = gmail.addresses
        sync(client_of(gmail, first).mailbox("me"), lake, BOTH)
        with pytest.raises(ConfigurationError, match=f"is {second} now, but in this lake it was {first}"):
            sync(client_of(gmail, second).mailbox("me"), lake, BOTH)
        with pytest.raises(ConfigurationError):
            snapshot(client_of(gmail, second).mailbox("me"), lake, spec("labels"))
        sync(client_of(gmail, second).mailbox(second), lake, BOTH)
        assert_lake_equals_mailbox(lake, gmail, BOTH, first)
        assert_lake_equals_mailbox(lake, gmail, BOTH, second)


def test_a_cursor_can_be_set_back_but_not_forward(gmail: Emulator, lake: Lake) -> None:
    start = int(gmail.mailbox().head)
    run(gmail, lake)
    mailbox = gmail.mailbox()
    for message_id in mailbox.message_ids()[:10]:
        mailbox.modify(message_id, ["STARRED"], [])
    run(gmail, lake)
    gmail.usage.reset()
    replayed = run(gmail, lake, replay_from=start)
    assert replayed["messages"].mode == "incremental"
    assert gmail.usage.fetched == 0
    assert_lake_equals_mailbox(lake, gmail, BOTH)
    for message_id in mailbox.message_ids()[:10]:
        mailbox.modify(message_id, [], ["STARRED"])
    run(gmail, lake, replay_from=int(mailbox.head) + 5)
    assert_lake_equals_mailbox(lake, gmail, BOTH)


def test_a_filter_that_matches_nothing_is_a_warning(gmail: Emulator, lake: Lake) -> None:
    results = run(gmail, lake, [spec("messages", q="subject:nobodyeverwrotethis")])
    assert any("match nothing" in warning for warning in results["messages"].warnings)
    assert results["messages"].complete


def test_a_snapshot_that_fails_half_way_replaces_nothing(gmail: Emulator, lake: Lake) -> None:
    client: GmailClient = client_of(gmail)
    snapshot(client.mailbox(), lake, spec("labels"))
    before = stored_rows(lake, "labels")
    gmail.mailbox().create_label("New")
    gmail.faults.add(Fault(method="labels.get", status=500, nth=4))
    gmail.faults.add(Fault(method="labels.list", status=403, reason="dailyLimitExceeded"))
    with pytest.raises(Exception, match="Fix:"):
        snapshot(client.mailbox(), lake, spec("labels"))
    assert stored_rows(lake, "labels") == before
