"""One Spark session for all Spark tests of a run, and named connections for its workers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import streams
from support.lakeflow import options_of

from gmail_client.emulator import Emulator

if TYPE_CHECKING:
    pass


@pytest.fixture(scope="module")
def gmail_in_memory() -> Iterator[None]:
    """Connections open mailboxes in memory."""
    with streams.gmail_in_memory():
        yield


@pytest.fixture
def connect(connections_file: Path) -> Iterator[Callable[..., str]]:
    """Register a mailbox of an emulator as a connection; returns its name."""

    def add(gmail: Emulator, name: str = "gmail_connector", address: str | None = None) -> str:
        known = json.loads(connections_file.read_text())
        known[name] = options_of(gmail, address)
        connections_file.write_text(json.dumps(known))
        return name

    yield add
    connections_file.write_text("{}")
