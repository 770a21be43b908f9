from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_gmail import FakeResponse, error_response

from gmail_client import errors
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
from gmail_client.http.error_mapping import error_from_response, redact

NOW = 1_800_000_000.0
CONCURRENT = "Too many concurrent requests for user."
DOMAIN_WIDE = "Access restricted to service accounts that have been delegated domain-wide authority"


def error_for(response: FakeResponse, method: str = "messages.get") -> GmailError:
    return error_from_response(
        response.status, response.content, method=method, headers=response.headers, now=NOW
    )


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (error_response(400, "invalidArgument", "Invalid id value"), RequestError),
        (error_response(400, "failedPrecondition", "Mail service not enabled"), NoMailboxError),
        (error_response(400, "failedPrecondition", "Precondition check failed."), PreconditionError),
        (error_response(400, "failedPrecondition", "Something else"), RequestError),
        (error_response(401, "authError", "Invalid Credentials"), CredentialsError),
        (error_response(429, "rateLimitExceeded", CONCURRENT), ConcurrencyError),
        (
            error_response(429, "rateLimitExceeded", "Resource has been exhausted (e.g. check quota)."),
            RateLimitError,
        ),
        (error_response(429, "RESOURCE_EXHAUSTED", "Rate Limit Exceeded"), RateLimitError),
        (FakeResponse(429, raw=b"<html><title>Error 429 (Too Many Requests)</title>"), RateLimitError),
        (FakeResponse(429, {}), RateLimitError),
        (error_response(403, "rateLimitExceeded"), RateLimitError),
        (error_response(403, "userRateLimitExceeded"), RateLimitError),
        (error_response(403, "quotaExceeded"), DailyLimitError),
        (error_response(403, "dailyLimitExceeded"), DailyLimitError),
        (error_response(403, "rateLimitExceeded", quota_limit="QueriesPerDay"), DailyLimitError),
        (error_response(403, "insufficientPermissions"), ScopeError),
        (error_response(403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"), ScopeError),
        (error_response(403, "accessNotConfigured"), ApiDisabledError),
        (error_response(403, "SERVICE_DISABLED"), ApiDisabledError),
        (error_response(403, "domainPolicy"), ForbiddenError),
        (error_response(403, "forbidden", "Delegation denied for bob@example.com"), DelegationError),
        (error_response(403, "forbidden", DOMAIN_WIDE), ForbiddenError),
        (error_response(403, "forbidden"), ForbiddenError),
        (error_response(404, "notFound", "Requested entity was not found."), NotFoundError),
        (error_response(410, "gone"), RequestError),
        (error_response(429, "rateLimitExceeded", quota_limit_value="6000"), RateLimitError),
        (error_response(429, "rateLimitExceeded", "Retry after 2027-01-15T08:00:30.000Z"), RateLimitError),
        (error_response(408, "backendError"), UnavailableError),
        (error_response(500, "backendError"), UnavailableError),
        (error_response(503, "backendError"), UnavailableError),
        (FakeResponse(502, raw=b"<html>Bad gateway</html>"), UnavailableError),
        (FakeResponse(302, raw=b""), UnavailableError),
        (FakeResponse(404, raw=b"<html>no such page</html>"), UnavailableError),
        (FakeResponse(403, raw=b"<html>blocked</html>"), ForbiddenError),
    ],
)
def test_every_error_response_has_its_class(response: FakeResponse, kind: type[GmailError]) -> None:
    error = error_for(response)
    assert type(error) is kind
    assert (error.status, error.method) == (response.status, "messages.get")
    assert error.fix
    assert len(str(error).splitlines()) == 2


def test_404_on_the_history_means_expired() -> None:
    assert type(error_for(error_response(404, "notFound"), "history.list")) is HistoryExpiredError


def test_a_404_from_a_proxy_does_not_mean_expired() -> None:
    assert type(error_for(FakeResponse(404, raw=b"<html>"), "history.list")) is UnavailableError


@pytest.mark.parametrize(
    ("response", "retry_at"),
    [
        (error_response(403, "rateLimitExceeded", window_start_time="1799999970"), NOW + 30),
        (error_response(403, "rateLimitExceeded", "limit; window_start_time: 1799999970"), NOW + 30),
        (error_response(403, "userRateLimitExceeded", "Retry after 2027-01-15T08:00:30.500Z"), NOW + 30.5),
        (error_response(403, "userRateLimitExceeded", "Retry after 2027-01-15T09:00:30+01:00"), NOW + 30),
        (FakeResponse(503, raw=b"", headers={"Retry-After": "30"}), NOW + 30),
        (FakeResponse(429, raw=b"{}", headers={"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}), NOW + 30),
        (FakeResponse(503, raw=b"", headers={"Retry-After": "soon"}), None),
        (error_response(403, "rateLimitExceeded", window_start_time="yesterday"), None),
        (error_response(403, "rateLimitExceeded"), None),
    ],
)
def test_the_retry_time(response: FakeResponse, retry_at: float | None) -> None:
    error: Any = error_for(response)
    assert error.retry_at == retry_at


def test_the_limit_is_read_from_the_error() -> None:
    error = error_for(
        error_response(
            403,
            "rateLimitExceeded",
            quota_limit="QueriesPerMinutePerUser",
            quota_limit_value="15000",
            quota_unit="1/min/{project}/{user}",
        )
    )
    assert isinstance(error, RateLimitError)
    assert (error.limit, error.per_project) == (15_000, False)


@pytest.mark.parametrize(
    ("metadata", "per_project"),
    [
        ({"quota_limit": "QueriesPerMinutePerProject"}, True),
        ({"quota_unit": "1/min/{project}"}, True),
        ({"quota_unit": "1/min/{project}/{user}"}, False),
        ({}, False),
    ],
)
def test_the_scope_of_the_limit(metadata: dict[str, str], per_project: bool) -> None:
    error = error_for(error_response(403, "rateLimitExceeded", **metadata))
    assert isinstance(error, RateLimitError)
    assert error.per_project is per_project


@pytest.mark.parametrize(
    ("message", "per_project"),
    [
        (
            "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute' of service 'gmail'.",
            True,
        ),
        (
            "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute per user' of service.",
            False,
        ),
        ("Too much.", False),
    ],
)
def test_the_scope_of_the_limit_is_read_from_the_message(message: str, per_project: bool) -> None:
    error = error_for(error_response(403, "rateLimitExceeded", message))
    assert isinstance(error, RateLimitError)
    assert error.per_project is per_project


def test_the_latest_of_several_times_counts() -> None:
    retry_text = "Retry after 2027-01-15T08:00:{:02}Z"  # NOW is 08:00:00
    for in_message, in_header, window in ((10, 20, 30), (20, 30, 10), (30, 10, 20)):
        response = error_response(
            403,
            "rateLimitExceeded",
            retry_text.format(in_message),
            window_start_time=str(int(NOW) + window - 60),
        )
        response.headers["Retry-After"] = str(in_header)
        assert error_for(response).retry_at == NOW + 30


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "-1", "1e11", "1e300"])
def test_invalid_times_are_ignored(value: str) -> None:
    assert error_for(FakeResponse(503, raw=b"", headers={"Retry-After": value})).retry_at is None
    assert error_for(error_response(403, "rateLimitExceeded", window_start_time=value)).retry_at is None


@pytest.mark.parametrize(
    "text", ["2026-99-99T99:99:99Z", "9999-12-31T23:59:59+99:99", "2026-02-30T00:00:00Z"]
)
def test_times_that_do_not_exist_are_ignored(text: str) -> None:
    assert error_for(error_response(403, "rateLimitExceeded", f"Retry after {text}")).retry_at is None


@pytest.mark.parametrize("value", ["", "0", "-3", "many", "6e3", "9" * 5_000])
def test_a_limit_that_is_not_a_number_is_ignored(value: str) -> None:
    error = error_for(error_response(403, "rateLimitExceeded", quota_limit_value=value))
    assert isinstance(error, RateLimitError)
    assert error.limit is None


def test_the_link_that_enables_the_api_is_named() -> None:
    link = "https://console.developers.google.com/apis/api/gmail.googleapis.com/overview?project=42"
    in_text = error_for(
        error_response(403, "accessNotConfigured", f"Enable it by visiting {link} then retry.")
    )
    in_details = error_for(error_response(403, "SERVICE_DISABLED", activationUrl=link))
    nowhere = error_for(error_response(403, "SERVICE_DISABLED"))
    assert f"{link} " in in_text.fix
    assert f"{link} " in in_details.fix
    assert "gmail.googleapis.com" in nowhere.fix


@pytest.mark.parametrize(
    ("response", "word"),
    [
        (error_response(403, "insufficientPermissions"), "https://www.googleapis.com/auth/gmail.readonly"),
        (error_response(403, "forbidden", "Delegation denied for x"), "GMAIL_USER_ID"),
        (error_response(403, "forbidden", DOMAIN_WIDE), "GMAIL_SERVICE_ACCOUNT_FILE"),
        (error_response(403, "domainPolicy"), "administrator"),
        *(
            (error_response(400, "failedPrecondition", "Mail service not enabled"), name)
            for name in ("GMAIL_USER_ID", "GMAIL_MAILBOXES,", "GMAIL_MAILBOXES_FILE", "GMAIL_DIRECTORY")
        ),
        (error_response(401, "authError"), "gmail-assets login"),
        (error_response(400, "invalidArgument"), "labelIds"),
    ],
)
def test_the_fix_names_the_setting(response: FakeResponse, word: str) -> None:
    assert word in error_for(response).fix


@pytest.mark.parametrize(
    "secret",
    [
        "ya29.a0AbCdEf-1234_x",
        "1//0gXyZ_refresh-token",
        "GOCSPX-abcdefg",
        "Bearer abc.def",
        "eyJhbGciOi.eyJpc3Mi.sig",
        "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIEv cut short",
    ],
)
def test_secrets_are_redacted_in_messages(secret: str) -> None:
    error = error_for(error_response(403, "forbidden", f"You sent {secret} to us"))
    hidden = secret.removeprefix("Bearer ").split("\n")[-1]
    assert hidden not in str(error)
    assert "[removed]" in str(error)


def test_messages_are_one_line_of_bounded_length() -> None:
    text = redact("a\n b\t" + "c" * 1_000)
    assert text.startswith("a b c")
    assert len(text) == 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ERRORS = st.fixed_dictionaries(
    {"error": JSON},
    optional={"error_description": JSON},
) | st.fixed_dictionaries(
    {
        "error": st.fixed_dictionaries(
            {},
            optional={
                "code": JSON,
                "message": JSON,
                "status": JSON,
                "errors": st.lists(st.fixed_dictionaries({}, optional={"reason": JSON}) | JSON, max_size=3),
                "details": st.lists(
                    st.fixed_dictionaries({}, optional={"reason": JSON, "metadata": JSON}) | JSON, max_size=3
                ),
            },
        )
    }
)


@settings(deadline=None)
@given(
    status=st.integers(100, 599).filter(lambda status: status != 200),
    content=st.binary(max_size=200)
    | ERRORS.map(lambda value: json.dumps(value).encode())
    | JSON.map(lambda value: json.dumps(value).encode()),
    retry_after=st.none() | st.text(max_size=30) | st.integers(-10, 10_000).map(str),
    method=st.sampled_from(["messages.get", "history.list", "batch"]),
)
def test_any_response_becomes_a_gmail_error(
    status: int, content: bytes, retry_after: str | None, method: str
) -> None:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    error = error_from_response(status, content, method=method, headers=headers, now=NOW)
    assert type(error).__name__ in errors.__all__
    assert error.status == status
    assert error.retryable == isinstance(error, RateLimitError | ConcurrencyError | UnavailableError)
    assert (status >= 500) <= error.retryable
    assert isinstance(error, CredentialsError) == (status == 401)
    assert len(str(error).splitlines()) == 2
