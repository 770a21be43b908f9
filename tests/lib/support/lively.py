"""A small mailbox in which everything happened that the probes of `doctor` ask about, and behaviors to flip."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

from gmail_client.conformance.probes import PROBES
from gmail_client.emulator import Behavior, Emulator
from gmail_client.emulator.mailbox.core import GHOST_LABEL
from gmail_client.emulator.mailbox.mailbox import EmulatedMailbox

__all__ = ["BY_BEHAVIOR", "GROUPS", "answered", "live", "lively"]

GROUPS: list[dict[str, Any]] = [
    {
        "threads_get_includes_trash": False,
        "threads_get_snippet": True,
        "thread_history_moves_with_labels": False,
        "record_split_across_pages": True,
        "history_labels_of_deleted": False,
        "empty_label_ids": "empty",
        "history_id_runs_ahead": False,
        "snippet_source": "plain",
        "snippet_cut": "character",
        "label_ids_reach_spam_trash": False,
        "max_results_above": "refuse",
        "future_history_start": "empty",
        "ghost_label": True,
        "label_vanishes_after_list": True,
    },
    {
        "history_groups": "message",
        "history_message_fields": "ids",
        "listing_order": "oldest",
        "empty_pages": 2,
        "history_near_rollover": True,
    },
    {
        "history_record_ids_repeat": True,
        "history_message_fields": "id",
        "listing_order": "shuffled",
        "history_records_without_events": True,
    },
]
"""Values other than the defaults that can be told apart when they are set together: every value once."""

BY_BEHAVIOR = {probe.behavior: probe for probe in PROBES if probe.behavior}
"""The probe of each behavior."""


def answered(value: Any) -> str:
    """The answer of the probe to this value of a behavior."""
    return "seen" if value == 2 else str(value).lower() if isinstance(value, bool) else str(value)


def lively(behavior: Behavior | None = None, **options: object) -> Emulator:
    """An emulator of 60 messages with this behavior; start it, then let it `live`."""
    return Emulator(messages=60, seed=11, behavior=behavior or Behavior(), **options)  # type: ignore[arg-type]


def _alternative(address: str, number: int, **headers: str) -> bytes:
    mail = EmailMessage(policy=SMTP)
    mail["From"] = "Ada Ashdown <ada@example.com>"
    mail["To"] = address
    mail["Subject"] = (
        "A subject that is long enough to be folded by every mailer that obeys the limit of 78 columns"
    )
    mail["Date"] = "Thu, 01 Oct 2026 10:00:00 +0000"
    mail["Message-ID"] = f"<lively{number}@example.com>"
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    words = " ".join(f"lengthy{count}" for count in range(60))
    mail.set_content(f"The plain text: {words}")
    mail.add_alternative(f"<p>The HTML text: {words}</p>", subtype="html")
    mail.add_attachment(b"12345", maintype="application", subtype="pdf", filename="report.pdf")
    return mail.as_bytes()


_UNTOUCHED = {"TRASH", "SPAM", "SENT", "DRAFT", "CHAT", GHOST_LABEL}


def live(mailbox: EmulatedMailbox) -> None:
    """Write to the mailbox: a thread with a reply and a message in the trash, label changes, drafts, deletions."""
    oldest = mailbox.receive(mailbox.random_mail())
    first = mailbox.insert(_alternative(mailbox.address, 1), ["INBOX"])
    reply = {"In_Reply_To": "<lively1@example.com>", "References": "<lively1@example.com>"}
    mailbox.insert(_alternative(mailbox.address, 2, **reply), ["INBOX", "UNREAD"], thread_id=first)
    trashed = mailbox.insert(_alternative(mailbox.address, 3, **reply), ["INBOX"], thread_id=first)
    mailbox.insert(mailbox.random_mail(), [])
    mailbox.trash(trashed)
    mailbox.insert(mailbox.random_mail(), ["SPAM"])
    label = mailbox.create_label("Lively")
    ids = [
        message_id
        for message_id in mailbox.message_ids()
        if message_id != oldest and not _UNTOUCHED.intersection(mailbox.label_ids(message_id))
    ]
    mailbox.batch_modify(ids[8:32], [label], [])
    for number, message_id in enumerate(ids[16:34]):
        if number % 3:
            mailbox.modify(message_id, ["STARRED"], [])
        else:
            mailbox.modify(message_id, [], list(mailbox.label_ids(message_id)))
    mailbox.delete(ids[4])
    mailbox.delete(ids[5])
    for message_id in mailbox.message_ids():
        if GHOST_LABEL in mailbox.label_ids(message_id):
            mailbox.modify(message_id, ["STARRED"], [])
    draft = mailbox.create_draft(mailbox.random_mail())
    mailbox.update_draft(draft, mailbox.random_mail())
    for message_id in ids[20:24]:
        mailbox.modify(message_id, ["IMPORTANT"], [])
