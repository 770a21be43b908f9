"""What a stream belongs to: its mailbox, its filters and its content options, which each offset names: `Identity`.

A checkpoint continues with history ids of its mailbox, and its table has the rows that its filters matched, with the
content that its options left in them. After a change, the stream would silently mix two mailboxes, two sets of rows or
two kinds of content, so it fails instead. Only `startDate` can move forward: nothing has to be read for it, and the
delete flow deletes the rows before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from gmail_client.errors import ConfigurationError
from gmail_client.options import TableOptions
from lakeflow_entry.stream.history import HistoryRange
from lakeflow_entry.stream.offsets import Offset
from lakeflow_entry.table_options import option_strings

__all__ = ["Identity", "StreamChangedError", "content_of", "filters_of", "start_date_in"]

_FILTERS = ("excludeFrom", "excludeLabels", "includeSpamTrash", "labelIds", "q", "startDate")
_START_DATE = re.compile(r"(?:^| )startDate=([0-9]+)$")
_HASH_KEY = "GMAIL_HASH_KEY"


class StreamChangedError(ConfigurationError):
    """The stream's mailbox, filters or content options are not those of its checkpoint."""


def filters_of(options: TableOptions) -> str:
    """The options that decide which rows a table has, as text; empty if there are none."""
    given = option_strings(options)
    return " ".join(
        f"{name}={','.join(sorted(given[name].split(','))) if name not in ('q', 'startDate') else given[name]}"
        for name in _FILTERS
        if name in given
    )


def start_date_in(filters: str | None) -> int | None:
    """The `startDate` in the text of `filters_of`, in epoch seconds; None without one."""
    found = _START_DATE.search(filters or "")
    return int(found[1]) if found else None


def content_of(options: TableOptions) -> str:
    """The options that decide what the rows contain, as text such as `format=full excludeColumns=snippet`."""
    parts = {"format": options.format, "excludeColumns": ",".join(sorted(options.exclude_columns))}
    if options.policy is not None and options.hash:
        parts |= {"hash": ",".join(options.hash), _HASH_KEY: options.policy.key_id or ""}
    return " ".join(f"{name}={value}" for name, value in parts.items() if value)


class Identity:
    """The identity of one flow.

    Args:
        table: `messages` or `threads`.
        options: The table's options.
        history: The mailbox.
        deletes: It is the delete flow, whose rows are keys without content.

    Attributes:
        filters: See `filters_of`.
    """

    def __init__(
        self, table: str, options: TableOptions, history: HistoryRange, *, deletes: bool = False
    ) -> None:
        self._table = table
        self.filters = filters_of(options)
        self._content = None if deletes else content_of(options)
        self._history = history

    def check(self, offset: Offset) -> None:
        """Refuse an offset of another mailbox, of other filters or of other content. Earlier releases noted none.

        Raises:
            StreamChangedError: It is one.
            GmailError: The mailbox's address can't be read.
        """
        refresh = f"run a full refresh of {self._table} (outside Databricks: delete the table)"
        if offset.filters is not None and not _continues(offset.filters, self.filters):
            raise StreamChangedError(
                f"The filters of {self._table} changed from {_shown(offset.filters)} to {_shown(self.filters)}, "
                "but its checkpoint has read the mailbox with the old ones.",
                fix=f"Set them back, or {refresh}. Only startDate can be moved forward.",
            )
        changed = list(_differences(offset.content, self._content))
        if changed:
            raise StreamChangedError(
                f"The content options of {self._table} changed: {', '.join(changed)}; its table has rows with the old "
                "ones.",
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
        return replace(end, filters=self.filters, content=self._content, mailbox=self._history.mailbox)


def _continues(before: str, now: str) -> bool:
    """Whether a table with the old filters needs no further rows: they are the same, or only `startDate` is later."""
    if before == now:
        return True
    old, new = start_date_in(before), start_date_in(now)
    same = _START_DATE.sub("", before) == _START_DATE.sub("", now)
    return same and old is not None and new is not None and new > old


def _shown(filters: str) -> str:
    """The filters for a message, with `startDate` as a date if it is one."""
    seconds = start_date_in(filters)
    if seconds is None or seconds % 86_400:
        return filters or "none"
    return f"{filters.removesuffix(str(seconds))}{datetime.fromtimestamp(seconds, UTC).date()}"


def _differences(before: str | None, now: str | None) -> Iterator[str]:
    """Each changed content option with both values."""
    if before is None or now is None:
        return
    old, new = _parsed(before), _parsed(now)
    for name in dict.fromkeys([*old, *new]):
        if name == _HASH_KEY:
            # The process that plans may not have the key, which the workers need.
            if old.get(name) and new.get(name) and old[name] != new[name]:
                yield f"{name} is another key"
        elif old.get(name) != new.get(name):
            yield f"{name} from {old.get(name, 'none')} to {new.get(name, 'none')}"


def _parsed(content: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in content.split(" "))
