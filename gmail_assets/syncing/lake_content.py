"""Reads message content from another table of the mailbox, so that it is not fetched again.

`messages` and `threads` contain the same messages. A message that one of them stores in the same or a richer format
costs no quota for the other: its content never changes, and its labels are correct through the history id in the
table's state (`SyncState.rows_through`); later changes come from the history.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gmail_assets.delta.errors import SchemaMismatchError
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.sync_state import number_of
from gmail_assets.syncing.chunk import Chunk, projected
from gmail_assets.syncing.sync_plan import includes, newest_first
from gmail_assets.syncing.table import TableSync
from gmail_assets.syncing.table_plan import MessageIds
from gmail_client.changes import Changes
from gmail_client.fetch import CHUNK_MESSAGES, FetchedThread
from gmail_client.options import MessageFormat
from gmail_client.schema import SCHEMAS
from gmail_client.spec import SpecTable
from gmail_client.unknown_fields import COLUMN, split_all
from gmail_client.unknown_fields import projected as known_in

__all__ = ["LakeContent", "StoredContent", "chunk_of", "read_stored_content"]

_MESSAGE = SCHEMAS["threads"].field("messages").type.value_type
_FORMATS: tuple[MessageFormat, ...] = ("full", "metadata", "minimal", "raw")
_CHUNK_BYTES = 4 * 2**20
"""Parquet bytes of rows that are read in one piece."""
_FEW = 10_000
"""Up to this number of messages, only the rows that may contain them are read."""


@dataclass(frozen=True, slots=True)
class StoredContent:
    """A table that may store messages that another table needs.

    Attributes:
        partition: The mailbox's partition.
        format: The format in which its messages are stored.
    """

    partition: MailboxPartition
    format: MessageFormat

    @property
    def source(self) -> str:
        """`messages` or `threads`."""
        return self.partition.table.source

    @property
    def labels_through(self) -> int:
        """History id through which the labels are correct."""
        return self.partition.state.rows_through

    def holding(self, missing: Mapping[str, Set[str]]) -> MessageIds:
        """Which of these messages it stores, by thread."""
        few = sum(map(len, missing.values())) <= _FEW
        if self.source == "threads":
            rows = self.partition.members(missing if few else None)
            rows = rows.filter(pc.invert(rows["soft_deleted"]))
            lists = zip(rows["id"].to_pylist(), rows["messages"].to_pylist(), strict=True)
            found = ((thread, {member["id"] for member in members or ()}) for thread, members in lists)
        else:
            keys = {message_id for ids in missing.values() for message_id in ids} if few else None
            rows = self.partition.members(keys)
            rows = rows.filter(pc.invert(rows["soft_deleted"]))
            pairs = zip(rows["threadId"].to_pylist(), rows["id"].to_pylist(), strict=True)
            found = ((thread, {message_id}) for thread, message_id in pairs)
        held: MessageIds = {}
        for thread_id, ids in found:
            common = ids & missing.get(thread_id, frozenset())
            if common:
                held.setdefault(thread_id, set()).update(common)
        return held

    def read(self, wanted: Mapping[str, Set[str]]) -> tuple[pa.StructArray, dict[str, str]]:
        """The content of these messages (by thread), as structs in any order, without those no longer stored.

        Returns:
            The content, and the `unknownFields` of the messages that have any, by id.
        """
        ids = pa.array(sorted({message_id for ids in wanted.values() for message_id in ids}), pa.string())
        if self.source == "threads":
            rows = self.partition.rows(list(wanted))
            pieces = [chunk.flatten() for chunk in rows["messages"].chunks]
            unknown = split_all(rows[COLUMN].to_pylist())
        else:
            rows = self.partition.rows(ids.to_pylist())
            pairs = zip(rows["id"].to_pylist(), rows[COLUMN].to_pylist(), strict=True)
            unknown = {message_id: text for message_id, text in pairs if text}
            pieces = [
                pa.StructArray.from_arrays(
                    [batch[field.name].cast(field.type) for field in _MESSAGE], fields=list(_MESSAGE)
                )
                for batch in rows.to_batches()
            ]
        if not pieces:
            return pa.array([], _MESSAGE), {}
        found = pa.concat_arrays([piece.cast(_MESSAGE) for piece in pieces])
        return found.filter(pc.is_in(pc.struct_field(found, "id"), ids)), unknown


class LakeContent:
    """Message content in the tables of a mailbox.

    Args:
        lake: The lake.
        address: The mailbox's real address.
        tables: Tables of the pipeline that may exist; one without a spec has its default name.
    """

    def __init__(self, lake: Lake, address: str, tables: Sequence[SpecTable]) -> None:
        self._lake = lake
        self._address = address
        names = {name: name for name in ("messages", "threads")}
        self._names = names | {spec.source_table: spec.table_name for spec in tables}

    def source_for(self, table: TableSync) -> StoredContent | None:
        """The table that may store messages for `table`; None if there is none.

        It has to exist, in a format that includes the format of `table`, with rows that are correct through a known
        history id.
        """
        other = "threads" if table.name == "messages" else "messages"
        name = self._names.get(other, other)
        if self._lake.opened(name) is None:
            return None
        try:
            stored = self._lake.table(other, name=name)
        except SchemaMismatchError:
            return None  # a table of another program with this name
        partition = MailboxPartition(stored, self._address, "", "")
        # Options and format of the spec do not matter, only the stored rows.
        number = partition.stored_format
        format_: MessageFormat | None
        if table.options.content_format != table.options.format:
            # Content of this table is minimized, so only content with the same policy can be used.
            format_ = table.options.format if number == number_of(table.options.content_format) else None
        else:
            format_ = next((known for known in _FORMATS if number_of(known) == number), None)
        if format_ is None or not includes(format_, table.options.format):
            return None
        content = StoredContent(partition, format_)
        return content if content.labels_through and partition.count() and not partition.restored else None


def read_stored_content(
    source: StoredContent, format_: MessageFormat, in_lake: MessageIds, changes: Changes | None
) -> Iterator[Chunk]:
    """Read messages from another table in chunks of bounded size, newest threads first.

    Args:
        source: The table that stores them.
        format_: The format to return them in.
        in_lake: Messages by thread.
        changes: Label changes after `source.labels_through` that are known already.
    """
    for threads in _batches(in_lake, source):
        yield chunk_of(source, format_, threads, changes)


def chunk_of(
    source: StoredContent, format_: MessageFormat, wanted: MessageIds, changes: Changes | None
) -> Chunk:
    """Stored messages (by thread) as a chunk, with the changed labels applied."""
    array, unknown = source.read(wanted)
    if format_ != source.format:
        array = projected(array, format_)
        unknown = {key: left for key, text in unknown.items() if (left := known_in(text, format_))}
    owner = {message_id: thread_id for thread_id, ids in wanted.items() for message_id in ids}
    threads: dict[str, FetchedThread] = {}
    places: dict[str, list[int]] = {}
    labels: list[Any] = pc.struct_field(array, "labelIds").to_pylist()
    history: list[Any] = pc.struct_field(array, "historyId").to_pylist()
    dates: list[Any] = pc.struct_field(array, "internalDate").to_pylist()
    for place, message_id in enumerate(pc.struct_field(array, "id").to_pylist()):
        change = changes.messages.get(message_id) if changes is not None else None
        if change is not None and not change.deleted:
            after = change.labels_after(labels[place] or ())
            labels[place] = None if after is None else list(after)
            history[place] = str(max(change.history_id, int(history[place] or 0)))
        thread_id = owner[message_id]
        thread = threads.setdefault(thread_id, FetchedThread(thread_id))
        places.setdefault(thread_id, []).append(place)
        thread.messages.append(
            {
                "id": message_id,
                "threadId": thread_id,
                "labelIds": labels[place] or (),
                "historyId": history[place],
                "internalDate": dates[place],
                **({COLUMN: unknown[message_id]} if message_id in unknown else {}),
            }
        )
    columns = dict(zip(_MESSAGE.names, array.flatten(), strict=True))
    columns["labelIds"] = pa.array(labels, _MESSAGE.field("labelIds").type)
    columns["historyId"] = pa.array(history, pa.string())
    array = pa.StructArray.from_arrays(list(columns.values()), fields=list(_MESSAGE))
    order = [place for thread_id in threads for place in places[thread_id]]
    return Chunk(list(threads.values()), array.take(pa.array(order, pa.int64())))


def _batches(in_lake: MessageIds, source: StoredContent) -> Iterator[MessageIds]:
    """Threads in batches of bounded size, by the mean size of the source's rows."""
    partition = source.partition
    mean = partition.table.size(partition.address) / max(1, partition.count())
    most = max(20, min(CHUNK_MESSAGES, int(_CHUNK_BYTES / max(mean, 1))))
    batch: MessageIds = {}
    count = 0
    for thread_id in newest_first(in_lake):
        batch[thread_id] = in_lake[thread_id]
        count += 1 if source.source == "threads" else len(in_lake[thread_id])
        if count >= most:
            yield batch
            batch, count = {}, 0
    if batch:
        yield batch
