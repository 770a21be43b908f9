"""Drafts and sending: `DraftWrites`, a part of `EmulatedMailbox`.

Every save of a draft mints a new message id in the same thread; the message before is deleted. Sending
turns the draft into a message of its own with SENT.
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
    """Drafts: made, saved again, sent, thrown away."""

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
        change = self.added(
            content,
            ("DRAFT",),
            thread=thread,
            internal_date_ms=self.now_ms,
            draft_id=self.mint_draft_id(),
            classification=tuple(classification),
        )
        self.record([change])
        return change[0].draft_id

    @write
    def update_draft(self, draft_id: str, mail: bytes | MessageContent) -> str:
        """drafts.update: a new message takes the place of the old one; returns its id; 404."""
        old = self.draft(draft_id)
        added = self.added(
            as_content(mail),
            old.label_ids,
            thread=old.thread,
            internal_date_ms=self.now_ms,
            draft_id=draft_id,
            classification=old.classification,
        )
        self.record([added])
        self.record([self.removed(old)])
        return added[0].id

    @write
    def delete_draft(self, draft_id: str) -> None:
        """drafts.delete: gone for ever, not to the trash; 404."""
        self.record([self.removed(self.draft(draft_id))])

    @write
    def keep_sent_draft(
        self, draft_id: str, mail: bytes | MessageContent | None = None, *, to_self: bool = False
    ) -> str:
        """The sender's side of drafts.send: the draft goes, a SENT message comes; returns its id; 404."""
        old = self.draft(draft_id)
        content = old.content if mail is None else as_content(mail)
        labels: tuple[str, ...] = ("SENT",)
        if to_self:
            labels = ("SENT", "INBOX", "UNREAD")
        added = self.added(
            content,
            labels,
            thread=old.thread,
            internal_date_ms=self.now_ms,
            classification=old.classification,
        )
        self.record([added])
        self.record([self.removed(old)])
        return added[0].id
