"""A lake with the contents of attachments of emulated mailboxes, compared with Gmail's bytes."""

from __future__ import annotations

import hashlib
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.maintenance import Upkeep
from gmail_assets.syncing import SyncResult, sync
from gmail_assets.views import ContentSources, ViewSources, derive, fetch_contents
from gmail_client.emulator import Emulator
from gmail_client.spec import Spec
from gmail_client.views import CONTENTS, LINKS, attachment_sources
from support.chaos import client_of
from support.lake import stored_rows

__all__ = ["GET", "PDF", "PNG", "Contents", "mail"]

GET = "messages.attachments.get"

NO_UPKEEP = Upkeep(small_files=0, retention=None)

PDF, PNG = b"%PDF-1.7 the same for all", b"\x89PNG" + bytes(range(256)) * 4

Row = dict[str, Any]


def mail(number: int, *files: tuple[str, bytes], sender: str = "ben@example.com") -> bytes:
    """A mail with these files, by MIME type."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, "ada@example.com", f"Mail {number}"
    message["Message-ID"] = f"<{number}@example.com>"
    message.set_content("See the files.")
    for at, (kind, data) in enumerate(files):
        main, _, sub = kind.partition("/")
        # Gmail gives the bytes of text without a name with the message.
        name = None if main == "text" else f"{number}-{at}.{sub}"
        message.add_attachment(data, maintype=main, subtype=sub, filename=name)
    return message.as_bytes()


class Contents:
    """A lake with messages and what follows from them, of mailboxes of the emulator."""

    def __init__(self, gmail: Emulator, folder: Path, *, messages: Row | None = None, **options: Any) -> None:
        self.gmail = gmail
        self.lake = Lake(str(folder))
        self.set(messages=messages, **options)

    def set(self, *, messages: Row | None = None, **options: Any) -> None:
        """Change the options of the spec."""
        self.spec = Spec.parse(
            {
                "objects": [
                    {"source_table": "messages", "table_configuration": messages or {}},
                    {"source_table": "emails"},
                    {"source_table": "attachments"},
                    {"source_table": CONTENTS, "table_configuration": options},
                ]
            }
        )
        sources = ContentSources.of(self.spec)
        assert sources is not None
        self.sources = sources

    def prepare(self, address: str) -> None:
        """All but the contents."""
        sync(client_of(self.gmail, address).mailbox(address), self.lake, self.spec.tables, upkeep=NO_UPKEEP)
        derive(self.lake, address, ViewSources.of(self.spec), upkeep=NO_UPKEEP)

    def fetch(self, address: str, **more: Any) -> SyncResult:
        mailbox = client_of(self.gmail, address).mailbox(address)
        return fetch_contents(mailbox, self.lake, self.sources, upkeep=NO_UPKEEP, **more)

    def run(self, address: str | None = None) -> tuple[SyncResult, int]:
        """A sync; the result, and the calls that fetched attachments."""
        address = address or self.gmail.addresses[0]
        self.prepare(address)
        before = self.gmail.usage.calls[GET]
        return self.fetch(address), self.gmail.usage.calls[GET] - before

    def truth(self, address: str) -> dict[tuple[str, str], tuple[bytes, bool]]:
        """The bytes of each attachment, and whether the message holds them."""
        found = {}
        kinds = {
            (row["message_id"], row["part_id"]): row for row in stored_rows(self.lake, "attachments", address)
        }
        for message in self.gmail.truth("messages", address):
            stored = self.gmail.mailbox(address).message(message["id"])
            for source in attachment_sources(message):
                row = kinds.get((message["id"], source.part_id))
                if row is None or not self.sources.allow(row["mime_type"], row["size_bytes"]):
                    continue
                if source.content is not None:
                    found[message["id"], source.part_id] = source.content, True
                elif source.attachment_id is not None:
                    found[message["id"], source.part_id] = stored.content.attachment(source.part_id), False
        return found

    def stored(self, address: str) -> dict[tuple[str, str], bytes]:
        """The bytes by attachment, as a query joins them."""
        contents = {row["sha256"]: row["content"] for row in stored_rows(self.lake, CONTENTS)}
        assert all(hashlib.sha256(data).hexdigest() == sha256 for sha256, data in contents.items())
        return {
            (row["message_id"], row["part_id"]): contents[row["sha256"]]
            for row in stored_rows(self.lake, LINKS, address)
            if row["sha256"] in contents
        }

    def check(self, *addresses: str) -> None:
        """Every attachment has its bytes, each content is stored once, and none that no attachment has."""
        expected = {address: self.truth(address) for address in addresses or self.gmail.addresses[:1]}
        for address, truth in expected.items():
            assert self.stored(address) == {key: data for key, (data, _) in truth.items()}
        hashes = [row["sha256"] for row in stored_rows(self.lake, CONTENTS)]
        everything = {data for truth in expected.values() for data, _ in truth.values()}
        assert sorted(hashes) == sorted(hashlib.sha256(data).hexdigest() for data in everything)
