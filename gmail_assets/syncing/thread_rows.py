"""Rebuilds rows of `threads` in Arrow: adds, removes and relabels messages without copying their content to Python.

A thread's row contains all its messages, so every change of a message changes the row. `rebuild` takes the stored rows
and the edits and returns the new rows; content stays in Arrow arrays.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gmail_assets.delta.parquet_files import is_slice
from gmail_client.labels import HIDDEN_LABELS
from gmail_client.schema import SCHEMAS
from gmail_client.unknown_fields import COLUMN, joined, prefixed, split

__all__ = ["ThreadEdit", "rebuild"]

_SCHEMA = SCHEMAS["threads"]
_MESSAGES = _SCHEMA.field("messages").type
_MESSAGE = _MESSAGES.value_type
_NOTHING: pa.StructArray = pa.nulls(0, _MESSAGE)


@dataclass(slots=True)
class ThreadEdit:
    """The edit of one thread's row.

    Attributes:
        thread_id: The thread.
        put: Messages to add, replacing stored ones of the same id: id to index in the new content.
        labels: Labels to set, by message id, with the history id of their record.
        drop: Ids of messages to remove.
        history_id: The thread's history id from Gmail or a record; never lowers the stored one.
        snippet: The snippet from Gmail; without one, the newest message's.
        unknown: The `unknownFields` of the messages to add, by id, and of the thread itself, with the key ``.
    """

    thread_id: str
    put: list[int] = field(default_factory=list)
    labels: dict[str, tuple[tuple[str, ...], int]] = field(default_factory=dict)
    drop: set[str] = field(default_factory=set)
    history_id: int = 0
    snippet: str | None = None
    unknown: dict[str, str] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether there is anything to change."""
        return bool(self.put or self.labels or self.drop or self.history_id or self.snippet)


def rebuild(
    stored: pa.Table, edits: Sequence[ThreadEdit], content: pa.StructArray = _NOTHING
) -> tuple[pa.Table, list[str]]:
    """Apply edits to threads.

    Args:
        stored: The current rows of the edited threads (`id`, `historySequence`, `messages`, `unknownFields`, ...); a
            thread without a row is new.
        edits: One per thread.
        content: New messages, to which the edits' `put` refers.

    Returns:
        The new rows, in the schema of `threads`, and the ids of threads without messages.
    """
    if COLUMN not in stored.column_names:  # a table that only earlier releases wrote
        stored = stored.append_column(COLUMN, pa.nulls(stored.num_rows, pa.string()))
    kept = stored.select(["id", "historySequence", "messages", COLUMN])
    old = _flat(kept["messages"])
    old_owner = _owners(kept["messages"])
    stored_ids = kept["id"].to_pylist()
    stored_sequence = dict(zip(stored_ids, kept["historySequence"].to_pylist(), strict=True))
    stored_unknown = dict(zip(stored_ids, kept[COLUMN].to_pylist(), strict=True))

    everything = pa.concat_arrays([old, content]) if len(old) else content

    ids = pc.struct_field(everything, "id").to_pylist()
    dates = pc.struct_field(everything, "internalDate").to_pylist()
    labels = pc.struct_field(everything, "labelIds").to_pylist()
    snippets = pc.struct_field(everything, "snippet").to_pylist()
    history = pc.struct_field(everything, "historyId").to_pylist()
    members: dict[str, dict[str, int]] = {edit.thread_id: {} for edit in edits}
    for index, owner in enumerate(old_owner):
        if stored_ids[owner] in members:
            members[stored_ids[owner]][ids[index]] = index
    for edit in edits:
        members[edit.thread_id].update((ids[len(old) + place], len(old) + place) for place in edit.put)

    order: list[int] = []
    counts: list[int] = []
    rows: list[dict[str, Any]] = []
    emptied: list[str] = []
    for edit in edits:
        own = members[edit.thread_id]
        for index in own.values():
            change = edit.labels.get(ids[index])
            if change is not None:
                labels[index] = list(change[0])
                history[index] = str(max(change[1], int(history[index] or 0)))
        present = sorted(
            (index for message_id, index in own.items() if message_id not in edit.drop),
            key=lambda index: (int(dates[index] or 0), ids[index]),
        )
        if not present:
            emptied.append(edit.thread_id)
            continue
        shown = [index for index in present if HIDDEN_LABELS.isdisjoint(labels[index] or ())]
        sequence = max(edit.history_id, stored_sequence.get(edit.thread_id) or 0)
        rows.append(
            {
                "id": edit.thread_id,
                "snippet": edit.snippet if edit.snippet is not None else snippets[(shown or present)[-1]],
                "historyId": str(sequence) if sequence else None,
                "historySequence": sequence or None,
                COLUMN: _unknown(stored_unknown.get(edit.thread_id), edit, {ids[index] for index in present}),
            }
        )
        order += present
        counts.append(len(present))

    in_order = order == list(range(len(everything))) and not is_slice(pc.struct_field(everything, "id"))
    flat = everything if in_order else everything.take(pa.array(order, pa.int64()))
    if any(edit.labels for edit in edits):
        columns = {name: pc.struct_field(flat, name) for name in _MESSAGE.names}
        columns["labelIds"] = pa.array([labels[index] for index in order], _MESSAGE.field("labelIds").type)
        columns["historyId"] = pa.array([history[index] for index in order], pa.string())
        flat = pa.StructArray.from_arrays(
            [columns[name] for name in _MESSAGE.names],
            fields=[_MESSAGE.field(name) for name in _MESSAGE.names],
        )
    offsets = [0]
    for count in counts:
        offsets.append(offsets[-1] + count)
    messages = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat, type=_MESSAGES)
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    return table.set_column(_SCHEMA.get_field_index("messages"), _SCHEMA.field("messages"), messages), emptied


def _unknown(stored: str | None, edit: ThreadEdit, present: Set[str]) -> str | None:
    """The `unknownFields` of a thread with these messages."""
    if not stored and not edit.unknown:
        return None
    parts = {**split(stored), **edit.unknown}
    own = prefixed(parts.pop("", None))
    return joined([own, *(prefixed(text, "messages", key) for key, text in parts.items() if key in present)])


def _flat(column: pa.ChunkedArray) -> pa.StructArray:
    chunks = [chunk.flatten() for chunk in column.chunks]
    return pa.concat_arrays(chunks).cast(_MESSAGE) if chunks else _NOTHING


def _owners(column: pa.ChunkedArray) -> list[int]:
    owners: list[int] = []
    row = 0
    for chunk in column.chunks:
        owners += [row + index for index in pc.list_parent_indices(chunk).to_pylist()]
        row += len(chunk)
    return owners
