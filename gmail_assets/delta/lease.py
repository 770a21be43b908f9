"""A lease on one mailbox's partition of a table: a second run stops before it spends quota.

The fence of a partition refuses the second writer's commit, but by then both runs have paid for their content, and the
refused run may be the older one. So while a run loads or reconciles, its commits carry a lease: two transactions, the
holder and the time until which the lease is valid. Reading it costs nothing, because the sync state is read anyway, and
renewing it costs nothing, because it is part of commits that are made anyway.

A lease ends with the run's last commit, or at its time if the run was killed. On the same machine, a lease of a process
that has ended does not count. Correctness depends on the fence only; a lease saves quota.
"""

from __future__ import annotations

import hashlib
import os
import platform
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from deltalake import Transaction

from gmail_assets.delta.errors import MailboxBusyError

__all__ = ["LEASE_FIELDS", "PartitionLease"]

_UNTIL, _HOLDER = "lease/until", "lease/holder"
LEASE_FIELDS = (_UNTIL, _HOLDER)
"""The last part of the transaction ids."""

_LONGEST = 86_400.0
"""Seconds that a lease can last: one that ends later was written with a wrong clock, and would hold for years."""

_PID_BITS = 31
_held: set[str] = set()
"""Leases of this process, by the beginning of their transaction ids."""
_lock = threading.Lock()


class PartitionLease:
    """The lease of one partition, as one run sees it.

    Args:
        base: Beginning of the partition's transaction ids.
        read: Returns the present version of a transaction, or None.
        now: Returns epoch seconds.
    """

    def __init__(
        self, base: str, read: Callable[[str], int | None], now: Callable[[], float] = time.time
    ) -> None:
        self._base = base
        self._now = now
        self._until = read(f"{base}/{_UNTIL}") or 0
        self._holder = read(f"{base}/{_HOLDER}") or 0
        self._seconds = 0.0
        self._mine = False

    @property
    def committed(self) -> bool:
        """Whether this run's last commit carries a lease."""
        return self._mine and self._until > 0

    def check_free(self, address: str, table: str) -> None:
        """Refuse to continue while another run holds the lease.

        Raises:
            MailboxBusyError: Another run holds it.
        """
        if self._mine or not 0 < self._until - self._now() <= _LONGEST or self._has_ended():
            return
        end = datetime.fromtimestamp(self._until, UTC)
        raise MailboxBusyError(
            f"Another run is loading {table} of {address}; its lease is valid until {end:%Y-%m-%d %H:%M:%S} UTC.",
            fix="Wait until that run has ended. If it was killed on another machine, wait until the lease ends.",
        )

    def hold(self, seconds: float) -> None:
        """Let the commits from now on carry a lease of `seconds`; with 0, they end it."""
        with _lock:
            if seconds:
                _held.add(self._base)
            elif self._seconds:  # else it is another run of this process that holds it
                _held.discard(self._base)
        self._seconds = seconds

    def transactions(self) -> list[Transaction]:
        """The transactions that a commit adds; none if there is no lease to begin, renew or end."""
        if not self._seconds:
            return [Transaction(f"{self._base}/{_UNTIL}", 0)] if self._until else []
        wanted = [Transaction(f"{self._base}/{_UNTIL}", int(self._now() + self._seconds))]
        if self._holder != this_process():
            wanted.append(Transaction(f"{self._base}/{_HOLDER}", this_process()))
        return wanted

    def note_committed(self, written: list[Transaction]) -> None:
        """Record the lease that a commit carried."""
        for transaction in written:
            if transaction.app_id == f"{self._base}/{_UNTIL}":
                self._until = transaction.version
                self._mine = True
            elif transaction.app_id == f"{self._base}/{_HOLDER}":
                self._holder = transaction.version

    def _has_ended(self) -> bool:
        """Whether the holder is a run of this machine that has ended."""
        machine, pid = self._holder >> _PID_BITS, self._holder & (1 << _PID_BITS) - 1
        if machine != this_process() >> _PID_BITS:
            return False
        if pid == os.getpid():
            with _lock:
                return self._base not in _held
        return not _is_running(pid)


def this_process() -> int:
    """A number for this process: 31 bits for the machine, 31 for the process id."""
    digest = hashlib.sha256(_machine().encode()).digest()
    return int.from_bytes(digest[:4]) >> 1 << _PID_BITS | os.getpid()


def _machine() -> str:
    """An identity of the machine that differs after restarts, and in containers with their own process ids."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return "\n".join(parts)


def _is_running(pid: int) -> bool:
    if os.name != "posix":
        return True  # there, `os.kill` would end the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it belongs to another user
    return True
