"""The sync state: its transitions, its form in the Delta log, and the migration from version 1."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from deltalake import CommitProperties, DeltaTable, Transaction
from hypothesis import given
from hypothesis import strategies as st

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

V1 = Path(__file__).parents[2] / "fixtures" / "lake_state_v1.tar.gz"
"""A lake that the code before version ids wrote: five mailboxes in five states."""

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
)


@given(before=STATES, after=STATES)
def test_what_is_written_is_read_whatever_was_there_before(before: SyncState, after: SyncState) -> None:
    log: dict[str, int] = {}
    for fence, state in enumerate((before, after), start=1):
        log |= {t.app_id: t.version for t in transactions(state, log.get, "base", "all", fence)}
    assert read_state(log.get, "base", "all", "full") == (after, STATE_VERSION)


def test_other_options_have_neither_cursor_nor_load() -> None:
    log: dict[str, int] = {}
    state = SyncState(number_of("all"), number_of("full")).synced(9)
    log |= {t.app_id: t.version for t in transactions(state, log.get, "base", "all", 1)}
    other, _ = read_state(log.get, "base", "other", "full")
    assert (other.cursor, other.load_start, other.rows_through, other.rows_match) == (None, None, 9, False)


@pytest.fixture
def old_lake(tmp_path: Path) -> Lake:
    with tarfile.open(V1) as archive:
        archive.extractall(tmp_path, filter="data")
    return Lake(str(tmp_path / "lake"))


def partition(lake: Lake, name: str, fingerprint: str = "all") -> MailboxPartition:
    return MailboxPartition(lake.table("messages"), f"{name}@example.test", fingerprint, "full")


def test_a_lake_of_version_1_goes_on_where_it_was(old_lake: Lake) -> None:
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
        base = f"gmail/{name}@example.test/messages"
        log = DeltaTable(old_lake.location("messages"))
        assert log.transaction_version(f"{base}/version") == STATE_VERSION
        # The code that wrote version 1 finds no cursor there and reconciles.
        assert not log.transaction_version(f"{base}/{fingerprint}/history")
    untouched = partition(old_lake, "loading").state
    assert untouched.load_start == 60


def test_a_state_of_a_later_version_is_refused(old_lake: Lake) -> None:
    table = old_lake.table("messages").delta
    app = Transaction("gmail/complete@example.test/messages/version", STATE_VERSION + 1)
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
