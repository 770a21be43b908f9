"""The error behind a response that is not 200: `error_from_response` maps it to one of this client's errors.

After https://developers.google.com/workspace/gmail/api/guides/handle-errors and responses of the live API. Pure: no
waiting, no network.
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
    PreconditionError,
    RateLimitError,
    RequestError,
    ScopeError,
    UnavailableError,
)
from gmail_client.printable import printable

__all__ = ["as_text", "error_from_response", "no_mailbox", "redact"]

_API_LIBRARY = "https://console.cloud.google.com/apis/library/gmail.googleapis.com"

_SECRETS = re.compile(
    r"ya29\.[\w.\-]+|\b1//[\w\-]+|\bGOCSPX-[\w\-]+|\b[Bb]earer\s+\S+|\beyJ[\w\-]{5,}(?:\.[\w\-]+)*"
    r"|-----BEGIN[\s\S]+?(?:-----END[^-]*-----|$)"
)
_URL = re.compile(r"https://\S+?(?=[\s\"'<>]|\.?(?:\s|$))")
_RETRY_AFTER = re.compile(r"[Rr]etry after (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))")
_WINDOW_START = re.compile(r"window_start_time\D{1,5}(\d+(?:\.\d+)?)")
_LONGEST_MESSAGE = 300
_LONGEST_INPUT = 20_000

_DAILY = {"dailyLimitExceeded", "quotaExceeded", "dailyLimitExceededUnreg"}
_RATE = {"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"}
_SCOPE = {"insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}
_DISABLED = {"accessNotConfigured", "SERVICE_DISABLED"}
_PRECONDITION = {"failedPrecondition", "FAILED_PRECONDITION"}
_NOT_FOUND = {"notFound", "NOT_FOUND"}

_NO_MAILBOX_FIX = (
    "If the account has no Gmail, remove it where it is named: GMAIL_USER_ID, GMAIL_MAILBOXES, GMAIL_MAILBOXES_FILE, "
    "or the domain, group or organizational unit of GMAIL_DIRECTORY. If a service account is used without a mailbox, "
    "name one there."
)


def redact(text: str) -> str:
    """`text` on one line, shortened, without anything that looks like a token, a secret or a key."""
    line = printable(" ".join(_SECRETS.sub("[removed]", text[:_LONGEST_INPUT]).split()))
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"


@dataclass(frozen=True)
class _ErrorBody:
    """The parts of Gmail's error object that decide the kind of error."""

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
        return int(value) if re.fullmatch("0*[1-9][0-9]{0,8}", value) else None

    @property
    def scope_of_limit(self) -> str:
        """`day`, `project` or `user`; empty when the response does not name the limit."""
        name = f"{self.metadata.get('quota_limit', '')} {self.metadata.get('quota_unit', '')} {self.message}"
        name = name.lower().replace(" ", "")
        if "perday" in name or "1/d/" in name:
            return "day"
        if "peruser" in name or "{user}" in name or "user-rate" in name:
            return "user"
        return "project" if "perproject" in name or "{project}" in name or "perminute'" in name else ""


def error_from_response(
    status: int, content: bytes, *, method: str, headers: Mapping[str, str], now: float
) -> GmailError:
    """The error for a response.

    Args:
        status: HTTP status, not 200.
        content: The body: Gmail's error object, or what a proxy sent instead.
        method: The method that was called, as in the price table.
        headers: The response's headers; `Retry-After` is used.
        now: Epoch seconds, the base of a relative `Retry-After`.

    Returns:
        An error with status, reason and method; retryable when waiting can help.
    """
    body = _read(content)
    what = f"{method}: {status}{f' {body.reason}' if body and body.reason else ''}"
    if body and body.message:
        what += f": {body.message}"
    known: dict[str, Any] = {"status": status, "reason": body.reason if body else None, "method": method}
    # Only Gmail's own error object shows that an item does not exist: a proxy may not know the path.
    lost = status == 404 and (body is None or not body.has(_NOT_FOUND))
    if status >= 500 or status == 408 or status < 400 or lost:
        if body is None or lost:
            what += " without Gmail's error object: it may come from a proxy or another server"
        return UnavailableError(
            what,
            fix="Try again later; if it persists, check https://www.google.com/appsstatus and GMAIL_API_ROOT.",
            retry_at=_retry_at(body, headers, now),
            **known,
        )
    body = body or _ErrorBody("", (), {})
    if status == 401:
        return CredentialsError(
            what,
            fix="Get new credentials: run `gmail-assets login`, or set a new GMAIL_ACCESS_TOKEN.",
            **known,
        )
    if status == 404:
        return _not_found(what, method, known)
    if status == 429 or (status == 403 and (body.has(_RATE) or body.has(_DAILY))):
        return _quota(what, body, status, headers, now, known)
    if status == 403:
        return _forbidden(what, body, method, known)
    if status == 400 and body.has(_PRECONDITION):
        if "mail service" in body.message.lower():
            return NoMailboxError(what, fix=_NO_MAILBOX_FIX, **known)
        if "precondition check failed" in body.message.lower():
            return PreconditionError(what, fix="Try again later; it is usually transient.", **known)
    return RequestError(what, fix="Check the table's options (q, labelIds, maxResults).", **known)


def no_mailbox(error: PreconditionError) -> NoMailboxError:
    """What a lasting precondition error of getProfile means."""
    return NoMailboxError(
        error.what, fix=_NO_MAILBOX_FIX, status=error.status, reason=error.reason, method=error.method
    )


def _quota(
    what: str, body: _ErrorBody, status: int, headers: Mapping[str, str], now: float, known: dict[str, Any]
) -> GmailError:
    if body.has(_DAILY) or body.scope_of_limit == "day":
        return DailyLimitError(
            what,
            fix="The daily quota is used up; stored rows are kept. Run again tomorrow, or raise the quota "
            "in the Cloud console.",
            **known,
        )
    retry_at = _retry_at(body, headers, now)
    if "concurrent" in body.message.lower():
        return ConcurrencyError(
            what, fix="Run fewer syncs of this mailbox at the same time.", retry_at=retry_at, **known
        )
    return RateLimitError(
        what,
        fix="Wait; if it persists, another program uses this user's quota, or GMAIL_QUOTA is above the real "
        "limit.",
        retry_at=retry_at,
        limit=body.limit,
        per_project=body.scope_of_limit == "project",
        **known,
    )


def _forbidden(what: str, body: _ErrorBody, method: str, known: dict[str, Any]) -> GmailError:
    if body.has(_DISABLED):
        link = redact(body.metadata.get("activationUrl", "")) or next(
            iter(_URL.findall(body.message)), _API_LIBRARY
        )
        return ApiDisabledError(
            what,
            fix=f"Enable the Gmail API in the client's Cloud project: {link} (it takes a few minutes).",
            **known,
        )
    if body.has(_SCOPE):
        return ScopeError(
            what,
            fix=f"Grant the scope {READONLY_SCOPE}: run `gmail-assets login` again and select its checkbox.",
            **known,
        )
    if body.message.lower().startswith("delegation denied"):
        return DelegationError(
            what,
            fix="The token belongs to another user: set GMAIL_USER_ID to 'me' or to the token's own address, correct "
            "the mailbox's own login, or use a service account with domain-wide delegation.",
            **known,
        )
    if "domain-wide" in body.message.lower():
        fix = f"{method} needs a service account with domain-wide delegation (GMAIL_SERVICE_ACCOUNT_FILE)."
    elif body.has({"domainPolicy"}):
        fix = "A policy of the Workspace domain forbids this: ask its administrator to allow the app."
    else:
        fix = "This account is not allowed to use this method: ask the Workspace administrator, or use another account."
    return ForbiddenError(what, fix=fix, **known)


def _not_found(what: str, method: str, known: dict[str, Any]) -> GmailError:
    if method == "history.list":
        return HistoryExpiredError(
            what, fix="The next run reconciles the table with the whole mailbox.", **known
        )
    if not method.endswith(".get"):
        return NotFoundError(
            what, fix="The server does not have this method: check GMAIL_API_ROOT and GMAIL_USER_ID.", **known
        )
    return NotFoundError(what, fix="It was deleted after it was listed, or never existed.", **known)


def _read(content: bytes) -> _ErrorBody | None:
    """The error object in `content`; None when it is not a JSON object and so not from Gmail."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    error = document.get("error")
    if isinstance(error, str):
        return _ErrorBody(redact(as_text(document.get("error_description"))), (redact(error),), {})
    if not isinstance(error, dict):
        return _ErrorBody("", (), {})
    reasons: list[str] = []
    metadata: dict[str, str] = {}
    for item in _dicts(error.get("errors")):
        reasons.append(as_text(item.get("reason")))
    for item in _dicts(error.get("details")):
        reasons.append(as_text(item.get("reason")))
        found = item.get("metadata")
        if isinstance(found, dict):
            metadata.update({key: as_text(value) for key, value in found.items()})
    reasons.append(as_text(error.get("status")))
    unique = tuple(dict.fromkeys(redact(reason) for reason in reasons if reason))
    return _ErrorBody(redact(as_text(error.get("message"))), unique, metadata)


def as_text(value: object) -> str:
    """Text, or a number as text; anything else, which a server's error does not have, is empty."""
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _retry_at(body: _ErrorBody | None, headers: Mapping[str, str], now: float) -> float | None:
    """Epoch seconds of the earliest retry: the latest of the times that the response names in three ways."""
    times: list[float] = []
    if body is not None:
        window = body.metadata.get("window_start_time") or next(iter(_WINDOW_START.findall(body.message)), "")
        started = _number(window)
        if started is not None:
            times.append(started + 60)
        for text in _RETRY_AFTER.findall(body.message):
            times.extend(_iso_date(text))
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


def _iso_date(text: str) -> list[float]:
    try:
        return [datetime.fromisoformat(text).timestamp()]
    except (ValueError, OverflowError):
        return []


def _http_date(text: str) -> list[float]:
    try:
        moment = parsedate_to_datetime(text)
        return [(moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()]
    except (ValueError, TypeError, OverflowError):
        return []
