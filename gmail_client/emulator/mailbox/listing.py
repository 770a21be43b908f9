"""Listings page by page: `ListingFilter`, `list_page`, and the opaque page tokens.

A page token is a position in the order of the listing, not a stored result: the next page starts there in the mailbox
as it is then. So a listing needs one pass over the mailbox for any number of pages, and no stored state.
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
from gmail_client.emulator.mailbox.labels import SPAM_TRASH
from gmail_client.emulator.mailbox.message_store import SortKey, StoredMessage, StoredThread
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
    """A page: its items, the token of the next page if there is one, and Gmail's rough estimate."""

    items: list[T]
    next_token: str | None
    estimate: int


class ListingFilter:
    """Which messages a listing returns: by query, by labels, with or without spam and trash.

    Args:
        q: The query, or None.
        label_ids: Labels that a message must all have.
        include_spam_trash: Whether messages in spam and trash match.
        labels: Label ids by name, for the query.
        me: The user's own addresses, for `from:me` and `to:me`.
        now: The current time, for relative dates in the query.
        behavior: Undocumented behavior.
    """

    def __init__(
        self,
        q: str | None,
        label_ids: Collection[str],
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
        self._label_ids = tuple(label_ids)
        self._tested = 0
        self._with_spam_trash = (
            include_spam_trash
            or (self._query is not None and self._query.reaches_spam_trash)
            or (behavior.label_ids_reach_spam_trash and not SPAM_TRASH.isdisjoint(label_ids))
        )

    def message(self, message: StoredMessage) -> bool:
        """Whether the message matches."""
        labels = message.label_ids
        if not self._with_spam_trash and not SPAM_TRASH.isdisjoint(labels):
            return False
        for label_id in self._label_ids:
            if label_id not in labels:
                return False
        if self._query is None:
            return True
        self._tested += 1
        return self._query(message)

    def thread(self, thread: StoredThread) -> bool:
        """Whether one of the thread's messages matches."""
        return any(self.message(member) for member in thread.members)

    @property
    def is_exhausted(self) -> bool:
        """Whether the query has read so many messages that the page should end, even if it is not full."""
        return self._tested >= _MOST_TESTED


def page_size(max_results: int, behavior: Behavior) -> int:
    """How many items a page has for this maxResults.

    Raises:
        ApiError: 400 above 500, depending on `behavior`.
    """
    if max_results > MAX_RESULTS and behavior.max_results_above == "refuse":
        raise bad_argument(f"Invalid maxResults: {max_results}")
    return min(max_results, MAX_RESULTS) or 100


def list_page(
    source: Callable[[SortKey | None], Iterator[T]],
    matches: Callable[[T], bool],
    *,
    key_of: Callable[[T], SortKey],
    size: int,
    token: str | None,
    kind: str,
    empty_every: int = 0,
    is_exhausted: Callable[[], bool] = lambda: False,
) -> ListingPage[T]:
    """One page of a listing.

    Args:
        source: The items from a position on.
        matches: Whether an item belongs to the listing.
        key_of: The position of an item.
        size: Items per page.
        token: The page token, None for the first page.
        kind: Name of the listing; its tokens are valid for it only.
        empty_every: Every n-th page is empty but for a token; 0 for never.
        is_exhausted: Whether the page should end early, with a token.

    Raises:
        ApiError: 400 for a token of another listing.
    """
    start: SortKey | None = None
    number = 1
    if token:
        at, item_id, number = read_token(token, kind, (int, str, int))
        start = (at, item_id)
    if start is not None and empty_every and number % empty_every == 0:
        return ListingPage([], write_token(kind, *start, number + 1), _ESTIMATE)
    items: list[T] = []
    for item in source(start):
        is_full = is_exhausted()
        if not is_full:
            if not matches(item):
                continue
            is_full = len(items) == size
        if is_full:
            return ListingPage(items, write_token(kind, *key_of(item), number + 1), _ESTIMATE)
        items.append(item)
    return ListingPage(items, None, len(items))


def write_token(kind: str, *position: int | str) -> str:
    """An opaque page token."""
    text = json.dumps([kind, *position], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text[::-1]).decode().rstrip("=")


def read_token(token: str, kind: str, types: tuple[type, ...]) -> list[Any]:
    """The values of a token, if it is of this kind and the values have these types.

    Raises:
        ApiError: 400 otherwise.
    """
    try:
        position = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[::-1])
    except (ValueError, binascii.Error):
        position = None
    if (
        not isinstance(position, list)
        or position[:1] != [kind]
        or [type(one) for one in position[1:]] != list(types)
    ):
        raise bad_argument("Invalid pageToken")
    return position[1:]
