"""Messages that could not be fetched in a run: `RunFailures`."""

from __future__ import annotations

from collections.abc import Sequence

from gmail_assets.delta.unfetched import Unfetched, UnfetchedMessages
from gmail_assets.syncing.table import TableSync
from gmail_client.errors import GmailError

__all__ = ["RunFailures"]

_MOST_FAILURES = 100
"""Number of newly refused messages above which a run assumes an outage of Gmail and stops."""


class RunFailures:
    """Records failed messages in their tables, and adds them to the retry queue of the lake.

    Args:
        unfetched: Stores the retry queue.
        address: The mailbox's real address.
        tables: All tables of the run.

    Attributes:
        queued: Tables of which the retry queue may have messages of this mailbox.
    """

    def __init__(self, unfetched: UnfetchedMessages, address: str, tables: Sequence[TableSync]) -> None:
        self._unfetched = unfetched
        self._address = address
        self._tables = tables
        self.queued: set[str] = set()

    def note(self, table: TableSync, thread_id: str, message_id: str, error: GmailError) -> None:
        """Record that a message of a table could not be fetched.

        Raises:
            GmailError: The error itself, if so many messages failed that it must be an outage of Gmail. The failures so
                far are in the retry queue, so that the next run makes progress.
        """
        earlier = table.failed.get(message_id) or table.retries.get(message_id)
        table.failed[message_id] = Unfetched(
            thread_id,
            error.what,
            (earlier.attempts if earlier else 0) + 1,
            earlier.first_failed if earlier else None,
        )
        if len(table.failed.keys() - table.retries.keys()) > _MOST_FAILURES:
            for one in self._tables:
                self.record(one)
            raise error

    def record(self, table: TableSync) -> None:
        """Add new failures of a table to the retry queue, before a commit that moves past them."""
        if table.failed:
            self.queued.add(table.name)
            self._unfetched.replace(self._address, table.name, {**table.retries, **table.failed})

    def settle(self, table: TableSync) -> None:
        """After the commit of the cursor: keep only the failures of this run in the retry queue."""
        if table.name in self.queued and (
            not table.failed or not table.retries.keys() <= table.failed.keys()
        ):
            self._unfetched.replace(self._address, table.name, table.failed)
        table.retries = {}  # the remaining ones have failed again
