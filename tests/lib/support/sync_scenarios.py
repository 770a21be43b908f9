"""Small mailboxes, writes to them and kills, for tests of one sync run."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.rewrite import PartitionRewrite
from gmail_assets.delta.sync_state import SyncState
from gmail_assets.syncing import SyncResult, sync
from gmail_client.emulator import EmulatedMailbox, Emulator
from gmail_client.spec import SpecTable
from support.chaos import Killed, client_of


def spec(table: str, **configuration: Any) -> SpecTable:
    return SpecTable.parse({"source_table": table, "table_configuration": configuration})


BOTH = [spec("messages"), spec("threads")]


def run(gmail: Emulator, lake: Lake, tables: list[SpecTable] = BOTH, **named: Any) -> dict[str, SyncResult]:
    return sync(client_of(gmail).mailbox(), lake, tables, sample=random.Random(1), **named)


def unfetched(lake: Lake, table: str) -> set[str]:
    delta = lake.find("_gmail_unfetched")
    rows = delta.to_pyarrow_table().to_pylist() if delta is not None else []
    return {row["id"] for row in rows if row["table"] == table}


def deliver(mailbox: EmulatedMailbox, subject: str, body: str = "Hello.", reply_to: str = "") -> str:
    """Deliver a message; returns its id."""
    raw = (
        f"From: eve@example.test\r\nTo: {mailbox.address}\r\nSubject: {subject}\r\n"
        f"Message-ID: <{random.random()}@example.test>\r\n"
    )
    if reply_to:
        original = mailbox.message(reply_to).content.message_id
        raw += f"In-Reply-To: {original}\r\nReferences: {original}\r\n"
    return mailbox.receive(f"{raw}\r\n{body}\r\n".encode())


def deliver_reply(mailbox: EmulatedMailbox, message_id: str) -> str:
    """Deliver a reply in the same thread; returns its id."""
    return mailbox.receive(mailbox.random_mail(reply_to=message_id))


def toggle_star(mailbox: EmulatedMailbox, message_id: str) -> None:
    """Add the label STARRED, or remove it."""
    carried = "STARRED" in mailbox.label_ids(message_id)
    mailbox.modify(message_id, [] if carried else ["STARRED"], ["STARRED"] if carried else [])


def kill_before_merge() -> contextlib.AbstractContextManager[Any]:
    return mock.patch.object(PartitionRewrite, "actions", side_effect=Killed)


@contextlib.contextmanager
def kill_at_cursor_commit() -> Iterator[None]:
    """Kill the run at the commit with the new cursor."""
    write = MailboxPartition._write

    def dying(self: MailboxPartition, state: SyncState | None, *change: Any) -> None:
        if state is not None and state.cursor and state.cursor != self.state.cursor:
            raise Killed
        write(self, state, *change)

    with mock.patch.object(MailboxPartition, "_write", dying):
        yield


def on_first_call(name: str, act: Callable[[], object]) -> Callable[[str], None]:
    """A hook for `before_calls`: calls `act` before the first call of the API method `name`."""
    done: list[object] = []

    def before(method: str) -> None:
        if method == name and not done:
            done.append(act())

    return before
