"""Compare the keys of the snapshot tables with the mailbox: which were added or deleted since the last read.

Such a difference is not an error, because a snapshot shows the mailbox at the time of the read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pyarrow as pa

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.scan import read_columns
from gmail_client.api import GmailApi
from gmail_client.errors import ForbiddenError
from gmail_client.minimize import ContentPolicy
from gmail_client.spec import SpecTable
from gmail_client.tables import CATALOGUE

__all__ = ["gmail_keys", "snapshot_drift", "stored_keys"]

_KEYS: Mapping[str, Callable[[GmailApi], Iterable[str]]] = {
    "labels": lambda api: (label["id"] for label in api.labels()),
    "drafts": lambda api: (draft["id"] for page in api.list_drafts() for draft in page),
    "filters": lambda api: (item["id"] for item in api.filters()),
    "forwarding_addresses": lambda api: (item["forwardingEmail"] for item in api.forwarding_addresses()),
    "send_as": lambda api: (item["sendAsEmail"] for item in api.send_as()),
    "delegates": lambda api: (item["delegateEmail"] for item in api.delegates()),
}


def stored_keys(lake: Lake, address: str, entry: SpecTable) -> list[str] | None:
    """The keys of a mailbox's rows in a snapshot table, duplicates included; None if there is no such table.

    Raises:
        LakeError: The table can't be read.
    """
    shared = lake.opened(entry.table_name)
    if shared is None:
        return None
    key = CATALOGUE[entry.source_table].primary_key[0]
    keys: list[str] = read_columns(shared.delta, address, [key], pa.schema([(key, pa.string())]))[
        key
    ].to_pylist()
    return keys


def gmail_keys(
    api: GmailApi, table: str, address: str, policy: ContentPolicy | None = None
) -> set[str] | None:
    """The keys that the mailbox has now, from one listing; None if this account is not allowed to read them.

    `policy` is that of the table's options: keys that are addresses may be hashed.

    Raises:
        GmailError: Gmail refused the request.
    """
    try:
        # profile and settings have one row
        keys = set(_KEYS[table](api)) if table in _KEYS else {address}
        return keys if policy is None else set(map(policy.key, keys))
    except ForbiddenError:
        return None


def snapshot_drift(api: GmailApi, lake: Lake, address: str, tables: Iterable[SpecTable]) -> list[str]:
    """A sentence for each snapshot table whose keys differ from the mailbox. Costs a listing per table.

    Args:
        api: The API of the mailbox.
        lake: The lake.
        address: The mailbox's real address.
        tables: The tables of the spec.

    Raises:
        GmailError: A request failed, or a table can't be read.
    """
    found = []
    for entry in tables:
        name = entry.source_table
        stored = stored_keys(lake, address, entry) if name in _KEYS else None
        present = None if stored is None else gmail_keys(api, name, address, entry.options.policy)
        if (
            stored is not None
            and present is not None
            and set(stored) != present
            and _was_read(lake, entry, address)
        ):
            found.append(
                f"{name}: {len(present.difference(stored))} added and {len(set(stored) - present)} deleted since "
                "the table was read; the next snapshot updates it."
            )
    return found


def _was_read(lake: Lake, entry: SpecTable, address: str) -> bool:
    table = lake.table(entry.source_table, name=entry.table_name)
    return MailboxPartition(table, address, entry.options.fingerprint, entry.options.format).written
