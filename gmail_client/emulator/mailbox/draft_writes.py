"""Drafts and sending: `DraftWrites`, a base of `EmulatedMailbox`.

Every save of a draft creates a message with a new id in the same thread and deletes the message before it. Sending
replaces the draft by a message with SENT.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gmail_client.emulator.api.errors import not_found
from gmail_client.emulator.mail.content import MessageContent
from gmail_client.emulator.mailbox.core import as_content, write
from gmail_client.emulator.mailbox.message_store import StoredMessage
from gmail_client.emulator.mailbox.message_writes import MessageWrites

__all__ = ["DraftWrites"]


class DraftWrites(MessageWrites):
    """Drafts: created, updated, sent, deleted."""

    def draft(self, draft_id: str) -> StoredMessage:
        """The message of this draft.

        Raises:
            ApiError: 404.
        """
        found = self.store.drafts.get(draft_id)
        if found is None:
            raise not_found()
        return found

    @write
    def create_draft(
        self,
        mail: bytes | MessageContent,
        *,
        thread_id: str | None = None,
        classification: Sequence[dict[str, Any]] = (),
    ) -> str:
        """drafts.create; returns the draft id.

        Raises:
            ApiError: 404 for an unknown thread.
        """
        content = as_content(mail)
        thread = self.thread_to_join(content, thread_id)
        change = self.add_message(
            content,
            ("DRAFT",),
            thread=thread,
            internal_date_ms=self.now_ms,
            draft_id=self.new_draft_id(),
            classification=tuple(classification),
        )
        self.record([change])
        return change[0].draft_id

    @write
    def update_draft(self, draft_id: str, mail: bytes | MessageContent) -> str:
        """drafts.update: a new message replaces the old one; returns its id.

        Raises:
            ApiError: 404.
        """
        old = self.draft(draft_id)
        added = self.add_message(
            as_content(mail),
            old.label_ids,
            thread=old.thread,
            internal_date_ms=self.now_ms,
            draft_id=draft_id,
            classification=old.classification,
        )
        self.record([added])
        self.record([self.delete_message(old)])
        return added[0].id

    @write
    def delete_draft(self, draft_id: str) -> None:
        """drafts.delete: delete permanently.

        Raises:
            ApiError: 404.
        """
        self.record([self.delete_message(self.draft(draft_id))])

    @write
    def store_sent_draft(
        self, draft_id: str, mail: bytes | MessageContent | None = None, *, to_self: bool = False
    ) -> str:
        """The sender's side of drafts.send: a message with SENT replaces the draft; returns its id.

        Raises:
            ApiError: 404.
        """
        old = self.draft(draft_id)
        content = old.content if mail is None else as_content(mail)
        labels: tuple[str, ...] = ("SENT",)
        if to_self:
            labels = ("SENT", "INBOX", "UNREAD")
        added = self.add_message(
            content,
            labels,
            thread=old.thread,
            internal_date_ms=self.now_ms,
            classification=old.classification,
        )
        self.record([added])
        self.record([self.delete_message(old)])
        return added[0].id
