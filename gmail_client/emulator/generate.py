"""A mailbox from a seed: messages, labels, settings. (First form.)"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gmail_client.emulator.content import Content
from gmail_client.emulator.mail import RawContent

__all__ = ["Seeded", "SeededMailbox", "random_mail", "seeded_mailbox"]


@dataclass(frozen=True, slots=True)
class Seeded:
    """One message of a seeded mailbox, oldest first; `thread` is the ordinal of its thread."""

    content: Content
    thread: int
    label_ids: tuple[str, ...]
    internal_date_ms: int
    draft: bool = False
    chat: bool = False
    classification: tuple[dict[str, Any], ...] = ()


@dataclass
class SeededMailbox:
    """What a mailbox holds at first; iterate over it for its messages."""

    address: str
    messages: int
    seed: int
    labels: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    filters: list[dict[str, Any]] = field(default_factory=list)
    send_as: list[dict[str, Any]] = field(default_factory=list)
    forwarding_addresses: list[dict[str, Any]] = field(default_factory=list)
    delegates: list[dict[str, Any]] = field(default_factory=list)
    history_start: int = 1000

    def __iter__(self) -> Iterator[Seeded]:
        rng = random.Random(self.seed)  # noqa: S311
        thread = 0
        for number in range(self.messages):
            if rng.random() < 0.6:
                thread = number
            raw = random_mail(rng, self.address)
            yield Seeded(RawContent(raw), thread, ("INBOX", "UNREAD"), 1_600_000_000_000 + number * 60_000)


def random_mail(rng: random.Random, address: str, *, reply_to: Content | None = None) -> bytes:
    """New mail for `address`, RFC 822 bytes; with `reply_to` an answer to it."""
    number = int(rng.random() * 1e9)
    subject = f"Re: {reply_to.subject}" if reply_to else f"Message {number}"
    references = (
        f"References: {reply_to.message_id}\r\nIn-Reply-To: {reply_to.message_id}\r\n" if reply_to else ""
    )
    return (
        f"From: Someone <someone{number % 7}@example.com>\r\nTo: {address}\r\nSubject: {subject}\r\n"
        f"Message-ID: <{number}@example.com>\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\n{references}"
        f"Content-Type: text/plain; charset=utf-8\r\n\r\nHello, number {number}.\r\n"
    ).encode()


def seeded_mailbox(seed: int, index: int, messages: int, *, mean_json_kb: float = 15) -> SeededMailbox:
    """The mailbox number `index` of a seed."""
    address = f"person{index}@gmail.test"
    return SeededMailbox(
        address=address,
        messages=messages,
        seed=seed * 1000 + index,
        labels=[
            {
                "id": "Label_1",
                "name": "Work",
                "type": "user",
                "messageListVisibility": "show",
                "labelListVisibility": "labelShow",
            }
        ],
        settings={
            "autoForwarding": {"enabled": False},
            "imap": {"enabled": True, "autoExpunge": True, "expungeBehavior": "archive", "maxFolderSize": 0},
            "pop": {"accessWindow": "disabled", "disposition": "leaveInInbox"},
            "language": {"displayLanguage": "en"},
            "vacation": {"enableAutoReply": False, "restrictToContacts": False, "restrictToDomain": False},
        },
        send_as=[
            {
                "sendAsEmail": address,
                "displayName": "Person",
                "replyToAddress": "",
                "signature": "",
                "isPrimary": True,
                "isDefault": True,
            }
        ],
    )
