"""The mailboxes that were erased from a lake: no run loads them again until `remember`.

The table `_gmail_forgotten` has keyed hashes of their addresses, so it does not contain the addresses themselves.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError

from gmail_assets.delta.app_ids import keyed_hash
from gmail_assets.delta.errors import unreadable
from gmail_assets.delta.internal_table import InternalTable
from gmail_assets.delta.lake import Lake
from gmail_client.errors import ConfigurationError
from gmail_client.sql import equals

__all__ = [
    "FORGOTTEN",
    "ForgottenMailboxes",
    "forget",
    "forgotten_error",
    "refuse_forgotten",
    "remember",
    "user_key",
]

FORGOTTEN = "_gmail_forgotten"

_SCHEMA = pa.schema([("mailbox_hash", pa.string()), ("since", pa.timestamp("us", tz="UTC"))])


class ForgottenMailboxes:
    """The mailboxes that were erased from a lake, read once; `refresh` reads them again if they changed.

    Args:
        lake: The lake.

    Raises:
        LakeError: The list can't be read.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self.refresh()

    def refresh(self) -> None:
        """Read the list if it changed.

        Raises:
            LakeError: It can't be read.
        """
        self._shared = self._lake.opened(FORGOTTEN)
        try:
            self._hashes = frozenset() if self._shared is None else self._shared.rows_at_version(_hashes)
        except (DeltaError, OSError) as error:
            raise unreadable(self._lake.location(FORGOTTEN), error) from error

    def includes(self, address: str) -> bool:
        """Whether the mailbox, or the user of a `user_key`, was erased."""
        return (
            bool(self._hashes)
            and self._shared is not None
            and keyed_hash(self._shared.delta, address) in self._hashes
        )


def forget(lake: Lake, address: str) -> None:
    """Block a mailbox by its address, or a user by `user_key`.

    Raises:
        LakeError: The lake can't be read or written.
    """
    table = _table(lake)
    hashed = keyed_hash(table.create(), address)
    if not ForgottenMailboxes(lake).includes(address):
        row = {"mailbox_hash": hashed, "since": datetime.now(UTC)}
        table.replace([row], equals("mailbox_hash", hashed))


def remember(lake: Lake, address: str) -> bool:
    """Unblock a mailbox, or a user by `user_key`; returns whether it was blocked.

    Raises:
        LakeError: The lake can't be read or written.
    """
    delta = lake.find(FORGOTTEN)
    if delta is None or not ForgottenMailboxes(lake).includes(address):
        return False
    _table(lake).replace([], equals("mailbox_hash", keyed_hash(delta, address)))
    return True


def refuse_forgotten(lake: Lake, address: str) -> None:
    """Refuse a mailbox that is forgotten by now.

    Only needed if the partition has no state (`MailboxPartition.has_state`). With one, it was not erased when it was
    read, and an erasure since then refuses the next commit.

    Raises:
        ConfigurationError: It is forgotten.
        LakeError: The lake can't be read.
    """
    if ForgottenMailboxes(lake.latest()).includes(address):
        raise forgotten_error(address)


def forgotten_error(address: str) -> ConfigurationError:
    """The error for a mailbox that is forgotten."""
    return ConfigurationError(
        f"The mailbox {address} was erased from this lake and must not be loaded.",
        fix=f"Remove it from GMAIL_MAILBOXES; or allow it again: `gmail-assets forget --undo {address}`.",
    )


def user_key(user_id: str) -> str:
    """The key of a user, whose address may change later."""
    return f"user {user_id}"


def _table(lake: Lake) -> InternalTable:
    return InternalTable(lake, FORGOTTEN, _SCHEMA, ("mailbox_hash",))


def _hashes(table: DeltaTable) -> frozenset[str]:
    found = QueryBuilder().register("t", table).execute("SELECT mailbox_hash FROM t")
    hashes = pa.RecordBatchReader.from_stream(found).read_all()
    return frozenset(hashes["mailbox_hash"].to_pylist())
