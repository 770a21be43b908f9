"""A small mailbox and an empty lake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gmail_assets.delta.lake import Lake
from gmail_client.emulator import Emulator


@pytest.fixture
def gmail() -> Iterator[Emulator]:
    with Emulator(messages=30, seed=5) as emulator:
        yield emulator


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))
