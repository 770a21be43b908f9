"""The ledger of the project's quota in the lake: `QuotaLedger`, and `share_quota`, which lets a client use it.

It is the Delta table `_gmail_quota`, which has no rows: its state is transactions in the log. Every commit moves the
same transaction, so of two processes that read the same version only one can write. A process reads and writes it about
once a minute while it spends quota.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError

from gmail_assets.delta.creation import create_table
from gmail_assets.delta.errors import unreadable, unwritable
from gmail_assets.delta.lake import CHECKPOINT_EVERY, CHECKPOINT_INTERVAL, Lake
from gmail_assets.delta.table_log import transactions_at
from gmail_client.client import GmailClient
from gmail_client.quota_shares import SLOTS, Claim, Ledger

__all__ = ["QUOTA", "QuotaLedger", "join_quota", "share_quota"]

QUOTA = "_gmail_quota"

_BASE = "gmail/quota/ledger"
_WRITER = f"{_BASE}/writer"
_SCHEMA = pa.schema([pa.field("unused", pa.string())])
_LARGEST_UNITS = 1 << 31
_LATEST = 1 << 40


def share_quota(client: GmailClient, lake: Lake) -> None:
    """Let a client share the project's quota with all processes that use the lake."""
    if not client.project.is_shared:
        client.share_project(QuotaLedger(lake))


def join_quota(client: GmailClient, lake: Lake) -> None:
    """As `share_quota`, if the lake has a ledger: a command that only reads creates no table.

    Raises:
        LakeError: The lake can't be read.
    """
    if not client.project.is_shared and lake.opened(QUOTA) is not None:
        share_quota(client, lake)


class QuotaLedger:
    """The ledger in one lake, for one process.

    Args:
        lake: The lake.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._location = lake.location(QUOTA)
        self._table: DeltaTable | None = None
        self._read: Ledger = Ledger()

    def read(self) -> Ledger:
        """The current ledger; an empty one if there is none, or if its state is invalid.

        Raises:
            LakeError: It can't be read or created.
        """
        table = self._opened()
        options = tuple(sorted(self._lake.storage_options))
        find = transactions_at(table, options, [_BASE])
        claims = {}
        for slot in range(SLOTS):
            found = [find(f"{_BASE}/{slot}/{field}") for field in _Packed.FIELDS]
            if found[-1] is None:
                found[-1] = _changes_of_earlier_format(found)
            values = [value for value in found if value is not None and value >= 0]
            if len(values) == len(found) and values[0]:
                claims[slot] = _Packed(*values).claim()
        day, spent = find(f"{_BASE}/day") or 0, find(f"{_BASE}/spent") or 0
        self._read = Ledger(claims, max(day, 0), max(spent, 0))
        return self._read

    def write(self, ledger: Ledger) -> bool:
        """Replace the ledger that was read last; False if another process replaced it since then.

        Raises:
            LakeError: It can't be written.
        """
        table = self._opened(refresh=False)
        written = [Transaction(_WRITER, table.version() + 1)]
        if ledger.day != self._read.day:
            written.append(Transaction(f"{_BASE}/day", ledger.day))
        if ledger.spent != self._read.spent:
            written.append(Transaction(f"{_BASE}/spent", ledger.spent))
        for slot, claim in ledger.claims.items():
            known = self._read.claims.get(slot)
            new, old = _Packed.of(claim), None if known is None else _Packed.of(known)
            for field in _Packed.FIELDS:
                value = getattr(new, field)
                if old is None or value != getattr(old, field):
                    written.append(Transaction(f"{_BASE}/{slot}/{field}", value))
        try:
            table.create_write_transaction(
                [], "append", table.schema(), commit_properties=CommitProperties(app_transactions=written)
            )
        except CommitFailedError:
            return False
        except (DeltaError, OSError) as error:
            raise unwritable(self._location, error) from error
        return True

    def _opened(self, *, refresh: bool = True) -> DeltaTable:
        try:
            if self._table is not None:
                if refresh:
                    self._table.update_incremental()
                return self._table
            self._table = self._lake.find(QUOTA)
        except (DeltaError, OSError) as error:
            self._table = None
            raise unreadable(self._location, error) from error
        if self._table is None:
            self._table = self._created()
        return self._table

    def _created(self) -> DeltaTable:
        self._lake.make_folder()
        try:
            return create_table(
                self._location,
                _SCHEMA,
                self._lake.options,
                name=QUOTA,
                description="Units of the project's quota that each process has claimed; its state is in the log.",
                configuration={
                    CHECKPOINT_INTERVAL: CHECKPOINT_EVERY,
                    "delta.logRetentionDuration": "interval 1 days",
                },
            )
        except (DeltaError, OSError) as error:
            raise unwritable(self._location, error) from error


@dataclass(frozen=True, slots=True)
class _Packed:
    """A claim as five transaction versions. Earlier versions wrote only the first four."""

    owner: int
    share: int
    until: int
    before: int
    changes: int

    FIELDS = ("owner", "share", "until", "before", "changes")

    @classmethod
    def of(cls, claim: Claim) -> _Packed:
        return cls(
            claim.owner,
            claim.share << 31 | claim.asked,
            claim.until << 1 | (claim.changes == 0),
            claim.before << 31 | claim.before_until,
            claim.changes,
        )

    def claim(self) -> Claim:
        share, asked = divmod(self.share, _LARGEST_UNITS)
        before, before_until = divmod(self.before, _LARGEST_UNITS)
        until = min(self.until >> 1, _LATEST)
        return Claim(self.owner, share, asked, until, before, before_until, self.changes)


def _changes_of_earlier_format(found: list[int | None]) -> int | None:
    """A claim was for changes or for first loads; the lowest bit of `until` says which."""
    _, share, until, _, _ = found
    if share is None or until is None:
        return None
    return 0 if until & 1 else share % _LARGEST_UNITS
