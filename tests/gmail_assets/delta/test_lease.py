"""The lease of a partition: its holder and its end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmail_assets.delta.errors import MailboxBusyError
from gmail_assets.delta.lease import LEASE_FIELDS, PartitionLease, this_process

NOW = 1_800_000_000.0
ELSEWHERE = 12345 << 31 | 4711
UNTIL, HOLDER = LEASE_FIELDS


class Log:
    """The transactions of a Delta log."""

    def __init__(self, base: str, until: float = 0, holder: int = 0) -> None:
        self.base = base
        self.versions = {f"{base}/{UNTIL}": int(until), f"{base}/{HOLDER}": holder}

    def lease(self, now: float = NOW) -> PartitionLease:
        return PartitionLease(self.base, self.versions.get, lambda: now)

    def commit(self, lease: PartitionLease) -> None:
        written = lease.transactions()
        self.versions |= {one.app_id: one.version for one in written}
        lease.note_committed(written)


def is_free(lease: PartitionLease) -> bool:
    try:
        lease.check_free("ada@gmail.test", "messages")
    except MailboxBusyError:
        return False
    return True


def of_process(pid: int) -> int:
    return this_process() - os.getpid() + pid


@given(left=st.integers(-1000, 1000), holder=st.sampled_from([ELSEWHERE, of_process(1)]))
def test_a_lease_of_a_running_process_or_another_machine_holds_until_its_time(left: int, holder: int) -> None:
    assert is_free(Log("gmail/a/messages", NOW + left, holder).lease()) == (left <= 0)


def test_a_lease_of_a_clock_that_was_a_year_ahead_does_not_hold() -> None:
    assert not is_free(Log("gmail/y/messages", NOW + 86_000, ELSEWHERE).lease())
    assert is_free(Log("gmail/y/messages", NOW + 365 * 86_400, ELSEWHERE).lease())


def test_a_lease_of_a_process_that_was_killed_does_not_count() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    log = Log("gmail/b/messages", NOW + 600, of_process(child.pid))
    assert not is_free(log.lease())
    child.kill()
    child.communicate()
    assert is_free(log.lease())


def test_commits_acquire_renew_and_release_a_lease() -> None:
    log = Log("gmail/c/messages")
    lease = log.lease()
    assert lease.transactions() == []
    lease.hold(60)
    assert not lease.committed
    log.commit(lease)
    assert lease.committed
    assert log.versions == {f"{log.base}/{UNTIL}": int(NOW) + 60, f"{log.base}/{HOLDER}": this_process()}
    assert is_free(lease)  # it belongs to this run
    assert not is_free(log.lease())
    later = log.lease(NOW + 59)
    later.hold(60)
    log.commit(later)
    assert not is_free(log.lease(NOW + 118))
    later.hold(0)
    log.commit(later)
    assert is_free(log.lease())
    assert later.transactions() == []


def test_a_run_of_this_process_that_died_without_a_commit_leaves_no_lease() -> None:
    log = Log("gmail/d/messages")
    lease = log.lease()
    lease.hold(60)
    log.commit(lease)
    lease.hold(0)  # as `SyncRun.leases` does at the end of every run
    assert is_free(log.lease())


def test_the_error_names_the_mailbox_the_table_and_the_time() -> None:
    with pytest.raises(
        MailboxBusyError, match=r"messages of ada@gmail.test; .* 2027-01-15 08:10:00 UTC"
    ) as busy:
        Log("gmail/e/messages", NOW + 600, ELSEWHERE).lease().check_free("ada@gmail.test", "messages")
    assert not busy.value.retryable
    assert "until" in busy.value.fix
