"""The eight snapshot tables, which are read in full each time: labels, drafts, profile, settings and the others.

`read_snapshot` yields pages of rows as Gmail sends them. If a read fails half-way, it raises, and the caller keeps its
old rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gmail_client import unknown_fields
from gmail_client.api import GmailApi
from gmail_client.errors import ForbiddenError, NotFoundError, UnavailableError
from gmail_client.fetch import CHUNK_BYTES, CHUNK_MESSAGES
from gmail_client.http.calls import ApiResult
from gmail_client.options import TableOptions

__all__ = ["SETTINGS_PARTS", "read_snapshot"]

Row = dict[str, Any]
Warn = Callable[[str], None]

SETTINGS_PARTS = ("autoForwarding", "imap", "pop", "language", "vacation")
"""The parts of the row of `settings`, one call each."""

_LISTINGS = 5


def read_snapshot(
    api: GmailApi, table: str, options: TableOptions, warn: Warn = lambda text: None
) -> Iterator[list[Row]]:
    """Read one snapshot table.

    Args:
        api: The mailbox.
        table: Name of a snapshot table.
        options: For drafts: page size and format.
        warn: Called with warnings for the reader of the table, such as a part that this account may not read.

    Yields:
        Pages of rows, limited in rows and bytes.

    Raises:
        ForbiddenError: This account may not read the table.
        GmailError: The read can't be completed.
    """
    policy = options.policy
    if policy is not None:
        policy.check()
    for page in _pages(api, table, options, warn):
        yield (
            page
            if policy is None
            else [row for row in (policy.row(table, row) for row in page) if row is not None]
        )


def _pages(api: GmailApi, table: str, options: TableOptions, warn: Warn) -> Iterator[list[Row]]:
    if table == "drafts":
        yield from _drafts(api, options, warn)
    elif table == "labels":
        yield _labels(api, warn)
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


def _labels(api: GmailApi, warn: Warn) -> list[Row]:
    """labels.list has the ids, labels.get counts and colors.

    If a label is deleted between the two calls, the list is read again.
    """
    known: dict[str, Row] = {}
    for _ in range(_LISTINGS):
        listed = {label["id"]: label for label in api.labels()}
        vanished = False
        calls = (api.label_call(label_id) for label_id in listed if label_id not in known)
        for result in _some_served(api.get_many(calls)):
            if isinstance(result.error, NotFoundError):
                vanished = True
            else:
                known[result.call.key] = _row(result, listed[result.call.key], "labels", warn)
        if not vanished:
            return [known[label_id] for label_id in listed]
    raise UnavailableError(
        f"labels: in each of {_LISTINGS} reads, a listed label was deleted before it could be read.",
        fix="Try again when no labels are being deleted.",
        method="labels.get",
    )


def _drafts(api: GmailApi, options: TableOptions, warn: Warn) -> Iterator[list[Row]]:
    listed = {draft["id"]: draft for page in api.list_drafts(page_size=options.page_size) for draft in page}
    page: list[Row] = []
    size = 0
    for result in _some_served(api.get_many(api.draft_call(draft_id, options.format) for draft_id in listed)):
        if isinstance(result.error, NotFoundError):
            continue  # sent or discarded after it was listed
        page.append(_row(result, listed[result.call.key], "drafts", warn))
        size += result.size
        if len(page) >= CHUNK_MESSAGES or size >= CHUNK_BYTES:
            yield page
            page, size = [], 0
    yield page


def _some_served(results: Iterator[ApiResult]) -> Iterator[ApiResult]:
    """`results`, unless all items are forbidden: it is the account then that may not read them.

    Raises:
        ForbiddenError: Two items or more, and all are forbidden. Rows of the listed fields would replace stored ones.
    """
    forbidden: list[ForbiddenError] = []
    served = False
    for result in results:
        if isinstance(result.error, ForbiddenError):
            forbidden.append(result.error)
        else:
            served = True
        yield result
    if len(forbidden) > 1 and not served:
        raise forbidden[0]


def _row(result: ApiResult, listed: Row, table: str, warn: Warn) -> Row:
    """The item that was read; what the listing has of it, if this one item can't be read.

    Raises:
        UnavailableError: Gmail did not respond.
    """
    if result.json is not None:
        return result.json
    if isinstance(result.error, UnavailableError):
        raise result.error
    reason = result.error.what if result.error is not None else "no content"
    warn(f"{table}: only the listed fields of {result.call.key}, which Gmail refused: {reason}")
    return listed


def _settings(api: GmailApi, warn: Warn) -> Row:
    """The parts and the profile, which has the key of the row, in one request."""
    calls = [api.profile_call(), *map(api.settings_call, SETTINGS_PARTS)]
    profile, *parts = api.get_many(calls, ordered=True)
    row: Row = {"emailAddress": profile.resource().get("emailAddress")}
    unknown = []
    forbidden: list[ForbiddenError] = []
    for part in parts:
        name = part.call.key
        if isinstance(part.error, ForbiddenError):
            row[name] = None
            forbidden.append(part.error)
            warn(f"settings.{name} is empty: {part.error.what}")
        else:
            found = part.resource()
            unknown.append(unknown_fields.prefixed(found.get(unknown_fields.COLUMN), name))
            row[name] = {field: value for field, value in found.items() if field != unknown_fields.COLUMN}
    if len(forbidden) == len(SETTINGS_PARTS):
        raise forbidden[0]  # a row without settings would replace the stored one
    if text := unknown_fields.joined(unknown):
        row[unknown_fields.COLUMN] = text
    return row
