"""What a mailbox holds at first: `SeededMailbox`, and `SeededMessage`, one message of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gmail_client.emulator.mail.content import MessageContent

__all__ = ["SeededMailbox", "SeededMessage"]


@dataclass(frozen=True, slots=True)
class SeededMessage:
    """One message of a mailbox as it is at first.

    Args:
        content: What it says.
        thread: The ordinal of its thread, the same for all its messages.
        label_ids: Its labels.
        internal_date_ms: When it arrived, epoch milliseconds.
        draft: Whether a draft holds it (it then has the label DRAFT).
        chat: Whether it is a chat (label CHAT): Gmail has no raw form of it.
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
    """What a mailbox holds at first; iterate over it for its messages, oldest first, as often as needed.

    Args:
        address: The owner's address.
        messages: How many messages there are.
        seed: What everything was drawn from.
        source: Makes the messages.
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
