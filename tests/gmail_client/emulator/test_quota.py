"""The quota: prices, the sliding minute, the project, bursts, calls in flight, and the forms of errors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.gmail_api import Caller

from gmail_client.emulator import ApiError, Emulator, Quota
from gmail_client.emulator.api.methods import METHODS
from gmail_client.emulator.quota import QuotaLimiter

Start = Callable[..., Emulator]
Call = Callable[..., Caller]
GET = METHODS["messages.get"]
PROFILE = METHODS["getProfile"]


class HandClock:
    """A clock that only moves when it is set."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(0.0, seconds)


def spend(limiter: QuotaLimiter, method: Any = GET, user: str = "a@x") -> ApiError | None:
    try:
        limiter.charge(user, method)
    except ApiError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("name", "current", "legacy"),
    [
        ("messages.get", 20, 5),
        ("drafts.get", 20, 5),
        ("messages.attachments.get", 20, 5),
        ("threads.get", 40, 10),
        ("messages.list", 5, 5),
        ("drafts.list", 5, 5),
        ("threads.list", 10, 10),
        ("history.list", 2, 2),
        ("getProfile", 1, 1),
        ("labels.list", 1, 1),
        ("labels.get", 1, 1),
        ("settings.getVacation", 1, 1),
        ("settings.filters.list", 1, 1),
        ("settings.sendAs.list", 1, 1),
        ("settings.forwardingAddresses.list", 1, 1),
        ("settings.delegates.list", 1, 1),
        ("messages.send", 100, 100),
    ],
)
def test_prices(name: str, current: int, legacy: int) -> None:
    assert Quota.named("current").price(METHODS[name]) == current
    assert Quota.named("legacy").price(METHODS[name]) == legacy


def test_presets() -> None:
    assert Quota.named("current").per_user == 6_000
    assert Quota.named("legacy").per_user == 15_000
    assert Quota.named("1200") == Quota.named(1200)
    assert Quota.named(1200).burst == 580
    assert Quota.named("none").in_flight is None
    for wrong in ("fast", "0", "-5", "1.5"):
        with pytest.raises(ValueError, match="quota is current, legacy, none or units"):
            Quota.named(wrong)


def test_three_hundred_gets_a_minute() -> None:
    clock = HandClock()
    limiter = QuotaLimiter(Quota(burst=None), clock)
    assert all(spend(limiter) is None for _ in range(300))
    refused = spend(limiter)
    assert refused is not None
    assert (refused.code, refused.reason, refused.domain) == (403, "rateLimitExceeded", "usageLimits")
    assert spend(limiter, user="b@x") is None
    clock.now += 59.9
    assert spend(limiter) is not None
    clock.now += 0.2
    assert spend(limiter) is None


def test_the_forms_of_quota_errors() -> None:
    clock = HandClock(1_800_000_000.5)
    limiter = QuotaLimiter(Quota(per_user=100, burst=None), clock)
    for _ in range(5):
        assert spend(limiter) is None
    errors = [spend(limiter) for _ in range(6)]
    starts = []
    for error in errors:
        assert error is not None
        assert error.code == 403
        for detail in error.details:
            metadata = detail["metadata"]
            assert detail["reason"] == "RATE_LIMIT_EXCEEDED"
            assert metadata["quota_limit_value"] == "100"
            starts.append(metadata.get("window_start_time"))
    assert Counter(starts) == {"1800000001": 2, None: 2}
    dated = [error.message for error in errors if error is not None and not error.details]
    assert len(dated) == 2
    assert re.fullmatch(r"User-rate limit exceeded\.  Retry after 2027-01-15T08:01:00\.500Z", dated[0])


def test_waiting_as_long_as_the_error_says_is_enough() -> None:
    clock = HandClock()
    limiter = QuotaLimiter(Quota(per_user=100, burst=None), clock)
    for _ in range(5):
        spend(limiter)
        clock.now += 7
    for _ in range(6):
        error = spend(limiter)
        if error is None:
            clock.now += 1
            continue
        if error.details and "window_start_time" in error.details[0]["metadata"]:
            clock.now = int(error.details[0]["metadata"]["window_start_time"]) + 60
            assert spend(limiter) is None


def test_a_refused_call_costs_nothing() -> None:
    clock = HandClock()
    limiter = QuotaLimiter(Quota(per_user=100, burst=None), clock)
    for _ in range(50):
        spend(limiter)
    clock.now += 60
    assert [spend(limiter) is None for _ in range(6)] == [True] * 5 + [False]


def test_the_captured_burst_is_refused() -> None:
    clock = HandClock()
    limiter = QuotaLimiter(Quota(), clock)
    passed = 0
    for _ in range(145):
        passed += spend(limiter) is None
        clock.now += 18 / 145
    assert passed * 20 == 2_880
    # A hundred units per second, the sustained rate of Gmail, are never refused.
    steady = QuotaLimiter(Quota(), HandClock())
    for _ in range(3_000):
        assert spend(steady) is None
        steady._clock.sleep(0.2)


def test_another_limit_of_the_project() -> None:
    assert Quota.named("current").with_project(60_000) == Quota(per_project=60_000)
    assert Quota.named("current").with_project(None) == Quota()
    with pytest.raises(ValueError, match="above 0"):
        Quota.named("none").with_project(0)


def test_the_project() -> None:
    limiter = QuotaLimiter(Quota(per_user=1_000, per_project=1_500, burst=None), HandClock())
    assert all(spend(limiter, user="a@x") is None for _ in range(50))
    assert all(spend(limiter, user="b@x") is None for _ in range(25))
    refused = [spend(limiter, user="b@x") for _ in range(3)]
    assert all(error is not None for error in refused)
    limits = {d["metadata"]["quota_limit"] for error in refused if error for d in error.details}
    assert limits == {"QueriesPerMinute"}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), min_size=1, max_size=200))
def test_no_minute_holds_more_than_the_limit(steps: list[tuple[float, bool]]) -> None:
    clock = HandClock()
    limiter = QuotaLimiter(Quota(per_user=100, burst=None), clock)
    spent: list[tuple[float, int]] = []
    for pause, big in steps:
        clock.now += pause
        method = GET if big else PROFILE
        if spend(limiter, method) is None:
            spent.append((clock.now, 20 if big else 1))
    for at, _ in spent:
        # Spent units are grouped by a fiftieth of a second, so the edge of a window is that wide.
        assert sum(units for when, units in spent if at <= when < at + 59.9) <= 100


def test_over_http_in_single_calls_and_batches(start: Start, call: Call) -> None:
    gmail = start(messages=12, quota=100, clock=HandClock())
    me = call(gmail)
    ids = gmail.mailbox().message_ids()
    assert gmail.usage.total_units == 0
    _, found = me.batch([f"/gmail/v1/users/me/messages/{one}" for one in ids])
    assert Counter(status for status, _ in found.values()) == {200: 2, 403: 10}
    assert gmail.usage.units == {"messages.get": 40}
    gmail.clock.sleep(60)
    assert me.get(f"messages/{ids[0]}").status_code == 200


def test_the_limit_of_calls_in_flight(start: Start, call: Call) -> None:
    gmail = start(messages=1, quota=Quota(per_user=None, per_project=None, burst=None), latency_ms=400)
    token = gmail.access_token()
    callers = [call(gmail, token) for _ in range(64)]

    def statuses(number: int) -> Counter[int]:
        with ThreadPoolExecutor(number) as pool:
            return Counter(pool.map(lambda caller: caller.get("profile").status_code, callers[:number]))

    assert statuses(20) == {200: 20}
    gmail.usage.reset()
    crowd = statuses(64)
    assert crowd[200] + crowd[429] == 64
    assert gmail.usage.peak_concurrency <= 50
    if gmail.usage.peak_concurrency == 50:
        assert crowd[429] > 0
