"""How far the snapshot tables are from the mailbox by now: keys that are new or gone since they were read.

No fault, for a snapshot is true for the moment of its reading; but worth knowing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pyarrow as pa
from deltalake import QueryBuilder

from gmail_assets.delta.lake import MAILBOX, Lake
from gmail_assets.delta.sql import equals, identifier
from gmail_client.api import GmailApi
from gmail_client.errors import ForbiddenError
from gmail_client.spec import SpecTable
from gmail_client.tables import CATALOGUE

__all__ = ["snapshot_drift"]

_KEYS: Mapping[str, Callable[[GmailApi], Iterable[str]]] = {
    "labels": lambda api: (label["id"] for label in api.labels()),
    "drafts": lambda api: (draft["id"] for page in api.list_drafts() for draft in page),
    "filters": lambda api: (item["id"] for item in api.filters()),
    "forwarding_addresses": lambda api: (item["forwardingEmail"] for item in api.forwarding_addresses()),
    "send_as": lambda api: (item["sendAsEmail"] for item in api.send_as()),
    "delegates": lambda api: (item["delegateEmail"] for item in api.delegates()),
}


def snapshot_drift(api: GmailApi, lake: Lake, address: str, tables: Iterable[SpecTable]) -> list[str]:
    """A sentence for each table whose keys are no longer the mailbox's; costs a listing for each.

    Args:
        api: The mailbox.
        lake: Where the tables are.
        address: The mailbox's real address.
        tables: The spec's.

    Raises:
        GmailError: Gmail refused, or a table can't be read.
    """
    said = []
    for entry in tables:
        name = entry.source_table
        delta = lake.find(entry.table_name) if name in _KEYS else None
        if delta is None:
            continue
        key = CATALOGUE[name].primary_key[0]
        query = f"SELECT {identifier(key)} AS key FROM t WHERE {equals(MAILBOX, address)}"  # noqa: S608 - quoted
        stored = set(pa.table(QueryBuilder().register("t", delta).execute(query))["key"].to_pylist())
        try:
            present = set(_KEYS[name](api))
        except ForbiddenError:
            continue
        if stored != present:
            said.append(
                f"{name}: {len(present - stored)} new and {len(stored - present)} gone since the table was read; "
                "the next snapshot brings it up to date."
            )
    return said
