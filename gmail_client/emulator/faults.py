"""Errors on demand: a `Fault` says which calls fail and how, `Faults` holds the active ones."""

from __future__ import annotations

import random
import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, NamedTuple, get_args

from gmail_client.emulator.api.errors import ApiError
from gmail_client.emulator.api.schemas import SCHEMAS

__all__ = ["HTML_PAGE", "Fault", "FaultKind", "Faults"]

FaultPlacement = Literal["any", "batch", "single"]
FaultKind = Literal[
    "error",
    "precondition",
    "mail-not-enabled",
    "too-many-concurrent",
    "resource-exhausted",
    "rate-limit",
    "rate-limit-page",
    "reset",
    "truncate",
    "content-type",
    "delay",
    "patch",
    "add-fields",
]

HTML_PAGE = b"<html><head><title>Error</title></head><body><p>Please try again later.</p></body></html>"


class _Answer(NamedTuple):
    status: int
    reason: str
    message: str
    status_name: str | None = None


# Known errors of Gmail, with its texts.
_NAMED: dict[FaultKind, _Answer] = {
    "precondition": _Answer(400, "failedPrecondition", "Precondition check failed.", "FAILED_PRECONDITION"),
    "mail-not-enabled": _Answer(400, "failedPrecondition", "Mail service not enabled", "FAILED_PRECONDITION"),
    "too-many-concurrent": _Answer(429, "rateLimitExceeded", "Too many concurrent requests for user."),
    "resource-exhausted": _Answer(
        429, "rateLimitExceeded", "Resource has been exhausted (e.g. check quota)."
    ),
    "rate-limit": _Answer(429, "rateLimitExceeded", "Rate Limit Exceeded"),
    "rate-limit-page": _Answer(429, "rateLimitExceeded", ""),
}
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
    """Which calls fail, and how.

    Without `nth` and `share` every matching call fails, at most `times` of them.

    Attributes:
        method: Name after `gmail.users.` (`messages.get`), `*` for all; also `batch` (the request as a whole),
            `oauth.token` and `directory.users.list`.
        status: HTTP status of an "error".
        reason: `errors[0].reason` of an "error"; for `oauth.token` the `error` (`invalid_grant`).
        message: Text of an "error".
        nth: Only the n-th matching call, from 1.
        share: This share of the calls, from 0 to 1, at random from `seed`.
        times: At most this many calls; None for no limit.
        where: In batches, in single requests, or in both.
        kind: "error": `status`, `reason` and `message` in Gmail's form. These are errors in Gmail's own words:
            "precondition" (400 "Precondition check failed."), "mail-not-enabled" (400), and with status 429
            "too-many-concurrent", "resource-exhausted", "rate-limit" and "rate-limit-page" (HTML). The others
            break the transport: "reset" closes the connection without a response, "truncate" ends the body
            early, "content-type" responds 200 with an HTML page, "delay" responds `seconds` late. "patch" changes
            the JSON of a successful response by `patch`; "add-fields" adds fields to every object of a schema in it.
        seconds: How late, for "delay".
        patch: A JSON merge patch (RFC 7396), for "patch": an object changes the fields it names, null removes a
            field, any other value replaces the whole response. For "add-fields": by schema of the discovery document,
            the fields to add or to change, as in `{"MessagePartHeader": {"language": "en"}}`.
        id: Only calls for the message, thread, draft, label ... with this id.
        headers: Further response headers, as `{"Retry-After": "2"}`.
        details: The error's `details`.
        mailbox: Only calls for this address.
        seed: For `share`.

    Raises:
        ValueError: A bad value; the message names the attribute.
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
    patch: Any = None
    id: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    details: list[dict[str, Any]] = field(default_factory=list)
    mailbox: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("kind", self.kind, get_args(FaultKind)),
            ("where", self.where, get_args(FaultPlacement)),
        ):
            if value not in choices:
                raise ValueError(f"{name} is one of {', '.join(choices)}, not {value!r}")
        if self.nth is not None and self.nth < 1:
            raise ValueError(f"nth counts from 1, not {self.nth}")
        if self.kind == "add-fields":
            for name in self.patch:
                if name not in SCHEMAS:
                    raise ValueError(f"add-fields has no schema {name!r}; there are {', '.join(SCHEMAS)}")
        if self.share is not None and not 0 <= self.share <= 1:
            raise ValueError(f"share is between 0 and 1, not {self.share}")

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

    @property
    def is_error(self) -> bool:
        """Whether the response is `error()` and the call is not executed."""
        return self.kind == "error" or self.kind in _NAMED

    @property
    def is_page(self) -> bool:
        """Whether the error is an HTML page instead of JSON."""
        return self.kind == "rate-limit-page"

    @property
    def breaks_connection(self) -> bool:
        """Whether the response is incomplete or missing."""
        return self.kind in ("reset", "truncate")

    @property
    def changes_json(self) -> bool:
        """Whether the JSON of a successful response is changed."""
        return self.kind in ("patch", "add-fields")

    def patched(self, answer: Any, schema: str | None = None) -> Any:
        """The JSON of a response of a schema after `patch`."""
        if self.kind == "add-fields":
            return _with_fields(answer, schema, self.patch)
        return _merged(answer, self.patch)

    def error(self) -> ApiError:
        """The error of a fault with `is_error`."""
        reason = self.reason or _REASONS.get(self.status, "backendError")
        answer = _NAMED.get(self.kind) or _Answer(
            self.status, reason, self.message or f"Fault of the emulator: {reason}"
        )
        usage = "imit" in answer.reason or "quota" in answer.reason
        return ApiError(
            answer.status,
            answer.reason,
            answer.message,
            status=answer.status_name,
            domain="usageLimits" if usage else "global",
            details=list(self.details),
            headers=dict(self.headers),
        )


def _merged(value: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(value) if isinstance(value, dict) else {}
    for key, inner in patch.items():
        if inner is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), inner)
    return merged


def _with_fields(value: Any, schema: str | None, added: Mapping[str, Mapping[str, Any]]) -> Any:
    """A value with further fields in every object of some schemas."""
    if isinstance(value, list):
        return [_with_fields(item, schema, added) for item in value]
    fields = SCHEMAS.get(schema or "")
    if fields is None or not isinstance(value, dict):
        return value
    inner = {
        key: _with_fields(item, fields.get(key, "").removesuffix("[]"), added) for key, item in value.items()
    }
    return {**inner, **added.get(schema or "", {})}


class _ActiveFault:
    """A fault with its counters."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seen = 0
        self.done = 0
        self._random = random.Random(fault.seed)  # noqa: S311

    def applies(self, method: str, address: str | None, batch: bool, ids: Collection[str]) -> bool:
        """Count a call; returns whether it fails."""
        if not self._matches(method, address, batch, ids):
            return False
        fault = self.fault
        self.seen += 1
        if fault.times is not None and self.done >= fault.times:
            return False
        if fault.nth is not None and self.seen != fault.nth:
            return False
        if fault.share is not None and self._random.random() >= fault.share:
            return False
        self.done += 1
        return True

    def _matches(self, method: str, address: str | None, batch: bool, ids: Collection[str]) -> bool:
        fault = self.fault
        whole = method in ("batch", "oauth.token")
        named = fault.method == method or (fault.method == "*" and not whole)
        placed = fault.where == "any" or (fault.where == "batch") == batch
        chosen = fault.mailbox in (None, address) and (fault.id is None or fault.id in ids)
        return named and placed and chosen


class Faults:
    """The active faults. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[_ActiveFault] = []

    def add(self, fault: Fault) -> None:
        """Add a fault; it counts calls from now on."""
        with self._lock:
            self._active = [*self._active, _ActiveFault(fault)]

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._active = []

    def listed(self) -> list[dict[str, Any]]:
        """The faults as JSON objects, with `seen` (matching calls) and `done` (failed calls)."""
        with self._lock:
            return [{**one.fault.as_json(), "seen": one.seen, "done": one.done} for one in self._active]

    def next_for(
        self, method: str, *, address: str | None = None, batch: bool = False, ids: Collection[str] = ()
    ) -> Fault | None:
        """The fault of this call, None when it succeeds. Every matching fault counts the call.

        Args:
            method: Its name, see `Fault.method`.
            address: The mailbox.
            batch: Whether the call is part of a batch.
            ids: The ids in its path.
        """
        if not self._active:
            return None
        with self._lock:
            applying = [one.fault for one in self._active if one.applies(method, address, batch, ids)]
        return applying[0] if applying else None
