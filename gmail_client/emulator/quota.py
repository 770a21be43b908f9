"""Gmail's quota: `Quota` holds the limits, `QuotaLimiter` enforces them as Gmail does.

It limits units per user and per project in a sliding minute, bursts, and calls in flight. Limits and prices are from
Google's quota page of May 2026; the burst limit and the limit of calls in flight are from captured responses.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from gmail_client.emulator.api.errors import ApiError
from gmail_client.emulator.api.methods import Method
from gmail_client.http.clock import Clock

__all__ = ["PROJECT_NUMBER", "Quota", "QuotaLimiter"]

PROJECT_NUMBER = "123456789012"
_WINDOW = 60.0
_BURST_SECONDS = 18.0
_BURST_SHARE = 2_900 / 6_000


@dataclass(frozen=True, slots=True)
class Quota:
    """The limits.

    Attributes:
        per_user: Units per minute and user; None for no limit.
        per_project: Units per minute for all users; None for no limit.
        legacy_prices: Reads have the prices from before May 2026.
        burst: Units within 18 seconds that are refused; None for no limit.
        in_flight: Concurrent calls of one user; one more is a 429. None for no limit.
        batch_in_flight: Concurrent calls of one batch; None for no limit. Batches of 25 were seen to pass, batches
            of 40 to be refused in part.
    """

    per_user: int | None = 6_000
    per_project: int | None = 1_200_000
    legacy_prices: bool = False
    burst: int | None = 2_900
    in_flight: int | None = 50
    batch_in_flight: int | None = 32

    @classmethod
    def named(cls, name: str | int | Quota) -> Quota:
        """A quota by preset (`current`, `legacy`, `none`), or by units per minute and user at current prices.

        Raises:
            ValueError: Neither a preset nor a whole number above 0.
        """
        if isinstance(name, Quota):
            return name
        if name == "none":
            return cls(None, None, False, None, None, None)
        if name == "legacy":
            return cls.of_units(15_000, legacy_prices=True)
        if name == "current":
            return cls()
        text = str(name)
        if not text.isdigit() or int(text) == 0:
            raise ValueError(f"quota is current, legacy, none or units per minute (above 0), not {name!r}")
        return cls.of_units(int(text))

    @classmethod
    def of_units(cls, units: int, *, legacy_prices: bool = False) -> Quota:
        """A quota of this many units per minute and user, with a proportional burst limit."""
        return cls(units, 1_200_000, legacy_prices, math.ceil(units * _BURST_SHARE))

    def with_project(self, units: int | None) -> Quota:
        """The same quota with another limit for all users; None leaves it.

        Raises:
            ValueError: `units` is not above 0.
        """
        if units is not None and units < 1:
            raise ValueError(f"the project's quota is above 0, not {units}")
        return self if units is None else replace(self, per_project=units)

    def price(self, method: Method) -> int:
        """The price of one call in units."""
        return method.legacy_units if self.legacy_prices else method.units


class _Window:
    """Units spent within the last seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._spent: deque[tuple[float, int]] = deque()
        self._sum = 0

    def units(self, now: float) -> int:
        while self._spent and self._spent[0][0] <= now - self._seconds:
            self._sum -= self._spent.popleft()[1]
        return self._sum

    def spend(self, now: float, units: int) -> None:
        if self._spent and now - self._spent[-1][0] < 0.02:
            at, before = self._spent[-1]
            self._spent[-1] = (at, before + units)
        else:
            self._spent.append((now, units))
        self._sum += units

    def available_at(self, units: int, limit: int) -> float:
        """The time from which this many units fit into the window again."""
        over = self._sum + units - limit
        for at, spent in self._spent:
            over -= spent
            if over <= 0:
                return at
        return self._spent[-1][0]


class _User:
    """The units spent by one user, and the calls in flight."""

    def __init__(self) -> None:
        self.minute = _Window(_WINDOW)
        self.burst = _Window(_BURST_SECONDS)
        self.in_flight = 0


class QuotaLimiter:
    """Accepts or refuses calls. Not thread-safe.

    Args:
        quota: The limits.
        clock: Measures the minute.
    """

    def __init__(self, quota: Quota, clock: Clock) -> None:
        self.quota = quota
        self._clock = clock
        self._users: dict[str, _User] = {}
        self._project = _Window(_WINDOW)
        self._refusals = 0

    def enter(self, user: str, *, in_batch: int = 0) -> int:
        """Count a call as in flight; returns how many calls of the user are.

        Args:
            user: The mailbox.
            in_batch: How many parts of the same batch are in flight already.

        Raises:
            ApiError: 429 above the limit; the call is then not in flight.
        """
        state = self._user(user)
        limit, batch_limit = self.quota.in_flight, self.quota.batch_in_flight
        if (limit is not None and state.in_flight >= limit) or (
            batch_limit is not None and in_batch >= batch_limit
        ):
            raise ApiError(429, "rateLimitExceeded", "Too many concurrent requests for user.")
        state.in_flight += 1
        return state.in_flight

    def leave(self, user: str) -> None:
        """Count a call as no longer in flight."""
        self._user(user).in_flight -= 1

    def charge(self, user: str, method: Method) -> int:
        """Charge a call; returns its price. A refused call is not charged.

        Raises:
            ApiError: 403 rateLimitExceeded or userRateLimitExceeded.
        """
        units = self.quota.price(method)
        if self.quota.per_user is None and self.quota.per_project is None:
            return units
        now = self._clock.time()
        state = self._user(user)
        if self.quota.per_user is not None and state.minute.units(now) + units > self.quota.per_user:
            start = state.minute.available_at(units, self.quota.per_user)
            raise self._refusal(self.quota.per_user, "minute per user", start)
        if self.quota.per_project is not None and self._project.units(now) + units > self.quota.per_project:
            start = self._project.available_at(units, self.quota.per_project)
            raise self._refusal(self.quota.per_project, "minute", start)
        if self.quota.burst is not None and state.burst.units(now) + units >= self.quota.burst:
            raise self._refusal(self.quota.per_user or 0, "minute per user", None)
        state.minute.spend(now, units)
        state.burst.spend(now, units)
        self._project.spend(now, units)
        return units

    def _user(self, user: str) -> _User:
        return self._users.setdefault(user, _User())

    def _refusal(self, limit: int, what: str, start: float | None) -> ApiError:
        """A refusal, alternating between the known forms: with the start of the window, with a date, with neither."""
        self._refusals += 1
        form = self._refusals % 3 if start is not None else 0
        if form == 2 and start is not None:
            until = datetime.fromtimestamp(start + _WINDOW, UTC)
            stamp = until.strftime("%Y-%m-%dT%H:%M:%S.") + f"{until.microsecond // 1000:03d}Z"
            return ApiError(
                403,
                "userRateLimitExceeded" if "user" in what else "rateLimitExceeded",
                f"User-rate limit exceeded.  Retry after {stamp}",
                domain="usageLimits",
            )
        per_user = "user" in what
        metadata = {
            "quota_metric": "gmail.googleapis.com/queries",
            "quota_limit": "QueriesPerMinutePerUser" if per_user else "QueriesPerMinute",
            "quota_limit_value": str(limit),
            "quota_location": "global",
            "quota_unit": "1/min/{project}/{user}" if per_user else "1/min/{project}",
            "consumer": f"projects/{PROJECT_NUMBER}",
            "service": "gmail.googleapis.com",
        }
        if form == 1 and start is not None:
            metadata["window_start_time"] = str(math.ceil(start))
        message = (
            f"Quota exceeded for quota metric 'Queries' and limit 'Queries per {what}' of service "
            f"'gmail.googleapis.com' for consumer 'project_number:{PROJECT_NUMBER}'."
        )
        info = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "RATE_LIMIT_EXCEEDED",
            "domain": "googleapis.com",
            "metadata": metadata,
        }
        return ApiError(403, "rateLimitExceeded", message, domain="usageLimits", details=[info])
