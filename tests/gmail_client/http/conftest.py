"""An API with more quota than any test uses."""

from __future__ import annotations

import pytest
from support.batches import plentiful
from support.fake_gmail import FakeGmail, ManualClock

from gmail_client.api import GmailApi


@pytest.fixture
def api(wire: FakeGmail, clock: ManualClock) -> GmailApi:
    return plentiful(wire, clock).mailbox().api
