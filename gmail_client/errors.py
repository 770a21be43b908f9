"""Every error this client raises, and nothing else leaves it.

    GmailError                      retryable: bool, fix: what to do about it
    ├── ConfigurationError          the user's settings, options or spec (also a ValueError)
    │   ├── UnknownTableError       not one of the ten
    │   └── OptionError             a table option out of its range
    ├── CredentialsError            no token to be had: revoked, expired, wrong client, missing
    ├── AccessError                 a token, but not for this: the request was refused for good
    │   ├── ScopeError              the token lacks gmail.readonly
    │   ├── ApiDisabledError        the Gmail API is off in the Cloud project
    │   ├── DelegationError         this token may not read that mailbox
    │   ├── ForbiddenError          this account may not use this method (delegates, a policy)
    │   └── NoMailboxError          the account has no Gmail
    ├── RequestError                Gmail calls the request malformed (400): a bug or a bad option
    ├── NotFoundError               404: deleted since, or never there
    │   └── HistoryExpiredError     the start of the history is too old: compare instead
    ├── QuotaError                  refused for quota
    │   ├── RateLimitError          this minute's units are spent; waiting helps
    │   ├── ConcurrencyError        too many requests at once; narrowing helps
    │   └── DailyLimitError         the day's quota is spent: stop, keep what is stored
    ├── UnavailableError            5xx, timeouts, resets, answers cut short; retrying helps
    └── IncompleteReadError         something that was requested has no outcome: a defect of this product

`str(error)` is one line of what happened and, after a newline, `Fix:` with one line of what to do.
No error carries a token, a secret or the text of a mail.
"""

from __future__ import annotations

__all__ = [
    "DEFECT_FIX",
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
    "QuotaError",
    "RateLimitError",
    "RequestError",
    "ScopeError",
    "UnavailableError",
    "UnknownTableError",
]


class GmailError(Exception):
    """The root: `what` happened in one line, `fix` says how to mend it, `retryable` whether waiting may.

    Args:
        what: One line: the field or request, the value, what is wrong with it.
        fix: One line: what the reader should do.
        status: HTTP status, where an answer of Gmail's is behind it.
        reason: Gmail's own reason (`errors[0].reason` or ErrorInfo), where there is one.
        method: The API method that was called, as in the price table (`messages.get`).
        retry_at: Epoch seconds before which Gmail asked not to be tried again, if it did.
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
        super().__init__(what)
        self.what = what
        self.fix = fix
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
    """Settings, options or spec that cannot be right."""


class UnknownTableError(ConfigurationError):
    """A table that is not one of the ten."""


class OptionError(ConfigurationError):
    """A table option that is unknown or out of its range."""


class CredentialsError(GmailError):
    """No access token can be had with these credentials."""


class AccessError(GmailError):
    """Gmail knows who asks and refuses for good."""


class ScopeError(AccessError):
    """The token was granted without the scope that the method needs."""


class ApiDisabledError(AccessError):
    """The Gmail API is not enabled in the Google Cloud project of the client."""


class DelegationError(AccessError):
    """The token's user may not read this mailbox."""


class ForbiddenError(AccessError):
    """The method is closed to this account."""


class NoMailboxError(AccessError):
    """The account has no Gmail mailbox."""


class RequestError(GmailError):
    """Gmail rejected the request as malformed."""


class NotFoundError(GmailError):
    """What was asked for does not exist (any more)."""


class HistoryExpiredError(NotFoundError):
    """The history no longer reaches back to the start that was asked for."""


class QuotaError(GmailError):
    """Refused for quota."""


class RateLimitError(QuotaError):
    """The units of this minute are spent.

    Args:
        retry_at: Epoch seconds at which Gmail says (or implies) that the next try may pass.
        limit: The true limit in units per minute, when the refusal names it.
        per_project: True when the project's limit was hit, not the user's.
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
    """Too many requests of one user at once."""

    retryable = True


class DailyLimitError(QuotaError):
    """The project's quota for the day is spent."""


class UnavailableError(GmailError):
    """Gmail did not answer, or not whole."""

    retryable = True


class IncompleteReadError(GmailError):
    """Something that was requested has no outcome: a defect of this product. No cursor passes it."""


DEFECT_FIX = (
    "This is a defect of gmail-assets. Nothing is lost: the cursor stays, and the next run reads it again."
)
"""The fix of an `IncompleteReadError`."""
