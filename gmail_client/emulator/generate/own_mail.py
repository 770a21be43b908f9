"""A user's own mail in a mailbox of the emulator: `with_own_mail` adds messages from files.

If the files contain Gmail's thread ids (Takeout), these are used; other messages join the thread of a message that they
refer to, if it has the same subject. Missing labels are created.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from gmail_client.emulator.generate.seeded import SeededMailbox, SeededMessage
from gmail_client.emulator.mail.files import (
    SYSTEM_LABEL_IDS,
    ImportedMessage,
    read_eml,
    read_maildir,
    read_mbox,
)
from gmail_client.emulator.mail.headers import base_subject

__all__ = ["with_own_mail"]

_FIRST_LABEL = 1001


def with_own_mail(
    mailbox: SeededMailbox,
    *,
    eml: Iterable[Path] = (),
    mbox: Iterable[Path] = (),
    maildir: Iterable[Path] = (),
) -> SeededMailbox:
    """A mailbox with the messages of files added in the order of their dates.

    Args:
        mailbox: The mailbox to add to.
        eml: Folders with .eml files, at any depth.
        mbox: Files in mbox form, such as a Google Takeout export.
        maildir: Maildir folders.

    Raises:
        ConfigurationError: A file or folder is missing or has another format.
    """
    found = list(
        chain(
            chain.from_iterable(map(read_mbox, mbox)),
            chain.from_iterable(map(read_maildir, maildir)),
            chain.from_iterable(map(read_eml, eml)),
        )
    )
    found.sort(key=lambda item: item.internal_date_ms)
    labels = _Labels(mailbox)
    threads = _Threads()
    added = [_seeded(item, threads, labels) for item in found]

    def source() -> Iterator[SeededMessage]:
        return heapq.merge(mailbox, added, key=lambda message: message.internal_date_ms)

    return replace(mailbox, messages=mailbox.messages + len(added), labels=labels.resources, source=source)


def _seeded(item: ImportedMessage, threads: _Threads, labels: _Labels) -> SeededMessage:
    return SeededMessage(
        item.content,
        threads.thread_of(item),
        labels.ids(item.labels),
        item.internal_date_ms,
        draft="DRAFT" in item.labels,
        chat="CHAT" in item.labels,
    )


class _Labels:
    """Ids of label names; a label is created for an unknown name."""

    def __init__(self, mailbox: SeededMailbox) -> None:
        self.resources = list(mailbox.labels)
        self._ids = {label["name"].casefold(): label["id"] for label in mailbox.labels}
        self._sets: dict[tuple[str, ...], tuple[str, ...]] = {}

    def ids(self, names: tuple[str, ...]) -> tuple[str, ...]:
        known = self._sets.get(names)
        if known is None:
            known = self._sets[names] = tuple(dict.fromkeys(self._id(name) for name in names))
        return known

    def _id(self, name: str) -> str:
        if name in SYSTEM_LABEL_IDS:
            return name
        label_id = self._ids.get(name.casefold())
        if label_id is None:
            label_id = self._ids[name.casefold()] = f"Label_{_FIRST_LABEL + len(self._ids)}"
            self.resources.append(
                {
                    "id": label_id,
                    "name": name,
                    "type": "user",
                    "messageListVisibility": "show",
                    "labelListVisibility": "labelShow",
                }
            )
        return label_id


class _Threads:
    """Numbers of threads; they are negative, to differ from those of the generated mailbox."""

    def __init__(self) -> None:
        self._known: dict[object, int] = {}
        self._last = 0

    def thread_of(self, item: ImportedMessage) -> int:
        """The thread of a message; call it for older messages first."""
        if item.thread:
            return self._find([item.thread])
        subject = base_subject(item.subject)
        names = [item.message_id] if item.message_id else []
        return self._find([(name, subject) for name in (*reversed(item.references), *names)])

    def _find(self, keys: list[object]) -> int:
        thread = next((self._known[key] for key in keys if key in self._known), 0)
        if not thread:
            self._last -= 1
            thread = self._last
        for key in keys:
            self._known.setdefault(key, thread)
        return thread
