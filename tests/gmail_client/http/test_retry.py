from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.wire import ManualClock

from gmail_client import errors
from gmail_client.errors import (
    ConcurrencyError,
    DailyLimitError,
    GmailError,
    RateLimitError,
    UnavailableError,
)
from gmail_client.http.retry import CEILING, LONGEST, Patience

RETRYABLE = [RateLimitError, ConcurrencyError, UnavailableError]


@pytest.mark.parametrize("kind", RETRYABLE)
def test_backoff_doubles_to_a_ceiling_and_ends(kind: type[GmailError]) -> None:
    patience = Patience(ManualClock(), uniform=lambda: 1.0)
    waits = _until_it_gives_up(patience, kind)
    assert waits == sorted(waits)
    assert all(later in (earlier * 2, CEILING) for earlier, later in pairwise(waits))
    assert 5 <= len(waits) <= 20


def _until_it_gives_up(patience: Patience, kind: type[GmailError]) -> list[float]:
    waits: list[float] = []
    try:
        while len(waits) < 100:
            waits.append(patience.delay(kind("no")))
    except kind:
        pass
    return waits


def test_jitter_is_full() -> None:
    assert Patience(ManualClock(), uniform=lambda: 0.0).delay(UnavailableError("no")) == 0.0


def test_it_waits_as_told_and_a_little_longer() -> None:
    clock = ManualClock()
    patience = Patience(clock, uniform=lambda: 0.5)
    assert patience.delay(RateLimitError("no", retry_at=clock.now + 42)) == 42.5


def test_a_time_that_has_passed_is_none() -> None:
    clock = ManualClock()
    patience = Patience(clock, uniform=lambda: 0.5)
    assert patience.delay(RateLimitError("no", retry_at=clock.now - 42)) == 0.5


def test_a_quarter_of_an_hour_is_waited_but_not_a_day() -> None:
    clock = ManualClock()
    assert Patience(clock).delay(RateLimitError("no", retry_at=clock.now + 900)) >= 900
    with pytest.raises(RateLimitError):
        Patience(clock).delay(RateLimitError("no", retry_at=clock.now + 86_400))


def test_parts_refused_together_wait_once_for_the_latest() -> None:
    clock = ManualClock()
    patience = Patience(clock, uniform=lambda: 0.0)
    refused = [RateLimitError("no", retry_at=clock.now + seconds) for seconds in (5, 30, 10)] * 10
    assert patience.delay(*refused, UnavailableError("no")) == 30


def test_one_error_that_waiting_cannot_mend_ends_it() -> None:
    with pytest.raises(DailyLimitError):
        Patience(ManualClock()).delay(UnavailableError("no"), DailyLimitError("spent"))


@pytest.mark.parametrize("name", errors.__all__)
def test_what_is_retried_is_what_says_so(name: str) -> None:
    error = getattr(errors, name)("no")
    if error.retryable:
        Patience(ManualClock()).delay(error)
    else:
        with pytest.raises(type(error)):
            Patience(ManualClock()).delay(error)


@settings(deadline=None)
@given(
    refusals=st.lists(
        st.tuples(st.sampled_from(RETRYABLE), st.none() | st.floats(-1e6, 1e6)), min_size=1, max_size=60
    )
)
def test_waiting_is_bounded_whatever_comes(refusals: list[tuple[type[GmailError], float | None]]) -> None:
    clock = ManualClock()
    patience = Patience(clock)
    waited = 0.0
    rounds = 0
    try:
        for kind, told in refusals:
            error = kind("no")
            error.retry_at = None if told is None else clock.now + told  # type: ignore[attr-defined]
            delay = patience.delay(error)
            assert delay >= max(told or 0.0, 0.0)
            clock.sleep(delay)
            waited += delay
            rounds += 1
    except (RateLimitError, ConcurrencyError, UnavailableError):
        pass
    assert waited <= LONGEST
    assert rounds <= 30
