"""An emulator, an environment that points at it, and `gmail-assets` run in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gmail_assets.cli import main
from gmail_client.emulator import Emulator


@dataclass(frozen=True)
class Outcome:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture
def gmail() -> Iterator[Emulator]:
    with Emulator(mailboxes=2, messages=60, seed=3, mean_json_kb=4) as emulator:
        yield emulator


@pytest.fixture
def place(gmail: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in; the environment names the emulator's first mailbox and a lake in the folder."""
    for name in [name for name in os.environ if name.startswith("GMAIL_") or name == "DAGSTER_HOME"]:
        monkeypatch.delenv(name)
    for name, value in gmail.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GMAIL_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("GMAIL_QUOTA", "1200000")
    monkeypatch.setenv("GMAIL_CREDENTIALS_FILE", str(tmp_path / "login" / "credentials.json"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def without_login(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Like `place`, but with client id and secret and without a token."""
    monkeypatch.delenv("GMAIL_REFRESH_TOKEN")
    return place


@pytest.fixture
def run(place: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `gmail-assets`."""

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call
