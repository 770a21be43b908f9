"""Trouble on demand: a `Fault` says which calls fail and how, `Faults` holds those that are set."""

from __future__ import annotations

import random
import threading
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from gmail_client.emulator.api.errors import ApiError

__all__ = ["Fault", "Faults"]

FaultPlacement = Literal["any", "batch", "single"]
FaultKind = Literal["error", "reset", "truncate", "content-type", "delay"]

_KINDS = ("error", "reset", "truncate", "content-type", "delay")
_PLACES = ("any", "batch", "single")
_REASONS = {
    400: "badRequest",
    401: "authError",
    403: "forbidden",
    404: "notFound",
    408: "backendError",
    429: "rateLimitExceeded",
}


@dataclass(frozen=True)
class Fault:
    """Which calls go wrong, and how.

    Without `nth` and `share` every call that fits goes wrong, `times` of them at most.

    Attributes:
        method: Name after `gmail.users.` (`messages.get`), `*` for all; also `batch` (the request as a whole),
            `oauth.token` and `directory.users.list`.
        status: HTTP status of an "error".
        reason: `errors[0].reason`; for `oauth.token` the `error` (`invalid_grant`).
        message: Text of the error.
        nth: Only the n-th call that fits, from 1.
        share: This share of the calls, from 0 to 1, at random from `seed`.
        times: At most so many calls; None for no end.
        where: In batches, in single requests, or in both.
        kind: "error": an answer in Gmail's shape; "reset": the connection breaks without an answer;
            "truncate": the body ends too early; "content-type": 200 with an HTML page; "delay": the answer
            comes `seconds` late.
        seconds: How late, for "delay".
        headers: Further headers of the answer, as `{"Retry-After": "2"}`.
        details: The error's `details`.
        mailbox: Only calls for this address.
        seed: For `share`.
    """

    method: str = "*"
    status: int = 503
    reason: str = ""
    message: str = ""
    nth: int | None = None
    share: float | None = None
    times: int | None = None
    where: FaultPlacement = "any"
    kind: FaultKind = "error"
    seconds: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    details: list[dict[str, Any]] = field(default_factory=list)
    mailbox: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"kind is one of {', '.join(_KINDS)}, not {self.kind!r}")
        if self.where not in _PLACES:
            raise ValueError(f"where is one of {', '.join(_PLACES)}, not {self.where!r}")
        if self.nth is not None and self.nth < 1:
            raise ValueError(f"nth counts from 1, not {self.nth}")
        if self.share is not None and not 0 <= self.share <= 1:
            raise ValueError(f"share lies between 0 and 1, not {self.share}")

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Fault:
        """A fault from a JSON object with the attributes as keys.

        Raises:
            ValueError: An unknown key or a bad value.
        """
        known = {entry.name for entry in fields(cls)}
        unknown = sorted(set(value) - known)
        if unknown:
            raise ValueError(
                f"unknown keys of a fault: {', '.join(unknown)}; known are {', '.join(sorted(known))}"
            )
        return cls(**value)

    def as_json(self) -> dict[str, Any]:
        """The attributes as a JSON object."""
        return asdict(self)

    def error(self) -> ApiError:
        """The answer of an "error"."""
        reason = self.reason or _REASONS.get(self.status, "backendError")
        domain = "usageLimits" if "imit" in reason or "quota" in reason else "global"
        return ApiError(
            self.status,
            reason,
            self.message or f"Fault of the emulator: {reason}",
            domain=domain,
            details=list(self.details),
            headers=dict(self.headers),
        )


class _ActiveFault:
    """A fault that is set, with its counts."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seen = 0
        self.done = 0
        self._random = random.Random(fault.seed)  # noqa: S311

    def strikes(self, method: str, address: str | None, batch: bool) -> bool:
        fault = self.fault
        if fault.method not in ("*", method) or (fault.method == "*" and method in ("batch", "oauth.token")):
            return False
        if fault.where != "any" and (fault.where == "batch") != batch:
            return False
        if fault.mailbox is not None and fault.mailbox != address:
            return False
        self.seen += 1
        if fault.times is not None and self.done >= fault.times:
            return False
        if fault.nth is not None and self.seen != fault.nth:
            return False
        if fault.share is not None and self._random.random() >= fault.share:
            return False
        self.done += 1
        return True


class Faults:
    """The faults that are set. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[_ActiveFault] = []

    def add(self, fault: Fault) -> None:
        """Set a fault; it counts calls from now on."""
        with self._lock:
            self._armed = [*self._armed, _ActiveFault(fault)]

    def clear(self) -> None:
        """Take all faults away."""
        with self._lock:
            self._armed = []

    def listed(self) -> list[dict[str, Any]]:
        """What is set, with how many calls each has seen and struck."""
        with self._lock:
            return [{**one.fault.as_json(), "seen": one.seen, "done": one.done} for one in self._armed]

    def strike(self, method: str, *, address: str | None = None, batch: bool = False) -> Fault | None:
        """The fault that this call meets, if any; every fault that fits counts it."""
        if not self._armed:
            return None
        struck = None
        with self._lock:
            for armed in self._armed:
                if armed.strikes(method, address, batch) and struck is None:
                    struck = armed.fault
        return struck
