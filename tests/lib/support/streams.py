"""A model of Spark Structured Streaming, without Spark: `Query` keeps the logs, can be killed, and restarts.

`Streams` runs both flows of a table on a mailbox in memory, under `gmail_in_memory`.

A query writes the end of each batch to its offset log before it reads the batch, and adds it to the commit log once the
batch is written. A run that finds an offset without its commit repeats that batch first, in a new process. The three
kinds of readers get different information in that case: see `READERS`.
"""

from __future__ import annotations

import contextlib
import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, Protocol

import pytest

from gmail_client.errors import DelegationError
from gmail_client.schema import json_row
from lakeflow_entry.connection import Connection
from lakeflow_entry.connector import GmailLakeflowConnect
from lakeflow_entry.datasource import GmailDataSource
from support.lakeflow import comparable
from support.memory_gmail import MemoryGmail

Row = dict[str, Any]
Offset = dict[str, Any]


class KilledError(Exception):
    """Simulates that the process is killed."""


class Reader(Protocol):
    """A stream reader in one process, as Spark's engine uses it."""

    def latest(self, start: Offset) -> Offset:
        """The end of the next batch; `start` when there is none."""
        ...

    def rows(self, start: Offset, end: Offset) -> Iterator[Row]:
        """The batch that `latest` of this process planned."""
        ...

    def repeat(self, start: Offset, end: Offset) -> Iterator[Row]:
        """A batch that an earlier process planned."""
        ...


class StreamReader:
    """Spark 4.2 and later: plans on the driver and gets the end of a repeated batch."""

    def __init__(self, options: Mapping[str, str]) -> None:
        source = GmailDataSource(dict(options))
        self.reader: Any = pickle.loads(pickle.dumps(source.streamReader(source.schema())))
        self.limit = self.reader.getDefaultReadLimit()
        self.reader.prepareForTriggerAvailableNow()

    def latest(self, start: Offset) -> Offset:
        return dict(self.reader.latestOffset(start, self.limit))

    def rows(self, start: Offset, end: Offset) -> Iterator[Row]:
        for partition in pickle.loads(pickle.dumps(self.reader.partitions(start, end))):
            for batch in pickle.loads(pickle.dumps(self.reader)).read(partition):
                yield from batch.to_pylist()

    repeat = rows


class SimpleReader:
    """Spark before 4.2: reads on the driver and gets the end of a repeated batch."""

    def __init__(self, options: Mapping[str, str]) -> None:
        source = GmailDataSource(dict(options))
        self.reader: Any = source.simpleStreamReader(source.schema())
        self.prefetched: Iterator[Any] = iter(())

    def latest(self, start: Offset) -> Offset:
        self.prefetched, end = self.reader.read(start)
        return dict(end)

    def rows(self, start: Offset, end: Offset) -> Iterator[Row]:
        for batch in self.prefetched:
            yield from batch.to_pylist()

    def repeat(self, start: Offset, end: Offset) -> Iterator[Row]:
        for batch in pickle.loads(pickle.dumps(self.reader)).readBetweenOffsets(start, end):
            yield from batch.to_pylist()


class FrameworkReader:
    """Lakeflow's framework: does not pass the end of a repeated batch, and ignores the end that the call returns."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self.options = dict(options)
        self.deletes = self.options.pop("isdeleteflow", "") == "true"
        self.table = self.options.pop("tablename")
        self.connector = GmailLakeflowConnect(self.options)
        self.prefetched: Iterator[Row] = iter(())

    def read(self, connector: GmailLakeflowConnect, start: Offset) -> tuple[Iterator[Row], Offset]:
        read = connector.read_table_deletes if self.deletes else connector.read_table
        return read(self.table, start, self.options)

    def latest(self, start: Offset) -> Offset:
        self.prefetched, end = self.read(self.connector, start)
        return end

    def rows(self, start: Offset, end: Offset) -> Iterator[Row]:
        return self.prefetched

    def repeat(self, start: Offset, end: Offset) -> Iterator[Row]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lakeflow_entry.connector._in_spark_task", lambda: True)
            rows, _ = self.read(pickle.loads(pickle.dumps(self.connector)), start)
        return rows


READERS: dict[str, Callable[[Mapping[str, str]], Reader]] = {
    "stream reader": StreamReader,
    "simple reader": SimpleReader,
    "framework": FrameworkReader,
}


class Query:
    """One streaming query, whose checkpoint survives its processes.

    Args:
        make: Creates the reader of a process.
        write: Writes rows to the target; called again with the same rows after a crash.
        offsets: Ends of the batches so far, as JSON: the offset log of a checkpoint to resume from.

    Attributes:
        committed: Batches of the offset log that are in the commit log.
        sizes: Rows of each batch that was read.
        died: Whether the last run was killed.
    """

    def __init__(
        self, make: Callable[[], Reader], write: Callable[[list[Row]], None], offsets: list[str] | None = None
    ) -> None:
        self.make = make
        self.write = write
        self.offsets = offsets or []
        self.committed = len(self.offsets)
        self.sizes: list[int] = []
        self.died = False
        self._left: int | None = None

    def run(self, kill_after: int | None = None) -> None:
        """Read until there are no more rows, as Trigger.AvailableNow does.

        Args:
            kill_after: Steps (of five per batch) after which the process is killed; None for never.

        Raises:
            KilledError: The process was killed.
        """
        self._left = kill_after
        self.died = True
        reader = self.make()
        self._step()
        if self.committed < len(self.offsets):
            self._batch(reader.repeat)
        for _ in range(1_000):
            start = self._offset(-1)
            end = json.loads(json.dumps(reader.latest(start)))
            self._step()
            if json.dumps(end) == json.dumps(start):
                self.died = False
                return
            self.offsets.append(json.dumps(end))
            self._step()
            self._batch(reader.rows)
        raise AssertionError("the stream does not end")

    def position(self, back: int = 1) -> int | None:
        """The history id of the last offset in the log, or of one before it."""
        value = self._offset(-back)
        return int(value["historyId"]) if value else None

    def _offset(self, index: int) -> Offset:
        return dict(json.loads(self.offsets[index])) if len(self.offsets) >= abs(index) else {}

    def _batch(self, read: Callable[[Offset, Offset], Iterator[Row]]) -> None:
        end = self._offset(-1)
        rows = [dict(row) for row in read(self._offset(-2), end)]
        self.sizes.append(len(rows))
        self._step()
        self.write(rows[: len(rows) // 2])
        self._step()
        self.write(rows)
        self._step()
        self.committed = len(self.offsets)

    def _step(self) -> None:
        if self._left is None:
            return
        if self._left == 0:
            raise KilledError
        self._left -= 1


class Target:
    """A table with the semantics of AUTO CDC: the highest sequence wins, also against deletes."""

    def __init__(self, table: str) -> None:
        self.table = table
        self.rows: dict[Any, Row] = {}
        self.deletions: dict[Any, int] = {}
        self.deleted: list[str] = []

    def upsert(self, rows: list[Row]) -> None:
        for row in rows:
            if self._is_newest(row):
                self.rows[self.key(row)] = row

    def delete(self, rows: list[Row]) -> None:
        for row in rows:
            self.deleted.append(row["id"])
            if self._is_newest(row):
                self.rows.pop(self.key(row), None)
                self.deletions[self.key(row)] = row["historySequence"]

    def key(self, row: Row) -> Any:
        """The row's key: with `mailbox`, if the stream has this column."""
        return (row["mailbox"], row["id"]) if "mailbox" in row else row["id"]

    def _is_newest(self, row: Row) -> bool:
        key = self.key(row)
        stored = self.rows.get(key, {}).get("historySequence", -1)
        return bool(row["historySequence"] >= max(self.deletions.get(key, -1), stored))


FILTERS: dict[str, dict[str, str]] = {
    "all": {},
    "inbox": {"labelids": "INBOX"},
    "spam and trash": {"includespamtrash": "true"},
    "search": {"q": "is:starred"},
    # Here a change is matched by its date, because a listing of the search costs more.
    "search of many pages": {"q": "is:inbox", "maxresults": "1"},
}
FLOWS = ("changes", "deletes")

MAILBOXES: dict[str, MemoryGmail] = {}
"""The mailbox of each connection, by its client id."""


@contextlib.contextmanager
def gmail_in_memory() -> Iterator[None]:
    """Connections lead to `MAILBOXES`."""

    def mailbox(connection: Connection, user_id: str | None = None, client: Any = None) -> Any:
        if user_id is None:
            return SimpleNamespace(api=MAILBOXES[connection.values["client_id"]], address="a@example.com")
        if user_id not in MAILBOXES:
            raise DelegationError(f"{user_id} is not readable.", fix="Allow it.")
        return SimpleNamespace(api=MAILBOXES[user_id], address=user_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "mailbox", mailbox)
        patch.setattr(Connection, "client", lambda connection: None)
        yield


def flows(reader: str, options: Callable[[], dict[str, str]], target: Target) -> tuple[Query, Query]:
    """The change flow and the delete flow of a table into one target; `options` are read when one starts."""

    def make(deletes: str) -> Callable[[], Any]:
        return lambda: READERS[reader]({**options(), "isdeleteflow": deletes})

    return Query(make("false"), target.upsert), Query(make("true"), target.delete)


class Streams:
    """Both flows of one table into one target."""

    def __init__(self, gmail: MemoryGmail, reader: str, table: str, filters: str = "all") -> None:
        MAILBOXES["id"] = gmail
        self.gmail = gmail
        self.table = table
        self.filters = FILTERS[filters]
        self.target = Target(table)
        self.limit = 1_000
        self.unknown: set[str] = set()

        self.changes, self.deletes = flows(
            reader,
            lambda: {
                "client_id": "id",
                "client_secret": "secret",
                "refresh_token": "token",
                "tablename": table,
                "format": "minimal",
                "max_records_per_batch": str(self.limit),
                **self.filters,
            },
            self.target,
        )

    def run(self, changes_die: int | None = None, deletes_die: int | None = None) -> None:
        for query, kill_after in ((self.changes, changes_die), (self.deletes, deletes_die)):
            with contextlib.suppress(KilledError):
                query.run(kill_after)

    def expire(self, what: str, flow: str) -> None:
        """Let the history expire: all of it, or up to the start of a batch of a flow, or of the batch before that.

        Afterwards the delete flow does not know the rows that were written since its last run. It logs a warning, and
        such rows can stay although their messages are deleted.
        """
        query = self.changes if flow == "changes" else self.deletes
        end, start = query.position(1), query.position(2)
        upto = {
            "everything": None,
            "start of the last batch": end,
            "start of the one before": start,
            "half": ((start or 0) + self.gmail.head) // 2,
        }.get(what, self.gmail.floor)
        if what == "everything" or upto is not None:
            self.gmail.expire(upto)
            reached = self.deletes.position() or 0
            self.unknown |= {key for key, row in self.target.rows.items() if row["historySequence"] > reached}

    def assert_equal(self) -> None:
        labels = [self.filters[name] for name in ("labelids",) if name in self.filters]
        labels += [self.filters["q"].removeprefix("is:").upper()] if "q" in self.filters else []
        truth = self.gmail.rows(self.table, labels, "includespamtrash" in self.filters)
        assert truth.keys() <= self.target.rows.keys()
        assert self.target.rows.keys() - truth.keys() <= self.unknown
        for key, row in truth.items():
            assert comparable(self.target.rows[key]) == comparable(json_row(self.table, row)), key
