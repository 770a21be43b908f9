"""Derived tables of the local pipeline, computed from its own `messages` and `labels`: `DerivedTable`.

Each run compares a few columns to find the rows to change, so there is no stored state: after a killed run, a renamed
label or a restored table, the next run computes the rows that differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from gmail_client.errors import ConfigurationError
from gmail_client.private_files import make_private_folder
from gmail_client.spec import Spec
from gmail_client.views import (
    HEADERS,
    NOTHING,
    STRUCTURE,
    VIEWS,
    Labels,
    formula,
    labels_of,
    to_table,
    view_rows,
)
from gmail_client.views.differences import (
    attachments_to_replace,
    email_differences,
    label_differences,
    label_rows,
)
from lakeflow_entry.pipelines.delta_sink import DELETED_AT, END_AT, DeltaSink

__all__ = ["DerivedTable", "refuse_versions_only"]

_BATCH_ROWS = 500
_SLICE_ROWS = 2_000
_COMPARED = ("message_id", "label_ids", "label_names", "history_id", "is_bulk", "attachment_count")
_CONTENT = (
    "id",
    "threadId",
    "labelIds",
    "historyId",
    "internalDate",
    "sizeEstimate",
    "snippet",
    "payload",
    "raw",
)


def refuse_versions_only(spec: Spec) -> None:
    """Check that `messages` holds current rows.

    Raises:
        ConfigurationError: It is APPEND_ONLY.
    """
    messages = spec.table("messages")
    if messages is not None and messages.scd_type == "APPEND_ONLY":
        raise ConfigurationError(
            f"The spec's table {spec.views[0].source_table!r} is computed from messages, which is APPEND_ONLY and so "
            "does not show which rows are current.",
            fix="Use SCD_TYPE_1 or SCD_TYPE_2 for messages.",
        )


@dataclass(slots=True)
class DerivedTable:
    """One derived table.

    Attributes:
        location: A folder or an object-store URI.
        name: One of `VIEWS`.
        messages: The table of messages.
        labels: The table of labels; None if the spec lists none: names are then ids.
        emails: Location of `emails`; `attachments` needs it.
        content: What `messages` stores of each message, see `gmail_client.views.formula`.
    """

    location: str
    name: str
    messages: DeltaSink
    labels: DeltaSink | None = None
    emails: str = ""
    content: str = ""

    def update(self) -> tuple[int, int]:
        """Compute the rows that differ; returns the numbers of written and deleted rows."""
        table = self._open()
        number = formula(self.name, self.content)
        recompute = table.transaction_version(self._formula_app) != number
        if self.name == "message_labels":
            written, deleted = self._update_labels(table)
        elif self.name == "emails":
            written, deleted = self._update_emails(table, recompute)
        else:
            written, deleted = self._update_attachments(table, recompute)
        if recompute:
            commit = CommitProperties(app_transactions=[Transaction(self._formula_app, number)])
            write_deltalake(
                DeltaTable(self.location), self._schema.empty_table(), mode="append", commit_properties=commit
            )
        return written, deleted

    def count(self) -> int:
        """Rows."""
        return int(DeltaTable(self.location).to_pyarrow_dataset().count_rows())

    @property
    def _schema(self) -> pa.Schema:
        return VIEWS[self.name].schema

    @property
    def _formula_app(self) -> str:
        return f"gmail/{self.name}/formula"

    def _open(self) -> DeltaTable:
        if "://" not in self.location:
            make_private_folder(Path(self.location).parent)
        DeltaTable.create(self.location, schema=self._schema, mode="ignore")
        return DeltaTable(self.location)

    # Sources

    def _known_labels(self) -> Labels:
        if self.labels is None:
            return {}
        table = self.labels.open().to_pyarrow_dataset()
        current = _current(table)
        columns = ["id", "name", "type"]
        return labels_of(table.to_table(columns=columns, filter=current).to_pylist())

    def _states(self) -> pa.Table:
        """`id`, `label_ids`, `history_id` and `level` of every message."""
        dataset = self.messages.open().to_pyarrow_dataset()
        payload = (pc.field("payload", "partId"), pc.field("payload", "body", "size"), pc.field("raw"))
        structure = payload[0].is_valid() | payload[1].is_valid() | payload[2].is_valid()
        headers = pc.field("payload", "mimeType").is_valid()
        columns = {
            "id": pc.field("id"),
            "label_ids": pc.field("labelIds"),
            "history_id": pc.field("historySequence"),
            "level": pc.if_else(structure, STRUCTURE, pc.if_else(headers, HEADERS, NOTHING)),
        }
        return dataset.to_table(columns=columns, filter=_current(dataset))

    def _contents(self, ids: Set[str]) -> Iterator[list[dict[str, Any]]]:
        """Whole messages, in slices."""
        dataset = self.messages.open().to_pyarrow_dataset()
        batches = dataset.to_batches(
            columns=list(_CONTENT), filter=_current(dataset), batch_size=_BATCH_ROWS, batch_readahead=1
        )
        waiting: list[dict[str, Any]] = []
        for batch in batches:
            wanted = pa.array([one in ids for one in batch["id"].to_pylist()], pa.bool_())
            waiting += batch.filter(wanted).to_pylist()
            if len(waiting) >= _SLICE_ROWS:
                yield waiting
                waiting = []
        if waiting:
            yield waiting

    # The three tables

    def _update_labels(self, table: DeltaTable) -> tuple[int, int]:
        stored = table.to_pyarrow_table()
        found = label_differences(label_rows(self._states(), self._known_labels()), stored)
        self._delete(found.removed)
        self._upsert(pa.concat_tables([found.added, found.changed]), new=not stored.num_rows)
        return len(found.added) + len(found.changed), len(found.removed)

    def _update_emails(self, table: DeltaTable, recompute: bool) -> tuple[int, int]:
        stored = table.to_pyarrow_table(columns=list(_COMPARED))
        labels = self._known_labels()
        found = email_differences(self._states(), stored, labels, recompute=recompute)
        self._delete(found.removed)
        ids = {
            *found.new.to_pylist(),
            *found.changed.to_pylist(),
            *found.relabelled["message_id"].to_pylist(),
        }
        for messages in self._contents(ids) if ids else ():
            self._upsert(self._rows(messages, labels), new=not stored.num_rows)
        return len(ids), len(found.removed)

    def _update_attachments(self, table: DeltaTable, recompute: bool) -> tuple[int, int]:
        emails = DeltaTable(self.emails).to_pyarrow_table(columns=["message_id", "attachment_count"])
        keys = table.to_pyarrow_table(columns=list(VIEWS[self.name].primary_key))
        replace, gone = attachments_to_replace(emails, keys)
        self._delete(gone)
        ids = set((emails["message_id"] if recompute else replace).to_pylist())
        outdated = keys.filter(pc.is_in(keys["message_id"], pa.array(sorted(ids), pa.string())))
        self._delete(outdated)
        written = 0
        for messages in self._contents(ids) if ids else ():
            rows = self._rows(messages, {})
            self._upsert(rows, new=True)
            written += rows.num_rows
        return written, gone.num_rows + max(outdated.num_rows - written, 0)

    # Writing

    def _rows(self, messages: list[dict[str, Any]], labels: Labels) -> pa.Table:
        return to_table(
            self.name, [row for message in messages for row in view_rows(self.name, message, labels)]
        )

    def _upsert(self, rows: pa.Table, *, new: bool) -> None:
        """Write rows; with `new`, no rows with their keys are stored."""
        if not rows.num_rows:
            return
        table = DeltaTable(self.location)
        if new:
            write_deltalake(table, rows, mode="append")
            return
        merge = table.merge(rows, self._matched(), source_alias="s", target_alias="t")
        merge.when_matched_update_all().when_not_matched_insert_all().execute()

    def _delete(self, keys: pa.Table) -> None:
        if keys.num_rows:
            table = DeltaTable(self.location)
            on = " and ".join(f"t.{name} = s.{name}" for name in keys.schema.names)
            table.merge(keys, on, source_alias="s", target_alias="t").when_matched_delete().execute()

    def _matched(self) -> str:
        return " and ".join(f"t.{name} = s.{name}" for name in VIEWS[self.name].primary_key)


def _current(dataset: ds.Dataset) -> Any:
    """A filter for current rows; None if all are."""
    marks = [name for name in (END_AT, DELETED_AT) if name in dataset.schema.names]
    return pc.field(marks[0]).is_null() if marks else None
