"""The initial content of a mailbox: `SeededMailbox`, and `SeededMessage`, one of its messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gmail_client.emulator.mail.content import MessageContent

__all__ = ["SeededMailbox", "SeededMessage"]


@dataclass(frozen=True, slots=True)
class SeededMessage:
    """One message of the initial content.

    Args:
        content: The content.
        thread: A number, the same for all messages of a thread.
        label_ids: Its labels.
        internal_date_ms: When it arrived, epoch milliseconds.
        draft: Whether it is a draft (with the label DRAFT).
        chat: Whether it is a chat (with the label CHAT), which has no raw form.
        classification: `classificationLabelValues` of the message.
    """

    content: MessageContent
    thread: int
    label_ids: tuple[str, ...]
    internal_date_ms: int
    draft: bool = False
    chat: bool = False
    classification: tuple[dict[str, Any], ...] = ()


@dataclass
class SeededMailbox:
    """The initial content of a mailbox. It can be iterated repeatedly and yields its messages, oldest first.

    Args:
        address: The owner's address.
        messages: Number of messages.
        seed: Determines everything.
        source: Returns the messages.
        labels: User labels as label resources.
        settings: The five parts by name (autoForwarding, imap, pop, language, vacation).
        filters: Filter resources.
        send_as: SendAs resources, the primary one first.
        forwarding_addresses: ForwardingAddress resources.
        delegates: Delegate resources.
        history_start: The history id before the first message.
    """

    address: str
    messages: int
    seed: int
    source: Callable[[], Iterator[SeededMessage]]
    labels: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    filters: list[dict[str, Any]] = field(default_factory=list)
    send_as: list[dict[str, Any]] = field(default_factory=list)
    forwarding_addresses: list[dict[str, Any]] = field(default_factory=list)
    delegates: list[dict[str, Any]] = field(default_factory=list)
    history_start: int = 1000

    def __iter__(self) -> Iterator[SeededMessage]:
        return self.source()
