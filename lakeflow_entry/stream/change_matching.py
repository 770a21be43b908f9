"""Matches changed messages and threads against a table's search at the lowest cost: `ChangeMatcher`.

A stream does not know the dates of stored rows. For new messages, the search is listed since the history was read last.
For others, the whole search is listed, or their dates are fetched and the search is listed around them, whichever costs
less.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gmail_client.api import GmailApi
from gmail_client.changes import MessageChange
from gmail_client.fetch import FetchRequest, fetch
from gmail_client.options import TableOptions
from gmail_client.search_matching import SearchMatcher

__all__ = ["ChangeMatcher", "Matches", "new_threads"]

_log = logging.getLogger(__name__)

_MOST_DATES = 100_000
"""Dates that are kept in memory, for the other flow and for later batches."""


class Matches(NamedTuple):
    """The result of a match.

    Attributes:
        found: The messages or threads that match.
        rows: About how many messages the search lists now; None if unknown.
    """

    found: set[str]
    rows: int | None


class ChangeMatcher:
    """Matches the changes of one mailbox. The change flow and the delete flow of a process share it.

    Args:
        api: The mailbox.
    """

    def __init__(self, api: GmailApi) -> None:
        self._api = api
        self._dates: dict[str, int] = {}

    def messages(
        self,
        changes: Mapping[str, MessageChange],
        options: TableOptions,
        wanted: set[str],
        *,
        since: int | None,
        rows: int | None,
    ) -> Matches:
        """Which messages match the search; all of them if there is none.

        Args:
            changes: The changes by message id.
            options: The table's options.
            wanted: Ids of the messages to match.
            since: Epoch seconds after which the messages arrived that `changes` says arrived; None if unknown.
            rows: About how many messages the search lists; None if unknown.

        Raises:
            GmailError: A request failed.
        """
        if options.search is None or not wanted:
            return Matches(wanted, rows)
        arrived = {message_id for message_id in wanted if changes[message_id].arrived}
        matcher = SearchMatcher(self._api, options, rows or 0)
        result = matcher.match_unstored(arrived, wanted - arrived, since)
        found = result.matching
        if result.undecided:
            threads: dict[str, list[str]] = {}
            for message_id in sorted(result.undecided):
                threads.setdefault(changes[message_id].thread_id, []).append(message_id)
            dates = self._dates_in(
                [FetchRequest(t, tuple(ids), partly_stored=True) for t, ids in threads.items()], options
            )
            known = {m: at for by_id in dates.values() for m, at in by_id.items()}
            undated = {m for m in result.undecided & known.keys() if known[m] <= 0}
            dated = {
                m: known[m]
                for m in (result.undecided & known.keys()) - undated
                if options.matches_date(known[m])
            }
            found = found | undated | matcher.matching_now(dated)
        left = len(wanted - arrived - found)
        return Matches(found, _rows_after(matcher, rows, len(found & arrived) - left))

    def threads(
        self,
        changes: Mapping[str, MessageChange],
        options: TableOptions,
        wanted: set[str],
        *,
        since: int | None,
        rows: int | None,
    ) -> Matches:
        """Which threads have a message that matches the search; the arguments are as for `messages`."""
        if options.search is None or not wanted:
            return Matches(wanted, rows)
        matcher = SearchMatcher(self._api, options, rows or 0)
        grown = {change.thread_id for change in changes.values() if change.arrived} & wanted
        found: set[str] = set()
        rejected: set[str] = set()
        if grown and since is not None and matcher.pages > 2:
            found = matcher.threads_since(grown, since)
            rejected = _listed_in_vain(matcher, changes, grown - found, since)
        rest = wanted - found - rejected
        price = self._api.plan.price
        single = price("threads.get") + price("messages.list")
        # threads.get may leave out what is in the trash or in spam.
        if not options.include_spam_trash and len(rest) * single < matcher.pages * price("messages.list"):
            dates = self._dates_in([FetchRequest(t, whole=True) for t in sorted(rest)], options)
            groups = {
                thread_id: {m: at for m, at in by_id.items() if at <= 0 or options.matches_date(at)}
                for thread_id, by_id in dates.items()
            }
            matching = matcher.some_matching_now(groups)
            found = found | {t for t, by_id in groups.items() if not matching.isdisjoint(by_id)}
        else:
            found = found | matcher.listed_threads(rest)
        return Matches(found, _rows_after(matcher, rows, len(found & grown) - len(wanted - grown - found)))

    def _dates_in(self, requests: Iterable[FetchRequest], options: TableOptions) -> dict[str, dict[str, int]]:
        """Dates (epoch milliseconds) of messages, by thread; 0 if unknown; without deleted messages.

        Raises:
            GmailError: A message can't be read. With `skip_refused` its date is 0.
        """
        found: dict[str, dict[str, int]] = {}
        missing = []
        for request in requests:
            known = {m: self._dates[m] for m in request.message_ids if m in self._dates}
            found[request.thread_id] = known
            if request.whole or len(known) < len(request.message_ids):
                missing.append(request)
        if len(self._dates) > _MOST_DATES:
            self._dates.clear()
        for fetched in fetch(self._api, missing, "minimal") if missing else ():
            for message in fetched.messages:
                if options.is_visible(message.get("labelIds") or ()):
                    at = int(message.get("internalDate") or 0)
                    found[fetched.thread_id][message["id"]] = self._dates[message["id"]] = at
            for one, error in fetched.failed.items():
                if not options.skip_refused:
                    raise error
                _log.warning("The date of %s is refused, so it counts as matching: %s", one, error.what)
                found[fetched.thread_id][one] = 0
        return found


def new_threads(changes: Mapping[str, MessageChange], threads: Iterable[str]) -> set[str]:
    """Those of these threads that began in the changes.

    A thread has the id of its first message. If this message arrived in the changes, all messages of the thread did. A
    thread to which Gmail gives another id is not among them.
    """
    return {thread_id for thread_id in threads if thread_id in changes and changes[thread_id].arrived}


def _listed_in_vain(
    matcher: SearchMatcher, changes: Mapping[str, MessageChange], threads: set[str], since: int
) -> set[str]:
    """Those of these threads that are new and whose messages are all listed, but not by the search."""
    begun = new_threads(changes, threads)
    arrived = {
        m: change.thread_id
        for m, change in changes.items()
        if change.thread_id in begun and not change.deleted
    }
    listed = matcher.listed_since(arrived.keys(), since) if arrived else set()
    return begun - {thread_id for m, thread_id in arrived.items() if m not in listed}


def _rows_after(matcher: SearchMatcher, rows: int | None, change: int) -> int | None:
    """About how many messages the search lists after a batch; rather too few, because a listing then corrects it."""
    if matcher.counted is not None:
        return matcher.counted
    known = max(rows or 0, matcher.seen)
    return max(known + change, matcher.seen, 0) if rows is not None or matcher.seen else None
