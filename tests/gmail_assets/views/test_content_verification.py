"""`verify` finds attachments without a stored content, and contents whose bytes changed."""

from __future__ import annotations

import hashlib

import pytest
from support.chaos import client_of
from support.contents import PDF, Contents
from support.lake import stored_rows

from gmail_assets.operations.verify import verify_mailbox
from gmail_assets.views.verification import ViewVerdict
from gmail_client.emulator import Emulator
from gmail_client.views import CONTENTS


@pytest.mark.slow
def test_verify_finds_missing_contents_and_changed_bytes(gmail: Emulator, contents: Contents) -> None:
    address = gmail.addresses[0]
    mailbox = client_of(gmail, address).mailbox(address)

    def verdict() -> ViewVerdict:
        found = verify_mailbox(mailbox, contents.lake, contents.spec, sample=60)
        return found.views[CONTENTS]

    contents.prepare(address)
    pending = verdict()
    assert (pending.rows, pending.outdated) == (0, len(contents.truth(address)))
    contents.fetch(address)
    good = verdict()
    assert good.rows == good.sampled == len(stored_rows(contents.lake, CONTENTS))
    assert (good.outdated, good.differing, good.examples) == (0, 0, [])
    delta = contents.lake.find(CONTENTS)
    assert delta is not None
    pdf = hashlib.sha256(PDF).hexdigest()
    delta.update({"content": "X'00'"}, predicate=f"sha256 = '{pdf}'")
    changed = verdict()
    assert (changed.outdated, changed.differing) == (0, 1)
    assert len(changed.examples) == 2
    delta = contents.lake.find(CONTENTS)
    assert delta is not None
    delta.delete(f"sha256 = '{pdf}'")
    assert verdict().outdated == 2
    contents.fetch(address)
    contents.check()
