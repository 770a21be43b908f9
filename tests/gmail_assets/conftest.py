"""A small emulated Gmail, and an environment in which the Dagster assets load it into a temporary lake."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gmail_assets.delta.lake import Lake
from gmail_client.emulator import Emulator


@pytest.fixture
def mailbox_server() -> Iterator[Emulator]:
    with Emulator(mailboxes=2, messages=24, seed=7, mean_json_kb=4) as emulator:
        yield emulator


@pytest.fixture
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No GMAIL_ variable is set, and the working directory has no .env file."""
    for name in [name for name in os.environ if name.startswith("GMAIL_") or name == "DAGSTER_HOME"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GMAIL_CREDENTIALS_FILE", str(tmp_path / "no-login.json"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def environment(
    mailbox_server: Emulator, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> Emulator:
    """The environment variables select the emulator's first mailbox, by its address, and the lake `lake_of_test`."""
    for name, value in mailbox_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GMAIL_USER_ID", mailbox_server.addresses[0])
    monkeypatch.setenv("GMAIL_LAKE", str(clean_environment / "lake"))
    monkeypatch.setenv("GMAIL_QUOTA", "1200000")
    return mailbox_server


@pytest.fixture
def lake_of_test(clean_environment: Path) -> Lake:
    return Lake(str(clean_environment / "lake"))
