"""The errors of this client; it raises no others.

    GmailError                      retryable: bool, fix: what to do
    ├── ConfigurationError          invalid settings, options or spec (also a ValueError)
    │   ├── UnknownTableError       not one of the ten tables
    │   └── OptionError             an unknown table option, or an invalid value
    ├── CredentialsError            no access token: revoked, expired, wrong client, missing
    ├── AccessError                 a permanent refusal in spite of a valid token
    │   ├── ScopeError              the token lacks gmail.readonly
    │   ├── ApiDisabledError        the Gmail API is disabled in the Cloud project
    │   ├── DelegationError         this token is not allowed to read that mailbox
    │   ├── ForbiddenError          this account is not allowed to use this method (delegates, a policy)
    │   └── NoMailboxError          the account has no Gmail mailbox
    ├── RequestError                Gmail calls the request malformed (400): a bug or an invalid option
    ├── ResponseError               Gmail's response is malformed: a field is missing or of the wrong type
    ├── NotFoundError               404: deleted meanwhile, or it never existed
    │   └── HistoryExpiredError     the history no longer reaches back to the start: reconcile instead
    ├── QuotaError                  refused for quota
    │   ├── RateLimitError          the units of this minute are used up; waiting helps
    │   ├── ConcurrencyError        too many concurrent requests; fewer help
    │   └── DailyLimitError         the daily quota is used up: stop, keep the stored rows
    ├── UnavailableError            5xx, timeouts, resets, truncated responses; retrying helps
    │   └── PreconditionError       400 "Precondition check failed.": usually transient
    └── IncompleteReadError         a requested item has no outcome: a bug in this product

`str(error)` is one line that says what happened and, after a newline, `Fix:` with one line that says what to do. No
error contains a token, a secret or the text of a mail.
"""

from __future__ import annotations

from typing import Any

from gmail_client.printable import printable_line

__all__ = [
    "AccessError",
    "ApiDisabledError",
    "ConcurrencyError",
    "ConfigurationError",
    "CredentialsError",
    "DailyLimitError",
    "DelegationError",
    "ForbiddenError",
    "GmailError",
    "HistoryExpiredError",
    "IncompleteReadError",
    "NoMailboxError",
    "NotFoundError",
    "OptionError",
    "PreconditionError",
    "QuotaError",
    "RateLimitError",
    "RequestError",
    "ResponseError",
    "ScopeError",
    "UnavailableError",
    "UnknownTableError",
]


class GmailError(Exception):
    """The base class: `what` happened, the `fix`, and whether it is `retryable`.

    Args:
        what: One line: the field or request, the value, and what is wrong with it.
        fix: One line: what the reader should do.
        status: HTTP status of Gmail's response, if there is one.
        reason: Gmail's own reason (`errors[0].reason` or ErrorInfo), if there is one.
        method: The API method that was called, as in the price table (`messages.get`).
        retry_at: Epoch seconds of the earliest retry, if Gmail named one.
    """

    retryable = False

    def __init__(
        self,
        what: str,
        *,
        fix: str = "",
        status: int | None = None,
        reason: str | None = None,
        method: str | None = None,
        retry_at: float | None = None,
    ) -> None:
        what = printable_line(what)
        super().__init__(what)
        self.what = what
        self.fix = printable_line(fix)
        self.status = status
        self.reason = reason
        self.method = method
        self.retry_at = retry_at

    def __str__(self) -> str:
        return f"{self.what}\nFix: {self.fix}" if self.fix else self.what

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.__dict__.copy()))


def _rebuild(kind: type[GmailError], state: dict[str, object]) -> GmailError:
    error = kind.__new__(kind)
    Exception.__init__(error, state.get("what", ""))
    error.__dict__.update(state)
    return error


class ConfigurationError(GmailError, ValueError):
    """Invalid settings, options or spec."""


class UnknownTableError(ConfigurationError):
    """A table that is not one of the ten tables."""


class OptionError(ConfigurationError):
    """A table option that is unknown, or whose value is invalid."""


class CredentialsError(GmailError):
    """These credentials give no access token."""


class AccessError(GmailError):
    """Gmail accepts the token and refuses the request permanently."""


class ScopeError(AccessError):
    """The token was granted without the scope that the method needs."""


class ApiDisabledError(AccessError):
    """The Gmail API is disabled in the client's Google Cloud project."""


class DelegationError(AccessError):
    """The token's user is not allowed to read this mailbox."""


class ForbiddenError(AccessError):
    """This account is not allowed to use the method."""


class NoMailboxError(AccessError):
    """The account has no Gmail mailbox."""


class RequestError(GmailError):
    """Gmail rejected the request as malformed."""


class ResponseError(GmailError):
    """Gmail's response can't be used: a field is missing, of the wrong type or out of range, or it is too large."""


class NotFoundError(GmailError):
    """The requested item does not exist, or no longer exists."""


class HistoryExpiredError(NotFoundError):
    """The history no longer reaches back to the requested start."""


class QuotaError(GmailError):
    """Refused because of a quota."""


class RateLimitError(QuotaError):
    """The units of this minute are used up.

    Args:
        retry_at: Epoch seconds of the earliest retry, as Gmail states or implies.
        limit: The real limit in units per minute, if the refusal names it.
        per_project: Whether the limit is the project's rather than the user's.
    """

    retryable = True

    def __init__(
        self,
        what: str,
        *,
        retry_at: float | None = None,
        limit: int | None = None,
        per_project: bool = False,
        fix: str = "",
        status: int | None = None,
        reason: str | None = None,
        method: str | None = None,
    ) -> None:
        super().__init__(what, fix=fix, status=status, reason=reason, method=method, retry_at=retry_at)
        self.limit = limit
        self.per_project = per_project


class ConcurrencyError(QuotaError):
    """Too many concurrent requests of one user."""

    retryable = True


class DailyLimitError(QuotaError):
    """The project's daily quota is used up."""


class UnavailableError(GmailError):
    """No response from Gmail, or an incomplete or unusable one."""

    retryable = True


class PreconditionError(UnavailableError):
    """400 "Precondition check failed.": transient on single calls; on getProfile, the account has no mailbox."""


class IncompleteReadError(GmailError):
    """A requested item has no outcome: a bug in this product. No cursor is advanced past it."""

    def __init__(self, what: str, *, fix: str = "", **details: Any) -> None:
        super().__init__(
            what,
            fix=fix
            or "This is a bug in gmail-assets. No data is lost: the cursor was not moved, and the next run reads the "
            "messages again.",
            **details,
        )
