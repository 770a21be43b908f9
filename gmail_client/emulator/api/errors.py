"""Gmail's errors: `ApiError`, and a function for each kind, in Gmail's words.

Shape (v1): `{"error": {"code", "message", "errors": [{"message", "domain", "reason"}], "status", "details"}}`.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ApiError",
    "bad_argument",
    "bad_body",
    "conflict",
    "failed_precondition",
    "forbidden",
    "insufficient_scope",
    "missing_token",
    "not_found",
    "rejected_token",
    "unknown_parameter",
]

STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    411: "INVALID_ARGUMENT",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class ApiError(Exception):
    """An error response of the API.

    Args:
        code: HTTP status.
        reason: `errors[0].reason`.
        message: The text of the error.
        status: Canonical status name; by default the one of `code`.
        domain: `errors[0].domain`.
        details: google.rpc messages (ErrorInfo and others).
        headers: Further HTTP headers of the response.
        extra: Further keys of `errors[0]` (`location`, `locationType`).
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        status: str | None = None,
        domain: str = "global",
        details: list[dict[str, Any]] | None = None,
        headers: dict[str, str] | None = None,
        extra: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.status = status or STATUS_NAMES.get(code, "UNKNOWN")
        self.domain = domain
        self.details = details or []
        self.headers = headers or {}
        self.extra = extra or {}

    def body(self, *, version: int = 1) -> dict[str, Any]:
        """The JSON body; version 2 (`$.xgafv=2`) omits the list `errors`."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if version == 1:
            error["errors"] = [
                {"message": self.message, "domain": self.domain, "reason": self.reason, **self.extra}
            ]
        error["status"] = self.status
        if self.details:
            error["details"] = self.details
        return {"error": error}


def _error_info(reason: str, metadata: dict[str, str]) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"service": "gmail.googleapis.com", **metadata},
    }


def not_found() -> ApiError:
    """404: no such message, thread, label, draft, filter ..., or an expired startHistoryId."""
    return ApiError(404, "notFound", "Requested entity was not found.")


def bad_argument(message: str) -> ApiError:
    """400: an invalid value."""
    return ApiError(400, "invalidArgument", message)


def bad_body(message: str, field: str = "") -> ApiError:
    """400: JSON or a parameter that does not match the schema of the request."""
    violation = {"description": message, **({"field": field} if field else {})}
    details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}]
    return ApiError(400, "badRequest", message, details=details)


def unknown_parameter(name: str) -> ApiError:
    """400: a query parameter that the method does not have."""
    return bad_body(
        f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter. '
        f"Field '{name}' could not be found in request message."
    )


def conflict(message: str) -> ApiError:
    """409: a name that is in use."""
    return ApiError(409, "aborted", message)


def failed_precondition(message: str) -> ApiError:
    """400 FAILED_PRECONDITION: the state of the account or resource does not allow the call."""
    return ApiError(400, "failedPrecondition", message, status="FAILED_PRECONDITION")


def forbidden(message: str) -> ApiError:
    """403: the user has no permission."""
    return ApiError(403, "forbidden", message)


def missing_token(method: str) -> ApiError:
    """401: no access token."""
    return ApiError(
        401,
        "required",
        "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie "
        "or other valid authentication credential. "
        "See https://developers.google.com/identity/sign-in/web/devconsole-project.",
        details=[_error_info("CREDENTIALS_MISSING", {"method": method})],
        headers={"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"'},
        extra={"location": "Authorization", "locationType": "header"},
    )


def rejected_token(method: str) -> ApiError:
    """401: an unknown, expired or revoked access token."""
    return ApiError(
        401,
        "authError",
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
        "valid authentication credential. "
        "See https://developers.google.com/identity/sign-in/web/devconsole-project.",
        details=[_error_info("ACCESS_TOKEN_INVALID", {"method": method})],
        headers={
            "WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="invalid_token"',
        },
        extra={"location": "Authorization", "locationType": "header"},
    )


def insufficient_scope(method: str, scopes: tuple[str, ...]) -> ApiError:
    """403: a valid access token without any of the method's scopes."""
    return ApiError(
        403,
        "insufficientPermissions",
        "Request had insufficient authentication scopes.",
        details=[_error_info("ACCESS_TOKEN_SCOPE_INSUFFICIENT", {"method": method})],
        headers={
            "WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="insufficient_scope", '
            f'scope="{" ".join(scopes)}"'
        },
    )
