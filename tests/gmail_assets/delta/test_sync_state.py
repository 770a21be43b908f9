"""The sync state: its transitions, its format in the Delta log, and the migration from versions 1 and 2."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from hypothesis import given
from hypothesis import strategies as st

from gmail_assets.delta.app_ids import app_base
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.sync_state import (
    STATE_VERSION,
    LabelReread,
    NewerStateError,
    SyncState,
    number_of,
    read_state,
    transactions,
)
from gmail_assets.views import ViewSources, derive
from gmail_client.options import TableOptions
from gmail_client.spec import Spec

V1 = Path(__file__).parents[2] / "fixtures" / "lake_state_v1.tar.gz"
"""A lake of version 1: five mailboxes in five states."""

V2 = Path(__file__).parents[2] / "fixtures" / "lake_state_v2.tar.gz"
"""A lake of version 2 (commit 4de85c1), with addresses in the ids: five mailboxes, derived tables, registry."""
V2_SEARCH = V1.with_name("lake_state_v2_search.tar.gz")
"""A lake of version 2 with three mailboxes: under `q: is:unread` with a row that does not match, without filters,
and with a stopped first load under `q`."""

HISTORY = st.integers(1, 2**62)
STATES = st.builds(
    SyncState,
    options=st.just(number_of("all")),
    format=st.just(number_of("full")),
    cursor=st.none() | HISTORY,
    load_start=st.none() | HISTORY,
    rows_through=st.just(0) | HISTORY,
    rows_match=st.just(True),
    reread=st.none() | st.builds(LabelReread, HISTORY, HISTORY),
    unexplained=st.integers(-(10**9), 10**9),
    accepted=st.integers(-(10**9), 10**9),
    search_applied=st.booleans(),
    synced_at=st.none(),
    recheck=st.none(),
)
SYNCED = st.builds(
    replace,
    STATES,
    cursor=HISTORY,
    synced_at=st.none() | st.integers(1, 2**33),
    recheck=st.none() | HISTORY,
    recheck_at=st.none() | st.integers(1, 2**33),
)


@given(before=STATES | SYNCED, after=STATES | SYNCED)
def test_a_written_state_is_read_whatever_preceded_it(before: SyncState, after: SyncState) -> None:
    log: dict[str, int] = {}
    for fence, state in enumerate((before, after), start=1):
        log |= {t.app_id: t.version for t in transactions(state, log.get, "base", fence)}
    assert read_state(log.get, "base", "all", "full") == (after, STATE_VERSION)


def test_other_options_have_neither_cursor_nor_load_position() -> None:
    log: dict[str, int] = {}
    state = SyncState(number_of("all"), number_of("full")).synced(9)
    log |= {t.app_id: t.version for t in transactions(state, log.get, "base", 1)}
    other, _ = read_state(log.get, "base", "other", "full")
    assert (other.cursor, other.load_start, other.rows_through, other.rows_match) == (None, None, 9, False)


def extracted(archive_path: Path, folder: Path) -> Lake:
    with tarfile.open(archive_path) as archive:
        archive.extractall(folder, filter="data")
    return Lake(str(folder / "lake"))


@pytest.fixture
def old_lake(tmp_path: Path) -> Lake:
    return extracted(V1, tmp_path)


@pytest.fixture
def lake_of_2(tmp_path: Path) -> Lake:
    return extracted(V2, tmp_path)


def partition(lake: Lake, name: str, fingerprint: str = "all") -> MailboxPartition:
    return MailboxPartition(lake.table("messages"), f"{name}@example.test", fingerprint, "full")


def test_a_lake_of_version_1_resumes(old_lake: Lake) -> None:
    complete = partition(old_lake, "complete").state
    assert (complete.cursor, complete.load_start, complete.rows_through) == (50, None, 50)
    loading = partition(old_lake, "loading").state
    assert (loading.cursor, loading.load_start, loading.rows_through) == (None, 60, 60)
    filtered = partition(old_lake, "filtered", "0123456789ab").state
    assert (filtered.cursor, filtered.rows_match) == (70, True)
    reading = partition(old_lake, "reading").state
    assert (reading.cursor, reading.rows_through, reading.reread) == (None, 80, LabelReread(90, 12345))
    changed = partition(old_lake, "changed", "0123456789ab").state
    assert (changed.cursor, changed.rows_through, changed.rows_match) == (None, 95, False)


def test_the_first_commit_migrates(old_lake: Lake) -> None:
    for name, fingerprint in (("complete", "all"), ("filtered", "0123456789ab")):
        writer = partition(old_lake, name, fingerprint)
        writer.commit(writer.state.synced(200))
        assert partition(old_lake, name, fingerprint).state.cursor == 200
        log = DeltaTable(old_lake.location("messages"))
        hashed = app_base(log, f"{name}@example.test", "messages")
        assert log.transaction_version(f"{hashed}/version") == STATE_VERSION
        # Code of version 1 finds no cursor there and reconciles; code of version 2 refuses.
        base = f"gmail/{name}@example.test/messages"
        assert not log.transaction_version(f"{base}/{fingerprint}/history")
        assert log.transaction_version(f"{base}/version") == STATE_VERSION
    untouched = partition(old_lake, "loading").state
    assert untouched.load_start == 60


STATES_OF_2 = {
    ("complete", "all"): SyncState(0, 0, cursor=50, rows_through=50),
    ("loading", "all"): SyncState(0, 0, load_start=60, rows_through=60),
    ("filtered", "0123456789ab"): SyncState(0, 0, cursor=70, rows_through=70),
    ("reading", "all"): SyncState(0, 0, rows_through=80, reread=LabelReread(90, 12345)),
    ("counted", "all"): SyncState(0, 0, cursor=95, rows_through=95, unexplained=-3),
}


@pytest.mark.parametrize(("name", "fingerprint"), STATES_OF_2)
def test_a_lake_of_version_2_resumes(lake_of_2: Lake, name: str, fingerprint: str) -> None:
    expected = STATES_OF_2[name, fingerprint]
    before = partition(lake_of_2, name, fingerprint)
    for found in (before.state, _committed(before), partition(lake_of_2, name, fingerprint).state):
        numbers = {"options": number_of(fingerprint), "format": number_of("full")}
        assert found == replace(expected, **numbers, search_applied=False)
    assert not before.changed_format
    for other, print_ in STATES_OF_2:
        assert partition(lake_of_2, other, print_).written


def _committed(writer: MailboxPartition) -> SyncState:
    writer.commit(writer.state)
    return writer.state


def test_a_run_of_the_earlier_release_is_fenced_and_the_release_refuses(lake_of_2: Lake) -> None:
    base = "gmail/complete@example.test/messages"
    earlier = DeltaTable(lake_of_2.location("messages"))
    writer = earlier.transaction_version(f"{base}/writer")
    assert writer
    _committed(partition(lake_of_2, "complete"))
    # A commit by code of version 2, from the table version that it had opened.
    with pytest.raises(CommitFailedError):
        earlier.create_write_transaction(
            [],
            "append",
            earlier.schema(),
            partition_by=["mailbox"],
            commit_properties=CommitProperties(app_transactions=[Transaction(f"{base}/writer", writer + 1)]),
        )
    assert DeltaTable(lake_of_2.location("messages")).transaction_version(f"{base}/version") == 3


def test_derived_tables_of_version_2_are_not_computed_again(lake_of_2: Lake) -> None:
    sources = ViewSources.of(Spec.default())
    for _ in range(2):
        results = derive(lake_of_2, "complete@example.test", sources)
        assert {name: (found.rows_written, found.rows_updated) for name, found in results.items()} == {
            "emails": (0, 0),
            "message_labels": (0, 0),
            "attachments": (0, 0),
        }


def test_a_new_mailbox_leaves_no_address_in_transaction_ids(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    writer = partition(lake, "new")
    writer.commit(writer.state.loading(5))
    log = (tmp_path / "lake" / "messages" / "_delta_log" / f"{1:020}.json").read_text("utf-8")
    assert "/messages/writer" in log
    assert "example.test" not in log
    assert partition(lake, "new").state.load_start == 5


def test_rows_of_version_2_are_matched_again(tmp_path: Path) -> None:
    with tarfile.open(V2_SEARCH) as archive:
        archive.extractall(tmp_path, filter="data")
    lake = Lake(str(tmp_path / "lake"))
    unread = TableOptions(q="is:unread").fingerprint

    def opened(address: str, fingerprint: str) -> MailboxPartition:
        return MailboxPartition(lake.table("messages"), f"{address}@gmail.test", fingerprint, "full")

    filtered = opened("ada.ashdown", unread)
    assert (filtered.state.cursor, filtered.state.rows_match, filtered.state.search_applied) == (
        108979,
        True,
        False,
    )
    assert (filtered.state.synced_at, filtered.state.recheck) == (None, None)
    plain = opened("grace.birch", "all").state
    assert (plain.cursor, plain.search_applied) == (218124, False)
    filtered.commit(filtered.state.unsynced(200_000))
    assert not opened("ada.ashdown", unread).state.search_applied, "the reconciliation is not finished"
    filtered.commit(filtered.state.synced(200_000, 1_700_000_000, recheck=150_000))
    migrated = opened("ada.ashdown", unread).state
    assert (migrated.cursor, migrated.search_applied) == (200_000, True)
    assert (migrated.synced_at, migrated.recheck) == (1_700_000_000, 150_000)
    # As releases left it that had no `recheck_at`: `synced_at` is the earlier of both times.
    assert (migrated.recheck_at, migrated.arrivals_since) == (None, 1_700_000_000)
    filtered.commit(filtered.state.synced(210_000, 1_700_000_060, 200_000, 1_700_000_000))
    state = opened("ada.ashdown", unread).state
    assert (state.synced_at, state.recheck_at, state.arrivals_since) == (
        1_700_000_060,
        1_700_000_000,
        1_700_000_000,
    )
    filtered.commit(filtered.state.synced(220_000, 1_700_000_120))
    assert opened("ada.ashdown", unread).state.arrivals_since == 1_700_000_120
    assert not opened("grace.birch", "all").state.search_applied


def test_a_sync_that_finds_nothing_new_leaves_the_state_as_it_is() -> None:
    state = SyncState(1, 2).synced(10, 1_700_000_000)
    assert state.synced(10, 1_700_000_060) == state
    rejected = state.synced(20, 1_700_000_060, recheck=10)
    assert rejected.synced(20, 1_700_000_120).recheck is None
    assert rejected.unsynced(30).recheck is None


def test_a_state_of_a_later_version_is_refused(old_lake: Lake) -> None:
    table = old_lake.table("messages").delta
    writer = partition(old_lake, "complete")
    writer.commit(writer.state)
    base = app_base(table, "complete@example.test", "messages")
    table.update_incremental()
    app = Transaction(f"{base}/version", STATE_VERSION + 1)
    table.create_write_transaction(
        [],
        "append",
        table.schema(),
        partition_by=["mailbox"],
        commit_properties=CommitProperties(app_transactions=[app]),
    )
    with pytest.raises(NewerStateError, match="Upgrade gmail-assets"):
        partition(old_lake, "complete")
    assert partition(old_lake, "loading").state.load_start == 60


def test_a_difference_is_reconciled_once() -> None:
    state = SyncState(1, 2).synced(10)
    found = state.counted(-3)
    assert found.unexplained == -3
    again = found.unsynced(12).synced(13)
    assert again.unexplained == 0
    assert again.counted(-3).unexplained == 0
    assert again.counted(-4).unexplained == -4
    healed = again.counted(0)
    assert healed.counted(-3).unexplained == -3


@given(state=STATES, cursor=HISTORY)
def test_a_cursor_ends_the_load_and_the_label_refresh(state: SyncState, cursor: int) -> None:
    synced = state.rereading(3, 4).synced(cursor)
    assert (synced.cursor, synced.load_start, synced.rows_through) == (cursor, None, cursor)
    assert synced.rows_match
    assert synced.reread is None
    assert (synced.options, synced.format) == (state.options, state.format)
    assert (synced.unexplained, synced.accepted) == (state.unexplained, state.accepted)


@given(state=STATES, start=HISTORY)
def test_a_load_starts_with_an_empty_state(state: SyncState, start: int) -> None:
    loading = state.rereading(3, 4).loading(start)
    assert (loading.cursor, loading.load_start, loading.rows_through) == (None, start, start)
    assert loading.rows_match
    assert (loading.reread, loading.unexplained, loading.accepted) == (None, 0, state.accepted)


@given(state=STATES, head=HISTORY)
def test_a_reconciliation_keeps_known_labels_up_to_the_head(state: SyncState, head: int) -> None:
    state = state.rereading(3, 4)
    unsynced = state.unsynced(head)
    known = state.rows_through <= head
    assert (unsynced.cursor, unsynced.load_start) == (None, None)
    assert unsynced.rows_through == (state.rows_through if known else 0)
    assert unsynced.reread == (LabelReread(3, 4) if known else None)
    assert (unsynced.unexplained, unsynced.rows_match) == (0, state.rows_match)
    assert unsynced.accepted == (state.unexplained or state.accepted)


@given(state=STATES, difference=st.integers(-5, 5), accepted=st.integers(-5, 5))
def test_a_difference_that_a_reconciliation_left_is_not_reconciled_again(
    state: SyncState, difference: int, accepted: int
) -> None:
    state = replace(state, accepted=accepted)
    counted = state.counted(difference)
    if difference in (0, accepted):
        assert (counted.unexplained, counted.accepted) == (0, difference)
    else:
        assert (counted.unexplained, counted.accepted) == (difference, accepted)
