"""When to retry a refused request, and when to give up: `RetryPolicy`.

Waits until the time that Gmail names; without one, exponential backoff with full jitter, so that threads that were
refused together don't retry together. https://developers.google.com/workspace/gmail/api/guides/handle-errors
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from gmail_client.errors import (
    ConcurrencyError,
    GmailError,
    PreconditionError,
    RateLimitError,
    UnavailableError,
)
from gmail_client.http.clock import Clock

__all__ = ["RetryPolicy"]

CEILING = 64.0
"""Seconds: the longest single backoff."""

LONGEST = 1800.0
"""Seconds that one request may wait in total, by default. Gmail sometimes asks for a quarter of an hour."""

_ATTEMPTS: dict[type[GmailError], tuple[int, float]] = {
    RateLimitError: (12, 1.0),
    ConcurrencyError: (12, 1.0),
    PreconditionError: (5, 0.5),
    UnavailableError: (8, 0.5),
}
"""By error class: the highest number of attempts, and the first backoff's ceiling in seconds. The first class that
matches an error counts. A transient precondition error disappears at the next attempt, so it gets few attempts."""

_uniform = random.SystemRandom().random


class RetryPolicy:
    """Counts the attempts of one request, or of one batch whose parts are retried together.

    Args:
        clock: The time that retry times are compared with.
        uniform: Random numbers from 0 to 1.
        longest: Seconds from the first refusal after which there is no further attempt. A refusal for the quota of the
            whole project does not count against it: every mailbox waits for that.
    """

    def __init__(
        self, clock: Clock, uniform: Callable[[], float] = _uniform, *, longest: float = LONGEST
    ) -> None:
        self._clock = clock
        self._uniform = uniform
        self._longest = longest
        self._began: float | None = None
        self._refused: dict[type[GmailError], int] = {}
        self._waited = 0.0

    def delay(self, *errors: GmailError) -> float:
        """Seconds to wait before the next attempt.

        Args:
            errors: Why the request was refused; several when parts of a batch were refused together.

        Raises:
            GmailError: One of `errors`, when a retry can't help or the attempts are used up.
        """
        seconds = max(self._delay(kind, group) for kind, group in _grouped(errors).items())
        self._waited += seconds
        return seconds

    def _delay(self, kind: type[GmailError], errors: list[GmailError]) -> float:
        attempts, base = _ATTEMPTS[kind]
        refused = self._refused[kind] = self._refused.get(kind, 0) + 1
        backoff = self._uniform() * min(CEILING, base * 2.0 ** (refused - 1))
        now = self._clock.time()
        if self._began is None:
            self._began = now
        requested = max(error.retry_at or 0.0 for error in errors) - now
        seconds = requested + min(backoff, 1.0) if requested > 0 else backoff
        of_project = all(isinstance(error, RateLimitError) and error.per_project for error in errors)
        spent = max(self._waited, now - self._began)
        if refused >= attempts or spent + seconds > (LONGEST if of_project else self._longest):
            raise errors[0]
        return seconds


def _grouped(errors: Iterable[GmailError]) -> dict[type[GmailError], list[GmailError]]:
    groups: dict[type[GmailError], list[GmailError]] = {}
    for error in errors:
        kind = next((kind for kind in _ATTEMPTS if isinstance(error, kind)), None)
        if kind is None:
            raise error
        groups.setdefault(kind, []).append(error)
    return groups
