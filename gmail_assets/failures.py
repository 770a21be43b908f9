"""What an error of the client means to Dagster: for good, or worth another try."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from gmail_client.errors import GmailError

__all__ = ["ERROR_KEY", "MAX_RETRIES", "dagster_failures"]

ERROR_KEY = "gmail/error"
"""Metadata key of a failed step: the class name of the error behind it."""

MAX_RETRIES = 3
_WAIT_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 300.0


@contextmanager
def dagster_failures() -> Iterator[None]:
    """Turn a `GmailError` into a failure with its own text, or into a request for a retry.

    The client has waited and retried by itself before it raises, so the few retries here are for longer outages.

    Raises:
        dagster.Failure: No retry can mend it.
        dagster.RetryRequested: It may pass; waits until the time that Gmail named, at most five minutes.
    """
    try:
        yield
    except GmailError as error:
        if error.retryable:
            raise dg.RetryRequested(max_retries=MAX_RETRIES, seconds_to_wait=_wait(error)) from error
        raise dg.Failure(
            description=str(error), metadata={ERROR_KEY: type(error).__name__}, allow_retries=False
        ) from error


def _wait(error: GmailError) -> float:
    if error.retry_at is None:
        return _WAIT_SECONDS
    return min(max(error.retry_at - time.time(), 1.0), _LONGEST_WAIT_SECONDS)
