"""What an error means to Dagster."""

from __future__ import annotations

import time

import dagster as dg
import pytest

from gmail_assets.failures import ERROR_KEY, dagster_failures
from gmail_client.errors import (
    ConcurrencyError,
    CredentialsError,
    DailyLimitError,
    RateLimitError,
    UnavailableError,
)


@pytest.mark.parametrize("kind", [CredentialsError, DailyLimitError])
def test_what_no_retry_can_mend_fails_at_once_with_its_own_text(kind):
    with pytest.raises(dg.Failure) as caught, dagster_failures():
        raise kind("It is over.", fix="Begin anew.")
    assert caught.value.description == "It is over.\nFix: Begin anew."
    assert caught.value.allow_retries is False
    assert caught.value.metadata[ERROR_KEY].value == kind.__name__
    assert isinstance(caught.value.__cause__, kind)


@pytest.mark.parametrize(
    ("kind", "wait", "shortest", "longest"),
    [
        (UnavailableError, None, 60, 60),
        (ConcurrencyError, None, 60, 60),
        (RateLimitError, 90, 30, 90),
        (RateLimitError, -90, 1, 1),
        (UnavailableError, 9000, 300, 300),
    ],
)
def test_what_may_pass_is_tried_again_after_a_while(kind, wait, shortest, longest):
    retry_at = None if wait is None else time.time() + wait
    with pytest.raises(dg.RetryRequested) as caught, dagster_failures():
        raise kind("Not now.", retry_at=retry_at)
    assert shortest <= caught.value.seconds_to_wait <= longest
    assert caught.value.max_retries > 0


def test_other_errors_pass_through():
    with pytest.raises(ZeroDivisionError), dagster_failures():
        _ = 1 / 0
