"""Calls to Gmail, their results and their cost: `ApiCall`, `ApiResult`, `QuotaUsage`."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from gmail_client.errors import GmailError

__all__ = ["ApiCall", "ApiResult", "QuotaUsage", "UsageSnapshot"]

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One GET request.

    Attributes:
        method: Name in the price table (`messages.get`).
        path: Path from the API root, ids quoted (`/gmail/v1/users/me/messages/18c`).
        params: Query parameters. None is left out, a list repeats its key, booleans become `true` or `false`.
        key: The caller's own id, returned with the result.
        item_id: The id that the resource must have; empty for methods that don't get one item.
        retried: It failed in an earlier run, so another failure does not indicate an outage.
    """

    method: str
    path: str
    params: Params = field(default_factory=dict)
    key: str = ""
    item_id: str = ""
    retried: bool = False

    @property
    def target(self) -> str:
        """Path and query for a request line, in ASCII."""
        pairs = tuple(
            (name, _text(item))
            for name, value in self.params.items()
            for item in (value if isinstance(value, list | tuple) else (value,))
            if item is not None
        )
        return f"{self.path}?{_query(pairs)}" if pairs else self.path


@lru_cache(maxsize=64)
def _query(pairs: tuple[tuple[str, str], ...]) -> str:
    """Cached: thousands of calls share their parameters."""
    return urlencode(pairs)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


@dataclass(frozen=True, slots=True)
class ApiResult:
    """The result of one call: `json` or `error`.

    Attributes:
        call: The call.
        json: The resource; None with an error.
        error: Why this call failed, although others can succeed (`NotFoundError`: deleted meanwhile).
        size: Bytes of JSON, uncompressed.
    """

    call: ApiCall
    json: dict[str, Any] | None
    error: GmailError | None
    size: int

    def resource(self) -> dict[str, Any]:
        """The resource.

        Raises:
            GmailError: The call failed.
        """
        if self.error is not None:
            raise self.error
        return self.json or {}


@dataclass(frozen=True, slots=True)
class UsageSnapshot:
    """Counts up to a moment, or between two moments.

    Attributes:
        calls: Calls sent, by method; a retry counts again.
        units: Quota units, by method; a refused call costs none.
        bytes: Bytes of JSON received, uncompressed, by method.
        requests: HTTP requests; a batch counts as one.
        waited: Seconds (of the clock) that calls waited for quota.
    """

    calls: Mapping[str, int]
    units: Mapping[str, int]
    bytes: Mapping[str, int]
    requests: int
    waited: float

    @property
    def total_calls(self) -> int:
        """Calls of all methods."""
        return sum(self.calls.values())

    @property
    def total_units(self) -> int:
        """Units of all methods."""
        return sum(self.units.values())

    @property
    def total_bytes(self) -> int:
        """Bytes of JSON of all methods."""
        return sum(self.bytes.values())


class QuotaUsage:
    """Counters of one mailbox; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._units: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._requests = 0
        self._waited = 0.0

    def sent(self, *methods: str) -> None:
        """Count one HTTP request with a call of each of `methods`."""
        with self._lock:
            self._requests += 1
            self._calls.update(methods)

    def spent(self, method: str, units: int, size: int) -> None:
        """Count a call with a response: its `units` and its `size` in bytes of JSON."""
        with self._lock:
            self._units[method] += units
            self._bytes[method] += size

    def waited(self, seconds: float) -> None:
        """Count the seconds that a request waited for quota."""
        with self._lock:
            self._waited += seconds

    def snapshot(self) -> UsageSnapshot:
        """The counts so far."""
        with self._lock:
            return UsageSnapshot(
                dict(self._calls), dict(self._units), dict(self._bytes), self._requests, self._waited
            )

    def since(self, earlier: UsageSnapshot) -> UsageSnapshot:
        """The counts since `earlier`."""
        now = self.snapshot()
        return UsageSnapshot(
            _difference(now.calls, earlier.calls),
            _difference(now.units, earlier.units),
            _difference(now.bytes, earlier.bytes),
            now.requests - earlier.requests,
            now.waited - earlier.waited,
        )


def _difference(now: Mapping[str, int], earlier: Mapping[str, int]) -> dict[str, int]:
    return {key: count - earlier.get(key, 0) for key, count in now.items() if count != earlier.get(key, 0)}
