"""Two mailboxes with attachments that they share, and a lake with their contents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.contents import PDF, PNG, Contents, mail

from gmail_client.emulator import Emulator


@pytest.fixture
def gmail() -> Iterator[Emulator]:
    with Emulator(mailboxes=2, messages=25, seed=9) as emulator:
        for address in emulator.addresses:
            mailbox = emulator.mailbox(address)
            mailbox.insert(mail(1, ("application/pdf", PDF), ("image/png", PNG)), ["INBOX"])
            mailbox.insert(mail(2, ("application/pdf", PDF), ("text/plain", b"inline")), ["INBOX"])
        yield emulator


@pytest.fixture
def contents(gmail: Emulator, tmp_path: Path) -> Contents:
    return Contents(gmail, tmp_path / "lake")
