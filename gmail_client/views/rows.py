"""The rows that one message gives in any of the derived tables: `view_rows`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gmail_client.views.attachments import attachment_rows
from gmail_client.views.emails import Label, Labels, email_row
from gmail_client.views.message_labels import message_label_rows

__all__ = ["labels_of", "view_rows"]

Row = dict[str, Any]


def view_rows(name: str, message: Mapping[str, Any], labels: Labels) -> list[Row]:
    """The rows of a derived table that one message gives.

    Args:
        name: One of `VIEWS`.
        message: A message as Gmail sends it, or a row of `messages`.
        labels: The mailbox's labels.
    """
    if name == "emails":
        return [email_row(message, labels)]
    if name == "message_labels":
        return message_label_rows(message["id"], message.get("labelIds") or (), labels)
    return attachment_rows(message)


def labels_of(rows: Sequence[Mapping[str, Any]]) -> Labels:
    """Labels by id.

    Args:
        rows: Rows of `labels`.
    """
    return {row["id"]: Label(row.get("name") or row["id"], row.get("type")) for row in rows}
