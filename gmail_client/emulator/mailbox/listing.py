"""Listings page by page: `list_page` for anything in order, and the opaque page tokens.

A token remembers a place in the order, not a result: the next page starts there in the mailbox as it is
then, so a listing costs one pass over the mailbox however many pages it has, and nothing is kept for it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gmail_client.emulator.api.errors import bad_argument
from gmail_client.emulator.behavior import Behavior
from gmail_client.emulator.mailbox.message_store import MessageStore, StoredMessage, StoredThread
from gmail_client.emulator.mailbox.search import Query, compile_query

__all__ = [
    "MAX_RESULTS",
    "ListingFilter",
    "ListingPage",
    "list_page",
    "page_size",
    "read_token",
    "write_token",
]

MAX_RESULTS = 500
_ESTIMATE = 201
_MOST_TESTED = 10_000

T = TypeVar("T", StoredMessage, StoredThread)


@dataclass(frozen=True, slots=True)
class ListingPage(Generic[T]):
    """A page: its items, the token of the next one if there is one, and Gmail's rough estimate."""

    items: list[T]
    next_token: str | None
    estimate: int


class ListingFilter:
    """Which messages a listing wants: by query, by labels (all of them), without spam and trash or with.

    Args:
        q: The query, or None.
        label_ids: Labels that a message must all have.
        include_spam_trash: Whether spam and trash count.
        labels: Label ids by name, for the query.
        me: The user's own addresses, for `from:me` and `to:me`.
        now: The present, for the query's relative dates.
        behavior: Behaviour that Gmail leaves open.
    """

    def __init__(
        self,
        q: str | None,
        label_ids: tuple[str, ...],
        include_spam_trash: bool,
        *,
        labels: dict[str, str],
        me: Collection[str],
        now: Callable[[], float],
        behavior: Behavior,
    ) -> None:
        self._query: Query | None = (
            compile_query(q, now=now, labels=labels, me=me) if q and q.strip() else None
        )
        self._label_ids = label_ids
        self._tested = 0
        self._hidden = (
            include_spam_trash
            or (self._query is not None and self._query.reaches_spam_trash)
            or (behavior.label_ids_reach_spam_trash and not {"SPAM", "TRASH"}.isdisjoint(label_ids))
        )

    def message(self, message: StoredMessage) -> bool:
        """Whether this message is wanted."""
        labels = message.label_ids
        if not self._hidden and ("TRASH" in labels or "SPAM" in labels):
            return False
        for label_id in self._label_ids:
            if label_id not in labels:
                return False
        if self._query is None:
            return True
        self._tested += 1
        return self._query(message)

    @property
    def tired(self) -> bool:
        """Whether so many messages were read for the query that the page should end, full or not."""
        return self._tested >= _MOST_TESTED

    def thread(self, thread: StoredThread) -> bool:
        """Whether one of the thread's messages is wanted."""
        return any(self.message(member) for member in thread.members)


def page_size(text: int, behavior: Behavior) -> int:
    """How many items a page holds for this maxResults.

    Raises:
        ApiError: 400 above 500, where behavior says so.
    """
    if text > MAX_RESULTS and behavior.max_results_above == "refuse":
        raise bad_argument(f"Invalid maxResults: {text}")
    return min(text, MAX_RESULTS) or 100


def list_page(
    store: MessageStore,
    run: Callable[[tuple[int, str] | None], Iterator[T]],
    wanted: Callable[[T], bool],
    *,
    size: int,
    token: str | None,
    kind: str,
    empty_every: int = 0,
    tired: Callable[[], bool] = lambda: False,
) -> ListingPage[T]:
    """One page of a listing.

    Args:
        store: Whose order it is.
        run: Gives the items from a place in the order on.
        wanted: Which of them belong to the listing.
        size: Items per page.
        token: The page token, None for the first page.
        kind: Name of the listing, which its tokens carry.
        empty_every: Every so many pages one is empty but for a token; 0 for never.
        tired: Says when a page has taken enough work and ends early, with a token.

    Raises:
        ApiError: 400 for a token that is not of this listing.
    """
    start: tuple[int, str] | None = None
    number = 1
    if token:
        at, item_id, number = read_token(token, kind, (int, str, int))
        start = (at, item_id)
    if start is not None and empty_every and number % empty_every == 0:
        return ListingPage([], write_token(kind, *start, number + 1), _ESTIMATE)
    items: list[T] = []
    for item in run(start):
        if tired():
            return ListingPage(items, write_token(kind, *store.key_of(item), number + 1), _ESTIMATE)
        if wanted(item):
            if len(items) == size:
                return ListingPage(items, write_token(kind, *store.key_of(item), number + 1), _ESTIMATE)
            items.append(item)
    return ListingPage(items, None, len(items))


def write_token(kind: str, *place: int | str) -> str:
    """An opaque page token."""
    text = json.dumps([kind, *place], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text[::-1]).decode().rstrip("=")


def read_token(token: str, kind: str, types: tuple[type, ...]) -> list[Any]:
    """What `write_token` was given, if it was of these types.

    Raises:
        ApiError: 400 when it is none of this kind.
    """
    try:
        place = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[::-1])
    except (ValueError, binascii.Error):
        place = None
    if not isinstance(place, list) or place[:1] != [kind] or [type(one) for one in place[1:]] != list(types):
        raise bad_argument("Invalid pageToken")
    return place[1:]
