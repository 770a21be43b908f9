"""Under which address a mailbox is stored: `stored_address`; and whether it is a mailbox that was renamed.

An administrator can change the address of a user. Ids of messages and threads and history ids stay the same, so the
mailbox goes on where it was, under its first address. An old address can also be given to another person. The ids of
messages tell the two apart: the same mailbox has most of them. A few equal ids prove nothing, because ids are unique
within one mailbox only.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from gmail_assets.delta.erase import own_tables
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.registry import MailboxRegistry
from gmail_assets.delta.scan import read_columns
from gmail_client.api import GmailApi
from gmail_client.client import Mailbox
from gmail_client.errors import NotFoundError
from gmail_client.tables import CHANGE_TABLES

__all__ = ["StoredIds", "newest", "stored_address"]

_PROBES = 3
"""Stored messages that are requested one by one if the newest 500 of the mailbox say nothing."""
_ENOUGH = 20
"""Ids to compare at least, if so many are stored."""


def stored_address(mailbox: Mailbox, lake: Lake, *, record: bool = False, address: str | None = None) -> str:
    """The address under which the lake stores a mailbox: the first one, if it was renamed; else its address.

    A mailbox that may have been renamed is compared with the stored ids, for 5 to 125 quota units, once.

    Args:
        mailbox: The mailbox.
        lake: The lake.
        record: Write its name and a changed address to the lake.
        address: Its present address, if it was just read.

    Raises:
        ConfigurationError: Its name or its address is recorded for another mailbox; or it is erased.
        GmailError: It can't be read.
    """
    address = address or mailbox.address
    ids = StoredIds(lake)
    return MailboxRegistry(lake).check_name(
        mailbox.user_id, address, lambda stored_as: ids.is_same(mailbox.api, stored_as), record=record
    )


class StoredIds:
    """The ids of messages or threads that a lake stores, by mailbox; each is read once.

    Args:
        lake: The lake.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._read: dict[str, Mapping[str, pa.Array]] = {}

    def is_same(
        self,
        api: GmailApi,
        stored_as: str,
        *,
        listed: Mapping[str, pa.Array] | None = None,
        probe: bool = True,
    ) -> bool:
        """Whether a mailbox is the one that is stored under an address: it has most of the compared ids.

        Args:
            api: Reads the mailbox.
            stored_as: The address.
            listed: The mailbox's newest ids, if they were listed: see `newest`.
            probe: Request stored messages one by one if the newest ids say nothing.

        Raises:
            GmailError: A request failed.
        """
        stored = self.of(stored_as)
        if not any(len(ids) for ids in stored.values()):
            return False
        if listed is None:
            listed = newest(api)
        if any(_are_mostly_equal(ids, listed[table]) for table, ids in stored.items()):
            return True
        return probe and self._has_most(api, stored)

    def of(self, stored_as: str) -> Mapping[str, pa.Array]:
        """The stored ids, by `messages` and `threads`."""
        if stored_as not in self._read:
            self._read[stored_as] = {
                source: _ids(table, stored_as)
                for _, source, table in own_tables(self._lake)
                if source in CHANGE_TABLES
            }
        return self._read[stored_as]

    @staticmethod
    def _has_most(api: GmailApi, stored: Mapping[str, pa.Array]) -> bool:
        table, call = (
            ("messages", api.message_call)
            if len(stored.get("messages", ()))
            else ("threads", api.thread_call)
        )
        ids = stored[table].sort()
        last = len(ids) - 1  # one of each age: the newest may be a few that many people got
        places = {last - last * number // max(_PROBES - 1, 1) for number in range(_PROBES)}
        chosen = [ids[place].as_py() for place in sorted(places)]
        found = 0
        for result in api.get_many([call(one, "minimal") for one in chosen]):
            if result.error is not None and not isinstance(result.error, NotFoundError):
                raise result.error
            found += result.error is None
        return 2 * found > len(chosen)


def newest(api: GmailApi) -> dict[str, pa.Array]:
    """The newest 500 message ids of a mailbox and their threads' ids, by `messages` and `threads`."""
    page = next(iter(api.list_messages(include_spam_trash=True)), [])
    return {
        "messages": pa.array([item["id"] for item in page], pa.string()),
        "threads": pa.array([item["threadId"] for item in page], pa.string()),
    }


def _are_mostly_equal(stored: pa.Array, listed: pa.Array) -> bool:
    """Whether most stored ids are listed, or most of those since the oldest listed one, or most listed ids are stored.

    The first fails if more is stored than listed, the second if old mail was imported, the third if only a part of the
    mailbox is stored. Also false if there are too few ids to compare.
    """
    if not len(stored) or not len(listed):
        return False
    listed = pc.unique(listed)
    since = pc.filter(stored, pc.greater_equal(stored, pc.min(listed)))
    compared = min(len(since), len(listed))
    common = int(pc.sum(pc.is_in(listed, stored)).as_py() or 0)
    return 2 * common > len(stored) or (compared >= min(len(stored), _ENOUGH) and 2 * common > compared)


def _ids(table: DeltaTable, stored_as: str) -> pa.Array:
    schema = pa.schema([("id", pa.string())])
    return read_columns(table, stored_as, schema.names, schema)["id"].combine_chunks()
