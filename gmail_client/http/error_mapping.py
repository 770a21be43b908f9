"""What an answer of Gmail's that is not 200 means: `refusal` turns it into one of this client's errors.

The table is the one of https://developers.google.com/workspace/gmail/api/guides/handle-errors, with what
answers seen from the live API add to it. Pure: no waiting, no network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from gmail_client.auth.endpoints import READONLY_SCOPE
from gmail_client.errors import (
    ApiDisabledError,
    ConcurrencyError,
    CredentialsError,
    DailyLimitError,
    DelegationError,
    ForbiddenError,
    GmailError,
    HistoryExpiredError,
    NoMailboxError,
    NotFoundError,
    RateLimitError,
    RequestError,
    ScopeError,
    UnavailableError,
)

__all__ = ["refusal", "scrubbed"]

_API_LIBRARY = "https://console.cloud.google.com/apis/library/gmail.googleapis.com"

_SECRETS = re.compile(
    r"ya29\.[\w.\-]+|\b1//[\w\-]+|\bGOCSPX-[\w\-]+|\b[Bb]earer\s+\S+|\beyJ[\w\-]+\.[\w\-]+(?:\.[\w\-]+)?"
    r"|-----BEGIN[\s\S]+?(?:-----END[^-]*-----|$)"
)
_URL = re.compile(r"https://\S+?(?=[\s\"'<>]|\.?(?:\s|$))")
_RETRY_AFTER = re.compile(r"[Rr]etry after (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))")
_WINDOW_START = re.compile(r"window_start_time\D{1,5}(\d+(?:\.\d+)?)")
_LONGEST_MESSAGE = 300

_DAILY = {"dailyLimitExceeded", "quotaExceeded", "dailyLimitExceededUnreg"}
_RATE = {"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"}
_SCOPE = {"insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}
_DISABLED = {"accessNotConfigured", "SERVICE_DISABLED"}


def scrubbed(text: str) -> str:
    """`text` on one line, of bounded length, without anything that looks like a token, a secret or a key."""
    line = " ".join(_SECRETS.sub("[removed]", text).split())
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"


@dataclass(frozen=True)
class _Told:
    """The parts of Gmail's error object that decide what it means."""

    message: str
    reasons: tuple[str, ...]
    metadata: Mapping[str, str]

    @property
    def reason(self) -> str | None:
        return self.reasons[0] if self.reasons else None

    def has(self, reasons: set[str]) -> bool:
        return not reasons.isdisjoint(self.reasons)

    @property
    def limit(self) -> int | None:
        value = self.metadata.get("quota_limit_value", "")
        return int(value) if value.isascii() and value.isdigit() and int(value) > 0 else None

    @property
    def scope_of_limit(self) -> str:
        """`day`, `project` or `user`; empty where the refusal does not say whose limit was hit."""
        name = f"{self.metadata.get('quota_limit', '')} {self.metadata.get('quota_unit', '')} {self.message}"
        name = name.lower().replace(" ", "")
        if "perday" in name or "1/d/" in name:
            return "day"
        if "peruser" in name or "{user}" in name or "user-rate" in name:
            return "user"
        return "project" if "perproject" in name or "{project}" in name or "perminute'" in name else ""


def refusal(
    status: int, content: bytes, *, method: str, headers: Mapping[str, str], now: float
) -> GmailError:
    """The error that an answer stands for.

    Args:
        status: HTTP status, anything but 200.
        content: The body: Gmail's error object, or whatever a proxy put in its place.
        method: The method that was called, as in the price table.
        headers: The answer's headers; `Retry-After` is read.
        now: Epoch seconds, from which a relative `Retry-After` counts.

    Returns:
        An error that carries status, reason and method, and is retryable where waiting can help.
    """
    told = _read(content)
    what = f"{method}: {status}{f' {told.reason}' if told and told.reason else ''}"
    if told and told.message:
        what += f": {told.message}"
    known: dict[str, Any] = {"status": status, "reason": told.reason if told else None, "method": method}
    if status >= 500 or status == 408 or status < 400 or (status == 404 and told is None):
        if told is None:
            what += " without Gmail's error object: perhaps from a proxy or another server"
        return UnavailableError(
            what,
            fix="Try again later; if it stays, see https://www.google.com/appsstatus and GMAIL_API_ROOT.",
            retry_at=_retry_at(told, headers, now),
            **known,
        )
    told = told or _Told("", (), {})
    if status == 401:
        return CredentialsError(
            what, fix="Get new credentials: `gmail-assets login`, or set a fresh GMAIL_ACCESS_TOKEN.", **known
        )
    if status == 404:
        return _not_found(what, method, known)
    if status == 429 or (status == 403 and (told.has(_RATE) or told.has(_DAILY))):
        return _quota(what, told, status, headers, now, known)
    if status == 403:
        return _forbidden(what, told, method, known)
    if status == 400 and _is_no_mailbox(told):
        return NoMailboxError(
            what,
            fix="The account has no Gmail, or a service account is used without a mailbox as its subject: "
            "name a mailbox in GMAIL_USER_ID, or leave this account out of GMAIL_MAILBOXES.",
            **known,
        )
    return RequestError(what, fix="Check the table's options (q, labelIds, maxResults).", **known)


def _quota(
    what: str, told: _Told, status: int, headers: Mapping[str, str], now: float, known: dict[str, Any]
) -> GmailError:
    if told.has(_DAILY) or told.scope_of_limit == "day":
        return DailyLimitError(
            what,
            fix="The day's quota is spent: what is stored stays. Run again tomorrow, or raise the quota "
            "in the Cloud console.",
            **known,
        )
    retry_at = _retry_at(told, headers, now)
    timed = retry_at is not None or told.limit is not None or bool(told.scope_of_limit)
    if status == 429 and ("concurrent" in told.message.lower() or not timed):
        return ConcurrencyError(
            what, fix="Let fewer runs read this mailbox at once.", retry_at=retry_at, **known
        )
    return RateLimitError(
        what,
        fix="Wait; if it stays, something else spends this user's quota, or GMAIL_QUOTA is above the true "
        "one.",
        retry_at=retry_at,
        limit=told.limit,
        per_project=told.scope_of_limit == "project",
        **known,
    )


def _forbidden(what: str, told: _Told, method: str, known: dict[str, Any]) -> GmailError:
    if told.has(_DISABLED):
        link = told.metadata.get("activationUrl") or next(iter(_URL.findall(told.message)), _API_LIBRARY)
        return ApiDisabledError(
            what,
            fix=f"Enable the Gmail API in the client's Cloud project: {link} (takes a few minutes).",
            **known,
        )
    if told.has(_SCOPE):
        return ScopeError(
            what,
            fix=f"Grant the scope {READONLY_SCOPE}: run `gmail-assets login` again and tick its box.",
            **known,
        )
    if told.message.lower().startswith("delegation denied"):
        return DelegationError(
            what,
            fix="The token belongs to another user: set GMAIL_USER_ID to 'me' or to the token's own address, "
            "or use a service account with domain-wide delegation.",
            **known,
        )
    if "domain-wide" in told.message.lower():
        fix = (
            f"{method} answers only to a service account with domain-wide delegation "
            "(GMAIL_SERVICE_ACCOUNT_FILE)."
        )
    elif told.has({"domainPolicy"}):
        fix = "A policy of the Workspace domain closes this: ask its administrator to allow the app."
    else:
        fix = "This account may not use this method: ask the Workspace administrator, or use another account."
    return ForbiddenError(what, fix=fix, **known)


def _not_found(what: str, method: str, known: dict[str, Any]) -> GmailError:
    if method == "history.list":
        return HistoryExpiredError(
            what, fix="The next run compares the whole mailbox with the table instead.", **known
        )
    return NotFoundError(what, fix="It was deleted since it was listed, or never existed.", **known)


def _is_no_mailbox(told: _Told) -> bool:
    message = told.message.lower()
    return told.has({"failedPrecondition", "FAILED_PRECONDITION"}) and (
        "mail service" in message or "precondition check failed" in message
    )


def _read(content: bytes) -> _Told | None:
    """The error object in `content`; None when this is no JSON object and so not from Gmail."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    error = document.get("error")
    if isinstance(error, str):
        return _Told(scrubbed(str(document.get("error_description", ""))), (scrubbed(error),), {})
    if not isinstance(error, dict):
        return _Told("", (), {})
    reasons: list[str] = []
    metadata: dict[str, str] = {}
    for item in _dicts(error.get("errors")):
        reasons.append(str(item.get("reason", "")))
    for item in _dicts(error.get("details")):
        reasons.append(str(item.get("reason", "")))
        found = item.get("metadata")
        if isinstance(found, dict):
            metadata.update({str(key): str(value) for key, value in found.items()})
    reasons.append(str(error.get("status", "")))
    unique = tuple(dict.fromkeys(scrubbed(reason) for reason in reasons if reason))
    return _Told(scrubbed(str(error.get("message", ""))), unique, metadata)


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _retry_at(told: _Told | None, headers: Mapping[str, str], now: float) -> float | None:
    """Epoch seconds before which Gmail asked not to be tried again: the latest it named, in three ways."""
    times: list[float] = []
    if told is not None:
        window = told.metadata.get("window_start_time") or next(iter(_WINDOW_START.findall(told.message)), "")
        started = _number(window)
        if started is not None:
            times.append(started + 60)
        for text in _RETRY_AFTER.findall(told.message):
            times.append(datetime.fromisoformat(text).timestamp())
    header = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    if header:
        seconds = _number(header)
        if seconds is not None:
            times.append(now + seconds)
        else:
            times.extend(_http_date(header))
    return max(times, default=None)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < 1e11 else None


def _http_date(text: str) -> list[float]:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return []
    return [(moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()]
