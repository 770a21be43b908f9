"""The journal: after a restart, all writes and all ids are the same."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmail_client.emulator import Behavior, EmulatedMailbox, Emulator
from gmail_client.emulator.generate.generator import seeded_mailbox
from gmail_client.emulator.mailbox.journal import Journal, decode_arguments, encode_arguments
from gmail_client.emulator.truth import TRUTH_TABLES
from gmail_client.http.clock import SYSTEM_CLOCK

from .test_history import any_write

Start = Callable[..., Emulator]


def match_all(gmail: Emulator) -> dict[tuple[str, str], Any]:
    found = {}
    for address in gmail.addresses:
        for table in TRUTH_TABLES:
            rows = gmail.truth(table, address, include_spam_trash=True, format="metadata")
            found[address, table] = rows
        mailbox = gmail.mailbox(address)
        page = mailbox.log.page(mailbox.log.floor, 100_000)
        found[address, "history"] = page.records
    return found


def test_a_mailbox_survives_a_restart(start: Start, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"messages": 20, "mailboxes": 2, "journal": tmp_path / "journal"}
    with Emulator(**arguments) as gmail:
        token = gmail.environment()["GMAIL_REFRESH_TOKEN"]
        rng = random.Random(5)
        for _ in range(80):
            any_write(gmail.mailbox(rng.choice(gmail.addresses)), rng)
        mailbox = gmail.mailbox()
        to = gmail.addresses[1]
        mailbox.send(b"From: a@x\r\nTo: %b\r\nSubject: between mailboxes\r\n\r\nHi\r\n" % to.encode())
        mailbox.update_settings("vacation", {"enableAutoReply": True, "responseSubject": "Away"})
        mailbox.create_filter({"from": "x"}, {"addLabelIds": ["STARRED"]})
        color = {"textColor": "#000000", "backgroundColor": "#ffffff"}
        mailbox.patch_label(mailbox.create_label("Kept", color=color), name="Kept on")
        mailbox.create_send_as("alias@gmail.test", displayName="Alias")
        before = match_all(gmail)
    again = start(**arguments)
    assert match_all(again) == before
    assert again.environment()["GMAIL_REFRESH_TOKEN"] == token
    # And it continues with new ids.
    known = set(again.mailbox().message_ids())
    assert again.mailbox().insert(again.mailbox().random_mail()) not in known


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), cut=st.integers(1, 400))
def test_an_incomplete_last_line_loses_one_write(tmp_path_factory: Any, seed: int, cut: int) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    origin = {"seed": 1}
    journal = Journal(path, origin)
    mailbox = EmulatedMailbox(
        seeded_mailbox(1, 0, 8), clock=SYSTEM_CLOCK, behavior=Behavior(), journal=journal
    )
    rng = random.Random(seed)
    lines = [path.stat().st_size]
    states = [(mailbox.head, mailbox.message_ids())]
    for _ in range(12):
        any_write(mailbox, rng)
        if path.stat().st_size > lines[-1]:
            lines.append(path.stat().st_size)
            states.append((mailbox.head, mailbox.message_ids()))
    journal.close()
    data = path.read_bytes()
    keep = max(lines[0], len(data) - cut)
    path.write_bytes(data[:keep])
    whole = max(number for number, end in enumerate(lines) if end <= keep)
    journal = Journal(path, origin)
    again = EmulatedMailbox(seeded_mailbox(1, 0, 8), clock=SYSTEM_CLOCK, behavior=Behavior(), journal=journal)
    for entry in journal.replay():
        again.replay(entry)
    assert (again.head, again.message_ids()) == states[whole]
    again.insert(b"Subject: more\r\n\r\n")
    journal.close()
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_refused_writes_are_not_in_the_journal(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    gmail = start(messages=3, journal=path)
    size = path.stat().st_size
    state = gmail.mailbox().random_state
    for refused in (
        lambda: gmail.mailbox().trash("ffff"),
        lambda: gmail.mailbox().insert(b"x", ["Label_404"]),
        lambda: gmail.mailbox().create_filter({}, {}),
        lambda: gmail.mailbox().create_draft(b"x", thread_id="ffff"),
    ):
        with pytest.raises(Exception, match=r"found|label|criteria"):
            refused()
    assert path.stat().st_size == size
    assert gmail.mailbox().random_state == state


def test_invalid_journals(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Emulator(messages=3, journal=path):
        pass
    with pytest.raises(
        ValueError, match=r"belongs to an emulator with .*'messages': 3.*use the same arguments"
    ):
        Emulator(messages=4, journal=path)
    path.write_text("hello\nworld\n")
    with pytest.raises(ValueError, match="line 1 is damaged"):
        Emulator(messages=3, journal=path)
    path.write_text("[1]\n")
    with pytest.raises(ValueError, match="is not a journal"):
        Emulator(messages=3, journal=path)


def test_arguments_round_trip() -> None:
    arguments = {"mail": b"\x00\xff", "labels": ["a"], "n": None, "filter": {"criteria": {"from": "x"}}}
    assert decode_arguments(json.loads(json.dumps(encode_arguments(arguments)))) == arguments
