"""The rows of a micro-batch: `Batch` names the messages, `read_batch` fetches them.

A batch is a small value that can be sent to another process, which fetches the messages.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gmail_client.api import GmailApi
from gmail_client.changes import ListedThread
from gmail_client.fetch import CHUNK_BYTES, FetchedThread, FetchRequest, chunks, fetch
from gmail_client.options import TableOptions
from gmail_client.reads import failure_policy, thread_resource

__all__ = ["DEFAULT_LIMIT", "Batch", "read_batch"]

Row = dict[str, Any]

DEFAULT_LIMIT = 1_000
"""Default of `max_records_per_batch`: about 15 MB of typical mail."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Batch:
    """The content of one micro-batch.

    Attributes:
        threads: Thread id to the messages to fetch of it.
        sequence: For changes, the last history record of the row, by the row's id.
        heads: For a load of threads, each thread as listed.
        changed: Changes, not a load.
        new: Threads that began in this batch and have one message, so that a messages.get reads them completely.
        floor: Minimum history id of rows that are not in `sequence`: a row that is loaded again must be newer than the
            stored one, although a thread can have a lower history id after one of its messages was deleted.
    """

    threads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sequence: Mapping[str, int] = field(default_factory=dict)
    heads: Mapping[str, ListedThread] = field(default_factory=dict)
    changed: bool = False
    new: frozenset[str] = frozenset()
    floor: int = 0

    @property
    def rows(self) -> int:
        """Rows that the changes affect."""
        return len(self.sequence)

    def joined(self, other: Batch) -> Batch:
        """Both batches as one."""
        if not other.threads:
            return self
        threads = {
            thread_id: tuple(
                dict.fromkeys([*self.threads.get(thread_id, ()), *other.threads.get(thread_id, ())])
            )
            for thread_id in {**self.threads, **other.threads}
        }
        sequence = {**other.sequence, **self.sequence}
        return replace(
            self, threads=threads, sequence=sequence, changed=True, new=self.new - other.threads.keys()
        )


def read_batch(
    api: GmailApi, table: str, options: TableOptions, batch: Batch, *, messages: int = 1
) -> Iterator[list[Row]]:
    """The rows of a batch.

    Args:
        api: The mailbox.
        table: `messages` or `threads`.
        options: The table's options.
        batch: The planned batch.
        messages: Messages after which a page ends; it ends at 16 MB of JSON in any case.

    Yields:
        Pages of resources as Gmail sends them, without messages that were deleted meanwhile or no longer match the
        filters.

    Raises:
        GmailError: A message can't be fetched; nothing of the batch counts as delivered then. With `skip_refused`
            such a message (in threads: its thread) is left out and named in the log.
    """
    whole = table == "threads" and (batch.changed or options.filtered)
    requests = (
        FetchRequest(
            thread_id,
            ids,
            whole=whole and thread_id not in batch.new,
            partly_stored=batch.changed and not whole,
        )
        for thread_id, ids in batch.threads.items()
    )
    rows = _message_rows if table == "messages" else _thread_rows
    fetched_threads = filter(
        None,
        map(
            failure_policy(table, options, _log.warning), fetch(api, requests, options.format, options.policy)
        ),
    )
    for chunk in chunks(fetched_threads, messages=messages, size=CHUNK_BYTES):
        page = [row for fetched in chunk for row in rows(fetched, options, batch)]
        if page:
            yield page


def _message_rows(fetched: FetchedThread, options: TableOptions, batch: Batch) -> Iterator[Row]:
    wanted = batch.threads[fetched.thread_id]
    for message in fetched.messages:
        if message["id"] in wanted and options.matches(message):
            yield _at_least(message, batch.sequence.get(message["id"], batch.floor))


def _thread_rows(fetched: FetchedThread, options: TableOptions, batch: Batch) -> Iterator[Row]:
    row = thread_resource(fetched, batch.heads.get(fetched.thread_id), options)
    if fetched.thread_id in batch.new:
        # It may have grown since: the row of the later batch that shows that has to be newer than this one.
        row["historyId"] = str(batch.sequence[fetched.thread_id])
    # `q` was evaluated when the batch was planned; labels and dates are known only now.
    if any(options.matches(message) for message in row["messages"]):
        yield _at_least(row, batch.sequence.get(fetched.thread_id, batch.floor))


def _at_least(row: Row, record: int) -> Row:
    """The row with a history id that is not lower than its history record."""
    if int(row.get("historyId") or 0) >= record:
        return row
    return {**row, "historyId": str(record)}
