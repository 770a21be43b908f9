"""An API with more quota than any test uses."""

from __future__ import annotations

import pytest
from support.batches import connect_with_quota
from support.fake_gmail import FakeGmail, ManualClock

from gmail_client.api import GmailApi


@pytest.fixture
def api(wire: FakeGmail, clock: ManualClock) -> GmailApi:
    return connect_with_quota(wire, clock).mailbox().api
