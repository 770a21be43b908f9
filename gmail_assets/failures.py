"""Turn errors of the Gmail client into Dagster failures (permanent) or retry requests (transient)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from gmail_client.errors import GmailError

__all__ = ["ERROR_KEY", "MAX_RETRIES", "dagster_failures"]

ERROR_KEY = "gmail/error"
"""Metadata key of a failed step: class name of the error that caused it."""

MAX_RETRIES = 3
_WAIT_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 300.0


@contextmanager
def dagster_failures() -> Iterator[None]:
    """Convert a `GmailError` of the block into a failure with its message, or into a retry request.

    The client has already retried before it raises, so the few retries here are for longer outages.

    Raises:
        dagster.Failure: The error is permanent.
        dagster.RetryRequested: The error is transient; waits until the retry time that Gmail named, at most five
            minutes.
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
