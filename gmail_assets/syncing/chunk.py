"""A piece of fetched mail on its way into the tables: turned into Arrow once, for both of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gmail_client.fetch import FetchedThread
from gmail_client.schema import SCHEMAS, message_array

__all__ = ["Chunk"]

_SCHEMA = SCHEMAS["messages"]


class Chunk:
    """What a few calls brought.

    Args:
        fetched: One entry per thread, or several.

    Attributes:
        messages: The messages, each id once.
    """

    def __init__(self, fetched: Sequence[FetchedThread]) -> None:
        self.fetched = fetched
        self.messages: list[dict[str, Any]] = []
        self.place: dict[str, int] = {}
        for item in fetched:
            for message in item.messages:
                if self.place.setdefault(message["id"], len(self.messages)) == len(self.messages):
                    self.messages.append(message)

    @cached_property
    def array(self) -> pa.StructArray:
        """The messages as structs, in their order."""
        return message_array(self.messages)

    def rows(self, places: Sequence[int]) -> pa.Table:
        """Rows of `messages` for the messages at these places."""
        array = (
            self.array if len(places) == len(self.array) else self.array.take(pa.array(places, pa.int64()))
        )
        columns = array.flatten()
        history = columns[array.type.get_field_index("historyId")]
        return pa.Table.from_arrays([*columns, pc.cast(history, pa.int64())], schema=_SCHEMA)
