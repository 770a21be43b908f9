"""The words that a record may contain: names and values that are the same in every mailbox.

Everything else is described by its form only. A name that is not listed here is written as `(other)`, because header
names and keys can be private.
"""

from __future__ import annotations

from gmail_client.emulator.api.schemas import ENUMS, SCHEMAS
from gmail_client.emulator.mailbox.labels import SYSTEM_LABELS

__all__ = ["FIELDS", "MAIL_HEADERS", "OTHER", "REASONS", "RESPONSE_HEADERS", "VALUES", "known_reason"]

OTHER = "(other)"

_ERROR_FIELDS = {
    "error",
    "code",
    "message",
    "errors",
    "domain",
    "reason",
    "status",
    "details",
    "@type",
    "metadata",
    "location",
    "locationType",
    "service",
    "method",
    "fieldViolations",
    "description",
    "field",
    "quota_limit",
    "quota_limit_value",
    "quota_location",
    "quota_metric",
    "quota_unit",
    "window_start_time",
}

FIELDS = frozenset({name for schema in SCHEMAS.values() for name in schema} | _ERROR_FIELDS)
"""Keys of JSON objects: those of Google's discovery document, and those of errors."""

REASONS = frozenset(
    {
        "aborted",
        "accessNotConfigured",
        "ACCESS_TOKEN_INVALID",
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        "authError",
        "backendError",
        "badRequest",
        "concurrentLimitExceeded",
        "CREDENTIALS_MISSING",
        "dailyLimitExceeded",
        "domainPolicy",
        "failedPrecondition",
        "forbidden",
        "insufficientPermissions",
        "internalError",
        "invalid",
        "invalidArgument",
        "invalidParameter",
        "keyInvalid",
        "mailNotEnabled",
        "notFound",
        "parseError",
        "quotaExceeded",
        "RATE_LIMIT_EXCEEDED",
        "rateLimitExceeded",
        "required",
        "SERVICE_DISABLED",
        "userRateLimitExceeded",
    }
)
"""`reason` of errors."""

_STATUSES = frozenset(
    {
        "ABORTED",
        "ALREADY_EXISTS",
        "DEADLINE_EXCEEDED",
        "FAILED_PRECONDITION",
        "INTERNAL",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "OUT_OF_RANGE",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "UNAUTHENTICATED",
        "UNAVAILABLE",
        "UNIMPLEMENTED",
        "UNKNOWN",
    }
)
_MIME_TYPES = frozenset(
    {
        "message/delivery-status",
        "message/rfc822",
        "multipart/alternative",
        "multipart/mixed",
        "multipart/related",
        "multipart/report",
        "multipart/signed",
        "text/calendar",
        "text/html",
        "text/plain",
        "application/octet-stream",
        "application/pdf",
        "image/gif",
        "image/jpeg",
        "image/png",
    }
)
_LABELS = frozenset(SYSTEM_LABELS)

VALUES: dict[str, frozenset[str]] = {
    "@type": frozenset(
        {
            "type.googleapis.com/google.rpc.BadRequest",
            "type.googleapis.com/google.rpc.ErrorInfo",
            "type.googleapis.com/google.rpc.Help",
            "type.googleapis.com/google.rpc.LocalizedMessage",
            "type.googleapis.com/google.rpc.QuotaFailure",
        }
    ),
    "addLabelIds": _LABELS,
    "domain": frozenset({"global", "googleapis.com", "usageLimits"}),
    "id": _LABELS,
    "labelIds": _LABELS,
    "mimeType": _MIME_TYPES,
    "reason": REASONS,
    "removeLabelIds": _LABELS,
    "status": _STATUSES,
    **{field: frozenset(values) for (_, field), values in ENUMS.items()},
}
"""By key: values that are written as they are."""

RESPONSE_HEADERS = frozenset(
    {
        "age",
        "alt-svc",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "etag",
        "expires",
        "last-modified",
        "pragma",
        "ratelimit-limit",
        "ratelimit-remaining",
        "ratelimit-reset",
        "retry-after",
        "server",
        "server-timing",
        "strict-transport-security",
        "transfer-encoding",
        "vary",
        "www-authenticate",
        "x-content-type-options",
        "x-frame-options",
        "x-goog-quota-remaining",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-xss-protection",
    }
)
"""Names of HTTP headers, in lower case."""

MAIL_HEADERS = frozenset(
    {
        "arc-authentication-results",
        "arc-message-signature",
        "arc-seal",
        "authentication-results",
        "bcc",
        "cc",
        "content-description",
        "content-disposition",
        "content-id",
        "content-transfer-encoding",
        "content-type",
        "date",
        "delivered-to",
        "dkim-signature",
        "from",
        "in-reply-to",
        "list-id",
        "list-unsubscribe",
        "list-unsubscribe-post",
        "message-id",
        "mime-version",
        "precedence",
        "received",
        "received-spf",
        "references",
        "reply-to",
        "return-path",
        "sender",
        "subject",
        "to",
        "x-attachment-id",
        "x-google-dkim-signature",
        "x-google-smtp-source",
        "x-gm-message-state",
        "x-received",
    }
)
"""Names of mail headers, in lower case."""


def known_reason(reason: str | None) -> str:
    """A known reason of Google, or `(other)`; empty for none."""
    if not reason:
        return ""
    return reason if reason in REASONS or reason in _STATUSES else OTHER
