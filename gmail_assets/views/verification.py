"""Compares derived tables with `messages` and `labels`: by counts, by columns, and row by row in a sample."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import QueryBuilder

from gmail_assets.delta.derived_state import forget_sources, is_computed_alike
from gmail_assets.delta.lake import MAILBOX, Lake
from gmail_assets.delta.scan import as_schema, read_columns
from gmail_assets.views.source import MessageSource, ViewSources, read_labels
from gmail_client.sql import literal
from gmail_client.views import VIEWS, Labels, attachment_rows, email_row, to_table
from gmail_client.views.differences import (
    attachments_to_replace,
    email_differences,
    label_differences,
    label_rows,
)

__all__ = ["ViewCounts", "ViewVerdict", "compare_next_time", "count_views", "verify_views"]

Row = dict[str, Any]

_EMAIL_COLUMNS = ("message_id", "label_ids", "label_names", "history_id", "is_bulk", "attachment_count")
_COUNTED = {"emails": ("attachment_count",), "message_labels": (), "attachments": ()}
_MOST_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class ViewCounts:
    """Rows of a derived table: stored, stored under a key that another row has too, and expected."""

    rows: int
    doubled: int
    expected: int


@dataclass(slots=True)
class ViewVerdict:
    """Differences of a derived table.

    Attributes:
        rows: Rows stored.
        outdated: Rows that are missing, surplus, or have other labels than `messages` and `labels`.
        sampled: Messages whose rows were computed again and compared.
        differing: Rows of those that differ.
        examples: Message ids of some outdated or differing rows.
    """

    rows: int = 0
    outdated: int = 0
    sampled: int = 0
    differing: int = 0
    examples: list[str] = field(default_factory=list)

    def note(self, message_ids: Iterable[str]) -> None:
        """Keep some ids as examples."""
        self.examples += sorted(set(message_ids))[: _MOST_EXAMPLES - len(self.examples)]


class _Stored:
    """The derived tables' small columns, and the sources."""

    def __init__(self, lake: Lake, address: str, sources: ViewSources) -> None:
        self.lake, self.address, self.sources = lake, address, sources
        self._messages = sources.open_messages(lake)
        self.source = MessageSource(self._messages, address)
        self.labels: Labels = read_labels(sources.open_labels(lake), address)
        self.states = self.source.states()

    def has_to_be_recomputed(self, name: str) -> bool:
        """Whether the next run computes every row of a derived table again."""
        in_lake = self.sources.names[name]
        if self.lake.opened(in_lake) is None:
            return False
        view = self.lake.view(VIEWS[name], name=in_lake)
        return not is_computed_alike(view, self._messages, self.address)

    def columns(self, name: str, columns: Iterable[str]) -> pa.Table:
        """Columns of a derived table; no rows if it does not exist yet."""
        schema = VIEWS[name].columns(columns)
        in_lake = self.sources.names[name]
        if self.lake.opened(in_lake) is None:
            return schema.empty_table()
        return read_columns(self.lake.view(VIEWS[name], name=in_lake), self.address, schema.names, schema)


def count_views(lake: Lake, address: str, sources: ViewSources, messages: pa.Table) -> dict[str, ViewCounts]:
    """Count the rows of every derived table in use; tables that do not exist yet are left out.

    Args:
        lake: The lake.
        address: The mailbox's real address.
        sources: The tables that they are computed from.
        messages: `id` and `labelIds` of the stored messages.

    Raises:
        LakeError: A table can't be read.
    """
    attachments = 0
    counts = {}
    for name, view in VIEWS.items():  # emails before attachments
        found = lake.opened(sources.names[name]) if name in sources.names else None
        if found is None:
            continue
        schema = view.columns([*view.primary_key, *_COUNTED[name]])
        table = lake.view(view, name=sources.names[name], found=found)
        rows = read_columns(table, address, schema.names, schema)
        if name == "emails":
            expected = messages.num_rows
            attachments = pc.sum(rows["attachment_count"]).as_py() or 0
        elif name == "message_labels":
            listed = messages.select(["id", "labelIds"]).rename_columns(["id", "label_ids"])
            expected = label_rows(listed, {}).num_rows
        else:
            expected = attachments
        distinct = rows.group_by(list(view.primary_key)).aggregate([]).num_rows
        counts[name] = ViewCounts(rows.num_rows, rows.num_rows - distinct, expected)
    return counts


def compare_next_time(lake: Lake, address: str, sources: ViewSources) -> None:
    """Let the next run compare all rows of the derived tables, also if they are recorded as up to date.

    Raises:
        LakeError: A table can't be read or written.
    """
    for name, in_lake in sources.names.items():
        found = lake.opened(in_lake)
        if found is not None:
            table = lake.view(VIEWS[name], name=in_lake, found=found)
            forget_sources(table, address, VIEWS[name].primary_key)


def verify_views(
    lake: Lake, address: str, sources: ViewSources, *, sample: int, rng: random.Random
) -> dict[str, ViewVerdict]:
    """Compare every derived table in use with `messages` and `labels`.

    Args:
        lake: The lake.
        address: The mailbox's real address.
        sources: The tables that they are computed from.
        sample: Messages whose rows are computed again and compared in full.
        rng: Chooses the sample.

    Raises:
        LakeError: A table can't be read.
    """
    verdicts = {name: ViewVerdict() for name in sources.names}
    if lake.opened(sources.messages.table_name) is None:
        return verdicts
    stored = _Stored(lake, address, sources)
    outdated: set[str] = set()
    if "emails" in verdicts:
        outdated |= _verify_emails(stored, verdicts["emails"])
    if "message_labels" in verdicts:
        _verify_labels(stored, verdicts["message_labels"])
    if "attachments" in verdicts:
        outdated |= _verify_attachments(stored, verdicts["attachments"])
    # An outdated row is not a difference: the next run computes it.
    ids = sorted(set(stored.states["id"].to_pylist()) - outdated)
    chosen = rng.sample(ids, min(sample, len(ids)))
    messages = [m for batch in stored.source.contents(frozenset(chosen)) for m in batch]
    for name, verdict in verdicts.items():
        if name != "message_labels":  # compared completely
            _compare(stored, name, messages, verdict)
    return verdicts


def _verify_emails(stored: _Stored, verdict: ViewVerdict) -> set[str]:
    """Count outdated rows; returns the ids of their messages."""
    emails = stored.columns("emails", _EMAIL_COLUMNS)
    recompute = stored.has_to_be_recomputed("emails")
    found = email_differences(stored.states, emails, stored.labels, recompute=recompute)
    wrong = [
        *found.new.to_pylist(),
        *found.changed.to_pylist(),
        *found.relabelled["message_id"].to_pylist(),
        *found.removed["message_id"].to_pylist(),
    ]
    verdict.rows, verdict.outdated = emails.num_rows, len(wrong)
    verdict.note(wrong)
    return set(wrong)


def _verify_labels(stored: _Stored, verdict: ViewVerdict) -> None:
    rows = stored.columns("message_labels", VIEWS["message_labels"].schema.names)
    found = label_differences(label_rows(stored.states, stored.labels), rows)
    parts = (found.added, found.changed, found.removed)
    verdict.rows, verdict.outdated = rows.num_rows, sum(part.num_rows for part in parts)
    for part in parts:
        verdict.note(part["message_id"].to_pylist())


def _verify_attachments(stored: _Stored, verdict: ViewVerdict) -> set[str]:
    """Count outdated rows; returns the ids of their messages."""
    keys = stored.columns("attachments", VIEWS["attachments"].primary_key)
    emails = stored.columns("emails", ["message_id", "attachment_count"])
    replace, gone = attachments_to_replace(emails, keys)
    if stored.has_to_be_recomputed("attachments"):
        replace = emails.filter(pc.greater(emails["attachment_count"], 0))["message_id"]
    verdict.rows, verdict.outdated = keys.num_rows, len(replace) + gone.num_rows
    outdated = [*replace.to_pylist(), *gone["message_id"].to_pylist()]
    verdict.note(outdated)
    return set(outdated)


def _compare(stored: _Stored, name: str, messages: list[Row], verdict: ViewVerdict) -> None:
    if name == "emails":
        computed = [email_row(message, stored.labels) for message in messages]
    else:
        computed = [row for message in messages for row in attachment_rows(message)]
    ours = _by_key(name, _rows_of(stored, name, [message["id"] for message in messages]))
    theirs = _by_key(name, to_table(name, computed))
    differing = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
    verdict.sampled, verdict.differing = len(messages), len(differing)
    verdict.note(str(key[0]) for key in differing)


def _rows_of(stored: _Stored, name: str, message_ids: list[str]) -> pa.Table:
    schema = VIEWS[name].schema
    delta = stored.lake.find(stored.sources.names[name])
    if delta is None or not message_ids:
        return schema.empty_table()
    listed = ",".join(map(literal, message_ids))
    where = f"{MAILBOX} = {literal(stored.address)} AND message_id IN ({listed})"
    found = QueryBuilder().register("t", delta).execute(f"SELECT * FROM t WHERE {where}")  # noqa: S608 - quoted
    return as_schema(pa.table(found), schema)


def _by_key(name: str, rows: pa.Table) -> dict[tuple[Any, ...], Row]:
    return {tuple(row[key] for key in VIEWS[name].primary_key): row for row in rows.to_pylist()}
