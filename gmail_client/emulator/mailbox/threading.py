"""Finds the thread that a new message joins, by References and subject: `ThreadIndex`."""

from __future__ import annotations

from gmail_client.emulator.mail.content import MessageContent
from gmail_client.emulator.mail.headers import base_subject
from gmail_client.emulator.mailbox.message_store import MessageStore, StoredMessage, StoredThread

__all__ = ["ThreadIndex"]


class ThreadIndex:
    """Finds threads by Message-ID; built when first used."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self._threads: dict[str, StoredThread] | None = None

    def thread_for(self, content: MessageContent) -> StoredThread | None:
        """The thread with a message that this one refers to, under the same subject."""
        for reference in reversed(content.references):
            thread = self._known().get(reference)
            if (
                thread is not None
                and thread.id in self._store.threads
                and self.subject_matches(thread, content)
            ):
                return thread
        return None

    def subject_matches(self, thread: StoredThread, content: MessageContent) -> bool:
        """Whether the subject equals that of the thread, which Gmail also requires for a given threadId."""
        subject = base_subject(content.subject)
        return any(base_subject(member.content.subject) == subject for member in thread.members)

    def add(self, message: StoredMessage) -> None:
        """Add a message to the index."""
        if self._threads is not None and message.content.message_id:
            self._threads[message.content.message_id] = message.thread

    def remove(self, message: StoredMessage) -> None:
        """Remove a message from the index."""
        if self._threads is not None:
            self._threads.pop(message.content.message_id, None)

    def _known(self) -> dict[str, StoredThread]:
        if self._threads is None:
            self._threads = {}
            for message in self._store.messages.values():
                self.add(message)
        return self._threads
