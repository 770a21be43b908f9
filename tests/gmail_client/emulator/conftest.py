"""Fixtures of the emulator's tests: emulators, plain HTTP callers and Google's client, closed after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from support.gmail_api import Caller, google_client

from gmail_client.emulator import Emulator


@pytest.fixture
def start() -> Iterator[Callable[..., Emulator]]:
    """Starts emulators that are stopped after the test."""
    with ExitStack() as stack:
        yield lambda **arguments: stack.enter_context(Emulator(**{"messages": 40, **arguments}))


@pytest.fixture
def call() -> Iterator[Callable[..., Caller]]:
    """Creates callers that are closed after the test."""
    with ExitStack() as stack:

        def make(gmail: Emulator, token: str | None = None) -> Caller:
            caller = Caller(gmail, token)
            stack.callback(caller.close)
            return caller

        yield make


@pytest.fixture
def google() -> Iterator[Callable[..., Any]]:
    """Creates Google's client for an emulator, from Google's discovery document."""
    with ExitStack() as stack:

        def make(gmail: Emulator, token: str | None = None) -> Any:
            service = google_client(gmail, token)
            stack.callback(service.close)
            return service

        yield make
