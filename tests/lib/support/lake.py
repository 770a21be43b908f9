"""Reads a lake as Gmail's JSON, and compares it with the emulator's mailbox."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from gmail_assets.delta.lake import DELETED_AT, MAILBOX, Lake
from gmail_client.emulator import Emulator
from gmail_client.schema import to_batch
from gmail_client.search import has_dates
from gmail_client.spec import SpecTable

__all__ = ["assert_lake_equals_mailbox", "assert_lake_holds", "stored_rows", "true_rows"]

Row = dict[str, Any]


def stored_rows(lake: Lake, name: str, address: str | None = None) -> list[Row]:
    """A table's visible rows, without the lake's own columns."""
    delta = lake.find(name)
    if delta is None:
        return []
    rows = delta.to_pyarrow_table().to_pylist()
    kept = [
        row for row in rows if row.get(DELETED_AT) is None and (address is None or row[MAILBOX] == address)
    ]
    return [{key: value for key, value in row.items() if key not in (MAILBOX, DELETED_AT)} for row in kept]


def true_rows(gmail: Emulator, spec: SpecTable, address: str | None = None) -> list[Row]:
    """The rows that the table must have, in the table's schema."""
    options = spec.options
    named: dict[str, Any] = {}
    if spec.source_table in ("messages", "threads"):
        named = {
            "q": options.q,
            "label_ids": options.label_ids,
            "include_spam_trash": options.include_spam_trash,
            "format": options.format,
        }
    rows = gmail.truth(spec.source_table, address, **named)
    if options.start_date is not None:
        # A thread has a row if one of its messages matches both the filters and the start date.
        entering = gmail.truth("messages", address, **named)
        keys = {
            message["id" if spec.source_table == "messages" else "threadId"]
            for message in entering
            if int(message["internalDate"]) >= options.start_date * 1000
        }
        rows = [row for row in rows if row["id"] in keys]
    if options.policy is not None:
        rows = list(_minimized(spec, rows))
    return list(pa.Table.from_batches([to_batch(spec.source_table, rows)]).to_pylist())


def _minimized(spec: SpecTable, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows after the minimization that the options ask for."""
    options, policy = spec.options, spec.options.policy
    assert policy is not None
    if spec.source_table not in ("messages", "threads"):
        yield from (row for row in (policy.row(spec.source_table, row) for row in rows) if row is not None)
        return
    for row in rows:
        members = row["messages"] if spec.source_table == "threads" else [row]
        visible = [member for member in members if options.is_visible(member.get("labelIds") or ())]
        left = [member for member in map(policy.message, visible) if member is not None]
        if spec.source_table == "messages":
            yield from left
        elif any(map(options.matches_labels, (member.get("labelIds") or () for member in left))):
            newest = max(left, key=lambda member: (int(member["internalDate"]), member["id"]))
            yield {**row, "messages": left, "snippet": newest.get("snippet")}


def comparable(value: Any, *, history: bool) -> Any:
    """A row without values that differ between reads: attachment ids, label order, and history ids unless `history`."""
    if isinstance(value, dict):
        return {
            key: (
                sorted(item or ())
                if key == "labelIds"
                else comparable(json.loads(item), history=history)
                if key == "partsJson" and item
                else comparable(item, history=history)
                if key != "messages"
                else sorted(
                    (comparable(member, history=history) for member in item or ()),
                    key=lambda member: member["id"],
                )
            )
            for key, item in value.items()
            if key != "attachmentId" and (history or key not in ("historyId", "historySequence"))
        }
    if isinstance(value, list):
        return [comparable(item, history=history) for item in value]
    return value


def assert_lake_equals_mailbox(
    lake: Lake,
    gmail: Emulator,
    specs: Iterable[SpecTable],
    address: str | None = None,
    *,
    history: bool = False,
) -> None:
    """Every table equals the mailbox, field by field.

    Args:
        history: Compare history ids too. They equal Gmail's right after a load; after a sync from history records
            they can be lower.
    """
    for spec in specs:
        key = {
            "forwarding_addresses": "forwardingEmail",
            "send_as": "sendAsEmail",
            "delegates": "delegateEmail",
        }.get(spec.source_table, "emailAddress" if spec.source_table in ("profile", "settings") else "id")
        rows = stored_rows(lake, spec.table_name, address)
        stored = {row[key]: row for row in rows}
        true = {row[key]: row for row in true_rows(gmail, spec, address)}
        assert stored.keys() == true.keys(), (
            f"{spec.source_table}: missing {sorted(true.keys() - stored.keys())[:5]}, "
            f"too many {sorted(stored.keys() - true.keys())[:5]}"
        )
        for name, row in true.items():
            # Most rows are equal as they are, and `comparable` is slow.
            assert stored[name] == row or comparable(stored[name], history=history) == comparable(
                row, history=history
            ), f"{spec.source_table} {name} differs"
        assert len(stored) == len(rows), f"{spec.source_table} has duplicates"


def assert_lake_holds(
    lake: Lake, gmail: Emulator, specs: Iterable[SpecTable], address: str | None = None
) -> None:
    """Messages and threads equal the mailbox, with any filters except searches with dates."""
    for spec in specs:
        assert not has_dates(spec.options.q)
        assert_lake_equals_mailbox(lake, gmail, [spec], address)
