"""Two runs of one mailbox: the second stops before it spends quota, and a lease ends in limited time."""

from __future__ import annotations

import threading
import time
from unittest import mock

import pytest
from deltalake import CommitProperties, Transaction
from support.chaos import Killed, client_of
from support.lake import assert_lake_equals_mailbox

from gmail_assets.delta.app_ids import app_base
from gmail_assets.delta.errors import MailboxBusyError
from gmail_assets.delta.group_commit import commit_alone
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.syncing import Progress, sync
from gmail_client.emulator import Emulator
from gmail_client.errors import UnavailableError
from gmail_client.spec import SpecTable

BOTH = [SpecTable.parse({"source_table": "messages"}), SpecTable.parse({"source_table": "threads"})]
ELSEWHERE = 12345 << 31 | 4711


def leases(lake: Lake, gmail: Emulator) -> set[int]:
    """The times in the log until which the tables' leases are valid; 0 for none."""
    found = set()
    for name in ("messages", "threads"):
        delta = lake.find(name)
        assert delta is not None
        base = app_base(delta, gmail.addresses[0], name)
        found.add(delta.transaction_version(f"{base}/lease/until") or 0)
    return found


def refused(gmail: Emulator, lake: Lake, **named: bool) -> int:
    """The units of a sync that is refused because another run holds the lease."""
    before = gmail.usage.total_units
    with pytest.raises(MailboxBusyError, match=f"is loading messages of {gmail.addresses[0]}"):
        sync(client_of(gmail).mailbox(), lake, BOTH, **named)
    return gmail.usage.total_units - before


def test_a_second_run_stops_before_it_spends_quota(gmail: Emulator, lake: Lake) -> None:
    loading, go_on = threading.Event(), threading.Event()

    def progress(state: Progress) -> None:
        if state.phase == "fetching":
            loading.set()
            assert go_on.wait(60)

    first = threading.Thread(
        target=sync, args=(client_of(gmail).mailbox(), lake, BOTH), kwargs={"progress": progress}
    )
    first.start()
    try:
        assert loading.wait(60)
        assert refused(gmail, lake) <= 1  # the profile, for the address
        assert refused(gmail, lake, full_refresh=True) <= 1
    finally:
        go_on.set()
        first.join()
    assert_lake_equals_mailbox(lake, gmail, BOTH)
    assert leases(lake, gmail) == {0}


def test_a_run_killed_on_another_machine_keeps_the_mailbox_until_its_lease_ends(
    gmail: Emulator, lake: Lake
) -> None:
    with (
        mock.patch("gmail_assets.delta.lease.this_process", return_value=ELSEWHERE),
        mock.patch("gmail_assets.syncing.threads.ThreadsSync.write_content", side_effect=Killed),
        mock.patch("gmail_assets.delta.partition.MailboxPartition.end_lease"),
        pytest.raises(Killed),
    ):
        sync(client_of(gmail).mailbox(), lake, BOTH)
    ends = leases(lake, gmail)
    assert all(540 < end - time.time() <= 600 for end in ends)
    assert refused(gmail, lake) <= 1
    assert leases(lake, gmail) == ends

    for table in BOTH:
        opened: LakeTable = lake.table(table.source_table)
        until = f"{app_base(opened.delta, gmail.addresses[0], table.source_table)}/lease/until"
        past = Transaction(until, int(time.time()) - 1)
        commit_alone(opened, CommitProperties(app_transactions=[past]))
    sync(client_of(gmail).mailbox(), lake, BOTH)
    assert_lake_equals_mailbox(lake, gmail, BOTH)
    assert leases(lake, gmail) == {0}


@pytest.mark.parametrize("end", [UnavailableError("No response."), KeyboardInterrupt(), SystemExit()])
def test_a_run_that_ends_early_releases_its_leases(gmail: Emulator, lake: Lake, end: BaseException) -> None:
    with (
        mock.patch("gmail_assets.syncing.threads.ThreadsSync.write_content", side_effect=end),
        pytest.raises(type(end)),
    ):
        sync(client_of(gmail).mailbox(), lake, BOTH)
    assert leases(lake, gmail) == {0}


def test_a_run_out_of_time_releases_its_leases(gmail: Emulator, lake: Lake) -> None:
    results = sync(client_of(gmail).mailbox(), lake, BOTH, deadline=time.monotonic())
    assert not results["threads"].complete
    assert leases(lake, gmail) == {0}


def test_a_sync_of_changes_takes_no_lease_and_still_makes_one_commit(gmail: Emulator, lake: Lake) -> None:
    sync(client_of(gmail).mailbox(), lake, BOTH)
    before = {name: lake.table(name).delta.version() for name in ("messages", "threads")}
    mailbox = gmail.mailbox()
    mailbox.receive(mailbox.random_mail())
    sync(client_of(gmail).mailbox(), lake, BOTH)
    after = {name: lake.table(name).delta.version() for name in ("messages", "threads")}
    assert after == {name: version + 1 for name, version in before.items()}
    assert_lake_equals_mailbox(lake, gmail, BOTH)
