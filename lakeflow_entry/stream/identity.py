"""What a stream belongs to: its mailbox and its filters, which each offset names. `Identity` checks and sets them.

A checkpoint continues with history ids of its mailbox, and its table has the rows that its filters matched. After a
change of either, the stream would silently mix two mailboxes or two sets of rows, so it fails instead.
"""

from __future__ import annotations

from dataclasses import replace

from gmail_client.errors import ConfigurationError
from gmail_client.options import TableOptions
from lakeflow_entry.stream.history import HistoryRange
from lakeflow_entry.stream.offsets import Offset
from lakeflow_entry.table_options import option_strings

__all__ = ["Identity", "StreamChangedError", "filters_of"]

_FILTERS = ("excludeFrom", "excludeLabels", "includeSpamTrash", "labelIds", "q", "startDate")


class StreamChangedError(ConfigurationError):
    """The stream's mailbox or filters are not those of its checkpoint."""


def filters_of(options: TableOptions) -> str:
    """The options that decide which rows a table has, as text; empty if there are none."""
    given = option_strings(options)
    return " ".join(
        f"{name}={','.join(sorted(given[name].split(','))) if name not in ('q', 'startDate') else given[name]}"
        for name in _FILTERS
        if name in given
    )


class Identity:
    """The identity of one flow.

    Args:
        table: `messages` or `threads`.
        options: The table's options.
        history: The mailbox.
    """

    def __init__(self, table: str, options: TableOptions, history: HistoryRange) -> None:
        self._table = table
        self._filters = filters_of(options)
        self._history = history

    def check(self, offset: Offset) -> None:
        """Refuse an offset of another mailbox, or of other filters. Earlier releases did not note them.

        Raises:
            StreamChangedError: It is one.
            GmailError: The mailbox's address can't be read.
        """
        refresh = f"run a full refresh of {self._table} (outside Databricks: delete the table)"
        if offset.filters is not None and offset.filters != self._filters:
            raise StreamChangedError(
                f"The filters of {self._table} changed from {offset.filters or 'none'} to {self._filters or 'none'}, "
                "but its checkpoint has read the mailbox with the old ones.",
                fix=f"Set them back, or {refresh}.",
            )
        mailbox = self._history.mailbox if offset.mailbox is not None else None
        if mailbox and mailbox != offset.mailbox:
            raise StreamChangedError(
                f"The connection reads the mailbox {mailbox}, but the checkpoint of {self._table} is that of "
                f"{offset.mailbox}.",
                fix=f"Sign in as {offset.mailbox} (or set user_id to it), or {refresh}.",
            )

    def of(self, end: Offset, start: Offset) -> Offset:
        """The end of a batch from `start`, with this identity; an unchanged offset stays as it is."""
        if end == start:
            return end
        return replace(end, filters=self._filters, mailbox=self._history.mailbox)
