"""The catalogue of the ten tables: name, key, cursor column and options of each.

`CATALOGUE` maps a name to its `Table`; `table(name)` looks one up and raises an error that lists the ten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from gmail_client.errors import UnknownTableError
from gmail_client.schema import SCHEMAS

__all__ = ["CATALOGUE", "CHANGE_TABLES", "SNAPSHOT_TABLES", "IngestionType", "Table", "table"]

IngestionType = Literal["snapshot", "cdc_with_deletes"]


@dataclass(frozen=True, slots=True)
class Table:
    """One of the ten tables.

    Attributes:
        name: Its name in Dagster, in Delta and as Lakeflow's `source_table`.
        description: One sentence.
        primary_key: The columns that identify a row within one mailbox.
        cursor: The column that orders changes; None for snapshots.
        ingestion_type: `cdc_with_deletes` follows Gmail's history, `snapshot` is read in full each time.
        options: Names of its table options.
    """

    name: str
    description: str
    primary_key: tuple[str, ...]
    cursor: str | None
    ingestion_type: IngestionType
    options: tuple[str, ...]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of its rows, without the lake's `mailbox` column."""
        return SCHEMAS[self.name]


_FILTERED = (
    "q",
    "labelIds",
    "startDate",
    "maxResults",
    "includeSpamTrash",
    "format",
    "excludeColumns",
    "excludeLabels",
    "excludeFrom",
    "hash",
    "keepUnknownFields",
    "max_records_per_batch",
    "skip_refused",
)


def _changing(name: str, description: str) -> Table:
    return Table(name, description, ("id",), "historySequence", "cdc_with_deletes", _FILTERED)


def _snapshot(name: str, description: str, key: str, options: tuple[str, ...] = ()) -> Table:
    own = ("maxResults", *options, "excludeColumns", "hash", "keepUnknownFields")
    return Table(name, description, (key,), None, "snapshot", own)


CATALOGUE: Mapping[str, Table] = {
    entry.name: entry
    for entry in (
        _changing("messages", "Email messages with labels, headers and bodies."),
        _changing("threads", "Conversations, each with all its messages."),
        _snapshot("labels", "System and user labels with their message counts and colors.", "id"),
        _snapshot("drafts", "Drafts with their message.", "id", ("format",)),
        _snapshot("profile", "The mailbox's address, totals and history head.", "emailAddress"),
        _snapshot(
            "settings", "Forwarding, IMAP, POP, language and vacation settings in one row.", "emailAddress"
        ),
        _snapshot("filters", "Rules applied to arriving mail.", "id"),
        _snapshot("forwarding_addresses", "Addresses that mail may be forwarded to.", "forwardingEmail"),
        _snapshot("send_as", "Addresses and aliases that mail may be sent from.", "sendAsEmail"),
        _snapshot("delegates", "Users who may act for this mailbox.", "delegateEmail"),
    )
}

CHANGE_TABLES = tuple(name for name, entry in CATALOGUE.items() if entry.cursor)
SNAPSHOT_TABLES = tuple(name for name, entry in CATALOGUE.items() if not entry.cursor)


def table(name: str) -> Table:
    """The catalogue's entry for `name`.

    Raises:
        UnknownTableError: It is not one of the ten tables; the message lists them.
    """
    try:
        return CATALOGUE[name]
    except KeyError:
        raise UnknownTableError(
            f"Table not supported: {name!r}.", fix=f"Use one of the ten: {', '.join(CATALOGUE)}."
        ) from None
