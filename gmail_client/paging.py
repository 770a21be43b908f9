"""Reads all pages of a listing, and detects a listing that does not end: `pages_of`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from gmail_client.errors import UnavailableError

__all__ = ["pages_of"]

MAX_EMPTY_PAGES = 200
"""Empty pages in a row that a listing may have. Gmail sends some when few items of a large mailbox match."""

MAX_REPEATED_PAGES = 10
"""Pages in a row that may have only items that were listed before. Items move between pages while they are read."""

Document = dict[str, Any]


def pages_of(
    get: Callable[[str | None], Document],
    *,
    method: str,
    key: str,
    page_token: str | None = None,
    identity: Callable[[Document], Hashable] = itemgetter("id"),
) -> Iterator[Document]:
    """The responses of a listing, page by page.

    Args:
        get: Requests the page of a token; of None, the first page.
        method: The method, for the error.
        key: The field with the page's items.
        page_token: Token of the page to start with.
        identity: Returns the identity of an item.

    Raises:
        UnavailableError: The listing does not end: a page token is repeated, or pages have no new items.
    """
    progress = _Progress(identity)
    tokens: set[str] = set()
    while True:
        document = get(page_token)
        page_token = document.get("nextPageToken")
        progress.note(document.get(key, ()))
        if page_token is not None and (page_token in tokens or progress.stalled):
            raise UnavailableError(
                f"{method}: the listing does not end (a repeated page token, or pages without new items).",
                fix="Try again later; if it persists, check the proxy and GMAIL_API_ROOT.",
                method=method,
            )
        yield document
        if page_token is None:
            return
        tokens.add(page_token)


class _Progress:
    """Tracks whether pages have items that no earlier page had."""

    def __init__(self, identity: Callable[[Document], Hashable]) -> None:
        self._identity = identity
        self._seen: set[Hashable] = set()
        self._empty = 0
        self._repeated = 0

    def note(self, items: Sequence[Document]) -> None:
        known = len(self._seen)
        self._seen.update(map(self._identity, items))
        if len(self._seen) > known:
            self._empty = self._repeated = 0
        elif items:
            self._repeated += 1
        else:
            self._empty += 1

    @property
    def stalled(self) -> bool:
        return self._empty > MAX_EMPTY_PAGES or self._repeated > MAX_REPEATED_PAGES
