"""Runs the commands of the documentation against an emulator, in the order in which a new user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pages import PAGES, commands

from gmail_assets.cli import main
from gmail_client.emulator import Emulator

SHOWN = [
    "--version",
    "check",
    "plan",
    "sync messages threads",
    "sync messages",
    "sync threads",
    "sync labels",
    "sync labels profile",
    "sync",
    "status",
    "status --offline",
    "status --json",
    "mailboxes",
    "vacuum",
    "vacuum --keep-versions-days 1 --keep-deleted-days 30",
    "verify",
    "verify --thorough --sample 200",
    "verify --quiet",
    "doctor",
    "doctor --record record.json",
    "doctor --expiry",
    "conformance",
    "conformance --record record.json",
    "sync --quiet",
    "sync --jobs 32",
    "sync --full-refresh messages threads",
    "sync emails --full-refresh",
    "sync --allow-mass-delete",
    "sync messages --q newer_than:30d --label INBOX",
    "completion bash",
    "completion zsh",
    "completion fish",
    "logout",
]
"""All documented commands except `login`, which has its own tests; `test_pages.py` checks their syntax."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    folder = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch, Emulator(messages=40) as gmail:
        for name in [name for name in os.environ if name.startswith("GMAIL_") or name == "DAGSTER_HOME"]:
            patch.delenv(name)
        for name, value in gmail.environment().items():
            patch.setenv(name, value)
        patch.setenv("GMAIL_QUOTA", "1200000")
        patch.setenv("GMAIL_CREDENTIALS_FILE", str(folder / "credentials.json"))
        patch.chdir(folder)
        yield patch


@pytest.mark.parametrize(
    "line", [pytest.param(line, marks=pytest.mark.slow) if line == "conformance" else line for line in SHOWN]
)
def test_the_command_runs(line: str, environment: pytest.MonkeyPatch) -> None:
    if line.startswith("verify"):
        assert main(["sync", "--quiet"]) == 0  # the previous command may have run in another test worker
    assert main(line.split()) == 0


def test_every_command_that_a_page_shows_is_among_them() -> None:
    on_pages = {
        " ".join(words[1:]).partition(" >")[0]
        for page in PAGES
        for words in commands(page)
        if words[0] == "gmail-assets" and words[1:2] not in (["login"], ["emulator"], ["bundle"])
    }
    # Addresses in the pages are examples; `--help` is tested with each command, `--register` with a directory.
    without = ("@", "ADDRESS", "--help", "--register", " | ")
    shown = {line for line in on_pages if not any(word in line for word in without)}
    assert shown <= set(SHOWN)


@pytest.mark.slow
def test_dagster_s_own_command_line_materializes(environment: pytest.MonkeyPatch) -> None:
    tool = Path(sys.executable).parent / "dagster"
    subprocess.run(
        [
            str(tool),
            *("asset", "materialize", "--select", "gmail/labels", "--partition", "me"),
            *("-m", "gmail_assets.definitions"),
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )
