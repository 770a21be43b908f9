"""The listings of a mailbox for one reconciliation; each is read once, when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from functools import cached_property
from typing import Any

from gmail_assets.syncing.results import Progress
from gmail_assets.syncing.table import TableSync
from gmail_client.api import GmailApi
from gmail_client.changes import ListedThread, list_message_ids, list_thread_heads
from gmail_client.deletion import is_mass
from gmail_client.labels import HIDDEN_LABELS
from gmail_client.options import TableOptions
from gmail_client.search import search_within, without_dates

__all__ = ["Listing", "ListingProgress", "hidden_messages"]


class ListingProgress:
    """Reports the progress of a listing; without filters the total is the profile's count.

    Args:
        api: The mailbox; the units spent from now on are reported too.
        profile: The response of getProfile.
        on_progress: Progress callback.
    """

    def __init__(
        self, api: GmailApi, profile: Mapping[str, Any], on_progress: Callable[[Progress], None]
    ) -> None:
        self._usage = api.usage
        self._before = api.usage.snapshot()
        self._totals = {name: int(profile.get(f"{name}Total") or 0) for name in ("messages", "threads")}
        self._on_progress = on_progress

    def messages(self, options: TableOptions | None = None) -> Callable[[int], None]:
        """A callback for the number of messages listed with these options (None: all)."""
        return self._counting("messages", options)

    def threads(self, options: TableOptions | None = None) -> Callable[[int], None]:
        """A callback for the number of threads listed with these options (None: all)."""
        return self._counting("threads", options)

    def _counting(self, name: str, options: TableOptions | None) -> Callable[[int], None]:
        total = None if options is not None and options.filtered else self._totals[name]

        def report(done: int) -> None:
            units = self._usage.since(self._before).total_units
            of = None if total is None else max(total, done)
            self._on_progress(Progress(f"listing {name}", done, of, units=units))

        return report


class Listing:
    """The listings of one reconciliation.

    Args:
        api: The mailbox.
        options: Gives the page size.
        total: Messages in the mailbox, by Gmail's count.
        compared: Stored rows are reconciled too: everything is listed, with the threads' history ids.
        since: Epoch seconds: older messages are in none of the tables.
        progress: Progress of the listings.

    Attributes:
        all_threads: Thread id to its entry in threads.list, spam and trash included; empty unless `compared`.
        all_messages: Message id to thread id, spam and trash included; empty unless `compared`.
    """

    def __init__(
        self,
        api: GmailApi,
        options: TableOptions,
        *,
        total: int,
        compared: bool,
        since: int | None = None,
        progress: ListingProgress,
    ) -> None:
        self._api = api
        self._total = total
        self._progress = progress
        self._since = since
        self._ids: dict[tuple[object, ...], dict[str, str]] = {}
        self._heads: dict[tuple[object, ...], dict[str, ListedThread]] = {}
        self.all_threads: dict[str, ListedThread] = {}
        self.all_messages: dict[str, str] = {}
        if compared:
            # Heads before ids: the next reconciliation then detects a change between the two by the head.
            self.all_threads = list_thread_heads(
                api, options, everything=True, since=since, on_progress=progress.threads()
            )
            self.all_messages = list_message_ids(
                api, options, everything=True, since=since, on_progress=progress.messages()
            )

    def heads(self, table: TableSync) -> Mapping[str, ListedThread]:
        """Thread heads for the rows of new threads."""
        if self.all_threads or table.name != "threads":
            return self.all_threads
        key = table.options.listing_key
        if key not in self._heads:
            self._heads[key] = list_thread_heads(
                self._api, table.options, on_progress=self._progress.threads(table.options)
            )
        return self._heads[key]

    def matching(self, table: TableSync) -> dict[str, str]:
        """Messages that match the filters, from a day before `startDate`: id to thread id."""
        return self._list(table.options)

    def confirm(self, tables: Sequence[TableSync]) -> None:
        """Read a listing once more if it is probably cut short: Gmail counts more messages, and that would matter.

        It matters if a reconciliation would delete rows, and if many messages would be missing after a full load. The
        number of those that are still missing after the second time is `TableSync.not_listed`.

        Args:
            tables: The tables; their stored keys have been read.
        """
        if self._since is None and len(self.all_messages) < self._total and self._would_delete(tables):
            self.all_messages.update(list_message_ids(self._api, tables[0].options, everything=True))
        for table in tables:
            if table.mode == "full_load" and not table.options.filtered and self._not_listed(table.options):
                self._list(table.options).update(list_message_ids(self._api, table.options))
                table.not_listed = self._not_listed(table.options)

    def _would_delete(self, tables: Sequence[TableSync]) -> bool:
        return any(
            not ids <= self.all_messages.keys()
            for table in tables
            if table.mode == "reconcile"
            for ids in table.stored_messages().values()
        )

    def _not_listed(self, options: TableOptions) -> int:
        """How many messages are missing in a listing without filters by Gmail's count, if they are many; else 0."""
        missing = self._total - len(self._list(options))
        if is_mass(missing, self._total) and not options.include_spam_trash:
            missing -= self._hidden
        return missing if is_mass(missing, self._total) else 0

    @cached_property
    def _hidden(self) -> int:
        """Gmail's count of messages in spam and trash."""
        return self._api.hidden_totals()["messages"]

    def lasting(self, table: TableSync) -> dict[str, str] | None:
        """Messages that match the filters without the top-level date terms of `q`, as far back as rows are stored.

        Returns:
            Id to thread id; None if that is every message whose labels match.
        """
        lasting = without_dates(table.options.q)
        if lasting is None:
            return None
        if lasting == table.options.q:
            return self.matching(table)
        dates = [date // 1000 for date in table.dates().values() if date > 0]
        if not dates:
            return {}
        return self._list(
            table.options.model_copy(
                update={
                    "q": search_within(lasting, max(min(dates) - 1, 0), max(dates) + 2),
                    "start_date": None,
                }
            )
        )

    def _list(self, options: TableOptions) -> dict[str, str]:
        key = options.listing_key
        if key == (search_within(None, self._since), (), True, (), ()) and self.all_messages:
            return self.all_messages
        if key not in self._ids:
            self._ids[key] = list_message_ids(
                self._api, options, on_progress=self._progress.messages(options)
            )
        return self._ids[key]

    def members(
        self, table: TableSync, threads: Set[str], new: int, *, in_lake: bool
    ) -> dict[str, str] | None:
        """The visible messages of all threads; None if reading `threads` whole costs less than a listing.

        A thread's row contains all its visible messages, also those that do not match the filters.

        Args:
            table: A filtered table of threads.
            threads: Threads that match the filters.
            new: How many of them have no row.
            in_lake: Their content may be in the lake, so that a listing may be enough.
        """
        options = table.options
        bare = options.model_copy(update={"q": None, "label_ids": (), "start_date": None})
        price = self._api.plan.price
        pages = self._total // options.page_size + 1
        # The additional cost of a thread that is fetched completely, compared with one whose messages are known.
        extra = price("threads.get") if in_lake else price("messages.get")
        # Only a listing reliably contains trashed messages.
        if (
            table.mode == "full_load"
            and not options.include_spam_trash
            and bare.listing_key not in self._ids
            and new * extra < pages * price("messages.list")
        ):
            return None
        return self._list(bare)


def hidden_messages(api: GmailApi, table: TableSync, threads: Set[str]) -> dict[str, str]:
    """Messages of these threads in spam and trash that belong to the rows; threads.get may omit them."""
    if not threads or not table.options.include_spam_trash:
        return {}
    return {
        message_id: thread_id
        for label in sorted(HIDDEN_LABELS)
        for message_id, thread_id in list_message_ids(
            api,
            table.options.model_copy(update={"q": None, "label_ids": (label,), "start_date": None}),
        ).items()
        if thread_id in threads
    }
