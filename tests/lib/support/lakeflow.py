"""Lakeflow's side of the interface, for tests: the calls of its framework, and the target table that it writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from gmail_client.emulator import Emulator
from gmail_client.schema import json_row
from lakeflow_entry.connector import GmailLakeflowConnect

Row = dict[str, Any]

UNMETERED = "1200000"


def options_of(gmail: Emulator, address: str | None = None) -> dict[str, str]:
    """Connection options for the emulator, with ample quota."""
    environment = gmail.environment(address)
    named = {name.removeprefix("GMAIL_").lower(): value for name, value in environment.items()}
    return {**named, "quota": UNMETERED}


def connector_of(gmail: Emulator, address: str | None = None) -> GmailLakeflowConnect:
    return GmailLakeflowConnect(options_of(gmail, address))


def drained(connector: GmailLakeflowConnect, table: str, **options: str) -> dict[str, Any]:
    """The offset at which a new stream of a table ends."""
    offset: dict[str, Any] = {}
    while True:
        records, end = connector.read_table(table, offset, options)
        list(records)
        if end == offset:
            return offset
        offset = end


class Pipeline:
    """Two flows into one target with the semantics of AUTO CDC: the highest sequence wins, also against deletes.

    Every run has a new connector. Each flow has a checkpoint.
    """

    def __init__(self, gmail: Emulator, table: str, **options: str) -> None:
        self.gmail = gmail
        self.table = table
        self.options = options
        self.rows: dict[str, Row] = {}
        self.deletions: dict[str, int] = {}
        self.checkpoints: dict[str, dict[str, Any]] = {"upserts": {}, "deletes": {}}
        self.batches: list[int] = []
        self.deleted: list[str] = []

    def run(self) -> None:
        """Read both flows to their end, as Trigger.AvailableNow does."""
        connector = connector_of(self.gmail)
        self.drain(connector, "upserts")
        self.drain(connector, "deletes")

    def drain(self, connector: GmailLakeflowConnect, flow: str, most: int = 1_000) -> None:
        for _ in range(most):
            if not self.step(connector, flow):
                return
        raise AssertionError(f"{flow} of {self.table} did not end in {most} batches")

    def step(self, connector: GmailLakeflowConnect, flow: str) -> bool:
        """One micro-batch; False if there are no more rows."""
        read = connector.read_table if flow == "upserts" else connector.read_table_deletes
        start = self.checkpoints[flow]
        records, end = read(self.table, dict(start), dict(self.options))
        rows = list(records)
        json.dumps(rows)
        if json.dumps(end) == json.dumps(start):
            assert not rows, "Spark refuses rows with an offset that stands still"
            return False
        self.apply(flow, rows)
        self.checkpoints[flow] = json.loads(json.dumps(end))
        return True

    def crash(self, flow: str, meanwhile: Callable[[], None]) -> None:
        """A micro-batch whose rows are lost after its end was logged: Spark reads again from its start, on another
        instance and without passing the end, and continues from the logged end."""
        start = self.checkpoints[flow]
        ends = []
        for moment in (meanwhile, None):
            connector = connector_of(self.gmail)
            read = connector.read_table if flow == "upserts" else connector.read_table_deletes
            records, end = read(self.table, dict(start), dict(self.options))
            rows = list(records)
            ends.append(end)
            if moment is not None:
                moment()
        self.apply(flow, rows)
        self.checkpoints[flow] = ends[0]

    def apply(self, flow: str, rows: list[Row]) -> None:
        if flow == "upserts":
            self.batches.append(len(rows))
        for row in rows:
            key, sequence = row["id"], row["historySequence"]
            assert isinstance(sequence, int)
            present = max(self.deletions.get(key, -1), self.rows.get(key, {}).get("historySequence", -1))
            if flow == "deletes":
                self.deleted.append(key)
            if sequence < present:
                continue
            if flow == "upserts":
                self.rows[key] = row
            else:
                self.rows.pop(key, None)
                self.deletions[key] = sequence

    def truth(self) -> dict[str, Row]:
        """The rows that the target must have."""
        options = self.options
        labels = [label for label in options.get("labelIds", "").split(",") if label]
        rows = self.gmail.truth(
            self.table,
            q=options.get("q"),
            label_ids=labels,
            include_spam_trash=options.get("includeSpamTrash") == "true",
        )
        return {row["id"]: json_row(self.table, row) for row in rows}

    def assert_true(self) -> None:
        """The target equals the mailbox, except for ids that differ between reads."""
        truth = self.truth()
        assert self.rows.keys() == truth.keys()
        for key, row in self.rows.items():
            assert comparable(row) == comparable(truth[key]), key


def comparable(row: Mapping[str, Any]) -> Any:
    """A row without values that differ between reads."""
    return _stable(dict(row))


_VOLATILE = ("historyId", "historySequence", "attachmentId", "snippet")


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: sorted(item)
            if key == "labelIds" and item
            else _stable(json.loads(item) if key == "partsJson" and item else item)
            for key, item in value.items()
            if key not in _VOLATILE and item is not None and item != []
        }
    if isinstance(value, list):
        return [_stable(item) for item in value]
    return value
