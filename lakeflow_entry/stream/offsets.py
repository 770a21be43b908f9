"""How far a stream has come: `Offset`, and its form in Spark's checkpoint.

    {}                                                                a new stream
    {"version": 2, "historyId": "812", "limit": 1000}                 all changes up to history id 812 are delivered
    {..., "historyId": "812", "seen": 100}                            ... and the first 100 rows of the next record
    {..., "historyId": "950", "since": "812"}                         the batch before it started at 812
    {..., "historyId": "812", "reload": true}                         the history after 812 has expired: read everything
    {..., "historyId": "960", "position": "", "until": ..., "newest": ...}
                                                                      a load, started at history id 960
    {..., "reloaded": "960"}                                          the last load, not the first one, started at 960
    {..., "known": "eJw...", "gone": "eJw..."}                        delete flow: ids that the table may hold
    {..., "loadedAt": "1700000000"}                                   the first load of a search with `newer_than:`
    {..., "historyId": "812", "recheck": "790", "late": "eJw...", "lateReadAt": "1700000000"}
                                                                      arrivals that did not match the search yet
    {..., "readAt": "1700000000", "rows": 5100}                       a table with a search: see `Offset`
    {..., "mailbox": "ada@example.com", "filters": "labelIds=INBOX", "content": "format=full"}
                                                                      what the stream belongs to

The offset alone decides what the next batch contains, never what a process remembers. A batch that Spark repeats after
a crash, in another process and perhaps without naming its end, so contains at least what it contained before. Only the
history can be missing by then: `since` lets the next batch find that out, and the stream reads everything again.

Spark compares offsets as text, so the keys always have this order. Offsets of version 1 (without `version`) are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gmail_client.errors import ConfigurationError

__all__ = ["NEW", "VERSION", "LoadPosition", "Offset"]

VERSION = 2
"""Version of the offsets that are written."""


@dataclass(frozen=True, slots=True)
class LoadPosition:
    """How far a load has come in the descending order of positions.

    Attributes:
        after: Position of the last row delivered, empty at the start; the next rows are below it.
        until: Position of the last row of the next batch; empty when that batch takes all the rest.
        newest: The greatest id at the start of the load. What is above it came later and is in the history.
        taken: Version 1 only: rows of the first batch. The batch after it starts at the row of this index, if
            that is above `after`.
    """

    after: str
    until: str
    newest: str
    taken: int = 0

    @property
    def is_first(self) -> bool:
        """Whether the next batch starts with the newest row."""
        return not self.after


@dataclass(frozen=True, slots=True)
class Offset:
    """A position in a mailbox's stream of changes.

    Attributes:
        history_id: History id up to which all is delivered, or at which a load started; None for a new stream.
        seen: Rows delivered of the record after it.
        since: Where the batch that ended here started. None once a later batch has shown that nothing of it is missing.
        limit: Maximum number of rows of the next batch, even if the table option changes until then.
        reload: The history after `history_id` has expired, so the next batch starts a load.
        load: How far a load has come; None when none is under way.
        reloaded: Start of the last load that was not the first. Rows deleted before it may still be in the target.
        known: For the delete flow, the packed ids of the rows that the target may hold; None when they are too many.
        gone: For the delete flow, the packed ids that the last batch deleted.
        loaded_at: Epoch seconds of the first load; None if the table's search does not depend on it, or if a release
            started the stream that did not note it.
        recheck: History id after which messages arrived that did not match the table's search: the next batch matches
            them again, because Gmail's search may find them late. None for none.
        late: The packed ids of these messages.
        late_read_at: Epoch seconds; these messages arrived after this. None if unknown.
        read_at: Epoch seconds; messages that the history after the offset names as new arrived after this. None if
            unknown, or if the table has no search.
        rows: About how many messages the table's search lists. None if unknown, or if the table has no search.
        mailbox: The mailbox's address. None for one of many mailboxes, and in offsets of earlier releases.
        filters: The options that decide which rows the table has, see `lakeflow_entry.stream.identity`. None in offsets
            of earlier releases.
        content: The options that decide what its rows contain, see `lakeflow_entry.stream.identity`. None for a delete
            flow, and in offsets of earlier releases.
        version: Version of the form in which it was read.
    """

    history_id: int | None = None
    seen: int = 0
    since: int | None = None
    limit: int | None = None
    reload: bool = False
    load: LoadPosition | None = None
    reloaded: int | None = None
    known: str | None = None
    gone: str | None = None
    loaded_at: int | None = None
    recheck: int | None = None
    late: str | None = None
    late_read_at: int | None = None
    read_at: int | None = None
    rows: int | None = None
    mailbox: str | None = None
    filters: str | None = None
    content: str | None = None
    version: int = VERSION

    @property
    def is_new(self) -> bool:
        """Whether it is the start of a new stream."""
        return self.history_id is None

    @property
    def starts_load(self) -> bool:
        """Whether the next batch is the first of a load."""
        return self.is_new or self.reload

    def same_place(self, other: Offset) -> bool:
        """Whether no change lies between the two."""
        return (self.history_id, self.seen) == (other.history_id, other.seen)

    def batch_limit(self, option: int, repeated: bool) -> int:
        """Largest number of rows of the batch that starts here.

        A repeated batch must not be smaller than the first one: it has the offset's limit, the first one never more.
        """
        if self.limit is None:
            return option
        return self.limit if repeated else min(option, self.limit)

    def confirmed(self) -> Offset:
        """This offset, once the batch before it is known to be delivered."""
        if self.since is None and self.gone is None:
            return self
        return replace(self, since=None, gone=None, version=VERSION)

    def expired(self) -> Offset:
        """This offset, from which the stream can't continue with the history."""
        return replace(
            self, since=None, reload=True, recheck=None, late=None, late_read_at=None, version=VERSION
        )

    def after(self, began: int | None, limit: int) -> Offset:
        """This offset as the end of a batch that started at `began` (None: it contains no row)."""
        since = began if began != self.history_id else None
        return replace(self, since=since, limit=limit, version=VERSION)

    @classmethod
    def parse(cls, value: Mapping[str, Any] | None) -> Offset:
        """Read an offset as Spark hands it over.

        Raises:
            ConfigurationError: Another program wrote it, a later version of this one, or a stream of many mailboxes.
        """
        if not value:
            return NEW
        if "mailboxes" in value:
            raise ConfigurationError(
                "The checkpoint is that of a stream of many mailboxes, but only one is to be read.",
                fix="Set mailboxes again, or start with a new checkpoint and a new table.",
            )
        try:
            version = int(value.get("version", 1))
            if version > VERSION:
                raise ConfigurationError(
                    f"The stream's offset has version {version}; this release reads versions up to {VERSION}.",
                    fix="Install the gmail-assets that wrote the checkpoint, or start with a new checkpoint.",
                )
            return cls(
                history_id=int(value["historyId"]),
                seen=int(value.get("seen", 0)),
                since=_number(value, "since"),
                limit=_number(value, "limit"),
                reload=bool(value.get("reload", False)),
                load=_load_v1(value) if version == 1 else _load(value),
                reloaded=_number(value, "reloaded"),
                known=_text(value, "known"),
                gone=_text(value, "gone"),
                loaded_at=_number(value, "loadedAt"),
                recheck=_number(value, "recheck"),
                late=_text(value, "late"),
                late_read_at=_number(value, "lateReadAt"),
                read_at=_number(value, "readAt"),
                rows=_number(value, "rows"),
                mailbox=_text(value, "mailbox"),
                filters=_text(value, "filters"),
                content=_text(value, "content"),
                version=version,
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(
                f"The stream's offset {dict(value)!r:.200} was not written by this connector.",
                fix="Use the stream's own checkpoint, or start with a new one.",
            ) from None

    def to_json(self) -> dict[str, Any]:
        """The offset as Spark stores it, in the present version."""
        if self.history_id is None:
            return {}
        load = self.load
        value = {
            "version": VERSION,
            "historyId": str(self.history_id),
            "seen": self.seen or None,
            "since": None if self.since is None else str(self.since),
            "limit": self.limit,
            "reload": self.reload or None,
            "position": load.after if load else None,
            "until": load.until if load else None,
            "newest": load.newest if load else None,
            "taken": load.taken or None if load else None,
            "reloaded": None if self.reloaded is None else str(self.reloaded),
            "known": self.known,
            "gone": self.gone,
            "loadedAt": None if self.loaded_at is None else str(self.loaded_at),
            "recheck": None if self.recheck is None else str(self.recheck),
            "late": self.late,
            "lateReadAt": None if self.late_read_at is None else str(self.late_read_at),
            "readAt": None if self.read_at is None else str(self.read_at),
            "rows": self.rows,
            "mailbox": self.mailbox,
            "filters": self.filters,
            "content": self.content,
        }
        return {key: one for key, one in value.items() if one is not None}


def _number(value: Mapping[str, Any], key: str) -> int | None:
    return int(value[key]) if key in value else None


def _text(value: Mapping[str, Any], key: str) -> str | None:
    return str(value[key]) if key in value else None


def _load(value: Mapping[str, Any]) -> LoadPosition | None:
    if "position" not in value:
        return None
    return LoadPosition(
        str(value["position"]), str(value["until"]), str(value["newest"]), int(value.get("taken", 0))
    )


def _load_v1(value: Mapping[str, Any]) -> LoadPosition | None:
    if "place" not in value:
        return None
    return LoadPosition(
        str(value["place"]), str(value["until"]), str(value["top"]), int(value.get("taken", 0))
    )


NEW = Offset()
"""The start of a new stream."""
