"""Calls and error responses for tests of batches."""

from __future__ import annotations

from gmail_client.api import ApiCall, GmailApi
from gmail_client.client import GmailClient
from gmail_client.quota import QuotaPlan, preset
from support.fake_gmail import FakeGmail, ManualClock, connect, error_response

TOO_MANY_CONCURRENT = error_response(429, "rateLimitExceeded", "Too many concurrent requests for user.")
RATE_LIMITED = error_response(403, "rateLimitExceeded")
AMPLE_QUOTA = preset(1_200_000)


def connect_with_quota(wire: FakeGmail, clock: ManualClock, quota: QuotaPlan = AMPLE_QUOTA) -> GmailClient:
    return connect(wire, clock, quota=quota)


def calls(api: GmailApi, count: int) -> list[ApiCall]:
    return [api.message_call(f"{number:x}") for number in range(count)]
