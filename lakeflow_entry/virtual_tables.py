"""Virtual tables that describe the source to Lakeflow's framework: `VIRTUAL_TABLES`, `read_virtual`.

`_community_table_metadata` has keys, cursor and ingestion type of the tables in `tableNameList`; `_community_tables`
and `_community_namespaces` list tables and namespaces (Gmail has none). `_gmail_ids` is specific to this product: the
ids that `messages` or `threads` should hold, for a reconciliation after the history has expired.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from gmail_client.changes import list_message_ids
from gmail_client.client import Mailbox
from gmail_client.errors import OptionError
from gmail_client.tables import CATALOGUE, CHANGE_TABLES, table
from lakeflow_entry.connection import Connection
from lakeflow_entry.stream.deletes import kept_options
from lakeflow_entry.table_options import find, table_options

__all__ = ["IDS", "VIRTUAL_TABLES", "read_virtual"]


IDS = "_gmail_ids"
"""The table of ids. With `mailboxes`, it has the column `mailbox`, and a row without an id for each mailbox. A mailbox
that can't be read has one row without `mailbox`, whose `id` is its name."""


def _texts(name: str) -> pa.Field:
    return pa.field(name, pa.list_(pa.field("element", pa.string())))


VIRTUAL_TABLES: Mapping[str, pa.Schema] = {
    "_community_table_metadata": pa.schema(
        [
            pa.field("tableName", pa.string()),
            _texts("primary_keys"),
            pa.field("cursor_field", pa.string()),
            pa.field("ingestion_type", pa.string()),
        ]
    ),
    "_community_tables": pa.schema([_texts("namespace"), pa.field("tableName", pa.string())]),
    "_community_namespaces": pa.schema([_texts("namespace")]),
    IDS: pa.schema([pa.field("id", pa.string())]),
}


def read_virtual(
    name: str, options: Mapping[str, str], connection: Connection, mailbox: Mailbox | None = None
) -> pa.RecordBatch:
    """The rows of a virtual table.

    Args:
        name: One of `VIRTUAL_TABLES`.
        options: The read's options: `tableNameList` and `tableConfigs` as JSON.
        connection: Used by `_gmail_ids` only.
        mailbox: For `_gmail_ids`: one of many mailboxes, instead of the connection's.

    Raises:
        OptionError: An option is not valid JSON or has the wrong type.
        UnknownTableError: The list names a table that is not one of the ten.
    """
    if name == "_community_table_metadata":
        rows = _metadata(options)
    elif name == "_community_tables":
        rows = [{"namespace": [], "tableName": entry} for entry in sorted(CATALOGUE)]
    elif name == "_community_namespaces":
        rows = []
    else:
        rows = _ids(options, mailbox or connection.mailbox())
        if mailbox is not None:
            rows.append({"id": None})
    return pa.RecordBatch.from_pylist(rows, schema=VIRTUAL_TABLES[name])


def _metadata(options: Mapping[str, str]) -> list[dict[str, Any]]:
    names = _json(options, "tableNameList", list) or []
    configurations = _json(options, "tableConfigs", dict) or {}
    mailbox = ["mailbox"] if find(options, "mailboxes") else []
    rows = []
    for name in names:
        entry = table(str(name))
        table_options(entry.name, configurations.get(entry.name))
        rows.append(
            {
                "tableName": entry.name,
                "primary_keys": [*mailbox, *entry.primary_key],
                "cursor_field": entry.cursor,
                "ingestion_type": entry.ingestion_type,
            }
        )
    return rows


def _ids(options: Mapping[str, str], mailbox: Mailbox) -> list[dict[str, Any]]:
    configurations = _json(options, "tableConfigs", dict) or {}
    names = [name for name in _json(options, "tableNameList", list) or [] if name in CHANGE_TABLES]
    if len(names) != 1:
        raise OptionError(
            "Option 'tableNameList' must name one table for _gmail_ids.",
            fix='Use ["messages"] or ["threads"].',
        )
    given = table_options(names[0], configurations.get(names[0]))
    listed = list_message_ids(mailbox.api, kept_options(given))
    return [{"id": one} for one in (listed if names[0] == "messages" else dict.fromkeys(listed.values()))]


def _json(options: Mapping[str, str], name: str, kind: type) -> Any:
    text = find(options, name)
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, kind):
        raise OptionError(
            f"Option {name!r} can't be {text!r:.200}.",
            fix='Give JSON such as ["messages"].'
            if kind is list
            else 'Give JSON such as {"messages": {"q": "x"}}.',
        )
    return value
