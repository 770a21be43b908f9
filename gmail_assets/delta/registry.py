"""`MailboxRegistry`: small internal Delta tables, for mailbox names, failed messages and erased mailboxes.

The tables are `_gmail_mailboxes` (the address of each configured name, so that another account's token never continues
this account's tables), `_gmail_unfetched` (messages that Gmail refused, which every run retries, and which users can
query) and `_gmail_forgotten` (keyed hashes of erased mailboxes, which must not be loaded again).

A mailbox is stored under its first address for good: its rows, sync states and transaction ids. When its address
changes, the new one becomes another of its names, in one commit, and `current` of its first address says which one
Gmail reports now. So an address that is given to another person later is noticed.

Earlier releases read the column `mailbox` of `_gmail_mailboxes`, and no state under hashed ids. They find `_OUTDATED`
there, which is not an address, and refuse to write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from gmail_assets.delta.app_ids import keyed_hash
from gmail_assets.delta.creation import add_columns, create_table
from gmail_assets.delta.errors import unreadable, unwritable
from gmail_assets.delta.lake import CREATION, Lake
from gmail_assets.delta.mailbox_names import (
    MailboxNames,
    StoredMailbox,
    is_erased,
    other_mailbox,
    other_person,
)
from gmail_assets.delta.shared_writes import shared_writes
from gmail_client.sql import equals, one_of

__all__ = [
    "FORGOTTEN",
    "MAILBOXES",
    "UNFETCHED",
    "ForgottenMailboxes",
    "MailboxRegistry",
    "Unfetched",
    "user_key",
]

MAILBOXES = "_gmail_mailboxes"
UNFETCHED = "_gmail_unfetched"
FORGOTTEN = "_gmail_forgotten"

_OUTDATED = "(written by a newer gmail-assets: upgrade)"
_MAILBOXES = pa.schema(
    [
        ("name", pa.string()),
        ("mailbox", pa.string()),
        ("address", pa.string()),  # under which the mailbox is stored
        ("current", pa.string()),  # in the row of that address; null until it changed
        ("user_id", pa.string()),  # in the row of that address; the directory's id of the user, if known
    ]
)
_FORGOTTEN = pa.schema([("mailbox_hash", pa.string()), ("since", pa.timestamp("us", tz="UTC"))])
_UNFETCHED = pa.schema(
    [
        ("mailbox", pa.string()),
        ("table", pa.string()),
        ("id", pa.string()),
        ("threadId", pa.string()),
        ("error", pa.string()),
        ("attempts", pa.int64()),
        ("firstFailed", pa.timestamp("us", tz="UTC")),
    ]
)

_KEYS = {MAILBOXES: ("name",), UNFETCHED: ("mailbox", "table"), FORGOTTEN: ("mailbox_hash",)}
"""Columns whose values are replaced together."""

_MOST_FILES = 8
"""Files above which a table is compacted: each run reads all of them, for each of its mailboxes."""

_ATTEMPTS = 100
"""Maximum number of retries after a commit of another run."""


@dataclass(frozen=True, slots=True)
class Unfetched:
    """A message that could not be fetched: its thread, the reason, the number of attempts, and the first time."""

    thread_id: str
    error: str
    attempts: int = 1
    first_failed: datetime | None = None


IsSame = Callable[[str], bool]
"""Whether the mailbox is the one that is stored under an address."""


def _unknown(stored_as: str) -> bool:
    return False


class MailboxRegistry:
    """Mailbox names and failed messages of the lake."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

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
            raise is_erased(address)
        names = list(dict.fromkeys((name, address)))
        found = self._rows(MAILBOXES, _MAILBOXES, compact=record, name=names)
        rows = {row["name"]: row for row in found}
        by_name, by_address = (_address(rows[key]) if key in rows else None for key in (name, address))
        stored_as = by_address or by_name or address
        if by_name not in (None, stored_as):
            raise other_mailbox(name, str(by_name), address)
        known = by_address is not None or by_name is not None
        if known and stored_as not in rows:
            found = self._rows(MAILBOXES, _MAILBOXES, name=[stored_as])
            rows |= {row["name"]: row for row in found}
        current = _stored_mailbox(stored_as, rows.get(stored_as)).current
        renamed = known and current != address
        if renamed and not is_same(stored_as):
            if by_address is None:
                raise other_mailbox(name, stored_as, address)
            raise other_person(address, stored_as, current)
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
        rows = self._rows(MAILBOXES, _MAILBOXES, name=[stored_as])
        user_id = rows[0]["user_id"] if rows else None
        self._write_names(stored_as, [address] if address else [], address, user_id)

    def note_users(self, user_ids: Mapping[str, str]) -> None:
        """Record the directory's ids of users, by the address under which their mailboxes are stored."""
        mailboxes = self.names().mailboxes
        rows = [
            {
                "name": stored_as,
                "mailbox": _OUTDATED,
                "address": stored_as,
                "current": _nothing_if_same(stored_as, mailboxes[stored_as].current),
                "user_id": user_id,
            }
            for stored_as, user_id in user_ids.items()
            if stored_as in mailboxes
        ]
        if rows:
            names = [str(row["name"]) for row in rows]
            self._write(MAILBOXES, pa.Table.from_pylist(rows, schema=_MAILBOXES), one_of("name", names))

    def _write_names(self, stored_as: str, new: Iterable[str], current: str, user_id: str | None) -> None:
        # Also under the address, so that an earlier release finds with either name that it is outdated.
        rows: list[dict[str, str | None]] = [
            {"name": name, "mailbox": _OUTDATED, "address": stored_as}
            for name in dict.fromkeys(new)
            if name != stored_as
        ]
        changed = _nothing_if_same(stored_as, current)
        rows.append(
            {
                "name": stored_as,
                "mailbox": _OUTDATED,
                "address": stored_as,
                "current": changed,
                "user_id": user_id,
            }
        )
        names = [str(row["name"]) for row in rows]
        self._write(MAILBOXES, pa.Table.from_pylist(rows, schema=_MAILBOXES), one_of("name", names))

    def address_of(self, name: str) -> str | None:
        """The address under which the mailbox of a name is stored; None if there is none."""
        rows = self._rows(MAILBOXES, _MAILBOXES, name=[name])
        return _address(rows[0]) if rows else None

    def addresses(self) -> dict[str, str]:
        """The address under which the mailbox of each name is stored."""
        return dict(self.names().stored_as)

    def names(self) -> MailboxNames:
        """The names of all mailboxes."""
        rows = {row["name"]: row for row in self._rows(MAILBOXES, _MAILBOXES)}
        stored_as = {name: _address(row) for name, row in rows.items()}
        mailboxes = {first: _stored_mailbox(first, rows.get(first)) for first in set(stored_as.values())}
        return MailboxNames(stored_as, mailboxes)

    def with_unfetched(self) -> set[str]:
        """Addresses of the mailboxes that have missing messages."""
        return {row["mailbox"] for row in self._rows(UNFETCHED, _UNFETCHED)}

    def names_of(self, address: str) -> list[str]:
        """The names of an address."""
        rows = self._rows(MAILBOXES, _MAILBOXES)
        return sorted(row["name"] for row in rows if _address(row) == address)

    def remove_names(self, address: str) -> None:
        """Remove every name of an address."""
        for name in self.names_of(address):
            self._write(MAILBOXES, _MAILBOXES.empty_table(), equals("name", name))

    # Forgotten mailboxes

    def forget(self, address: str) -> None:
        """Block a mailbox: no run loads it again until `remember`. Also a user, by `user_key`."""
        table = self._create(FORGOTTEN, _FORGOTTEN)
        hashed = keyed_hash(table, address)
        if not ForgottenMailboxes(self._lake).includes(address):
            row = pa.Table.from_pylist(
                [{"mailbox_hash": hashed, "since": datetime.now(UTC)}], schema=_FORGOTTEN
            )
            self._write(FORGOTTEN, row, equals("mailbox_hash", hashed))

    def remember(self, address: str) -> bool:
        """Unblock a mailbox; returns whether it was blocked."""
        table = self._lake.find(FORGOTTEN)
        if table is None or not ForgottenMailboxes(self._lake).includes(address):
            return False
        self._write(FORGOTTEN, _FORGOTTEN.empty_table(), equals("mailbox_hash", keyed_hash(table, address)))
        return True

    def refuse_forgotten(self, address: str) -> None:
        """Refuse a mailbox that is forgotten by now.

        Only needed if the partition has no state (`MailboxPartition.has_state`). With one, it was not erased when it
        was read, and an erasure since then refuses the next commit.

        Raises:
            ConfigurationError: It is.
        """
        if ForgottenMailboxes(self._lake.latest()).includes(address):
            raise is_erased(address)

    def unfetched(self, address: str, table: str) -> dict[str, Unfetched]:
        """Messages of this mailbox and table that are still missing, by id."""
        return self.unfetched_of(address).get(table, {})

    def unfetched_of(self, address: str) -> dict[str, dict[str, Unfetched]]:
        """Messages of this mailbox that are still missing, by table and id."""
        found: dict[str, dict[str, Unfetched]] = {}
        for row in self._rows(UNFETCHED, _UNFETCHED, mailbox=[address]):
            entry = Unfetched(row["threadId"], row["error"], row["attempts"], row["firstFailed"])
            found.setdefault(row["table"], {})[row["id"]] = entry
        return found

    def set_unfetched(self, address: str, table: str, failed: Mapping[str, Unfetched]) -> None:
        """Replace the list of missing messages; writes only if it changed."""
        if not failed and not self.unfetched(address, table):
            return
        now = datetime.now(UTC)
        rows = [
            {
                "mailbox": address,
                "table": table,
                "id": message_id,
                "threadId": entry.thread_id,
                "error": entry.error,
                "attempts": entry.attempts,
                "firstFailed": entry.first_failed or now,
            }
            for message_id, entry in failed.items()
        ]
        where = f"{equals('mailbox', address)} AND {equals('table', table)}"
        self._write(UNFETCHED, pa.Table.from_pylist(rows, schema=_UNFETCHED), where)

    def _rows(
        self, table_name: str, schema: pa.Schema, /, *, compact: bool = False, **values: Sequence[str]
    ) -> list[dict[str, Any]]:
        """The rows of a small table whose columns have one of these values."""
        shared = self._lake.opened(table_name)
        if shared is None:
            return []
        if compact and len(shared.delta.file_uris()) > _MOST_FILES:  # written by an earlier release
            with shared_writes(self._lake.location(table_name)).turn:
                self._compact(self._lake.find(table_name) or shared.delta, table_name)
            self._lake.expire(table_name)
            shared = self._lake.opened(table_name) or shared
        try:
            table = shared.kept(lambda delta: _read_all(delta, schema))
        except (DeltaError, OSError, pa.ArrowException) as error:
            raise unreadable(self._lake.location(table_name), error) from error
        for column, wanted in values.items():
            table = table.filter(pc.is_in(table[column], pa.array(wanted, pa.string())))
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows

    def _write(self, name: str, rows: pa.Table, where: str) -> None:
        keys = zip(*(rows[column].to_pylist() for column in _KEYS[name]), strict=True)
        shared_writes(self._lake.location(name)).write(
            rows, where, frozenset(keys), lambda found, condition: self._commit(name, found, condition)
        )

    def _commit(self, name: str, rows: pa.Table, where: str) -> None:
        location = self._lake.location(name)
        for attempt in range(_ATTEMPTS):
            try:
                table = self._create(name, rows.schema)
                write_deltalake(table, rows, mode="overwrite", predicate=where)
                self._compact(table, name)
                self._lake.expire(name)
                return
            except CommitFailedError as error:
                # A run of another mailbox wrote at the same time; its rows are independent, so try again.
                if attempt == _ATTEMPTS - 1:
                    raise unwritable(location, error) from error
            except (DeltaError, OSError) as error:
                raise unwritable(location, error) from error

    def _compact(self, table: DeltaTable, name: str) -> None:
        """Replace small files by one, if there are many."""
        if len(table.file_uris()) > _MOST_FILES:
            try:
                table.optimize.compact()
            except CommitFailedError:  # another process wrote or compacted it
                pass
            except (DeltaError, OSError) as error:
                raise unwritable(self._lake.location(name), error) from error

    def _create(self, name: str, schema: pa.Schema) -> DeltaTable:
        """The table of that name, with these columns at least."""
        with CREATION:
            table = self._lake.find(name)
            if table is None:
                self._lake.make_folder()
                table = create_table(
                    self._lake.location(name),
                    schema,
                    self._lake.options,
                    # Statistics would hold addresses, in the log.
                    configuration={"delta.dataSkippingNumIndexedCols": "0"},
                )
            add_columns(table, schema)
            return table


def _read_all(delta: DeltaTable, schema: pa.Schema) -> pa.Table:
    """All rows of a small table; each file is read in one request."""
    tables = [schema.empty_table()]
    dataset = delta.to_pyarrow_dataset()
    for path in dataset.files:
        with dataset.filesystem.open_input_file(path) as file:
            tables.append(_as_schema(pq.read_table(pa.BufferReader(file.read())), schema))
    return pa.concat_tables(tables)


def _as_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table with these columns; those that are missing in a file of an earlier release are null."""
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _address(row: Mapping[str, Any]) -> str:
    return str(row["address"] or row["mailbox"])


def _stored_mailbox(stored_as: str, row: Mapping[str, Any] | None) -> StoredMailbox:
    if row is None:
        return StoredMailbox(stored_as, stored_as)
    current = row["current"]
    return StoredMailbox(stored_as, stored_as if current is None else current, row["user_id"])


def _nothing_if_same(stored_as: str, current: str) -> str | None:
    return None if current == stored_as else current


def user_key(user_id: str) -> str:
    """What stands for a user in `forget`, `remember` and `ForgottenMailboxes`, whose address may change later."""
    return f"user {user_id}"


class ForgottenMailboxes:
    """The mailboxes that were erased from a lake, read once; `refresh` reads them again if they changed.

    Args:
        lake: The lake.
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
            self._hashes = frozenset() if self._shared is None else self._shared.kept(_hashes)
        except (DeltaError, OSError) as error:
            raise unreadable(self._lake.location(FORGOTTEN), error) from error

    def includes(self, address: str) -> bool:
        """Whether the mailbox, or the user of a `user_key`, was erased."""
        return (
            bool(self._hashes)
            and self._shared is not None
            and keyed_hash(self._shared.delta, address) in self._hashes
        )


def _hashes(table: DeltaTable) -> frozenset[str]:
    found = QueryBuilder().register("t", table).execute("SELECT mailbox_hash FROM t")
    hashes = pa.RecordBatchReader.from_stream(found).read_all()
    return frozenset(hashes["mailbox_hash"].to_pylist())
