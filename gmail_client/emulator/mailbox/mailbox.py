"""A mailbox with Gmail's writes and reads: `EmulatedMailbox`. Every method may be called from any thread.

Writes are Gmail's methods under Python names: `insert`, `import_`, `send`, `modify`, `batch_modify`, `trash`,
`untrash`, `delete`, `batch_delete`, the variants for threads, labels, drafts, settings, filters. `receive` is mail
that arrives by SMTP, and `random_mail` generates a message.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from email.utils import getaddresses
from typing import Any

from gmail_client.emulator.api.errors import bad_argument
from gmail_client.emulator.behavior import Behavior
from gmail_client.emulator.generate.generator import random_mail
from gmail_client.emulator.generate.seeded import SeededMailbox
from gmail_client.emulator.mail.content import MessageContent
from gmail_client.emulator.mailbox.core import as_content
from gmail_client.emulator.mailbox.draft_writes import DraftWrites
from gmail_client.emulator.mailbox.journal import Journal, JournalEntry
from gmail_client.emulator.mailbox.listing import ListingFilter
from gmail_client.emulator.mailbox.settings_writes import SettingsWrites
from gmail_client.http.clock import Clock

__all__ = ["Deliver", "EmulatedMailbox"]

Deliver = Callable[[str, MessageContent], None]


class EmulatedMailbox(DraftWrites, SettingsWrites):
    """One account's mail, labels, settings and history.

    Args:
        seeded: Its initial content.
        clock: The time of its writes.
        behavior: Undocumented behavior.
        journal: Records its writes; None for none.
        deliver: Delivers sent mail to another address; by default it is dropped.
    """

    def __init__(
        self,
        seeded: SeededMailbox,
        *,
        clock: Clock,
        behavior: Behavior,
        journal: Journal | None = None,
        deliver: Deliver = lambda address, content: None,
    ) -> None:
        super().__init__(seeded, clock=clock, behavior=behavior, journal=journal)
        self._deliver_to = deliver
        self._mail_seed = seeded.seed
        self._mail_rng: random.Random | None = None

    def __repr__(self) -> str:
        return f"EmulatedMailbox({self.address!r}, {len(self.store.messages)} messages)"

    @property
    def head(self) -> str:
        """The mailbox's current history id, as getProfile returns it."""
        with self.lock:
            return str(self.log.head)

    def message_ids(self) -> list[str]:
        """The ids of all messages, including spam and trash, in the order of listings."""
        with self.lock:
            return [message.id for message in self.store.messages_from(None)]

    def thread_ids(self) -> list[str]:
        """The ids of all threads, in the order of listings."""
        with self.lock:
            return [thread.id for thread in self.store.threads_from(None)]

    def label_ids(self, message_id: str) -> tuple[str, ...]:
        """The labels of a message.

        Raises:
            ApiError: 404.
        """
        with self.lock:
            return self.message(message_id).label_ids

    def random_mail(self, *, reply_to: str | None = None) -> bytes:
        """New realistic mail to this address as RFC 822 bytes, a reply to the message with id `reply_to` if given."""
        with self.lock:
            if self._mail_rng is None:
                # Seeded with the head, so that a restart does not generate the same mail again.
                self._mail_rng = random.Random(self._mail_seed * 1_000_003 + self.log.head)  # noqa: S311
            answered = self.message(reply_to).content if reply_to else None
            seconds = int(self.clock.time())
            return random_mail(self._mail_rng, self.address, reply_to=answered, seconds=seconds)

    def send(self, mail: bytes | MessageContent, *, thread_id: str | None = None) -> str:
        """messages.send: store a copy with SENT and deliver to the emulator's other mailboxes; returns the copy's id.

        Raises:
            ApiError: 400 without a recipient, 404 for an unknown thread.
        """
        content = as_content(mail)
        recipients = _recipients(content)
        message_id = self.store_sent(content, thread_id=thread_id, to_self=self.address in recipients)
        self._deliver(content, recipients)
        return message_id

    def send_draft(self, draft_id: str, mail: bytes | MessageContent | None = None) -> str:
        """drafts.send: send the draft, or `mail` instead of it; returns the id of the sent message.

        Raises:
            ApiError: 404, or 400 without a recipient.
        """
        with self.lock:
            content = self.draft(draft_id).content if mail is None else as_content(mail)
            recipients = _recipients(content)
            message_id = self.store_sent_draft(
                draft_id, None if mail is None else content, to_self=self.address in recipients
            )
        self._deliver(content, recipients)
        return message_id

    def profile(self) -> dict[str, Any]:
        """The resource that getProfile returns."""
        return {
            "emailAddress": self.address,
            "messagesTotal": len(self.store.messages),
            "threadsTotal": len(self.store.threads),
            "historyId": str(self.log.head),
        }

    def rename(self, address: str) -> None:
        """Change the address, as an administrator does; no write of Gmail's API, so it is not in the journal."""
        with self.lock:
            self.address = address
            self.settings.rename(address)

    def label(self, label_id: str) -> dict[str, Any]:
        """The Label resource with its counts.

        Raises:
            ApiError: 404.
        """
        unused = {"messagesTotal": 0, "messagesUnread": 0, "threadsTotal": 0, "threadsUnread": 0}
        return {**self.labels.get(label_id), **self.store.counts().get(label_id, unused)}

    def listing_filter(
        self, q: str | None, label_ids: Collection[str], include_spam_trash: bool
    ) -> ListingFilter:
        """The filter of a listing with these parameters at the current time."""
        return ListingFilter(
            q,
            label_ids,
            include_spam_trash,
            labels=self.labels.ids_by_name(),
            me=self.settings.send_as.keys(),
            now=self.clock.time,
            behavior=self.behavior,
        )

    def replay(self, entry: JournalEntry) -> None:
        """Repeat a write of the journal, at its original time."""
        with self.lock:
            self.replaying = True
            self.now_ms = entry.at_ms
            try:
                getattr(self, entry.operation)(**entry.arguments)
            finally:
                self.replaying = False

    def _deliver(self, content: MessageContent, recipients: list[str]) -> None:
        for address in recipients:
            if address != self.address:
                self._deliver_to(address, content)


def _recipients(content: MessageContent) -> list[str]:
    fields = [
        header["value"] for header in content.headers() if header["name"].lower() in ("to", "cc", "bcc")
    ]
    found = [address.lower() for _, address in getaddresses(fields) if "@" in address]
    if not found:
        raise bad_argument("Recipient address required")
    return list(dict.fromkeys(found))
