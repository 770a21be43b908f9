"""Updates one mailbox's derived tables from `messages` and `labels`.

Labels, removals and new names rewrite the files that contain them; content is read only for messages whose row is
missing, in slices of bounded size, with one commit per slice. The only state is two numbers: how the rows were
computed, and from which state of the sources. If the tables were up to date before a sync that knows which messages it
wrote, only the rows of these are compared, otherwise all: the run after a crash finds the remaining work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gmail_assets.delta.derived_state import (
    FORMULA_FIELD,
    SOURCES_FIELD,
    are_up_to_date,
    formula_mark,
    names_number,
    source_state,
    sources_mark,
    stored_names,
)
from gmail_assets.delta.forgotten import refuse_forgotten
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.delta.maintenance import DEFAULT_UPKEEP, Upkeep, keep_up
from gmail_assets.delta.row_changes import RowChanges
from gmail_assets.delta.scan import read_columns
from gmail_assets.delta.writer import PartitionWriter
from gmail_assets.syncing.gc_tuning import collected_seldom
from gmail_assets.syncing.results import Progress, SyncResult
from gmail_assets.views.source import MessageSource, ViewSources, read_labels
from gmail_client.views import (
    LABEL_COLUMNS,
    VIEWS,
    Labels,
    attachment_rows,
    email_row,
    label_columns,
    to_table,
)
from gmail_client.views.differences import (
    attachments_to_replace,
    email_differences,
    label_differences,
    label_rows,
)

__all__ = ["derive"]

Row = dict[str, Any]

_SLICE_ROWS = 1_000
_SLICE_CHARACTERS = 8 * 2**20
"""Maximum size of the texts of one commit; it limits the memory."""
_LABEL_ROWS = 250_000
_RELABELLED_ROWS = 50_000


def derive(
    lake: Lake,
    address: str,
    sources: ViewSources,
    views: Iterable[str] | None = None,
    *,
    changes: RowChanges | None = None,
    deadline: float | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
    upkeep: Upkeep = DEFAULT_UPKEEP,
) -> dict[str, SyncResult]:
    """Update derived tables of one mailbox.

    Args:
        lake: The lake.
        address: The mailbox's real address.
        sources: The tables that they are computed from.
        views: Names of the tables to update; default: all of `sources.names`.
        changes: What the sync of this run wrote to `messages`. If the derived tables were up to date before it, only
            these rows are read; otherwise all.
        deadline: `time.monotonic()` at which to stop cleanly; the next run continues.
        progress: Progress callback, called from this thread.
        upkeep: When small files are compacted and old ones removed, at the end.

    Returns:
        A result for each table; `mode` is `derived`.

    Raises:
        ConfigurationError: The mailbox is forgotten.
        WriterConflictError: Another run writes the same tables of this mailbox.
        LakeError: A table can't be read or written.
    """
    started = time.monotonic()
    chosen = [name for name in VIEWS if name in (sources.names if views is None else set(views))]
    results = {name: SyncResult(name, address, "derived") for name in chosen}
    if lake.opened(sources.messages.table_name) is None:
        for result in results.values():
            result.warnings.append(f"There is no table {sources.messages.table_name!r} to compute it from.")
        return results
    run = _Derivation(lake, address, sources, results, changes, deadline, progress)
    refuse_forgotten(lake, address)
    with collected_seldom():
        run.derive()
    for name, result in results.items():
        result.upkeep = keep_up(run.tables[name], address, upkeep)
        result.rows_total = run.tables[name].count(address)
        result.seconds = time.monotonic() - started
    return results


@dataclass(slots=True)
class _Content:
    """Messages whose content has to be read: ids by table."""

    new: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    attachments: frozenset[str] = frozenset()

    def ids(self) -> frozenset[str]:
        return self.new | self.changed | self.attachments


@dataclass(slots=True)
class _Slice:
    """Rows of one slice: one commit of each table."""

    messages: int = 0
    characters: int = 0
    new: list[Row] = field(default_factory=list)
    changed: list[Row] = field(default_factory=list)
    attachments: list[Row] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        return self.messages >= _SLICE_ROWS or self.characters >= _SLICE_CHARACTERS


class _Derivation:
    """One run over one mailbox."""

    def __init__(
        self,
        lake: Lake,
        address: str,
        sources: ViewSources,
        results: Mapping[str, SyncResult],
        changes: RowChanges | None,
        deadline: float | None,
        progress: Callable[[Progress], None],
    ) -> None:
        self.address = address
        self.results = results
        self._deadline = deadline
        self._progress = progress
        messages, labels = sources.open_messages(lake), sources.open_labels(lake)
        self._derived_from = source_state(messages, labels, address)
        self._formulas = {name: formula_mark(name, messages, address) for name in results}
        self._source = MessageSource(messages, address)
        self._labels: Labels = read_labels(labels, address)
        self.tables: dict[str, LakeTable] = {
            name: lake.view(VIEWS[name], name=in_lake) for name, in_lake in sources.names.items()
        }
        self._changed = self._only_changed(messages, labels, changes)
        self._stored_attachments = self._no_attachment_keys()
        self._writers = {
            name: PartitionWriter(
                self.tables[name], address, VIEWS[name].primary_key, carried=[FORMULA_FIELD, SOURCES_FIELD]
            )
            for name in results
        }

    def _only_changed(
        self, messages: LakeTable, labels: LakeTable | None, changes: RowChanges | None
    ) -> frozenset[str] | None:
        """The ids of the messages to look at; None for all."""
        if changes is None or changes.keys is None or changes.since is None:
            return None
        views = {name: self.tables[name] for name in self.results}
        present = source_state(messages, labels, self.address, written=changes.through)
        if (
            self._derived_from != present  # another run wrote messages after this one
            or stored_names(labels, self.address) != names_number(self._labels)
            or not are_up_to_date(messages, labels, views, self.address, written=changes.since)
        ):
            return None
        return frozenset(changes.keys)

    def derive(self) -> None:
        """Update every chosen table."""
        states = self._source.states(self._changed)
        if "message_labels" in self.results:
            self._derive_message_labels(states)
        content = _Content()
        if "emails" in self.results:
            self._derive_emails(states, content)
        if "attachments" in self.results:
            self._derive_attachments(content)
        ids = content.ids()
        if ids:
            self._write_content(content, ids)
        for name, result in self.results.items():
            writer = self._writers[name]
            # The last one records for all that they are up to date: a commit is more expensive than the others' checks.
            last = name == list(self.results)[-1]
            derived_from = (
                sources_mark(self._derived_from, self.results) if last else writer.read(SOURCES_FIELD)
            )
            changed = {
                field: version
                for field, version in (
                    (FORMULA_FIELD, self._formulas[name]),
                    (SOURCES_FIELD, derived_from),
                )
                if version is not None and writer.read(field) != version
            }
            if result.complete and changed:
                writer.commit([writer.transaction(field, version) for field, version in changed.items()])

    # By which formula the rows were computed

    def _recompute(self, name: str) -> bool:
        """Whether rows may have been computed in another way, or from other content, or none exist yet."""
        return self._writers[name].read(FORMULA_FIELD) != self._formulas[name]

    # What has to change

    def _derive_message_labels(self, states: pa.Table) -> None:
        name, writer, result = (
            "message_labels",
            self._writers["message_labels"],
            self.results["message_labels"],
        )
        stored = self._stored(name, VIEWS[name].schema.names)
        differences = label_differences(label_rows(states, self._labels), stored)
        del stored
        pa.default_memory_pool().release_unused()  # before rewriting files needs memory
        added = differences.added
        writer.merge(differences.changed, differences.removed, added.slice(0, _LABEL_ROWS))
        for start in range(_LABEL_ROWS, added.num_rows, _LABEL_ROWS):
            writer.append(added.slice(start, _LABEL_ROWS))
        result.rows_written = added.num_rows
        result.rows_updated = differences.changed.num_rows
        result.rows_deleted = differences.removed.num_rows

    def _derive_emails(self, states: pa.Table, content: _Content) -> None:
        writer, result = self._writers["emails"], self.results["emails"]
        columns = ["message_id", "label_ids", "label_names", "history_id", "is_bulk", "attachment_count"]
        stored = self._stored("emails", columns)
        differences = email_differences(states, stored, self._labels, recompute=self._recompute("emails"))
        for start in range(0, max(differences.relabelled.num_rows, 1), _RELABELLED_ROWS):
            updates = self._relabelled(differences.relabelled.slice(start, _RELABELLED_ROWS))
            removed = None if start else differences.removed
            if updates.num_rows or (removed is not None and removed.num_rows):
                writer.merge(updates, removed)
        result.rows_updated = differences.relabelled.num_rows
        result.rows_deleted = differences.removed.num_rows
        content.new = frozenset(differences.new.to_pylist())
        content.changed = frozenset(differences.changed.to_pylist())

    def _relabelled(self, rows: pa.Table) -> pa.Table:
        changed = [
            {
                "message_id": row["message_id"],
                **label_columns(row["label_ids"] or (), row["history_id"], self._labels),
            }
            for row in rows.to_pylist()
        ]
        return pa.Table.from_pylist(changed, VIEWS["emails"].columns(["message_id", *LABEL_COLUMNS]))

    def _derive_attachments(self, content: _Content) -> None:
        emails = self._stored("emails", ["message_id", "attachment_count"])
        stored = self._stored("attachments", VIEWS["attachments"].primary_key)
        replace, gone = attachments_to_replace(emails, stored)
        # A message without a row in `emails` is gone, unless its row is about to be computed (a restore may have
        # removed it): then its attachments are compared with the stored ones.
        computed = pa.array(sorted(content.new | content.changed), pa.string())
        gone = gone.filter(pc.invert(pc.is_in(gone["message_id"], computed)))
        if gone.num_rows:
            self._writers["attachments"].merge(gone.slice(0, 0), gone)
        self.results["attachments"].rows_deleted = gone.num_rows
        again = emails["message_id"] if self._recompute("attachments") else replace
        content.attachments = frozenset(again.to_pylist()) | content.new | content.changed
        inside = pc.is_in(stored["message_id"], pa.array(sorted(content.attachments), pa.string()))
        self._stored_attachments = stored.filter(inside)

    def _stored(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Columns of the stored rows of the messages to look at."""
        schema = VIEWS[name].columns(columns)
        return read_columns(self.tables[name], self.address, schema.names, schema, keys=self._changed)

    @staticmethod
    def _no_attachment_keys() -> pa.Table:
        view = VIEWS["attachments"]
        return view.columns(view.primary_key).empty_table()

    # Content

    def _write_content(self, content: _Content, ids: frozenset[str]) -> None:
        done = 0
        self._progress(Progress("deriving", 0, len(ids)))
        for batch in self._slices(content, ids):
            self._write_emails(batch)
            self._write_attachments(batch)
            done += batch.messages
            self._progress(Progress("deriving", done, len(ids), rows=done))
            if done < len(ids) and self._deadline is not None and time.monotonic() > self._deadline:
                for result in self.results.values():
                    result.complete = False
                return

    def _slices(self, content: _Content, ids: frozenset[str]) -> Iterator[_Slice]:
        batch = _Slice()
        for messages in self._source.contents(ids):
            for message in messages:
                self._add(batch, message, content)
                if batch.is_full:
                    yield batch
                    batch = _Slice()
        if batch.messages:
            yield batch

    def _add(self, batch: _Slice, message: Row, content: _Content) -> None:
        message_id = message["id"]
        batch.messages += 1
        if message_id in content.new or message_id in content.changed:
            row = email_row(message, self._labels)
            batch.characters += len(row["body_text"] or "") + len(row["body_html"] or "")
            (batch.new if message_id in content.new else batch.changed).append(row)
        if message_id in content.attachments:
            batch.replaced.append(message_id)
            batch.attachments += attachment_rows(message)

    def _write_emails(self, batch: _Slice) -> None:
        if batch.changed:
            self._writers["emails"].merge(to_table("emails", batch.changed))
            self.results["emails"].rows_updated += len(batch.changed)
        if batch.new:
            self._writers["emails"].append(to_table("emails", batch.new))
            self.results["emails"].rows_written += len(batch.new)

    def _write_attachments(self, batch: _Slice) -> None:
        if not batch.replaced:
            return
        writer, result = self._writers["attachments"], self.results["attachments"]
        rows = to_table("attachments", batch.attachments)
        keys = self._stored_attachments
        keys = keys.filter(pc.is_in(keys["message_id"], pa.array(batch.replaced, pa.string())))
        if keys.num_rows:
            stored = set(zip(*(column.to_pylist() for column in keys.columns), strict=True))
            computed = [(row["message_id"], row["part_id"]) for row in batch.attachments]
            known = pa.array([key in stored for key in computed], pa.bool_())
            removed = pa.Table.from_pylist(
                [{"message_id": m, "part_id": p} for m, p in sorted(stored.difference(computed))], keys.schema
            )
            if pc.any(known).as_py() or removed.num_rows:
                writer.merge(rows.filter(known), removed)
            result.rows_updated += len(computed) - known.false_count
            result.rows_deleted += removed.num_rows
            rows = rows.filter(pc.invert(known))
        if rows.num_rows:
            writer.append(rows)
            result.rows_written += rows.num_rows
