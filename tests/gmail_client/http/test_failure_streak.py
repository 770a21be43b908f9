"""Unavailable messages and outages: when a read ends, and its cost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.fake_gmail import (
    FakeGmail,
    FakeRequest,
    FakeResponse,
    ManualClock,
    connect,
    error_response,
    message_response,
)

from gmail_client.api import GmailApi
from gmail_client.errors import CredentialsError, UnavailableError
from gmail_client.quota import preset

PROFILE = FakeResponse(json={"emailAddress": "ada@b.test", "historyId": "1"})
DOWN = FakeResponse(503, {})


@pytest.fixture
def api(wire: FakeGmail, clock: ManualClock) -> GmailApi:
    # With one worker the order of the results is the order of the calls.
    return connect(wire, clock, quota=preset(1_200_000), workers=1).mailbox().api


def refusing_handler(
    broken: set[str], profile: FakeResponse = PROFILE
) -> Callable[[FakeRequest], FakeResponse]:
    def handler(request: FakeRequest) -> FakeResponse:
        if request.id == "profile":
            return profile
        return DOWN if request.id in broken else message_response(request)

    return handler


def read(api: GmailApi, first: int, last: int) -> tuple[set[str], set[str]]:
    """Get these messages; returns the ids of those that were served and of those that failed."""
    results = list(api.get_many(api.message_call(f"{number:x}") for number in range(first, last)))
    failed = {result.call.key for result in results if result.error is not None}
    return {result.call.key for result in results} - failed, failed


@pytest.mark.parametrize("first", [0, 30, 55])
def test_many_consecutive_unavailable_messages_do_not_stop_the_others(
    wire: FakeGmail, api: GmailApi, first: int
) -> None:
    broken = {f"{number:x}" for number in range(first, first + 19)}
    wire.handler = refusing_handler(broken)
    served, failed = read(api, 0, 80)
    assert failed == broken
    assert len(served) == 61
    # Each message once; a probe after five failures repeats a served call, or gets the profile.
    spent = api.usage.snapshot().units
    assert spent["messages.get"] + spent.get("getProfile", 0) <= (61 + 3) * 20 + 3


def test_unavailable_messages_after_served_ones_are_not_an_outage(wire: FakeGmail, api: GmailApi) -> None:
    broken = {f"{number:x}" for number in range(1, 100)}
    wire.handler = refusing_handler(broken)
    assert read(api, 0, 100) == ({"0"}, broken)
    # The next read remembers a served call, so all of its calls may fail.
    assert read(api, 1, 40) == (set(), {f"{number:x}" for number in range(1, 40)})


def test_a_probe_that_returns_not_found_counts_as_served(wire: FakeGmail, api: GmailApi) -> None:
    wire.handler = lambda request: message_response(request)
    read(api, 0, 1)
    broken = {f"{number:x}" for number in range(1, 30)}
    wire.handler = lambda request: error_response(404, "notFound") if request.id == "0" else DOWN
    assert read(api, 1, 30) == (set(), broken)


@pytest.mark.parametrize("served", [0, 40])
def test_an_outage_ends_the_read_at_the_first_probe(wire: FakeGmail, api: GmailApi, served: int) -> None:
    wire.handler = lambda request: message_response(request)
    read(api, 0, served)
    wire.gets.clear()
    wire.handler = lambda _: DOWN
    with pytest.raises(UnavailableError):
        read(api, served, 1_000)
    # One batch with its retries, and the probe with its retries.
    assert len(wire.gets) <= 20 * 8 + 8
    assert api.usage.snapshot().total_units == served * 20


def test_if_all_gets_fail_the_read_ends_although_the_profile_is_served(
    wire: FakeGmail, api: GmailApi
) -> None:
    wire.handler = lambda request: PROFILE if request.id == "profile" else DOWN
    with pytest.raises(UnavailableError):
        read(api, 0, 1_000)
    assert len(wire.gets) <= 20 * 8 + 4


def test_the_error_of_a_refused_probe_is_raised(wire: FakeGmail, api: GmailApi) -> None:
    wire.handler = refusing_handler({f"{number:x}" for number in range(30)}, error_response(401, "authError"))
    with pytest.raises(CredentialsError):
        read(api, 0, 30)
