"""A lake whose `messages` and `labels` are written by hand, and the derived tables that follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from gmail_assets.delta.derived_state import names_number
from gmail_assets.delta.lake import DELETED_AT, Lake
from gmail_assets.delta.maintenance import Upkeep
from gmail_assets.delta.row_changes import RowChanges
from gmail_assets.delta.writer import PartitionWriter
from gmail_assets.syncing.results import SyncResult
from gmail_assets.views import ViewSources, derive
from gmail_client.schema import to_batch
from gmail_client.spec import SpecTable
from gmail_client.views import VIEWS, Label, attachment_rows, email_row, message_label_rows, to_table
from support.mail import leaf, mail, multipart

__all__ = ["ADA", "BEN", "Tables", "message", "metadata"]

ADA, BEN = "ada@example.test", "ben@example.test"
NO_UPKEEP = Upkeep(small_files=0, retention=None)
NAMES = dict(zip(VIEWS, VIEWS, strict=True))
Row = dict[str, Any]


class Tables:
    """A lake with given rows in `messages` and `labels`.

    Attributes:
        changes: What the present run has written to ADA's messages, as its sync would report it.
    """

    def __init__(self, folder: Path, *, keep_deleted: bool = False) -> None:
        self.lake = Lake(str(folder))
        spec = SpecTable(source_table="messages", deletes="keep" if keep_deleted else "remove")
        self.sources = ViewSources(spec, SpecTable(source_table="labels"), NAMES)
        self.messages: dict[str, dict[str, Row]] = {ADA: {}, BEN: {}}
        self.labels: dict[str, dict[str, Label]] = {ADA: {}, BEN: {}}
        self.changes = RowChanges(None, None)

    def begin_run(self) -> None:
        """Begin the next run: the one before has ended, or was killed."""
        writer = self.writer(ADA)
        fence = writer.read("writer")
        restored = writer.table.restores(fence or 0)
        self.changes = RowChanges(fence, fence, None if restored else set())

    def _note(self, address: str, *ids: str) -> None:
        if address == ADA:
            self.changes.add(ids)
            self.changes.through = self.writer(ADA).read("writer")

    def writer(self, address: str, table: str = "messages") -> PartitionWriter:
        keep = table == "messages" and self.sources.messages.deletes == "keep"
        return PartitionWriter(self.lake.table(table, keep_deleted=keep), address, ["id"])

    def add(self, *messages: Row, address: str = ADA) -> None:
        writer = self.writer(address)
        rows = pa.Table.from_batches([to_batch("messages", list(messages))])
        if DELETED_AT in writer.table.schema.names:
            field = writer.table.schema.field(DELETED_AT)
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
        writer.append(rows)
        self.messages[address].update({message["id"]: message for message in messages})
        self._note(address, *(message["id"] for message in messages))

    def set(self, *messages: Row, columns: tuple[str, ...], address: str = ADA) -> None:
        rows = pa.Table.from_batches([to_batch("messages", list(messages))])
        self.writer(address).merge(rows.select(["id", *columns]))
        self.messages[address].update({message["id"]: message for message in messages})
        self._note(address, *(message["id"] for message in messages))

    def relabel(self, message_id: str, labels: list[str], history: int, address: str = ADA) -> None:
        message = {**self.messages[address][message_id], "labelIds": labels, "historyId": str(history)}
        self.set(message, columns=("labelIds", "historyId", "historySequence"), address=address)

    def remove(self, *ids: str, address: str = ADA) -> None:
        writer = self.writer(address)
        keys = pa.table({"id": pa.array(ids, pa.string())})
        if writer.table.keeps_deleted:
            moment = pa.array([0] * len(ids), pa.timestamp("us", tz="UTC"))
            writer.merge(keys.append_column(DELETED_AT, moment))
        else:
            writer.merge(keys.slice(0, 0), keys)
        for message_id in ids:
            del self.messages[address][message_id]
        self._note(address, *ids)

    def name(self, address: str = ADA, *, recorded: bool = True, **names: str) -> None:
        """Set all labels of a mailbox, `Label_1="Work"`; without the record, as another program would write them."""
        rows = [{"id": label, "name": name, "type": "user"} for label, name in names.items()]
        writer = self.writer(address, "labels")
        stored = [row["id"] for row in self.stored("labels", address)]
        if stored:
            keys = pa.table({"id": pa.array(stored, pa.string())})
            writer.merge(keys.slice(0, 0), keys)
        self.labels[address] = {label: Label(name, "user") for label, name in names.items()}
        named = writer.transaction("names", names_number(self.labels[address]))
        writer.append(pa.Table.from_batches([to_batch("labels", rows)]), [named] if recorded else [])

    def derive_changes(self) -> dict[str, SyncResult]:
        """Derive ADA's tables as the run that made the changes does; it is the end of that run."""
        try:
            return self.derive(changes=self.changes)
        finally:
            self.begin_run()

    def derive(self, address: str = ADA, **more: Any) -> dict[str, SyncResult]:
        return derive(self.lake, address, self.sources, upkeep=NO_UPKEEP, **more)

    def stored(self, name: str, address: str = ADA) -> list[Row]:
        delta = self.lake.find(name)
        rows = [] if delta is None else delta.to_pyarrow_table().to_pylist()
        return [row for row in rows if row.pop("mailbox") == address]

    def check(self, address: str = ADA) -> None:
        """Every derived table equals the output of the row functions for all messages."""
        messages = self.messages[address].values()
        labels = self.labels[address]
        expected = {
            "emails": [email_row(message, labels) for message in messages],
            "message_labels": [
                row for m in messages for row in message_label_rows(m["id"], m.get("labelIds") or (), labels)
            ],
            "attachments": [row for message in messages for row in attachment_rows(message)],
        }
        for name, rows in expected.items():
            assert ordered(name, self.stored(name, address)) == ordered(
                name, to_table(name, rows).to_pylist()
            ), name

    def versions(self) -> list[int]:
        return [delta.version() for name in VIEWS if (delta := self.lake.find(name)) is not None]


def ordered(name: str, rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: [row[key] for key in VIEWS[name].primary_key])


def message(message_id: str, *labels: str, attachments: int = 0, **more: Any) -> Row:
    files = [leaf("image/png", filename=f"{n}.png", attachment="x", size=n) for n in range(attachments)]
    payload = multipart("mixed", leaf("text/plain", f"Text of {message_id}"), *files)
    return mail(payload, id=message_id, labelIds=list(labels), headers={"Subject": message_id}, **more)


def metadata(row: Row) -> Row:
    return {**row, "payload": {"mimeType": row["payload"]["mimeType"], "headers": row["payload"]["headers"]}}
