"""Which threads a table still has, from a listing if that costs less than reading each thread: `listed_if_cheaper`."""

from __future__ import annotations

from collections.abc import Collection

from gmail_client.api import GmailApi
from gmail_client.changes import list_thread_heads
from gmail_client.errors import NotFoundError
from gmail_client.options import TableOptions

__all__ = ["listed_if_cheaper"]


def listed_if_cheaper(api: GmailApi, options: TableOptions, threads: Collection[str]) -> set[str] | None:
    """Those of the threads that a listing with these options contains.

    Args:
        api: The mailbox.
        options: The filters of the listing, without `q`.
        threads: Thread ids.

    Returns:
        None if a `threads.get` for each thread costs less.

    Raises:
        GmailError: Gmail can't be asked.
    """
    price = api.plan.price
    budget = len(threads) * price("threads.get")
    if budget <= price("threads.list"):
        return None
    pages = _threads(api, options) // options.page_size + 1
    if pages * price("threads.list") >= budget:
        return None
    return set(threads).intersection(list_thread_heads(api, options))


def _threads(api: GmailApi, options: TableOptions) -> int:
    """About how many threads a listing has, for one unit."""
    if options.label_ids:
        try:
            return int(api.label(options.label_ids[0]).get("threadsTotal") or 0)
        except NotFoundError:  # messages can have labels that labels.get does not know
            pass
    return int(api.profile().get("threadsTotal") or 0)
