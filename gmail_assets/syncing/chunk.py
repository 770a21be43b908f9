"""A chunk of fetched messages, converted to Arrow once for all tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gmail_client import unknown_fields
from gmail_client.fetch import FetchedThread
from gmail_client.options import MessageFormat
from gmail_client.schema import SCHEMAS, message_array
from gmail_client.unknown_fields import COLUMN

__all__ = ["Chunk", "projected"]

_SCHEMA = SCHEMAS["messages"]


class Chunk:
    """Messages that a few API calls returned or that were read from another table.

    They are converted when a table selects its messages: a message that no table stores is never converted.

    Args:
        fetched: One entry per thread, or several.
        array: The content of the messages, each once and in their order, if it is not in `fetched`.
        origin: The chunk with the content and the format to reduce it to, if it is not in `fetched`.

    Attributes:
        messages: The messages, each id once.
        place: Message id to its index in `messages`.
    """

    def __init__(
        self,
        fetched: Sequence[FetchedThread],
        array: pa.StructArray | None = None,
        origin: tuple[Chunk, MessageFormat] | None = None,
    ) -> None:
        self.fetched = fetched
        self.messages: list[dict[str, Any]] = []
        self.place: dict[str, int] = {}
        for item in fetched:
            for message in item.messages:
                if self.place.setdefault(message["id"], len(self.messages)) == len(self.messages):
                    self.messages.append(message)
        self._array = array
        self._origin = origin
        self._selected: tuple[list[int], pa.StructArray] | None = None

    def selected(self, places: list[int]) -> pa.StructArray:
        """The messages at these ascending indexes as structs.

        The last selection is kept: both tables usually leave out the same messages.
        """
        if self._selected is None or self._selected[0] != places:
            self._selected = places, self._converted(places)
        return self._selected[1]

    def _converted(self, places: list[int]) -> pa.StructArray:
        if self._origin is not None:
            chunk, format_ = self._origin
            return projected(chunk.selected(places), format_)
        if self._array is None:
            return message_array([self.messages[place] for place in places])
        if len(places) == len(self._array):
            return self._array
        return self._array.take(pa.array(places, pa.int64()))

    def rows(self, places: list[int]) -> pa.Table:
        """Rows of `messages` for the messages at these ascending indexes."""
        array = self.selected(places)
        columns = array.flatten()
        history = columns[array.type.get_field_index("historyId")]
        unknown = pa.array([self.messages[place].get(COLUMN) for place in places], pa.string())
        return pa.Table.from_arrays([*columns, pc.cast(history, pa.int64()), unknown], schema=_SCHEMA)

    def projected(self, stored: MessageFormat, wanted: MessageFormat) -> Chunk:
        """The same messages in a format that their current format includes."""
        if stored == wanted:
            return self
        return Chunk([_known_in(item, wanted) for item in self.fetched], origin=(self, wanted))

    def joined(self, other: Chunk) -> Chunk:
        """Both chunks in one; if both have a message, this chunk's is used."""
        extra = [place for place, message in enumerate(other.messages) if message["id"] not in self.place]
        if not extra:
            return self
        array = pa.concat_arrays([self.selected(list(range(len(self.messages)))), other.selected(extra)])
        return Chunk([*self.fetched, *other.fetched], array)


def _known_in(fetched: FetchedThread, format_: MessageFormat) -> FetchedThread:
    """A fetched thread without the unknown fields that a smaller format does not have."""
    if not any(COLUMN in message for message in fetched.messages):
        return fetched
    messages = [
        {**message, COLUMN: unknown_fields.projected(message.get(COLUMN), format_)}
        for message in fetched.messages
    ]
    return replace(fetched, messages=messages)


def projected(messages: pa.StructArray, format_: MessageFormat) -> pa.StructArray:
    """Messages as Gmail returns them in a smaller format.

    Args:
        messages: Structs as `threads.messages` holds them.
        format_: `metadata` keeps the payload's MIME type and headers, `minimal` drops the payload.
    """
    dropped = ["raw"] if format_ == "metadata" else ["raw", "payload"]
    fields = list(messages.type)
    columns = dict(zip([field.name for field in fields], messages.flatten(), strict=True))
    for name in dropped:
        if name in columns:
            columns[name] = pa.nulls(len(messages), columns[name].type)
    if format_ == "metadata":
        payload = columns["payload"]
        inner = [
            column if field.name in ("mimeType", "headers") else pa.nulls(len(payload), field.type)
            for field, column in zip(payload.type, payload.flatten(), strict=True)
        ]
        columns["payload"] = pa.StructArray.from_arrays(
            inner, fields=list(payload.type), mask=pc.is_null(payload)
        )
    return pa.StructArray.from_arrays(list(columns.values()), fields=fields)
