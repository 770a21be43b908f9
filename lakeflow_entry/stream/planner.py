"""Plans the batches of a stream for both of Spark's stream readers: `OnePlanner` of one mailbox, `ManyPlanner` of many.

A planner takes and returns offsets as Spark stores them. A planned batch is a list of `Part`s, one per mailbox. Their
plain values are pickled to Spark's workers, each of which reads one part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gmail_client.changes import ListedThread
from lakeflow_entry.stream.batch import Batch
from lakeflow_entry.stream.changes import ChangeReader
from lakeflow_entry.stream.deleted_rows import DeletedRow
from lakeflow_entry.stream.deletes import DeleteReader
from lakeflow_entry.stream.many import ManyOffset, ManyReader
from lakeflow_entry.stream.offsets import Offset

__all__ = ["ManyPlanner", "OnePlanner", "Part", "Planner", "batch_of", "deleted_of"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """What a batch has of one mailbox.

    Attributes:
        contents: The batch or the deletes, as plain values: see `batch_of` and `deleted_of`.
        mailbox: The mailbox's name; None for the connection's.
        address: The value of the column `mailbox`; None if there is no such column.
    """

    contents: Mapping[str, Any]
    mailbox: str | None = None
    address: str | None = None

    def to_plain(self) -> tuple[Mapping[str, Any], str | None, str | None]:
        """The arguments of this part.

        A worker unpickles a partition before it can import the modules of the single file, so partitions must not
        contain classes of these modules.
        """
        return self.contents, self.mailbox, self.address


class Planner(Protocol):
    """What both planners do."""

    def fix_heads(self) -> None:
        """Let the stream end where the mailboxes are now."""
        ...

    def plan(self, start: Json) -> Json:
        """The end of the batch that starts at `start`; `start` itself if there is nothing more."""
        ...

    def parts(self, start: Json, end: Json) -> list[Part]:
        """The parts of a batch, planned by this process or by an earlier one."""
        ...


class OnePlanner:
    """The batches of one mailbox.

    Args:
        open_reader: Opens its reader.
    """

    def __init__(self, open_reader: Callable[[], ChangeReader | DeleteReader]) -> None:
        self._open = open_reader
        self._reader: ChangeReader | DeleteReader | None = None
        self._head: int | None = None
        self._planned: tuple[Offset, Offset, Mapping[str, Any]] | None = None

    def fix_heads(self) -> None:
        """Let the stream end where the mailbox is now."""
        self._head = self._live().history.fix_head()

    def plan(self, start: Json) -> Json:
        """The end of the next batch. Spark asks for it only after the batch before it was delivered."""
        begin = Offset.parse(start)
        confirmed = self._planned is not None and self._planned[1] == begin
        end, contents = self._live().plan(begin, self._head, confirmed=confirmed)
        self._planned = (begin, end, _plain(contents))
        return start if end == begin else end.to_json()

    def parts(self, start: Json, end: Json) -> list[Part]:
        """The part of a batch."""
        begin, until = Offset.parse(start), Offset.parse(end)
        if self._planned is not None and self._planned[:2] == (begin, until):
            return [Part(self._planned[2])]
        self._planned = None
        return [Part(_plain(self._live().between(begin, until)))]

    def _live(self) -> ChangeReader | DeleteReader:
        if self._reader is None:
            self._reader = self._open()
        return self._reader


class ManyPlanner:
    """The batches of many mailboxes.

    Args:
        reader: Plans them.
        names: The mailboxes, which may change from batch to batch.
        owner: The mailbox of a checkpoint of one mailbox.
        address: The real address of a mailbox.
    """

    def __init__(
        self,
        reader: ManyReader,
        *,
        names: Callable[[], Sequence[str]],
        owner: Callable[[], str | None],
        address: Callable[[str], str],
    ) -> None:
        self._reader = reader
        self._names = names
        self._owner = owner
        self._address = address
        self._planned: tuple[ManyOffset, ManyOffset, list[Part]] | None = None

    def fix_heads(self) -> None:
        """Let the stream end where the mailboxes are now."""
        self._reader.fix_heads()

    def plan(self, start: Json) -> Json:
        """The end of the next batch."""
        begin = self._parsed(start)
        confirmed = self._planned is not None and self._planned[1] == begin
        end, contents = self._reader.plan(begin, self._names(), confirmed=confirmed)
        self._planned = (begin, end, self._parts(contents))
        return start if end == begin else end.to_json()

    def parts(self, start: Json, end: Json) -> list[Part]:
        """The parts of a batch, one for each mailbox with rows."""
        begin, until = self._parsed(start), self._parsed(end)
        if self._planned is not None and self._planned[:2] == (begin, until):
            return self._planned[2]
        self._planned = None
        return self._parts(self._reader.between(begin, until, self._names()))

    def _parsed(self, offset: Json) -> ManyOffset:
        single = bool(offset) and "mailboxes" not in offset
        return ManyOffset.parse(offset, self._owner() if single else None)

    def _parts(self, contents: Mapping[str, Batch | list[DeletedRow]]) -> list[Part]:
        return [Part(_plain(found), name, self._address(name)) for name, found in contents.items()]


def batch_of(contents: Mapping[str, Any]) -> Batch:
    """The batch in the contents of a part."""
    heads = {thread: ListedThread(*head) for thread, head in contents["heads"].items()}
    return Batch(
        contents["threads"],
        contents["sequence"],
        heads,
        contents["changed"],
        frozenset(contents["new"]),
        contents["floor"],
    )


def deleted_of(contents: Mapping[str, Any]) -> list[DeletedRow]:
    """The deleted rows in the contents of a part."""
    return [DeletedRow(*one) for one in contents["deleted"]]


def _plain(contents: Batch | list[DeletedRow]) -> dict[str, Any]:
    if not isinstance(contents, Batch):
        return {"deleted": [tuple(row) for row in contents]}
    return {
        "threads": dict(contents.threads),
        "sequence": dict(contents.sequence),
        "heads": {thread: (head.history_id, head.snippet) for thread, head in contents.heads.items()},
        "changed": contents.changed,
        "new": sorted(contents.new),
        "floor": contents.floor,
    }
