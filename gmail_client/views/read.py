"""Derived tables read from Gmail itself, without a lake: `read_view`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gmail_client.api import GmailApi
from gmail_client.options import TableOptions
from gmail_client.reads import read_pages
from gmail_client.views.attachments import attachment_rows
from gmail_client.views.emails import Label, Labels, email_row
from gmail_client.views.message_labels import message_label_rows

__all__ = ["labels_of", "read_view", "view_rows"]

Row = dict[str, Any]

_log = logging.getLogger(__name__)


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


def read_view(
    api: GmailApi,
    name: str,
    options: TableOptions | None = None,
    warn: Callable[[str], None] = _log.warning,
    **pages: int,
) -> Iterator[list[Row]]:
    """Read a derived table from Gmail. It costs as much as `messages`, and one call for the labels' names.

    Args:
        api: The mailbox.
        name: One of `VIEWS`.
        options: The options of `messages`.
        warn: Called with warnings.
        **pages: `messages` and `first` of `read_pages`.

    Yields:
        Rows, page by page.

    Raises:
        GmailError: The read can't be completed, or a message can't be read.
    """
    options = options or TableOptions()
    if name == "message_labels":
        options = options.model_copy(update={"format": "minimal"})
    labels = labels_of(api.labels())
    for page in read_pages(api, "messages", options, warn, **pages):
        yield [row for message in page for row in view_rows(name, message, labels)]
