"""What a run does after an error: `retry_wait` and `MAX_RETRIES`, and `concerns_whole_mailbox`."""

from __future__ import annotations

import time

from gmail_client.errors import (
    ApiDisabledError,
    ConfigurationError,
    CredentialsError,
    DailyLimitError,
    DelegationError,
    GmailError,
    NoMailboxError,
    OptionError,
)

__all__ = ["MAX_RETRIES", "concerns_whole_mailbox", "retry_wait"]

MAX_RETRIES = 3
"""The client has already retried before it raises, so these few retries are for longer outages."""

_WAIT_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 300.0
_WHOLE_MAILBOX = (
    ApiDisabledError,
    ConfigurationError,
    CredentialsError,
    DailyLimitError,
    DelegationError,
    NoMailboxError,
)


def concerns_whole_mailbox(error: GmailError) -> bool:
    """Whether the error concerns all tables of the mailbox."""
    return isinstance(error, _WHOLE_MAILBOX) and not isinstance(error, OptionError)


def retry_wait(error: GmailError) -> float:
    """Seconds until the next attempt: until the time that Gmail named, at most five minutes."""
    if error.retry_at is None:
        return _WAIT_SECONDS
    return min(max(error.retry_at - time.time(), 1.0), _LONGEST_WAIT_SECONDS)
