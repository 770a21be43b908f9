"""Whether derived tables are up to date with their sources, from the log alone: `are_up_to_date`.

The last derived table of a mailbox records the state of its sources in a transaction, once all of them are computed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from gmail_assets.delta.app_ids import StateReader
from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.delta.sync_state import number_of
from gmail_assets.delta.writer import PartitionWriter, before_commit
from gmail_client.views import Labels, formula

__all__ = [
    "FORMULA_FIELD",
    "SOURCES_FIELD",
    "are_up_to_date",
    "forget_sources",
    "formula_mark",
    "is_computed_alike",
    "names_number",
    "source_state",
    "sources_mark",
    "stored_names",
]

FORMULA_FIELD = "formula"
"""Transaction of each derived table: how the mailbox's rows were computed, see `formula_mark`."""
SOURCES_FIELD = "sources"
"""Transaction of the last derived table: the state of the sources that the mailbox's rows were computed from."""


def are_up_to_date(
    messages: LakeTable,
    labels: LakeTable | None,
    views: Mapping[str, LakeTable],
    address: str,
    *,
    written: int | None = None,
) -> bool:
    """Whether derived tables of a mailbox are known to be up to date; false also if it is unknown.

    Args:
        messages: The table of messages.
        labels: The table of labels, if it is in use.
        views: The derived tables, by name, in the order of `gmail_client.views.VIEWS`.
        address: The mailbox's real address.
        written: Up to date with `messages` as of this fence of its partition; default: the present one.
    """
    mark = None
    content = _content_of(messages, address)
    for name, table in views.items():
        read = StateReader(table.delta, address, table.source, table.transactions)
        if read(f"{read.base}/{FORMULA_FIELD}") != formula(name, content):
            return False
        if table.restores(before_commit(read(f"{read.base}/writer"))):
            return False
        mark = read(f"{read.base}/{SOURCES_FIELD}")
    return not views or mark == sources_mark(source_state(messages, labels, address, written=written), views)


def formula_mark(name: str, messages: LakeTable, address: str) -> int:
    """A number for how the rows of a derived table are computed: when it differs, all are computed again.

    It follows from the formula, and from the content that `messages` stores of each message: its format, and the
    values that its options remove.

    Args:
        name: The derived table's name.
        messages: The table of messages.
        address: The mailbox's real address.
    """
    return formula(name, _content_of(messages, address))


def is_computed_alike(view: LakeTable, messages: LakeTable, address: str) -> bool:
    """Whether all stored rows of a derived table were computed by today's formula, from the content stored now."""
    return _field(view, address, FORMULA_FIELD) == formula_mark(view.source, messages, address)


def _content_of(messages: LakeTable, address: str) -> str:
    """What `messages` stores of each message: "" for `format: full` without removed values, else another text."""
    number = _field(messages, address, "format")
    return "" if number in (None, number_of("full")) else str(number)


def names_number(labels: Labels) -> int:
    """A number for the names and types of labels: `SyncState.names`, the part of `labels` that derived rows have."""
    return number_of(json.dumps(sorted((label_id, *label) for label_id, label in labels.items())))


def source_state(
    messages: LakeTable, labels: LakeTable | None, address: str, *, written: int | None = None
) -> str:
    """A text that changes with each commit to the mailbox's partition of `messages`, and with names of labels.

    It has the id of the table: one that is loaded again after it was removed has the same numbers of fences.

    Args:
        messages: The table of messages.
        labels: The table of labels, if it is in use.
        address: The mailbox's real address.
        written: Fence of the partition of messages; default: the present one.
    """
    if written is None:
        written = _field(messages, address, "writer")
    return f"messages={messages.delta.metadata().id} {written} names={stored_names(labels, address)}"


def stored_names(labels: LakeTable | None, address: str) -> int | None:
    """`SyncState.names` of the table of labels; of no labels if it is not in use."""
    return names_number({}) if labels is None else _field(labels, address, "names")


def _field(table: LakeTable, address: str, field: str) -> int | None:
    read = StateReader(table.delta, address, table.source, table.transactions)
    return read(f"{read.base}/{field}")


def sources_mark(state: str, views: Iterable[str]) -> int:
    """The number to record once the views are computed from sources in this state."""
    return number_of(" ".join([state, *views]))


def forget_sources(view: LakeTable, address: str, primary_key: Sequence[str]) -> None:
    """Forget from which state of the sources a derived table was computed: the next run compares all its rows.

    Raises:
        WriterConflictError: Another run writes the table.
        LakeError: The table can't be written.
    """
    writer = PartitionWriter(view, address, primary_key, carried=[FORMULA_FIELD])
    if writer.read(SOURCES_FIELD):
        writer.commit([writer.transaction(SOURCES_FIELD, 0)])
