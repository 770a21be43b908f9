"""Finds the changes that derived tables need, by comparing stored columns with `messages` and `labels`.

Pure functions over Arrow columns; nothing is read or written here.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from gmail_client.views.emails import Labels, label_name
from gmail_client.views.parts import HEADERS, NOTHING, STRUCTURE
from gmail_client.views.schemas import VIEWS

__all__ = [
    "EmailDifferences",
    "LabelDifferences",
    "attachments_to_replace",
    "email_differences",
    "label_differences",
    "label_rows",
]

_BETWEEN = "\x1f"
"""Stands between texts that are joined; none of them holds a control character."""


@dataclass(frozen=True, slots=True)
class EmailDifferences:
    """Changes that `emails` needs.

    Attributes:
        new: Ids of messages that have no row.
        changed: Ids of messages whose whole row has to be computed again.
        relabelled: `message_id`, `label_ids` and `history_id` of messages of which only labels changed.
        removed: `message_id` of rows whose message is gone.
    """

    new: pa.Array
    changed: pa.Array
    relabelled: pa.Table
    removed: pa.Table

    def __bool__(self) -> bool:
        return bool(len(self.new) or len(self.changed) or len(self.relabelled) or len(self.removed))


def email_differences(
    messages: pa.Table, emails: pa.Table, labels: Labels, *, recompute: bool
) -> EmailDifferences:
    """Compare `messages` with `emails`.

    Args:
        messages: `id`, `label_ids`, `history_id`, `level` of every message.
        emails: `message_id`, `label_ids`, `label_names`, `history_id`, `is_bulk`, `attachment_count` of every row.
        labels: The mailbox's labels.
        recompute: Whether every row has to be computed again.
    """
    places = pc.index_in(messages["id"], emails["message_id"])
    known = pc.is_valid(places)
    new = messages["id"].filter(pc.invert(known))
    both = messages.filter(known)
    stored = emails.take(places.filter(known))
    level = pc.if_else(
        pc.is_valid(stored["attachment_count"]),
        STRUCTURE,
        pc.if_else(pc.is_valid(stored["is_bulk"]), HEADERS, NOTHING),
    )
    if recompute:
        changed = pa.chunked_array([pa.array([True] * both.num_rows, pa.bool_())])
    else:
        changed = pc.not_equal(both["level"], level)
    ids, names = _joined(both["label_ids"]), _joined(stored["label_names"])
    relabelled = pc.or_(
        pc.or_(
            pc.not_equal(ids, _joined(stored["label_ids"])),
            pc.not_equal(pc.fill_null(both["history_id"], -1), pc.fill_null(stored["history_id"], -1)),
        ),
        pc.not_equal(names, _named(ids, labels)),
    )
    relabelled = pc.and_(relabelled, pc.invert(changed))
    gone = pc.invert(pc.is_in(emails["message_id"], messages["id"].combine_chunks()))
    return EmailDifferences(
        new=_array(new),
        changed=_array(both["id"].filter(changed)),
        relabelled=both.filter(relabelled)
        .select(["id", "label_ids", "history_id"])
        .rename_columns(["message_id", "label_ids", "history_id"]),
        removed=emails.select(["message_id"]).filter(gone),
    )


def _joined(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    """Each list as one text; null counts as empty."""
    return pc.fill_null(pc.binary_join(lists, _BETWEEN), "")


def _named(joined_ids: pa.ChunkedArray, labels: Labels) -> pa.ChunkedArray:
    """The names of joined label ids, joined. A mailbox has few distinct label sets."""
    encoded = pa.chunked_array([_array(joined_ids).dictionary_encode()])
    if not encoded.num_chunks or not len(encoded):
        return joined_ids
    dictionary = encoded.chunk(0).dictionary
    names = [
        _BETWEEN.join(label_name(label, labels) for label in text.split(_BETWEEN)) if text else ""
        for text in dictionary.to_pylist()
    ]
    return pc.take(pa.array(names, pa.string()), encoded.chunk(0).indices)


@dataclass(frozen=True, slots=True)
class LabelDifferences:
    """Changes that `message_labels` needs: rows to add, rows to set, and keys of rows to remove."""

    added: pa.Table
    changed: pa.Table
    removed: pa.Table

    def __bool__(self) -> bool:
        return bool(len(self.added) or len(self.changed) or len(self.removed))


def label_rows(messages: pa.Table, labels: Labels) -> pa.Table:
    """All rows of `message_labels`.

    Args:
        messages: `id` and `label_ids` of every message.
        labels: The mailbox's labels.
    """
    ids, lists = _array(messages["id"]), _array(messages["label_ids"])
    label_ids = pc.list_flatten(lists)
    message_ids = ids.take(pc.list_parent_indices(lists))
    encoded = label_ids.dictionary_encode()
    known = encoded.dictionary.to_pylist()
    names = pa.array([label_name(label, labels) for label in known], pa.string())
    types = pa.array([labels[label].type if label in labels else None for label in known], pa.string())
    rows = pa.table(
        [message_ids, label_ids, names.take(encoded.indices), types.take(encoded.indices)],
        schema=VIEWS["message_labels"].schema,
    )
    distinct = rows.append_column("_n", pa.array(range(rows.num_rows), pa.int64()))
    first = distinct.group_by(["message_id", "label_id"]).aggregate([("_n", "min")])["_n_min"]
    return rows if len(first) == rows.num_rows else rows.take(first.sort())


def label_differences(wanted: pa.Table, stored: pa.Table) -> LabelDifferences:
    """Compare the expected rows of `message_labels` with the stored ones."""
    wanted_keys, stored_keys = _label_keys(wanted), _label_keys(stored)
    places = pc.index_in(wanted_keys, stored_keys)
    known = pc.is_valid(places)
    both, found = wanted.filter(known), stored.take(places.filter(known))
    same = pc.and_(
        pc.equal(pc.fill_null(both["label_name"], ""), pc.fill_null(found["label_name"], "")),
        pc.equal(pc.fill_null(both["label_type"], ""), pc.fill_null(found["label_type"], "")),
    )
    return LabelDifferences(
        added=wanted.filter(pc.invert(known)),
        changed=both.filter(pc.invert(same)),
        removed=stored.filter(pc.invert(pc.is_in(stored_keys, wanted_keys))).select(
            ["message_id", "label_id"]
        ),
    )


def _label_keys(rows: pa.Table) -> pa.Array:
    return _array(pc.binary_join_element_wise(rows["message_id"], rows["label_id"], _BETWEEN))


def attachments_to_replace(emails: pa.Table, attachments: pa.Table) -> tuple[pa.Array, pa.Table]:
    """Compare `attachments` with the numbers in `emails`.

    Args:
        emails: `message_id` and `attachment_count` of every row.
        attachments: `message_id` and `part_id` of every row.

    Returns:
        Ids of messages whose rows have to be computed again, and keys of rows whose message has no row in `emails`.
    """
    counts = attachments.group_by("message_id").aggregate([("part_id", "count")])
    places = pc.index_in(emails["message_id"], _array(counts["message_id"]))
    stored = pc.fill_null(counts["part_id_count"].take(places), 0)
    differ = pc.not_equal(pc.fill_null(emails["attachment_count"], 0), stored)
    gone = pc.invert(pc.is_in(attachments["message_id"], _array(emails["message_id"])))
    return _array(emails["message_id"].filter(differ)), attachments.filter(gone)


def _array(chunked: pa.ChunkedArray | pa.Array) -> pa.Array:
    """One array of a chunked one."""
    if not isinstance(chunked, pa.ChunkedArray):
        return chunked
    if chunked.num_chunks == 1:
        return chunked.chunk(0)
    return pa.concat_arrays(chunked.chunks) if chunked.num_chunks else pa.array([], chunked.type)
