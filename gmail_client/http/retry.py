"""How long to wait for Gmail after a refusal, by its class, and when to give up.

As told where Gmail names a time; else exponential with full jitter, so that threads refused together don't
come back together. https://developers.google.com/workspace/gmail/api/guides/handle-errors
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from gmail_client.errors import ConcurrencyError, GmailError, RateLimitError, UnavailableError
from gmail_client.http.clock import Clock

__all__ = ["Patience"]

CEILING = 64.0
"""Seconds: the longest single wait that Gmail did not ask for."""

LONGEST = 1800.0
"""Seconds that one request may wait in all. Gmail has asked for a quarter of an hour at times."""

_ATTEMPTS: dict[type[GmailError], tuple[int, float]] = {
    RateLimitError: (12, 1.0),
    ConcurrencyError: (12, 1.0),
    UnavailableError: (8, 0.5),
}
"""By class: tries in all, and the first ceiling of the backoff in seconds."""

_uniform = random.SystemRandom().random


class Patience:
    """The waits of one request, or of one batch whose parts are sent again together.

    Args:
        clock: Tells the time that refusals are compared with.
        uniform: Random numbers from 0 to 1.
    """

    def __init__(self, clock: Clock, uniform: Callable[[], float] = _uniform) -> None:
        self._clock = clock
        self._uniform = uniform
        self._refused: dict[type[GmailError], int] = {}
        self._waited = 0.0

    def delay(self, *errors: GmailError) -> float:
        """Seconds to wait before the next try.

        Args:
            errors: What the request was refused for; several when parts of a batch were refused together.

        Raises:
            GmailError: One of them, when waiting can't help or has gone on for long enough.
        """
        seconds = max(self._delay(kind, group) for kind, group in _grouped(errors).items())
        self._waited += seconds
        return seconds

    def _delay(self, kind: type[GmailError], errors: list[GmailError]) -> float:
        attempts, base = _ATTEMPTS[kind]
        refused = self._refused[kind] = self._refused.get(kind, 0) + 1
        backoff = self._uniform() * min(CEILING, base * 2.0 ** (refused - 1))
        told = max((_told(error) for error in errors), default=0.0) - self._clock.time()
        seconds = told + min(backoff, 1.0) if told > 0 else backoff
        if refused >= attempts or self._waited + seconds > LONGEST:
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


def _told(error: GmailError) -> float:
    if isinstance(error, RateLimitError | ConcurrencyError | UnavailableError):
        return error.retry_at or 0.0
    return 0.0
