"""The eight tables that are read whole each time: labels, drafts, profile, settings and the rest.

`read_snapshot` yields pages of rows as Gmail sends them. A read that fails half-way raises: the caller replaces
nothing then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gmail_client.api import GmailApi
from gmail_client.errors import ForbiddenError, NotFoundError, UnavailableError
from gmail_client.fetch import CHUNK_BYTES, CHUNK_MESSAGES
from gmail_client.options import TableOptions

__all__ = ["SETTINGS_PARTS", "read_snapshot"]

Row = dict[str, Any]
Warn = Callable[[str], None]

SETTINGS_PARTS = ("autoForwarding", "imap", "pop", "language", "vacation")
"""The parts that make the row of `settings`, a call each."""

_LISTINGS = 5


def read_snapshot(
    api: GmailApi, table: str, options: TableOptions, warn: Warn = lambda text: None
) -> Iterator[list[Row]]:
    """Read one snapshot table.

    Args:
        api: The mailbox.
        table: A table that is no change table.
        options: Page size and format, for drafts.
        warn: Told what a reader of the table should know (a part that this account may not read).

    Yields:
        Pages of rows, bounded in rows and bytes.

    Raises:
        ForbiddenError: This account may not read the table at all.
        GmailError: The read can't be completed.
    """
    if table == "drafts":
        yield from _drafts(api, options)
    elif table == "labels":
        yield _labels(api)
    elif table == "profile":
        yield [api.profile()]
    elif table == "settings":
        yield [_settings(api, warn)]
    elif table == "filters":
        yield api.filters()
    elif table == "forwarding_addresses":
        yield api.forwarding_addresses()
    elif table == "send_as":
        yield api.send_as()
    elif table == "delegates":
        yield api.delegates()
    else:
        raise KeyError(table)


def _labels(api: GmailApi) -> list[Row]:
    """labels.list names the labels, labels.get tells counts and colours.

    A label that is deleted between the two is refused; then the list is read again.
    """
    known: dict[str, Row] = {}
    for _ in range(_LISTINGS):
        listed = [label["id"] for label in api.labels()]
        vanished = False
        for answer in api.get_many(api.label_call(label_id) for label_id in listed if label_id not in known):
            if isinstance(answer.error, NotFoundError):
                vanished = True
            elif answer.error is not None:
                raise answer.error
            elif answer.json is not None:
                known[answer.call.key] = answer.json
        if not vanished:
            return [known[label_id] for label_id in listed]
    raise UnavailableError(
        f"labels: in {_LISTINGS} readings each time a listed label was gone when it was asked for.",
        fix="Try again when labels are not being deleted.",
        method="labels.get",
    )


def _drafts(api: GmailApi, options: TableOptions) -> Iterator[list[Row]]:
    ids = [draft["id"] for page in api.list_drafts(page_size=options.page_size) for draft in page]
    page: list[Row] = []
    size = 0
    for answer in api.get_many(api.draft_call(draft_id, options.format) for draft_id in ids):
        if isinstance(answer.error, NotFoundError):
            continue  # sent or discarded since it was listed
        if answer.error is not None:
            raise answer.error
        if answer.json is not None:
            page.append(answer.json)
            size += answer.size
        if len(page) >= CHUNK_MESSAGES or size >= CHUNK_BYTES:
            yield page
            page, size = [], 0
    yield page


def _settings(api: GmailApi, warn: Warn) -> Row:
    row: Row = {"emailAddress": api.profile().get("emailAddress")}
    for part in SETTINGS_PARTS:
        try:
            row[part] = api.settings_part(part)
        except ForbiddenError as error:
            row[part] = None
            warn(f"settings.{part} is empty: {error.what}")
    return row
