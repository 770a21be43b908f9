"""An API with more quota than any test uses."""

from __future__ import annotations

import pytest
from support.batches import plentiful
from support.wire import ManualClock, Wire

from gmail_client.api import GmailApi


@pytest.fixture
def api(wire: Wire, clock: ManualClock) -> GmailApi:
    return plentiful(wire, clock).mailbox().api
