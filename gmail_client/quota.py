"""Gmail's quota: the price of each method, and a rate limiter that stays within a limit of units per minute.

Prices and limits: https://developers.google.com/workspace/gmail/api/reference/quota, as of 1 May 2026. The price
depends on the method, not on `format`. `PRICES` is the table, `preset` makes a `QuotaPlan` from it, and `RateLimiter`
enforces it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

from gmail_client.errors import ConfigurationError
from gmail_client.http.clock import SYSTEM_CLOCK, Clock
from gmail_client.http.waiting import Stopped, pause

__all__ = ["PRICES", "Price", "QuotaPlan", "RateLimiter", "Reservation", "preset"]

WINDOW = 60.0
"""Seconds of the window in which Gmail counts units."""

BURST = 6.0
"""Seconds' worth of units that may be spent at once. 18 s then hold at most 24 s' worth (29 s' worth were seen
refused), and a batch of 20 gets never waits because of its size."""

HEADROOM = 0.01
"""Share of the limit that stays unused, for clock drift. Network delays need no headroom: see `Reservation`."""

_RECHECK = 0.25
"""Seconds after which a waiting thread checks again: the limit may have changed."""

_MIN_SLEEP = 0.001
"""Seconds: a shorter sleep would not change a float of seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Price:
    """Units per call: `current` for projects first used from May 2026, `legacy` for those before."""

    current: int
    legacy: int


PRICES: Mapping[str, Price] = {
    "getProfile": Price(1, 1),
    "messages.list": Price(5, 5),
    "messages.get": Price(20, 5),
    "messages.attachments.get": Price(20, 5),
    "threads.list": Price(10, 10),
    "threads.get": Price(40, 10),
    "drafts.list": Price(5, 5),
    "drafts.get": Price(20, 5),
    "history.list": Price(2, 2),
    "labels.list": Price(1, 1),
    "labels.get": Price(1, 1),
    "settings.getAutoForwarding": Price(1, 1),
    "settings.getImap": Price(1, 1),
    "settings.getLanguage": Price(1, 1),
    "settings.getPop": Price(1, 1),
    "settings.getVacation": Price(1, 1),
    "settings.filters.list": Price(1, 1),
    "settings.filters.get": Price(1, 1),
    "settings.forwardingAddresses.list": Price(1, 1),
    "settings.forwardingAddresses.get": Price(1, 1),
    "settings.sendAs.list": Price(1, 1),
    "settings.sendAs.get": Price(1, 1),
    "settings.sendAs.smimeInfo.list": Price(1, 1),
    "settings.sendAs.smimeInfo.get": Price(1, 1),
    "settings.delegates.list": Price(1, 1),
    "settings.delegates.get": Price(1, 1),
    "settings.cse.identities.list": Price(1, 1),
    "settings.cse.identities.get": Price(1, 1),
    "settings.cse.keypairs.list": Price(1, 1),
    "settings.cse.keypairs.get": Price(1, 1),
    "watch": Price(100, 100),
    "stop": Price(50, 50),
}
"""Every read method, and watch and stop, named as in the discovery document after `gmail.users.`"""


@dataclass(frozen=True, slots=True)
class QuotaPlan:
    """Limits per minute and prices per call.

    Attributes:
        name: `current`, `legacy`, or a number of units per minute.
        user_per_minute: Units per minute and user.
        project_per_minute: Units per minute over all users of the Cloud project.
        project_per_day: Units per day above which Google bills the project; None if it does not.
        prices: Units per call by method.
    """

    name: str
    user_per_minute: int
    project_per_minute: int
    project_per_day: int | None
    prices: Mapping[str, int] = field(repr=False)

    def price(self, method: str) -> int:
        """Units of one call of `method`.

        Raises:
            ConfigurationError: The method is not in the price table.
        """
        try:
            return self.prices[method]
        except KeyError:
            raise ConfigurationError(
                f"Method {method!r} has no price.", fix=f"Use one of: {', '.join(sorted(self.prices))}."
            ) from None

    def revealed_by(self, limit: int) -> QuotaPlan:
        """The plan to use after a refusal that names a limit of `limit` units per minute and user.

        A project with the current limit has current prices, even if `legacy` was configured.
        """
        current = preset("current")
        return current if self.name == "legacy" and limit == current.user_per_minute else self


_LOWEST = 60
"""Units per minute: below it, one threads.get would take most of a minute. Such a setting is a mistake."""


def preset(value: str | int) -> QuotaPlan:
    """The plan for a value of `GMAIL_QUOTA`.

    Args:
        value: `current`, `legacy`, or units per minute and user (at current prices) as a number or text.

    Raises:
        ConfigurationError: Any other value.
    """
    text = str(value).strip().lower()
    current = {method: price.current for method, price in PRICES.items()}
    if text == "current":
        return QuotaPlan("current", 6_000, 1_200_000, 80_000_000, current)
    if text == "legacy":
        legacy = {method: price.legacy for method, price in PRICES.items()}
        return QuotaPlan("legacy", 15_000, 1_200_000, None, legacy)
    digits = text.replace("_", "")
    if not (digits.isascii() and digits.isdigit()) or not _LOWEST <= int(digits) <= 1_200_000:
        raise ConfigurationError(
            f"GMAIL_QUOTA={value!r} is not a quota.",
            fix=f"Use 'current', 'legacy', or units per minute and user from {_LOWEST} to 1200000.",
        )
    return QuotaPlan(digits, int(digits), 1_200_000, 80_000_000, current)


class Reservation:
    """Units that may be spent now. Settle it when the response has arrived.

    Gmail counts a call at an unknown moment between its request and its response. A reservation counts in full until it
    is settled, and for one minute after that, so no minute of Gmail's holds more than the limit.

    Attributes:
        units: Units granted; possibly fewer than requested.
        waited: Seconds of the clock's time until they were granted.
    """

    __slots__ = ("_limiter", "_settled", "units", "waited")

    def __init__(self, limiter: RateLimiter, units: int, waited: float) -> None:
        self.units = units
        self.waited = waited
        self._limiter = limiter
        self._settled = False

    def keep(self, units: int) -> None:
        """Return all but `units` of the granted units, unspent."""
        back = self.units - units
        if back > 0 and not self._settled:
            self.units = units
            self._limiter._return_units(back)

    def settle(self) -> None:
        """Record that the response has arrived, or that none will. A second call has no effect."""
        if not self._settled:
            self._settled = True
            self._limiter._settle(self.units)

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle()


class RateLimiter:
    """Grants at most a limit of units in any minute, evenly spread, in the order of the requests. Thread-safe.

    Two rules apply together: no minute holds more than the limit (sliding window), and a token bucket spreads the units
    over the minute. A request is never refused; the caller waits. Urgent requests are granted before all others.

    Args:
        limit: Units per minute.
        clock: Measures the time, and waits.
        headroom: Share of the limit that stays unused.
    """

    def __init__(self, limit: int, *, clock: Clock = SYSTEM_CLOCK, headroom: float = HEADROOM) -> None:
        self._clock = clock
        self._headroom = headroom
        self._lock = threading.Lock()
        self._turns: deque[threading.Event] = deque()
        self._urgent_turns: deque[threading.Event] = deque()
        self._settled: deque[tuple[float, int]] = deque()
        self._settled_units = 0
        self._open_units = 0
        self._blocked_until = 0.0
        self._now = clock.time()
        self._set_limit(limit)
        self._level = self._capacity

    @property
    def limit(self) -> int:
        """Units per minute, as set or learned most recently."""
        return self._limit

    @property
    def smallest_grant(self) -> int:
        """The smallest partial grant worth a separate request, in units: a sixtieth of the limit."""
        return max(1, int(self._rate))

    @property
    def recent(self) -> int:
        """Units of the last minute: granted and in flight, or settled."""
        with self._lock:
            self._advance()
            return self._open_units + self._settled_units

    @property
    def burst(self) -> int:
        """Units that may be spent at once after a pause, at least 1. Larger requests are granted, but wait longer."""
        return max(1, int(self._capacity))

    def reserve(
        self,
        units: int,
        *,
        least: int | None = None,
        urgent: bool = False,
        stop: threading.Event | None = None,
    ) -> Reservation:
        """Wait until `units` may be spent.

        Args:
            units: At least 1. More than the limit is granted when nothing else was spent for a minute.
            least: Accept fewer units, down to this, when the current minute has no room for all; otherwise the rest of
                the minute would stay unused. All or nothing without it.
            urgent: Go before all requests that are not urgent, also those that wait already.
            stop: Ends the wait when it is set.

        Raises:
            Stopped: `stop` was set.
        """
        if units < 1:
            raise ValueError(f"units must be at least 1, not {units}")
        began = self._clock.time()
        turn = threading.Event()
        turns = self._urgent_turns if urgent else self._turns
        with self._lock:
            turns.append(turn)
            self._pass_turn()
        try:
            granted = 0
            while not granted:
                self._wait_for(turn, stop)
                granted, delay = self._grant(units, least or units)
                if not granted:
                    pause(self._clock, min(delay, _RECHECK), stop)
        finally:
            with self._lock:
                turns.remove(turn)
                self._pass_turn()
        return Reservation(self, granted, max(0.0, self._clock.time() - began))

    def learn(self, limit: int) -> None:
        """Use the limit that Gmail named in a refusal, in units per minute."""
        if limit > 0:
            with self._lock:
                self._set_limit(limit)

    def block_until(self, epoch: float) -> None:
        """Grant nothing before `epoch` (seconds). A time earlier than the one already set has no effect."""
        with self._lock:
            self._blocked_until = max(self._blocked_until, epoch)

    def _pass_turn(self) -> None:
        """Let the first request go on, and no other."""
        for turns in (self._turns, self._urgent_turns):
            if turns:
                turns[0].clear()
        if first := self._urgent_turns or self._turns:
            first[0].set()

    @staticmethod
    def _wait_for(turn: threading.Event, stop: threading.Event | None) -> None:
        while not turn.wait(None if stop is None else 0.1):
            if stop is not None and stop.is_set():
                raise Stopped

    def _set_limit(self, limit: int) -> None:
        self._limit = limit
        self._allowed = max(1, int(limit * (1 - self._headroom)))
        self._rate = self._allowed / WINDOW
        self._capacity = self._rate * BURST

    def _grant(self, units: int, least: int) -> tuple[int, float]:
        """Units granted now and 0, or 0 and the seconds to wait before trying again."""
        with self._lock:
            now = self._advance()
            delay = max(
                self._blocked_until - now,
                (min(units, self._capacity) - self._level) / self._rate,
                self._window_delay(least, now),
            )
            if delay > 0:
                return 0, max(delay, _MIN_SLEEP)
            room = self._allowed - self._open_units - self._settled_units
            granted = max(least, min(units, room))
            self._level -= granted
            self._open_units += granted
            return granted, 0.0

    def _window_delay(self, units: int, now: float) -> float:
        excess = self._open_units + self._settled_units + units - self._allowed
        if excess <= 0 or not (self._open_units or self._settled):
            return 0.0
        for at, spent in self._settled:
            excess -= spent
            if excess <= 0:
                return at + WINDOW - now
        return _RECHECK if self._open_units else self._settled[-1][0] + WINDOW - now

    def _return_units(self, units: int) -> None:
        with self._lock:
            self._open_units -= units
            self._level = min(self._capacity, self._level + units)

    def _settle(self, units: int) -> None:
        with self._lock:
            self._open_units -= units
            self._settled_units += units
            self._settled.append((self._advance(), units))

    def _advance(self) -> float:
        now = self._clock.time()
        if now < self._now:
            self._shift(now - self._now)
        self._level = min(
            self._capacity, self._level + (now - self._now if now > self._now else 0) * self._rate
        )
        self._now = now
        while self._settled and self._settled[0][0] + WINDOW <= now:
            self._settled_units -= self._settled.popleft()[1]
        return now

    def _shift(self, seconds: float) -> None:
        """The clock was set back: move the recorded times with it, or they would lie in the future."""
        self._settled = deque((at + seconds, units) for at, units in self._settled)
        self._blocked_until += seconds
