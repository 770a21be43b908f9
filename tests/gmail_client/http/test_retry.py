from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_gmail import ManualClock

from gmail_client import errors
from gmail_client.errors import (
    ConcurrencyError,
    DailyLimitError,
    GmailError,
    RateLimitError,
    UnavailableError,
)
from gmail_client.http.retry import CEILING, LONGEST, RetryPolicy

RETRYABLE = [RateLimitError, ConcurrencyError, UnavailableError]


@pytest.mark.parametrize("kind", RETRYABLE)
def test_backoff_doubles_to_a_maximum_and_ends(kind: type[GmailError]) -> None:
    retry_policy = RetryPolicy(ManualClock(), uniform=lambda: 1.0)
    waits = _until_it_gives_up(retry_policy, kind)
    assert waits == sorted(waits)
    assert all(later in (earlier * 2, CEILING) for earlier, later in pairwise(waits))
    assert 5 <= len(waits) <= 20


def _until_it_gives_up(retry_policy: RetryPolicy, kind: type[GmailError]) -> list[float]:
    waits: list[float] = []
    try:
        while len(waits) < 100:
            waits.append(retry_policy.delay(kind("no")))
    except kind:
        pass
    return waits


def test_jitter_is_full() -> None:
    assert RetryPolicy(ManualClock(), uniform=lambda: 0.0).delay(UnavailableError("no")) == 0.0


def test_a_retry_waits_for_the_given_time_plus_jitter() -> None:
    clock = ManualClock()
    retry_policy = RetryPolicy(clock, uniform=lambda: 0.5)
    assert retry_policy.delay(RateLimitError("no", retry_at=clock.now + 42)) == 42.5


def test_a_retry_time_in_the_past_is_ignored() -> None:
    clock = ManualClock()
    retry_policy = RetryPolicy(clock, uniform=lambda: 0.5)
    assert retry_policy.delay(RateLimitError("no", retry_at=clock.now - 42)) == 0.5


def test_it_waits_a_quarter_of_an_hour_but_not_a_day() -> None:
    clock = ManualClock()
    assert RetryPolicy(clock).delay(RateLimitError("no", retry_at=clock.now + 900)) >= 900
    with pytest.raises(RateLimitError):
        RetryPolicy(clock).delay(RateLimitError("no", retry_at=clock.now + 86_400))


def test_parts_refused_together_wait_once_for_the_latest() -> None:
    clock = ManualClock()
    retry_policy = RetryPolicy(clock, uniform=lambda: 0.0)
    refused = [RateLimitError("no", retry_at=clock.now + seconds) for seconds in (5, 30, 10)] * 10
    assert retry_policy.delay(*refused, UnavailableError("no")) == 30


def test_one_permanent_error_ends_the_retries() -> None:
    with pytest.raises(DailyLimitError):
        RetryPolicy(ManualClock()).delay(UnavailableError("no"), DailyLimitError("spent"))


@pytest.mark.parametrize("name", errors.__all__)
def test_errors_are_retried_if_they_are_retryable(name: str) -> None:
    error = getattr(errors, name)("no")
    if error.retryable:
        RetryPolicy(ManualClock()).delay(error)
    else:
        with pytest.raises(type(error)):
            RetryPolicy(ManualClock()).delay(error)


@settings(deadline=None)
@given(
    refusals=st.lists(
        st.tuples(st.sampled_from(RETRYABLE), st.none() | st.floats(-1e6, 1e6)), min_size=1, max_size=60
    )
)
def test_the_total_wait_is_bounded(refusals: list[tuple[type[GmailError], float | None]]) -> None:
    clock = ManualClock()
    retry_policy = RetryPolicy(clock)
    waited = 0.0
    rounds = 0
    try:
        for kind, retry_after in refusals:
            error = kind("no")
            error.retry_at = None if retry_after is None else clock.now + retry_after  # type: ignore[attr-defined]
            delay = retry_policy.delay(error)
            assert delay >= max(retry_after or 0.0, 0.0)
            clock.sleep(delay)
            waited += delay
            rounds += 1
    except (RateLimitError, ConcurrencyError, UnavailableError):
        pass
    assert waited <= LONGEST
    assert rounds <= 30


def test_retries_end_after_the_seconds_that_are_allowed() -> None:
    clock = ManualClock()
    retry_policy = RetryPolicy(clock, uniform=lambda: 1.0, longest=60)
    assert sum(_until_it_gives_up(retry_policy, RateLimitError)) <= 60
    with pytest.raises(RateLimitError):
        RetryPolicy(clock, longest=60).delay(RateLimitError("no", retry_at=clock.now + 900))


def test_requests_that_hang_use_up_the_time_too() -> None:
    clock = ManualClock()
    retry_policy = RetryPolicy(clock, uniform=lambda: 0.0, longest=60)
    assert retry_policy.delay(UnavailableError("no")) == 0
    clock.now += 61
    with pytest.raises(UnavailableError):
        retry_policy.delay(UnavailableError("no"))


def test_every_mailbox_waits_for_the_project() -> None:
    clock = ManualClock()
    error = RateLimitError("no", retry_at=clock.now + 900, per_project=True)
    assert RetryPolicy(clock, longest=60).delay(error) >= 900
