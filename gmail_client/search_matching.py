"""Matches messages against a table's search at the lowest cost: `SearchMatcher`.

Gmail can only list the matching messages. If the date of a message is known, the search is listed within that second,
which is one page; messages with few rows between them share a listing. For new messages, the search is listed since the
last sync. For others, the whole search is listed, or the message is fetched for its date.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from gmail_client.api import GmailApi
from gmail_client.options import TableOptions
from gmail_client.search import MARGIN, search_within, without_dates

__all__ = ["MatchResult", "SearchMatcher"]

_CLOCK_MARGIN = 3_600
"""Seconds before the last sync from which new messages are listed: clocks differ, and mail is delayed in Gmail."""
_NEAR = 3_600
"""Seconds within which mail rarely fills more than a page; used if the dates of rows are not known."""
_FEW = 10
"""Up to this number of new messages, a table without a search fetches them without checking their dates."""

Groups = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class MatchResult:
    """Whether messages that are not stored match.

    Attributes:
        matching: Those that match.
        undecided: Those that have to be fetched to know their date.
    """

    matching: set[str]
    undecided: set[str]


class SearchMatcher:
    """Matches messages against a table's search.

    Args:
        api: The mailbox.
        options: The table's options.
        rows: Rows of the table: about as many messages match the search.
        dates: Returns the dates of all rows in epoch milliseconds, in order; called for many rows. None if they
            are not known.

    Attributes:
        seen: Number of messages in the part of the whole search's listing that was read.
        counted: Number of messages that the search lists; None if no listing was read to the end.
    """

    def __init__(
        self,
        api: GmailApi,
        options: TableOptions,
        rows: int = 0,
        dates: Callable[[], Sequence[int]] | None = None,
    ) -> None:
        self._api = api
        self._options = options
        self._rows = rows
        self._dates = dates
        self.seen = 0
        self.counted: int | None = None

    @property
    def pages(self) -> int:
        """About how many pages a listing of the search has."""
        return self._rows // self._options.page_size + 1

    def still_matching(self, groups: Groups) -> set[str]:
        """Which stored messages match the search without its top-level date terms.

        Args:
            groups: Messages with their dates (epoch milliseconds), by row: of each row, one that matches is enough.

        Returns:
            Of each row that has one, at least one message that matches.
        """
        lasting = without_dates(self._options.q)
        if lasting is None:
            return {message_id for dates in groups.values() for message_id in dates}
        return self._dated(lasting, groups)

    def matching_now(self, dates: Mapping[str, int]) -> set[str]:
        """Which messages match the search as of now, given their dates (epoch milliseconds)."""
        if self._options.q is None:
            return set(dates)
        return self._dated(
            self._options.q, {message_id: {message_id: at} for message_id, at in dates.items()}
        )

    def some_matching_now(self, groups: Groups) -> set[str]:
        """Of each row that has a message that matches the search as of now, at least one; see `still_matching`."""
        if self._options.q is None:
            return {message_id for dates in groups.values() for message_id in dates}
        return self._dated(self._options.q, groups)

    def threads_since(self, threads: Set[str], since: int) -> set[str]:
        """Which of these threads have a message that matches and is not older than the last sync (epoch seconds)."""
        return self._listed(self._since(self._options.q, since), set(threads), "threadId")

    def listed_since(self, messages: Set[str], since: int) -> set[str]:
        """Which of these messages are not older than the last sync (epoch seconds), whether or not they match."""
        return self._recent(None, set(messages), since)

    def listed_threads(self, threads: Set[str]) -> set[str]:
        """Which of these threads have a message that the search lists."""
        return self._counted(set(threads), "threadId")

    def match_unstored(self, arrived: Set[str], others: Set[str], since: int | None) -> MatchResult:
        """Which messages of unknown date match the search.

        Args:
            arrived: Messages that arrived after the last sync.
            others: Messages that arrived before it.
            since: Epoch seconds of the last sync; None if it is not known.
        """
        unknown = set(arrived | others)
        if not unknown or self._options.search is None:
            return MatchResult(unknown, set())
        if self._options.q is None and len(arrived) <= _FEW:
            rest = self._from_listing(set(others))
            return MatchResult(rest.matching | arrived, rest.undecided)
        recent = 2 * (1 + len(unknown) // self._options.page_size)
        if since is None or not arrived or self.pages <= recent:
            return self._from_listing(unknown)
        matching = self._recent(self._options.q, unknown, since)
        unknown -= matching
        if unknown and self._options.q is not None:
            unknown -= self.listed_since(unknown, since)  # listed, but not by the search
        rest = self._from_listing(unknown)
        return MatchResult(matching | rest.matching, rest.undecided)

    def _recent(self, q: str | None, wanted: set[str], since: int) -> set[str]:
        return self._listed(self._since(q, since), wanted)

    def _since(self, q: str | None, since: int) -> str | None:
        return search_within(q, max(since - _CLOCK_MARGIN, self._start))

    @property
    def _start(self) -> int:
        start = self._options.start_date
        return 0 if start is None else max(start - MARGIN, 0)

    def _from_listing(self, wanted: set[str]) -> MatchResult:
        """Match against the listing of the search, or leave messages undecided that cost less to fetch."""
        price = self._api.plan.price
        listing = self.pages * price("messages.list")
        single = price("messages.get") + (price("messages.list") if self._options.q else 0)
        if len(wanted) * single < listing:
            return MatchResult(set(), wanted)
        return MatchResult(self._counted(wanted), set())

    def _dated(self, q: str, groups: Groups) -> set[str]:
        found: set[str] = {m for dates in groups.values() for m, at in dates.items() if at <= 0}
        wanted = {row: dates for row, dates in groups.items() if dates and found.isdisjoint(dates)}
        seconds = sorted({at // 1000 for dates in wanted.values() for at in dates.values()})
        for first, last in reversed(self._segments(seconds)):
            within = {
                row: ids
                for row, dates in wanted.items()
                if (ids := {m for m, at in dates.items() if first <= at // 1000 <= last})
            }
            # Whether `after:` includes its second is not documented.
            for page in self._pages_of(search_within(q, max(first - 1, 0), last + 2)) if within else ():
                for row in [row for row, ids in within.items() if not ids.isdisjoint(page)]:
                    found |= within.pop(row) & page
                    del wanted[row]
                if not within:
                    break
        return found

    def _segments(self, seconds: Sequence[int]) -> list[tuple[int, int]]:
        """Windows of time that cover these seconds with the fewest pages, first and last second of each."""
        if not seconds:
            return []
        if len(seconds) == 1 or self.pages == 1:
            return [(seconds[0], seconds[-1])]
        rows = self._dates() if self._dates is not None else None

        def pages(first: int, last: int) -> int:
            if rows is None:
                return (last - first) // _NEAR + 1
            within = bisect_right(rows, last * 1000 + 999) - bisect_left(rows, first * 1000)
            return within // self._options.page_size + 1

        segments = [(seconds[0], seconds[0])]
        for second in seconds[1:]:
            first, last = segments[-1]
            if pages(first, second) <= pages(first, last) + 1:
                segments[-1] = (first, second)
            else:
                segments.append((second, second))
        return segments

    def _counted(self, wanted: set[str], key: str = "id") -> set[str]:
        """Which of these the whole search lists; reads up to the last of them, and counts the listed messages."""
        found: set[str] = set()
        seen = 0
        for page in self._items_of(self._options.search) if wanted else ():
            seen += len(page)
            self.seen = max(self.seen, seen)
            found.update(item[key] for item in page if item[key] in wanted)
            if len(found) == len(wanted):
                return found
        if wanted:
            self.counted = seen
        return found

    def _listed(self, q: str | None, wanted: set[str], key: str = "id") -> set[str]:
        """Which of these (messages, or threads by `threadId`) the search lists; reads up to the last of them."""
        found: set[str] = set()
        for page in self._items_of(q) if wanted else ():
            found.update(item[key] for item in page if item[key] in wanted)
            if len(found) == len(wanted):
                break
        return found

    def _pages_of(self, q: str | None) -> Iterator[set[str]]:
        for page in self._items_of(q):
            yield {item["id"] for item in page}

    def _items_of(self, q: str | None) -> Iterator[list[dict[str, Any]]]:
        pages = self._api.list_messages(
            q=q,
            label_ids=self._options.label_ids,
            include_spam_trash=self._options.include_spam_trash,
            page_size=self._options.page_size,
        )
        yield from pages
