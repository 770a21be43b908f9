"""Writes to messages and threads with Gmail's semantics: `MessageWrites`, a base of `EmulatedMailbox`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from gmail_client.emulator.api.errors import bad_argument
from gmail_client.emulator.mail.content import MessageContent
from gmail_client.emulator.mailbox.core import MailboxCore, as_content, write
from gmail_client.emulator.mailbox.filters import labels_on_arrival
from gmail_client.emulator.mailbox.labels import NOT_BY_HAND
from gmail_client.emulator.mailbox.message_store import StoredMessage, StoredThread

__all__ = ["MessageWrites"]

DateSource = Literal["receivedTime", "dateHeader"]

_MOST_LABELS = 100
# What is added and what is removed.
_TO_TRASH = (("TRASH",), ("INBOX", "SPAM"))
_OUT_OF_TRASH = ((), ("TRASH",))
_MOST_IDS = 1000


class MessageWrites(MailboxCore):
    """Messages and threads: added, deleted, labelled."""

    @write
    def insert(
        self,
        mail: bytes | MessageContent,
        label_ids: Sequence[str] = (),
        *,
        thread_id: str | None = None,
        date_source: DateSource = "receivedTime",
        deleted: bool = False,
        classification: Sequence[dict[str, Any]] = (),
    ) -> str:
        """messages.insert: add a message without filters; returns its id.

        Args:
            mail: RFC 822 bytes, or a content.
            label_ids: Its labels; by default none, not even INBOX.
            thread_id: The thread to join, if the subject matches; else References decide.
            date_source: Where internalDate comes from.
            deleted: Add TRASH (Vault's `deleted`).
            classification: Classification label values.

        Raises:
            ApiError: 400 for an unknown label, 404 for an unknown thread.
        """
        content = as_content(mail)
        labels = self._allowed(label_ids, frozenset({"DRAFT", "CHAT"}))
        if deleted:
            labels = (*labels, "TRASH")
        return self._put(content, labels, thread_id, date_source, tuple(classification))

    @write
    def import_(
        self,
        mail: bytes | MessageContent,
        label_ids: Sequence[str] = (),
        *,
        thread_id: str | None = None,
        date_source: DateSource = "dateHeader",
        never_mark_spam: bool = False,
        deleted: bool = False,
        classification: Sequence[dict[str, Any]] = (),
    ) -> str:
        """messages.import: add a message as if it arrived by SMTP, with filters; returns its id.

        Without labels it gets INBOX and UNREAD. A message with `X-Spam-Flag: YES` gets SPAM unless
        `never_mark_spam`. The other arguments and errors are those of `insert`.
        """
        content = as_content(mail)
        labels = self._allowed(label_ids, frozenset({"DRAFT", "CHAT"})) or ("INBOX", "UNREAD")
        if deleted:
            labels = (*labels, "TRASH")
        labels = self._arrived(content, labels, never_mark_spam=never_mark_spam)
        return self._put(content, labels, thread_id, date_source, tuple(classification))

    @write
    def receive(self, mail: bytes | MessageContent) -> str:
        """Add a message that arrives by SMTP: INBOX and UNREAD, or SPAM, then filters; returns its id."""
        content = as_content(mail)
        labels = self._arrived(content, ("INBOX", "UNREAD"), never_mark_spam=False)
        return self._put(content, labels, None, "receivedTime", ())

    @write
    def store_sent(
        self, mail: bytes | MessageContent, *, thread_id: str | None = None, to_self: bool = False
    ) -> str:
        """The sender's copy of sent mail: SENT, with INBOX and UNREAD when the sender is a recipient."""
        content = as_content(mail)
        labels: tuple[str, ...] = ("SENT",)
        if to_self:
            labels = self._arrived(content, ("SENT", "INBOX", "UNREAD"), never_mark_spam=True)
        return self._put(content, labels, thread_id, "receivedTime", ())

    @write
    def modify(
        self,
        message_id: str,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        *,
        add_classification: Sequence[dict[str, Any]] = (),
        remove_classification: Sequence[str] = (),
    ) -> None:
        """messages.modify: add and remove labels.

        Raises:
            ApiError: 404; 400 for an unknown label, more than 100, or SENT, DRAFT, CHAT.
        """
        message = self.message(message_id)
        self._check_labels(add, remove)
        self._classify([message], add_classification, remove_classification)
        self.record(self.change_labels(message, add, remove))

    @write
    def batch_modify(
        self,
        message_ids: Sequence[str],
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        *,
        add_classification: Sequence[dict[str, Any]] = (),
        remove_classification: Sequence[str] = (),
    ) -> None:
        """messages.batchModify: change the labels of up to 1,000 messages; unknown ids are ignored.

        Raises:
            ApiError: 400 as for `modify`, and for no ids or too many.
        """
        self._check_ids(message_ids)
        self._check_labels(add, remove)
        found = self._present(message_ids)
        self._classify(found, add_classification, remove_classification)
        self.record([change for message in found for change in self.change_labels(message, add, remove)])

    @write
    def trash(self, message_id: str) -> None:
        """messages.trash: add TRASH, remove INBOX and SPAM.

        Raises:
            ApiError: 404.
        """
        self.record(self.change_labels(self.message(message_id), *_TO_TRASH))

    @write
    def untrash(self, message_id: str) -> None:
        """messages.untrash: remove TRASH and restore no other label.

        Raises:
            ApiError: 404.
        """
        self.record(self.change_labels(self.message(message_id), *_OUT_OF_TRASH))

    @write
    def delete(self, message_id: str) -> None:
        """messages.delete: delete permanently.

        Raises:
            ApiError: 404.
        """
        self.record([self.delete_message(self.message(message_id))])

    @write
    def batch_delete(self, message_ids: Sequence[str]) -> None:
        """messages.batchDelete: delete up to 1,000 messages permanently; unknown ids are ignored.

        Raises:
            ApiError: 400 for no ids or too many.
        """
        self._check_ids(message_ids)
        self.record([self.delete_message(message) for message in self._present(message_ids)])

    @write
    def modify_thread(self, thread_id: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """threads.modify: change the labels of all messages; errors as for `modify`."""
        members = self.thread(thread_id).members
        self._check_labels(add, remove)
        self.record([change for member in members for change in self.change_labels(member, add, remove)])

    @write
    def trash_thread(self, thread_id: str) -> None:
        """threads.trash: `trash` for all messages.

        Raises:
            ApiError: 404.
        """
        members = self.thread(thread_id).members
        self.record([change for one in members for change in self.change_labels(one, *_TO_TRASH)])

    @write
    def untrash_thread(self, thread_id: str) -> None:
        """threads.untrash: `untrash` for all messages.

        Raises:
            ApiError: 404.
        """
        members = self.thread(thread_id).members
        self.record([change for one in members for change in self.change_labels(one, *_OUT_OF_TRASH)])

    @write
    def delete_thread(self, thread_id: str) -> None:
        """threads.delete: delete all messages permanently.

        Raises:
            ApiError: 404.
        """
        self.record([self.delete_message(member) for member in list(self.thread(thread_id).members)])

    @write
    def expire_history(self, upto: str | int | None = None) -> None:
        """Drop old history records: a startHistoryId below `upto` gets a 404, by default every one up to the head.

        Raises:
            ValueError: `upto` is above the head.
        """
        self.log.expire(None if upto is None else int(upto))

    def _put(
        self,
        content: MessageContent,
        labels: tuple[str, ...],
        thread_id: str | None,
        date_source: DateSource,
        classification: tuple[dict[str, Any], ...],
    ) -> str:
        thread = self.thread_to_join(content, thread_id)
        dated = content.date_ms if date_source == "dateHeader" else 0
        message, change = self.add_message(
            content,
            labels,
            thread=thread,
            internal_date_ms=dated or self.now_ms,
            classification=classification,
        )
        self.record([(message, change)])
        return message.id

    def thread_to_join(self, content: MessageContent, thread_id: str | None) -> StoredThread | None:
        """The thread with this id, if the subject matches; without an id, the thread found by References.

        Raises:
            ApiError: 404 when there is no such thread.
        """
        if thread_id:
            thread = self.thread(thread_id)
            return thread if self.index.subject_matches(thread, content) else None
        return self.index.thread_for(content)

    def _arrived(
        self, content: MessageContent, labels: tuple[str, ...], *, never_mark_spam: bool
    ) -> tuple[str, ...]:
        if not never_mark_spam and "INBOX" in labels and _flagged_as_spam(content):
            labels = (*(label for label in labels if label != "INBOX"), "SPAM")
        return labels_on_arrival(content, labels, self.now_ms, self.settings, self.labels)

    def _allowed(self, label_ids: Sequence[str], never: frozenset[str]) -> tuple[str, ...]:
        self.labels.require(label_ids)
        for label_id in label_ids:
            if label_id in never:
                raise bad_argument(f"Invalid label: {label_id}")
        return tuple(dict.fromkeys(label_ids))

    def _check_labels(self, add: Sequence[str], remove: Sequence[str]) -> None:
        if len(add) > _MOST_LABELS or len(remove) > _MOST_LABELS:
            raise bad_argument(f"At most {_MOST_LABELS} labels can be added or removed at once")
        self._allowed(add, NOT_BY_HAND)
        self._allowed(remove, NOT_BY_HAND)
        both = set(add) & set(remove)
        if both:
            raise bad_argument(f"Cannot both add and remove the same label: {', '.join(sorted(both))}")

    def _check_ids(self, message_ids: Sequence[str]) -> None:
        if not message_ids:
            raise bad_argument("No message ids specified")
        if len(message_ids) > _MOST_IDS:
            raise bad_argument(f"Number of ids cannot exceed {_MOST_IDS}")

    def _present(self, message_ids: Iterable[str]) -> list[StoredMessage]:
        known = self.store.messages
        return [known[message_id] for message_id in dict.fromkeys(message_ids) if message_id in known]

    def _classify(
        self, messages: list[StoredMessage], add: Sequence[dict[str, Any]], remove: Sequence[str]
    ) -> None:
        if not add and not remove:
            return
        for message in messages:
            values = {value["labelId"]: value for value in message.classification}
            for label_id in remove:
                values.pop(label_id, None)
            for value in add:
                if not value.get("labelId"):
                    raise bad_argument("A classification label needs a labelId")
                values[value["labelId"]] = value
            message.classification = tuple(values.values())
            message.history_id = self.log.advance(self.gap())


def _flagged_as_spam(content: MessageContent) -> bool:
    return any(
        header["name"].lower() == "x-spam-flag" and header["value"].strip().upper() == "YES"
        for header in content.headers()
    )
