"""Derived tables: rows of `emails`, `attachments` and `message_labels` from messages and labels.

Pure functions over messages as Gmail sends them or as `messages` holds them; they need neither Delta nor Spark.
`VIEWS` says which tables there are, with their columns; `to_table` makes Arrow of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from gmail_client.views.attachments import attachment_rows, attachment_sources
from gmail_client.views.emails import EMAIL_HEADERS, Label, Labels, email_row, label_columns, label_name
from gmail_client.views.message_labels import message_label_rows
from gmail_client.views.parts import HEADERS, NOTHING, PART_HEADERS, STRUCTURE
from gmail_client.views.rows import labels_of, view_rows
from gmail_client.views.schemas import (
    ALL_VIEWS,
    CONTENT_VIEWS,
    CONTENTS,
    FORMULA,
    LABEL_COLUMNS,
    LINKS,
    VIEWS,
    View,
    formula,
)
from gmail_client.views.text import require_html_reader

__all__ = [
    "ALL_VIEWS",
    "CONTENTS",
    "CONTENT_VIEWS",
    "FORMULA",
    "HEADERS",
    "HEADER_NAMES",
    "LABEL_COLUMNS",
    "LINKS",
    "NOTHING",
    "STRUCTURE",
    "VIEWS",
    "Label",
    "Labels",
    "View",
    "attachment_rows",
    "attachment_sources",
    "email_row",
    "formula",
    "label_columns",
    "label_name",
    "labels_of",
    "message_label_rows",
    "require_html_reader",
    "to_record_batch",
    "to_table",
    "view_rows",
]

HEADER_NAMES = EMAIL_HEADERS | PART_HEADERS
"""The names of all headers that derived tables read, in lower case."""


def to_record_batch(name: str, rows: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    """Rows of a derived table as one Arrow record batch, in its schema.

    Args:
        name: One of `VIEWS`.
        rows: What the row functions give.
    """
    schema = VIEWS[name].schema
    arrays = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def to_table(name: str, rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows of a derived table as an Arrow table; see `to_record_batch`."""
    return pa.Table.from_batches([to_record_batch(name, rows)])
