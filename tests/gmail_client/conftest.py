"""Fixtures for tests of the client: a fake Gmail behind an injected session, and a manual clock."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from support.fake_gmail import FakeGmail, ManualClock, connect, message_response

from gmail_client.client import GmailClient


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def wire() -> FakeGmail:
    return FakeGmail(message_response)


@pytest.fixture
def client(wire: FakeGmail, clock: ManualClock) -> GmailClient:
    return connect(wire, clock)


@pytest.fixture(autouse=True)
def _no_threads_left() -> Iterator[None]:
    """Every test ends its worker threads."""
    before = set(threading.enumerate())
    yield
    left = [
        thread
        for thread in threading.enumerate()
        if thread.name.startswith("gmail-") and thread not in before
    ]
    for thread in left:
        thread.join(5)
    assert not [thread.name for thread in left if thread.is_alive()]
