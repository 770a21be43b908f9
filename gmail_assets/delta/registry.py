"""`MailboxRegistry`: the names of the mailboxes of a lake, and the address under which each is stored.

The table `_gmail_mailboxes` has the address of each configured name, so that another account's token never continues
this account's tables.

A mailbox is stored under its first address for good: its rows, sync states and transaction ids. When its address
changes, the new one becomes another of its names, in one commit, and `current` of its first address says which one
Gmail reports now. So an address that is given to another person later is noticed.

Earlier releases read the column `mailbox` of `_gmail_mailboxes`, and no state under hashed ids. They find `_OUTDATED`
there, which is not an address, and refuse to write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pyarrow as pa

from gmail_assets.delta.forgotten import ForgottenMailboxes, forgotten_error
from gmail_assets.delta.internal_table import InternalTable
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.mailbox_names import (
    MailboxNames,
    StoredMailbox,
    other_mailbox_error,
    other_person_error,
)
from gmail_client.sql import equals, one_of

__all__ = ["MAILBOXES", "MailboxRegistry"]

MAILBOXES = "_gmail_mailboxes"

_OUTDATED = "(written by a newer gmail-assets: upgrade)"
_SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("mailbox", pa.string()),
        ("address", pa.string()),  # under which the mailbox is stored
        ("current", pa.string()),  # in the row of that address; null until it changed
        ("user_id", pa.string()),  # in the row of that address; the directory's id of the user, if known
    ]
)
Row = dict[str, str | None]
IsSame = Callable[[str], bool]
"""Whether the mailbox is the one that is stored under an address."""


def _unknown(stored_as: str) -> bool:
    return False


class MailboxRegistry:
    """The names of the mailboxes of a lake. Every method raises a `LakeError` if the lake can't be used."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._table = InternalTable(lake, MAILBOXES, _SCHEMA, ("name",))

    def check_name(self, name: str, address: str, is_same: IsSame = _unknown, *, record: bool = True) -> str:
        """Find the address under which a mailbox is stored, and record its names.

        Args:
            name: Its configured name.
            address: Its present address.
            is_same: Called if the mailbox may be one with another address until now.
            record: Write new names and a changed address.

        Returns:
            That address: `address`, or the first one if it was renamed.

        Raises:
            ConfigurationError: The name or the address is recorded for another mailbox, or the mailbox is forgotten.
        """
        if ForgottenMailboxes(self._lake).includes(address):
            raise forgotten_error(address)
        names = list(dict.fromkeys((name, address)))
        found = self._table.rows(compact=record, name=names)
        rows = {row["name"]: row for row in found}
        by_name, by_address = (_address(rows[key]) if key in rows else None for key in (name, address))
        stored_as = by_address or by_name or address
        if by_name not in (None, stored_as):
            raise other_mailbox_error(name, str(by_name), address)
        known = by_address is not None or by_name is not None
        if known and stored_as not in rows:
            found = self._table.rows(name=[stored_as])
            rows |= {row["name"]: row for row in found}
        current = _stored_mailbox(stored_as, rows.get(stored_as)).current
        renamed = known and current != address
        if renamed and not is_same(stored_as):
            if by_address is None:
                raise other_mailbox_error(name, stored_as, address)
            raise other_person_error(address, stored_as, current)
        new = [known for known in names if known not in rows or rows[known]["address"] is None]
        if record and (renamed or new):
            first = rows.get(stored_as, {})
            self._write_names(stored_as, new, address, None if renamed else first.get("user_id"))
        return stored_as

    def rename(self, stored_as: str, address: str) -> None:
        """Record that a mailbox has another address now, in one commit.

        Args:
            stored_as: The address under which it is stored.
            address: Its present address; empty if it is unknown.
        """
        rows = self._table.rows(name=[stored_as])
        user_id = rows[0]["user_id"] if rows else None
        self._write_names(stored_as, [address] if address else [], address, user_id)

    def note_users(self, user_ids: Mapping[str, str]) -> None:
        """Record the directory's ids of users, by the address under which their mailboxes are stored."""
        mailboxes = self.names().mailboxes
        rows = [
            _row(stored_as, stored_as, mailboxes[stored_as].current, user_id)
            for stored_as, user_id in user_ids.items()
            if stored_as in mailboxes
        ]
        self._replace(rows)

    def _write_names(self, stored_as: str, new: Iterable[str], current: str, user_id: str | None) -> None:
        # Also under the address, so that an earlier release finds with either name that it is outdated.
        rows = [_row(name, stored_as) for name in dict.fromkeys(new) if name != stored_as]
        rows.append(_row(stored_as, stored_as, current, user_id))
        self._replace(rows)

    def _replace(self, rows: list[Row]) -> None:
        if rows:
            self._table.replace(rows, one_of("name", [str(row["name"]) for row in rows]))

    def address_of(self, name: str) -> str | None:
        """The address under which the mailbox of a name is stored; None if there is none."""
        rows = self._table.rows(name=[name])
        return _address(rows[0]) if rows else None

    def addresses(self) -> dict[str, str]:
        """The address under which the mailbox of each name is stored."""
        return dict(self.names().stored_as)

    def names(self) -> MailboxNames:
        """The names of all mailboxes."""
        rows = {row["name"]: row for row in self._table.rows()}
        stored_as = {name: _address(row) for name, row in rows.items()}
        mailboxes = {first: _stored_mailbox(first, rows.get(first)) for first in set(stored_as.values())}
        return MailboxNames(stored_as, mailboxes)

    def names_of(self, address: str) -> list[str]:
        """The names of an address."""
        rows = self._table.rows()
        return sorted(row["name"] for row in rows if _address(row) == address)

    def remove_names(self, address: str) -> None:
        """Remove every name of an address."""
        for name in self.names_of(address):
            self._table.replace([], equals("name", name))


def _address(row: Mapping[str, Any]) -> str:
    return str(row["address"] or row["mailbox"])


def _stored_mailbox(stored_as: str, row: Mapping[str, Any] | None) -> StoredMailbox:
    if row is None:
        return StoredMailbox(stored_as, stored_as)
    current = row["current"]
    return StoredMailbox(stored_as, stored_as if current is None else current, row["user_id"])


def _row(name: str, stored_as: str, current: str | None = None, user_id: str | None = None) -> Row:
    changed = None if current == stored_as else current
    return {
        "name": name,
        "mailbox": _OUTDATED,
        "address": stored_as,
        "current": changed,
        "user_id": user_id,
    }
