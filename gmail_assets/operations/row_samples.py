"""A random sample of rows, each compared field by field with a new read: `sample_messages`, `sample_threads`."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gmail_assets.delta.lake import DELETED_AT, MAILBOX
from gmail_assets.delta.partition_status import PartitionStatus
from gmail_client.api import GmailApi
from gmail_client.errors import GmailError, NotFoundError, RequestError
from gmail_client.options import TableOptions
from gmail_client.schema import to_batch
from gmail_client.unknown_fields import COLUMN

__all__ = ["SampledRow", "sample_messages", "sample_threads"]

Row = dict[str, Any]

_UNSTABLE = {"historyId", "historySequence", MAILBOX, DELETED_AT, COLUMN}
"""Fields that can differ between two reads (Gmail may get new fields meanwhile), or that Gmail does not have."""


@dataclass(frozen=True, slots=True)
class SampledRow:
    """A stored row and its current state in Gmail.

    Attributes:
        table: `messages` or `threads`.
        id: The row's key.
        ours: The stored row.
        theirs: The row in Gmail; None if it does not exist or Gmail refused it.
        absent: Why Gmail has none, in words; empty when it has one.
        error: Why Gmail refused it.
    """

    table: str
    id: str
    ours: Row
    theirs: Row | None = None
    absent: str = ""
    error: GmailError | None = None

    def differing(self) -> list[str]:
        """The fields that differ.

        The messages of a thread are compared one by one. The set of messages is not compared here, because threads.get
        may omit some; a listing has all of them.
        """
        if self.theirs is None:
            return []
        if self.table == "messages":
            return list(_differing(self.ours, self.theirs))
        ours = {message["id"]: message for message in self.ours["messages"]}
        found: dict[str, None] = {}
        for message in self.theirs["messages"]:
            if mine := ours.get(message["id"]):
                found.update((f"messages.{name}", None) for name in _differing(mine, message))
        return list(found)


def sample_messages(
    api: GmailApi, status: PartitionStatus, ids: Iterable[str], count: int, chance: random.Random
) -> Iterator[SampledRow]:
    """Read some messages again.

    Args:
        api: The mailbox.
        status: The partition of `messages`.
        ids: Its keys.
        count: How many of them are read.
        chance: Chooses them.
    """
    rows = _chosen(status, ids, count, chance)
    policy = status.spec.options.policy
    calls = [api.message_call(item, status.spec.options.format) for item in rows]
    for answer in api.get_many(calls):
        ours = rows[answer.call.key]
        if answer.json is None:
            yield _unanswered("messages", ours, answer.error)
            continue
        resource = answer.json if policy is None else policy.message(answer.json)
        if resource is None:
            yield SampledRow("messages", answer.call.key, ours, absent="its options exclude it")
        else:
            theirs = to_batch("messages", [resource]).to_pylist()[0]
            yield SampledRow("messages", answer.call.key, ours, theirs)


def sample_threads(
    api: GmailApi, status: PartitionStatus, ids: Iterable[str], count: int, chance: random.Random
) -> Iterator[SampledRow]:
    """Read some threads again; see `sample_messages`."""
    rows = _chosen(status, ids, count, chance)
    options = status.spec.options
    calls = [api.thread_call(item, options.format) for item in rows]
    for answer in api.get_many(calls):
        ours = rows[answer.call.key]
        if answer.json is None:
            yield _unanswered("threads", ours, answer.error)
            continue
        theirs = to_batch("threads", [_visible_thread(answer.json, options)]).to_pylist()[0]
        yield SampledRow("threads", answer.call.key, ours, theirs)


def _visible_thread(thread: Row, options: TableOptions) -> Row:
    """A thread in the form of its row: visible messages, minimized according to the options."""
    messages = [m for m in thread.get("messages") or () if options.is_visible(m.get("labelIds") or ())]
    policy = options.policy
    if policy is None:
        return {**thread, "messages": messages}
    messages = [left for left in map(policy.message, messages) if left is not None]
    newest: Row = max(messages, key=lambda message: int(message.get("internalDate") or 0), default={})
    return {**thread, "messages": messages, "snippet": newest.get("snippet")}


def _chosen(
    status: PartitionStatus, ids: Iterable[str], count: int, chance: random.Random
) -> Mapping[str, Row]:
    ordered = sorted(ids)
    chosen = chance.sample(ordered, min(count, len(ordered)))
    return {row["id"]: row for row in status.partition.rows(chosen).to_pylist()}


def _unanswered(table: str, ours: Row, error: GmailError | None) -> SampledRow:
    if isinstance(error, NotFoundError):
        return SampledRow(table, ours["id"], ours, absent="Gmail has no such id")
    if isinstance(error, RequestError):
        return SampledRow(table, ours["id"], ours, absent="Gmail calls its id invalid")
    return SampledRow(table, ours["id"], ours, error=error)


def _differing(ours: Row, theirs: Row) -> Iterator[str]:
    for name in theirs.keys() - _UNSTABLE:
        if _comparable(name, ours.get(name)) != _comparable(name, theirs[name]):
            yield name


def _comparable(name: str, value: Any) -> Any:
    """A value without what differs between two reads: the order of labels, and attachment ids."""
    if name == "labelIds":
        return Counter(value or ())
    if name == "partsJson" and isinstance(value, str):
        return _comparable("", json.loads(value))
    if isinstance(value, dict):
        return {key: _comparable(key, item) for key, item in value.items() if key != "attachmentId"}
    if isinstance(value, list):
        return [_comparable("", item) for item in value]
    return value
