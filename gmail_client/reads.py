"""Reads of all ten tables and the derived ones, page by page: `read_pages`, `read_view`.

Rows are as Gmail sends them. messages and threads are read in full, newest first; `gmail_client.changes` reads only
what changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from gmail_client.api import GmailApi
from gmail_client.changes import ListedThread, list_message_ids, list_thread_heads
from gmail_client.errors import ForbiddenError
from gmail_client.fetch import CHUNK_MESSAGES, FetchedThread, FetchRequest, chunks, fetch
from gmail_client.options import TableOptions
from gmail_client.snapshots import read_snapshot
from gmail_client.tables import table
from gmail_client.unknown_fields import COLUMN
from gmail_client.views import labels_of, view_rows

__all__ = ["failure_policy", "raise_for_failures", "read_pages", "read_view", "thread_resource"]

Row = dict[str, Any]
Warn = Callable[[str], None]

_log = logging.getLogger(__name__)


def read_pages(
    api: GmailApi,
    name: str,
    options: TableOptions | None = None,
    warn: Warn = _log.warning,
    *,
    messages: int = CHUNK_MESSAGES,
    first: int | None = None,
) -> Iterator[list[Row]]:
    """Read one table.

    Args:
        api: The mailbox.
        name: One of the ten.
        options: The table's options; defaults if omitted.
        warn: Called with warnings: filters that match nothing, a table that this account is not allowed to read.
        messages: Messages after which a page of messages or threads ends; 1 yields rows as soon as they arrive.
        first: Messages after which the first page ends, so that a consumer gets its first rows early.

    Yields:
        Pages of rows of limited size. `delegates` is empty for an account that may not read it.

    Raises:
        UnknownTableError: Not one of the ten.
        GmailError: The read can't be completed, or a message can't be read.
    """
    entry = table(name)
    options = options or TableOptions()
    if entry.cursor:
        rows = _messages if name == "messages" else _threads
        yield from rows(api, options, warn, messages, first)
        return
    try:
        yield from read_snapshot(api, name, options, warn)
    except ForbiddenError as error:
        if name != "delegates":
            raise
        warn(f"delegates is empty: {error}")


def read_view(
    api: GmailApi,
    name: str,
    options: TableOptions | None = None,
    warn: Warn = _log.warning,
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
        options = options.model_copy(update={"format": "metadata" if options.exclude_from else "minimal"})
    labels = labels_of(api.labels())
    for page in read_pages(api, "messages", options, warn, **pages):
        yield [row for message in page for row in view_rows(name, message, labels)]


def _listed(api: GmailApi, options: TableOptions, warn: Warn) -> dict[str, list[str]]:
    threads: dict[str, list[str]] = {}
    for message_id, thread_id in list_message_ids(api, options).items():
        threads.setdefault(thread_id, []).append(message_id)
    if not threads and options.filtered:
        warn(f"No message matches the filters {options.filters_text}.")
    return threads


def raise_for_failures(fetched: FetchedThread) -> FetchedThread:
    """The argument, if it has no failed messages.

    Raises:
        GmailError: Why a message can't be read.
    """
    for error in fetched.failed.values():
        raise error
    return fetched


def failure_policy(
    name: str, options: TableOptions, warn: Warn
) -> Callable[[FetchedThread], FetchedThread | None]:
    """A function that handles failed messages: it raises, or skips them if the option `skip_refused` is set.

    Args:
        name: `messages`, which then lacks only the failed messages, or `threads`, which lacks their threads.
        options: The table's options.
        warn: Called for each skipped message.
    """
    if not options.skip_refused:
        return raise_for_failures

    def skip(fetched: FetchedThread) -> FetchedThread | None:
        for message_id, error in fetched.failed.items():
            warn(f"{name}: skipped the message {message_id}, which Gmail refused: {error.what}")
        return fetched if name == "messages" or not fetched.failed else None

    return skip


def _messages(
    api: GmailApi, options: TableOptions, warn: Warn, page: int, first: int | None
) -> Iterator[list[Row]]:
    threads = _listed(api, options, warn)
    wants = (FetchRequest(thread_id, tuple(ids)) for thread_id, ids in threads.items())
    pieces = filter(
        None,
        map(failure_policy("messages", options, warn), fetch(api, wants, options.format, options.policy)),
    )
    for chunk in chunks(pieces, messages=page, first=first):
        yield [
            message
            for fetched in chunk
            for message in fetched.messages
            if message["id"] in threads[fetched.thread_id]
            and options.matches_date(message.get("internalDate"))
        ]


def _threads(
    api: GmailApi, options: TableOptions, warn: Warn, page: int, first: int | None
) -> Iterator[list[Row]]:
    heads = list_thread_heads(api, options)
    threads = _listed(api, options, warn)
    wants = (
        FetchRequest(thread_id, tuple(ids), whole=options.filtered) for thread_id, ids in threads.items()
    )
    pieces = filter(
        None, map(failure_policy("threads", options, warn), fetch(api, wants, options.format, options.policy))
    )
    for chunk in chunks(pieces, messages=page, first=first):
        rows = (thread_resource(fetched, heads.get(fetched.thread_id), options) for fetched in chunk)
        yield [
            row
            for row in rows
            if any(options.matches_date(message.get("internalDate")) for message in row["messages"])
        ]


def thread_resource(fetched: FetchedThread, head: ListedThread | None, options: TableOptions) -> Row:
    """A thread resource with the visible messages that were fetched, by any calls."""
    messages = [message for message in fetched.messages if options.is_visible(message.get("labelIds") or ())]
    messages.sort(key=lambda message: (int(message.get("internalDate") or 0), message["id"]))
    history_id = fetched.history_id
    if history_id is None:
        ids = [int(message.get("historyId") or 0) for message in messages]
        history_id = str(head.history_id if head else max(ids, default=0))
    snippet = fetched.snippet
    if options.policy is not None:
        snippet = messages[-1].get("snippet", "") if messages else ""
    elif snippet is None:
        snippet = head.snippet if head else (messages[-1].get("snippet", "") if messages else "")
    row = {"id": fetched.thread_id, "snippet": snippet, "historyId": history_id, "messages": messages}
    return {**row, COLUMN: fetched.unknown} if fetched.unknown else row
