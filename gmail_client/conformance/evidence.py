"""The responses that were read from a mailbox for the probes: `Evidence`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gmail_client.http.exchange import BatchReply, Reply

__all__ = ["EVENTS", "MALFORMED", "CannotTell", "Evidence", "Resource", "items", "number", "part_list"]

Resource = dict[str, Any]

EVENTS = ("messagesAdded", "messagesDeleted", "labelsAdded", "labelsRemoved")
"""The keys of a history record that contain its events."""


MALFORMED = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""Exceptions of code that expects Gmail's JSON, when a value has another type."""


class CannotTell(Exception):  # noqa: N818 - not an error: the evidence does not suffice
    """A question has no answer in this mailbox; the text is the reason."""


@dataclass
class Evidence:
    """Responses by the name of the read, and why a read failed.

    Attributes:
        replies: The responses of each read, in order; see `reads.READS` for the names.
        problems: Why a read has no response.
        labels_by_id: Responses of labels.get, by label id.
        messages: Responses of messages.get, by message id and format.
        history_start: The history id after which the history was read.
        batch: The batch of gets.
        refusals: Transient refusals that were retried.
    """

    replies: dict[str, list[Reply]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    labels_by_id: dict[str, Reply] = field(default_factory=dict)
    messages: dict[str, dict[str, Reply]] = field(default_factory=dict)
    history_start: int = 0
    batch: BatchReply | None = None
    refusals: list[Reply] = field(default_factory=list)

    def reply(self, name: str) -> Reply:
        """The first response of a read, with any status.

        Raises:
            CannotTell: There is none.
        """
        found = self.replies.get(name)
        if not found:
            raise CannotTell(self.problems.get(name, f"{name} was not read"))
        return found[0]

    def pages(self, name: str) -> list[Resource]:
        """The JSON of all responses of a read.

        Raises:
            CannotTell: There is none, or one was refused.
        """
        self.reply(name)
        pages = []
        for reply in self.replies[name]:
            if reply.status != 200 or reply.json is None:
                raise CannotTell(f"{name} was refused (HTTP {reply.status})")
            pages.append(reply.json)
        return pages

    def json(self, name: str) -> Resource:
        """The JSON of the first response of a read; see `pages`."""
        self.pages(name)
        return self.pages(name)[0]

    @property
    def everything(self) -> Iterator[Reply]:
        """All responses of single requests."""
        for replies in self.replies.values():
            yield from replies

    def something(self) -> None:
        """Make sure that there is a response.

        Raises:
            CannotTell: Nothing was read.
        """
        if not self.replies:
            raise CannotTell("nothing was read")

    @property
    def head(self) -> int:
        """The history id of the mailbox before anything else was read."""
        return number(self.json("profile").get("historyId"))

    @cached_property
    def records(self) -> list[Resource]:
        """The history records that were read.

        Raises:
            CannotTell: There are none.
        """
        found = [record for page in self.pages("history") for record in items(page, "history")]
        if not found:
            raise CannotTell("nothing changed in the mailbox since the oldest history that is left")
        return found

    @property
    def history_is_complete(self) -> bool:
        """Whether the last page of the history was read."""
        return "nextPageToken" not in self.pages("history")[-1]

    def events(self) -> Iterator[tuple[Resource, str, Resource]]:
        """Record, kind and event of every change in the history."""
        for record in self.records:
            for kind in EVENTS:
                for event in items(record, kind):
                    yield record, kind, event

    @cached_property
    def listed_labels(self) -> dict[str, Resource]:
        """The labels of labels.list, by id."""
        return {str(label.get("id")): label for label in items(self.json("labels"), "labels")}

    def full(self) -> list[Resource]:
        """Every message that was read in full, on its own or in the thread; at least one.

        Raises:
            CannotTell: There is none.
        """
        found = [
            reply.json
            for replies in self.messages.values()
            if (reply := replies.get("full")) is not None and reply.status == 200 and reply.json is not None
        ]
        if "thread" in self.replies and (thread := self.reply("thread").json) is not None:
            found += items(thread, "messages")
        if not found:
            raise CannotTell("no message was read in full")
        return found

    def pairs(self) -> list[tuple[Resource, Resource]]:
        """Messages that were read in full and raw: both responses; at least one pair.

        Raises:
            CannotTell: There is none.
        """
        raw = {
            message_id: reply.json
            for message_id, replies in self.messages.items()
            if (reply := replies.get("raw")) is not None and reply.json is not None and reply.json.get("raw")
        }
        found = [
            (message, raw[message_id])
            for message in self.full()
            if (message_id := str(message.get("id"))) in raw
        ]
        if not found:
            raise CannotTell("no message was read both raw and in full")
        return found


def items(document: Mapping[str, Any], key: str) -> list[Resource]:
    """The objects of a list field; none if it is absent or no list."""
    found = document.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def part_list(part: Mapping[str, Any]) -> Sequence[Resource]:
    """A payload and all parts below it, in order."""
    return [dict(part), *(inner for child in items(part, "parts") for inner in part_list(child))]


def number(value: object) -> int:
    """A history id or another number as Gmail writes it; 0 if it is none."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() else 0
