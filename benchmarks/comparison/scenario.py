"""What happens to the mailbox between two runs of the programs: `PHASES`."""

from __future__ import annotations

import random
from collections.abc import Callable

from gmail_client.emulator import EmulatorProcess

__all__ = ["PHASES"]

NEW = 200
LABELLED = 1_000
DELETED = 100
CHANGED_SHARE = 0.01

Change = Callable[[EmulatorProcess, random.Random], None]


def _ids(gmail: EmulatorProcess) -> list[str]:
    return sorted(gmail.mailbox().write("message_ids"))


def _visible(gmail: EmulatorProcess) -> list[str]:
    """Messages outside of spam and trash."""
    return [message["id"] for message in gmail.truth("messages", format="minimal")]


def _nothing(gmail: EmulatorProcess, chance: random.Random) -> None:
    """The mailbox stays as it is."""


def _new_mail(gmail: EmulatorProcess, chance: random.Random) -> None:
    mailbox = gmail.mailbox()
    for _ in range(NEW):
        mailbox.write("insert", mail=mailbox.write("random_mail"), label_ids=["INBOX", "UNREAD"])


def _label(gmail: EmulatorProcess, chance: random.Random, count: int) -> None:
    mailbox = gmail.mailbox()
    starred = {
        m["id"] for m in gmail.truth("messages", format="minimal") if "STARRED" in m.get("labelIds", ())
    }
    ids = _visible(gmail)
    for message_id in chance.sample(ids, min(count, len(ids))):
        labels = ([], ["STARRED"]) if message_id in starred else (["STARRED"], [])
        mailbox.write("modify", message_id=message_id, add=labels[0], remove=labels[1])


def _label_changes(gmail: EmulatorProcess, chance: random.Random) -> None:
    _label(gmail, chance, LABELLED)


def _deletions(gmail: EmulatorProcess, chance: random.Random) -> None:
    mailbox = gmail.mailbox()
    ids = _visible(gmail)
    for message_id in chance.sample(ids, min(DELETED, len(ids) // 10)):
        mailbox.write("delete", message_id=message_id)


def _expired(gmail: EmulatorProcess, chance: random.Random) -> None:
    _label(gmail, chance, int(len(_ids(gmail)) * CHANGED_SHARE))
    gmail.expire_history()


PHASES: dict[str, Change] = {
    "first load": _nothing,
    f"{NEW} new messages": _new_mail,
    f"{LABELLED:,} label changes": _label_changes,
    f"{DELETED} deletions": _deletions,
    "expired history, 1 % changed": _expired,
    "nothing new": _nothing,
}
"""The change to the mailbox before each run, by the name of the phase."""
