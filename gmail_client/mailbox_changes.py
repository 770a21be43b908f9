"""What changed in a mailbox since a history id, as plain values: `MailboxChanges` and `MailboxChange`.

    changes = mailbox.changes(since)
    for change in changes:
        print(change.kind, change.message_id, change.label_ids)
    since = changes.history_id

`gmail_client.changes` reads the history; these values are its result for readers outside of this product.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gmail_client.changes import Changes, MessageChange
from gmail_client.errors import ConfigurationError

__all__ = ["MailboxChange", "MailboxChanges", "history_id_of"]

ChangeKind = Literal["added", "updated", "deleted"]


@dataclass(frozen=True, slots=True)
class MailboxChange:
    """The net change of one message.

    Attributes:
        kind: `added` (it is new), `updated` (its labels changed) or `deleted` (permanently; trash is a label).
        message_id: The message.
        thread_id: Its thread; empty if the history does not name it.
        history_id: The last history record that names the message.
        label_ids: Its labels now. None if the history does not state all of them, and for a deleted message.
        labels_added: If `label_ids` is None: labels to add to those that the message had.
        labels_removed: If `label_ids` is None: labels to remove from those that the message had.
    """

    kind: ChangeKind
    message_id: str
    thread_id: str
    history_id: int
    label_ids: tuple[str, ...] | None = None
    labels_added: tuple[str, ...] = ()
    labels_removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MailboxChanges:
    """All changes after a history id, one per message, in the order in which the history names the messages first.

    Attributes:
        since: The history id after which they happened.
        history_id: The history id up to which they were read: the next `since`.
        changes: The changes; iterating over the object yields them too.
    """

    since: int
    history_id: int
    changes: tuple[MailboxChange, ...]

    @classmethod
    def of(cls, changes: Changes) -> MailboxChanges:
        """The public form of changes that were read from the history."""
        return cls(
            changes.start,
            changes.head,
            tuple(_change(message_id, change) for message_id, change in changes.messages.items()),
        )

    def __iter__(self) -> Iterator[MailboxChange]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)


def _change(message_id: str, change: MessageChange) -> MailboxChange:
    if change.deleted:
        return MailboxChange("deleted", message_id, change.thread_id, change.history_id)
    return MailboxChange(
        "added" if change.arrived else "updated",
        message_id,
        change.thread_id,
        change.history_id,
        change.labels_after(None),
        change.added,
        change.removed,
    )


def history_id_of(value: str | int) -> int:
    """A history id that a caller gave as a number or as text.

    Raises:
        ConfigurationError: It is not a history id.
    """
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,20}", text) or not 0 < int(text) < 2**64:
        raise ConfigurationError(
            f"{value!r:.60} is not a history id.",
            fix="Use the `history_id` of earlier changes, or `Mailbox.history_id()` for changes from now on.",
        )
    return int(text)
