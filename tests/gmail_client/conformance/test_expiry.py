"""Noted history ids show how long the history lives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.chaos import InstantClock, client_of

from gmail_client.conformance.expiry import HistoryLife, HistoryNotes
from gmail_client.emulator import Emulator
from gmail_client.errors import ConfigurationError

DAY = 86_400.0


@pytest.fixture(scope="module")
def gmail() -> Iterator[Emulator]:
    with Emulator(messages=5, clock=InstantClock()) as emulator:
        yield emulator


def test_ids_are_noted_and_asked_for_on_later_days(gmail: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "history_notes.json"
    mailbox = client_of(gmail).mailbox("me")
    heads = []
    lives = []
    for day in range(6):
        lives.append(HistoryNotes(path).check(mailbox))
        assert lives[-1] == HistoryNotes(path).check(mailbox)  # once more on the same day
        heads.append(gmail.mailbox().head)
        gmail.mailbox().receive(gmail.mailbox().random_mail())
        if day == 3:
            gmail.expire_history(upto=int(heads[1]) + 1)
        gmail.clock.sleep(DAY)
    assert lives == [
        HistoryLife(),
        HistoryLife(1),
        HistoryLife(2),
        HistoryLife(3),
        HistoryLife(2, 3),
        HistoryLife(3, 4),
    ]
    assert lives[-1].as_json() == {"valid_after_days": 3, "expired_after_days": 4}
    (days,) = json.loads(path.read_text("utf-8"))["mailboxes"].values()
    assert len(days) == 5  # of the two expired ones, the newer
    assert gmail.addresses[0] not in path.read_text("utf-8")
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "text", ["", "[]", '{"key": "zz", "mailboxes": {}}', '{"key": "00", "mailboxes": {"a": {"x": 1}}}']
)
def test_notes_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "history_notes.json"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match="can't be read"):
        HistoryNotes(path)


def test_a_folder_that_cannot_be_made_is_one_plain_error(gmail: Emulator, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    notes = HistoryNotes(tmp_path / "file" / "history_notes.json")
    with pytest.raises(ConfigurationError, match="can't be written"):
        notes.check(client_of(gmail).mailbox("me"))
