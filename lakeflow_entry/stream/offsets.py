"""How far a stream has come: `Offset`, and its form in Spark's checkpoint.

    {}                                                a new stream
    {"historyId": "812"}                              all changes up to record 812 are delivered
    {"historyId": "812", "seen": 100}                 and the first 100 rows of the next record, which is a large one
    {"historyId": "812", "place": ..., "until": ..., "top": ..., "taken": ...}
                                                      a load under way, anchored at record 812
    {"historyId": "950", "reloaded": "812"}           ... everything was read again at record 812, because Gmail no
                                                      longer kept the history that the stream needed

    {"historyId": "950", "known": "eJw..."}           ... and, for the delete flow, the rows that the table may have

Spark compares offsets as text, so the keys always come in this order. `LoadPosition` explains those of a load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gmail_client.errors import ConfigurationError

__all__ = ["NEW", "LoadPosition", "Offset"]


@dataclass(frozen=True, slots=True)
class LoadPosition:
    """Where in the descending order of positions a load stands.

    Attributes:
        place: Position of the last row delivered; the next ones are below it.
        until: Position of the last row of the next batch, empty where that batch takes all the rest. A batch that is
            replayed after a crash so takes the same range, whatever arrived meanwhile.
        top: The greatest id at the load's beginning: what is above it came later and is left to the history.
        taken: Rows of the first batch, in the second batch's offset only. A first batch that is replayed after a crash
            counts from the newest row again, so rows that arrived meanwhile push others out of it; the second
            batch delivers whatever lies beyond so many rows.
    """

    place: str
    until: str
    top: str
    taken: int = 0


@dataclass(frozen=True, slots=True)
class Offset:
    """A place in a mailbox's stream of changes.

    Attributes:
        history_id: History id up to which all is delivered, or at which a load is anchored; None for a new stream.
        seen: Rows delivered of the record after it.
        load: Where a load stands; None once it is through.
        reloaded: Anchor of the last load that was not the first: rows deleted before it may still be in the target.
        known: For the delete flow of a table that is not too large, the packed ids of its rows: what is missing of
            them after the history has expired was deleted meanwhile.
    """

    history_id: int | None = None
    seen: int = 0
    load: LoadPosition | None = None
    reloaded: int | None = None
    known: str | None = None

    @classmethod
    def parse(cls, value: Mapping[str, Any] | None) -> Offset:
        """Read an offset as Spark hands it over.

        Raises:
            ConfigurationError: It is none of this connector's.
        """
        if not value:
            return NEW
        try:
            load = None
            if "place" in value:
                load = LoadPosition(
                    str(value["place"]), str(value["until"]), str(value["top"]), int(value.get("taken", 0))
                )
            reloaded = int(value["reloaded"]) if "reloaded" in value else None
            known = str(value["known"]) if "known" in value else None
            return cls(int(value["historyId"]), int(value.get("seen", 0)), load, reloaded, known)
        except (KeyError, TypeError, ValueError):
            raise ConfigurationError(
                f"The stream's offset {dict(value)!r:.200} is not one of this connector's.",
                fix="Let the stream go on from its own checkpoint, or start with a new checkpoint.",
            ) from None

    def to_json(self) -> dict[str, Any]:
        """The offset as Spark stores it."""
        if self.history_id is None:
            return {}
        value: dict[str, Any] = {"historyId": str(self.history_id)}
        if self.seen:
            value["seen"] = self.seen
        if self.load is not None:
            value["place"] = self.load.place
            value["until"] = self.load.until
            value["top"] = self.load.top
            if self.load.taken:
                value["taken"] = self.load.taken
        if self.reloaded is not None:
            value["reloaded"] = str(self.reloaded)
        if self.known is not None:
            value["known"] = self.known
        return value


NEW = Offset()
"""Where a new stream begins."""
