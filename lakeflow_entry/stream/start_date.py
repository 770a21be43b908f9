"""The rows that leave a table when its `startDate` moves forward: `rows_before`."""

from __future__ import annotations

from gmail_client.api import GmailApi
from gmail_client.options import TableOptions
from gmail_client.search import MARGIN, search_within

__all__ = ["rows_before"]


def rows_before(api: GmailApi, table: str, options: TableOptions, old: int, new: int) -> set[str]:
    """Ids of rows with a message between two dates, from a listing.

    Both dates are taken a day earlier, because it is not documented which date Gmail's search compares. So no message
    after the new date is listed, and what is left of the last day is listed when the date moves again.

    Args:
        api: The mailbox.
        table: `messages` or `threads`.
        options: The filters of the rows; their own `startDate` is not used.
        old: The `startDate` so far, in epoch seconds.
        new: The later one.

    Raises:
        GmailError: Gmail can't be asked.
    """
    pages = api.list_messages(
        q=search_within(options.q, max(old - MARGIN, 0), max(new - MARGIN, 0)),
        label_ids=options.label_ids,
        include_spam_trash=options.include_spam_trash,
        page_size=options.page_size,
    )
    key = "id" if table == "messages" else "threadId"
    return {item[key] for page in pages for item in page}
