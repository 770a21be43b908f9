"""Fault injection for a sync: it is killed between any two steps, and the mailbox changes while it is read.

A *step* is a request to Gmail, a response that arrives, or a commit to Delta (before it and after it). `Chaos` counts
the steps, can change the mailbox at each of them, and can end the run at any of them, as `kill -9` would, with an
exception that the product does not catch.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from gmail_assets.delta.internal_table import InternalTable
from gmail_assets.delta.partition import MailboxPartition
from gmail_client.auth.credentials import Credentials
from gmail_client.client import GmailClient, Mailbox
from gmail_client.emulator import ApiError, EmulatedMailbox, Emulator
from gmail_client.quota import preset

__all__ = ["Chaos", "InstantClock", "Killed", "client_of", "random_write"]


class Killed(BaseException):
    """Simulates that the process is killed."""


class InstantClock:
    """The system's time plus all `sleep` calls, which return at once."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._lock = threading.Lock()

    def time(self) -> float:
        return time.time() + self._ahead

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            with self._lock:
                self._ahead += seconds


def client_of(gmail: Emulator, address: str | None = None, **options: Any) -> GmailClient:
    """A client for one of the emulator's mailboxes, with ample quota and an `InstantClock`."""
    clock = gmail.clock if isinstance(gmail.clock, InstantClock) else InstantClock()
    environment = gmail.environment(address)
    return GmailClient(
        Credentials.from_refresh_token(
            environment["GMAIL_CLIENT_ID"],
            environment["GMAIL_CLIENT_SECRET"],
            environment["GMAIL_REFRESH_TOKEN"],
        ),
        api_root=gmail.url,
        oauth_root=gmail.url,
        **{"clock": clock, "quota": preset(1_200_000), **options},
    )


class _Api:
    """A `GmailApi` in which every request and every response is a step."""

    def __init__(self, api: Any, step: Callable[[], None], page_size: int | None) -> None:
        self._api = api
        self._step = step
        self._page_size = page_size

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._api, name)
        if not callable(value) or name.endswith("_call"):
            return value

        def stepped(*args: Any, **named: Any) -> Any:
            self._step()
            if self._page_size and name in ("history", "list_messages", "list_threads"):
                named["page_size"] = self._page_size
            result = value(*args, **named)
            if isinstance(result, Iterator):
                return self._stepping(result)
            self._step()
            return result

        return stepped

    def _stepping(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self._step()
            yield item


class Chaos:
    """Counts steps, writes to the mailbox at some of them, and raises `Killed` at one.

    Args:
        die_at: The step at which the run is killed; None for never.
        write: Called at every step; can change the mailbox.
        page_size: Entries on a page of a listing, and records on a page of the history.
    """

    def __init__(
        self,
        die_at: int | None = None,
        write: Callable[[], None] = lambda: None,
        page_size: int | None = None,
    ) -> None:
        self.page_size = page_size
        self.steps = 0
        self.die_at = die_at
        self._write = write
        self._thread = threading.current_thread()

    def step(self) -> None:
        """Count a step; steps in other threads than the one that created this object do not count."""
        if threading.current_thread() is not self._thread:
            return
        self.steps += 1
        if self.die_at is not None and self.steps >= self.die_at:
            raise Killed
        self._write()

    def mailbox(self, mailbox: Mailbox) -> Mailbox:
        """The mailbox, with requests that are steps."""
        return Mailbox(mailbox.client, mailbox.user_id, _Api(mailbox.api, self.step, self.page_size))  # type: ignore[arg-type]

    @contextmanager
    def commits(self) -> Iterator[None]:
        """Count commits of partitions and of internal tables as steps too."""
        write, note = MailboxPartition._write, InternalTable.replace

        def stepped(original: Callable[..., None]) -> Callable[..., None]:
            def wrapper(*args: Any, **named: Any) -> None:
                self.step()
                original(*args, **named)
                self.step()

            return wrapper

        with (
            mock.patch.object(MailboxPartition, "_write", stepped(write)),
            mock.patch.object(InternalTable, "replace", stepped(note)),
        ):
            yield


_LABELS = ["STARRED", "UNREAD", "INBOX", "IMPORTANT", "SPAM", "TRASH"]


def random_write(mailbox: EmulatedMailbox, rng: random.Random) -> str:
    """Make a random change of the mailbox; returns a description of it."""
    ids = mailbox.message_ids()
    some = rng.choice(ids) if ids else None
    labels = [*_LABELS, *(label["id"] for label in mailbox.labels.listed() if label.get("type") == "user")]
    choice = rng.random()
    try:
        if some is None or choice < 0.15:
            return f"receive {mailbox.receive(mailbox.random_mail())}"
        if choice < 0.3:
            answers = [
                mailbox.receive(mailbox.random_mail(reply_to=some)) for _ in range(rng.choice([1, 1, 2, 4]))
            ]
            return f"reply {answers} to {some}"
        if choice < 0.5:
            add = rng.sample(labels, rng.randint(0, 2))
            remove = [label for label in rng.sample(labels, rng.randint(0, 2)) if label not in add]
            mailbox.modify(some, add, remove)
            return f"modify {some} +{add} -{remove}"
        if choice < 0.58:
            mailbox.trash(some)
            return f"trash {some}"
        if choice < 0.64:
            mailbox.untrash(some)
            return f"untrash {some}"
        if choice < 0.72:
            mailbox.delete(some)
            return f"delete {some}"
        if choice < 0.76:
            chosen = rng.sample(ids, min(len(ids), rng.randint(1, 4)))
            mailbox.batch_modify(chosen, [rng.choice(labels)], [])
            return f"batch_modify {chosen}"
        if choice < 0.78:
            chosen = rng.sample(ids, min(len(ids), rng.randint(1, 3)))
            mailbox.batch_delete(chosen)
            return f"batch_delete {chosen}"
        if choice < 0.88:
            thread = rng.choice(mailbox.thread_ids())
            what = rng.choice(["trash_thread", "untrash_thread", "delete_thread"])
            getattr(mailbox, what)(thread)
            return f"{what} {thread}"
        if choice < 0.92:
            drafts = sorted(mailbox.store.drafts)
            if not drafts or rng.random() < 0.4:
                return f"create_draft {mailbox.create_draft(mailbox.random_mail(reply_to=rng.choice([None, some])))}"
            draft = rng.choice(drafts)
            if rng.random() < 0.5:
                return f"update_draft {mailbox.update_draft(draft, mailbox.random_mail())}"
            if rng.random() < 0.5:
                return f"send_draft {mailbox.send_draft(draft)}"
            mailbox.delete_draft(draft)
            return f"delete_draft {draft}"
        user = [label["id"] for label in mailbox.labels.listed() if label.get("type") == "user"]
        if user and choice < 0.95:
            label = rng.choice(user)
            mailbox.delete_label(label)
            return f"delete_label {label}"
        return f"create_label {mailbox.create_label(f'L{rng.randrange(10**6)}')}"
    except ApiError as error:
        return f"refused: {error}"
