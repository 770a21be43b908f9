"""Which thread a new message joins: `ThreadIndex`, by the thread asked for, else by References and subject."""

from __future__ import annotations

import re

from gmail_client.emulator.mail.content import MessageContent
from gmail_client.emulator.mailbox.message_store import MessageStore, StoredMessage, StoredThread

__all__ = ["ThreadIndex", "base_subject"]

_PREFIX = re.compile(r"^\s*((re|fwd?|aw|wg|sv|vs|tr|rv)\s*(\[\d+\])?\s*:\s*)+", re.IGNORECASE)


def base_subject(subject: str) -> str:
    """A subject without reply and forward prefixes, case and white space folded."""
    return " ".join(_PREFIX.sub("", subject).split()).casefold()


class ThreadIndex:
    """Finds threads by Message-ID; the index is made when it is first needed."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self._threads: dict[str, StoredThread] | None = None

    def thread_for(self, content: MessageContent) -> StoredThread | None:
        """The thread that holds a message which this one refers to, under the same subject."""
        for reference in reversed(content.references):
            thread = self._known().get(reference)
            if thread is not None and thread.id in self._store.threads and self.fits(thread, content):
                return thread
        return None

    def fits(self, thread: StoredThread, content: MessageContent) -> bool:
        """Whether the subject is that of the thread, as Gmail demands of a threadId too."""
        wanted = base_subject(content.subject)
        return any(base_subject(member.content.subject) == wanted for member in thread.members)

    def learn(self, message: StoredMessage) -> None:
        """Take a new message into the index."""
        if self._threads is not None and message.content.message_id:
            self._threads[message.content.message_id] = message.thread

    def forget(self, message: StoredMessage) -> None:
        """Take a deleted message out of the index."""
        if self._threads is not None:
            self._threads.pop(message.content.message_id, None)

    def _known(self) -> dict[str, StoredThread]:
        if self._threads is None:
            self._threads = {}
            for message in self._store.messages.values():
                self.learn(message)
        return self._threads
