from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import pytest
import requests
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_gmail import (
    API,
    FakeGmail,
    FakeRequest,
    FakeResponse,
    ManualClock,
    connect,
    error_response,
    message_response,
)

from gmail_client.api import GmailApi
from gmail_client.auth.credentials import Credentials
from gmail_client.client import GmailClient
from gmail_client.errors import (
    AccessError,
    ConcurrencyError,
    CredentialsError,
    DailyLimitError,
    ForbiddenError,
    GmailError,
    NoMailboxError,
    NotFoundError,
    PreconditionError,
    RateLimitError,
    RequestError,
    UnavailableError,
)


def first(wire: FakeGmail, *answers: FakeResponse | BaseException) -> None:
    """Send these responses first, and successful ones afterwards."""
    left = list(answers)

    def handler(request: FakeRequest) -> FakeResponse:
        response = left.pop(0) if left else message_response(request)
        if isinstance(response, BaseException):
            raise response
        return response

    wire.handler = handler


@pytest.fixture
def api(client: GmailClient) -> GmailApi:
    return client.mailbox().api


def get(api: GmailApi) -> dict[str, Any]:
    return api.label("INBOX")


def test_a_request_accepts_gzip_and_carries_the_token(wire: FakeGmail, api: GmailApi) -> None:
    get(api)
    request = wire.requests[-1]
    assert request.url == f"{API}/gmail/v1/users/me/labels/INBOX?prettyPrint=false"
    assert request.headers["Authorization"] == "Bearer ya29.token-1"
    assert request.headers["Accept-Encoding"] == "gzip"
    assert "gzip" in request.headers["User-Agent"]


TRANSIENT: list[FakeResponse | BaseException] = [
    FakeResponse(500, {}),
    FakeResponse(503, raw=b"<html>"),
    error_response(408, "backendError"),
    error_response(403, "rateLimitExceeded"),
    error_response(403, "userRateLimitExceeded"),
    error_response(429, "rateLimitExceeded", "Too many concurrent requests for user."),
    error_response(429, "RESOURCE_EXHAUSTED"),
    FakeResponse(200, raw=b'{"id": "cut sho'),
    FakeResponse(200, raw=b""),
    FakeResponse(200, raw=b"[]"),
    FakeResponse(200, raw=b"<html>Sign in to the network</html>"),
    FakeResponse(302, raw=b"", headers={"Location": "https://login.test"}),
    requests.ConnectionError("reset"),
    requests.ReadTimeout("late"),
    requests.exceptions.ChunkedEncodingError("cut"),
    requests.exceptions.ContentDecodingError("gzip"),
    urllib3.exceptions.ProtocolError("broken"),
    ConnectionResetError(104, "reset"),
]


@pytest.mark.parametrize("trouble", TRANSIENT, ids=lambda trouble: repr(trouble)[:40])
def test_transient_errors_are_retried(
    wire: FakeGmail, clock: ManualClock, api: GmailApi, trouble: FakeResponse | BaseException
) -> None:
    first(wire, trouble, trouble)
    assert get(api)["id"] == "INBOX"
    assert len(wire.requests) == 1 + 3
    assert api.usage.snapshot().calls == {"labels.get": 3}
    assert api.usage.snapshot().units == {"labels.get": 1}


@pytest.mark.parametrize("trouble", TRANSIENT, ids=lambda trouble: repr(trouble)[:40])
def test_lasting_transient_errors_end_in_bounded_time(
    wire: FakeGmail, clock: ManualClock, api: GmailApi, trouble: FakeResponse | BaseException
) -> None:
    def handler(_: FakeRequest) -> FakeResponse:
        if isinstance(trouble, BaseException):
            raise trouble
        return trouble

    wire.handler = handler
    with pytest.raises((UnavailableError, RateLimitError, ConcurrencyError)) as caught:
        get(api)
    assert len(wire.requests) < 20
    assert sum(clock.slept) < 1_900
    error: BaseException | None = caught.value
    while error is not None:
        assert isinstance(error, GmailError)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (error_response(400, "invalidArgument"), RequestError),
        (error_response(403, "quotaExceeded"), DailyLimitError),
        (error_response(403, "forbidden"), ForbiddenError),
        (error_response(403, "accessNotConfigured"), AccessError),
        (error_response(404, "notFound"), NotFoundError),
    ],
)
def test_permanent_errors_fail_at_once(
    wire: FakeGmail, clock: ManualClock, api: GmailApi, response: FakeResponse, kind: type[GmailError]
) -> None:
    first(wire, response)
    with pytest.raises(kind):
        get(api)
    assert len(wire.gets) == 1
    assert clock.slept == []


def precondition_on(wire: FakeGmail, *paths: str, times: int = 1_000) -> None:
    """Refuse these calls `times` times; serve getProfile and the others."""
    left = dict.fromkeys(paths, times)

    def handler(request: FakeRequest) -> FakeResponse:
        if left.get(request.id, 0) > 0:
            left[request.id] -= 1
            return error_response(400, "failedPrecondition", "Precondition check failed.")
        if request.id == "messages":
            return FakeResponse(json={"resultSizeEstimate": 0})
        return FakeResponse(json={"id": request.id, "emailAddress": "ada@b.test", "historyId": "1"})

    wire.handler = handler


def test_a_transient_precondition_error_is_retried(
    wire: FakeGmail, clock: ManualClock, api: GmailApi
) -> None:
    precondition_on(wire, "messages", "profile", times=2)
    assert list(api.list_messages()) == [[]]
    assert api.profile()["emailAddress"] == "ada@b.test"
    assert len(wire.gets) == 6
    assert 0 < sum(clock.slept) < 4


def test_a_lasting_precondition_error_means_no_mailbox_only_if_getprofile_has_it_too(
    wire: FakeGmail, clock: ManualClock, api: GmailApi
) -> None:
    precondition_on(wire, "messages")
    with pytest.raises(PreconditionError, match=r"messages\.list: 400 failedPrecondition") as caught:
        list(api.list_messages())
    assert "transient" in caught.value.fix
    assert [request.id for request in wire.gets] == ["messages"] * 5 + ["profile"]
    precondition_on(wire, "messages", "profile")
    for ask in (lambda: list(api.list_messages()), api.profile):
        with pytest.raises(NoMailboxError) as gone:
            ask()
        assert "GMAIL_MAILBOXES" in gone.value.fix


def test_a_server_without_the_method_is_named(wire: FakeGmail, api: GmailApi) -> None:
    wire.handler = lambda _: error_response(404, "notFound", "Not found")
    with pytest.raises(NotFoundError, match=r"getProfile: 404") as caught:
        api.profile()
    assert "GMAIL_API_ROOT" in caught.value.fix


def test_it_waits_until_the_retry_time(wire: FakeGmail, clock: ManualClock, api: GmailApi) -> None:
    start = clock.now
    first(wire, error_response(403, "rateLimitExceeded", window_start_time=str(int(start) - 20)))
    get(api)
    assert 40 <= clock.now - start <= 42


def test_one_rate_limit_error_pauses_the_whole_mailbox(
    wire: FakeGmail, clock: ManualClock, client: GmailClient
) -> None:
    first(
        wire,
        error_response(403, "rateLimitExceeded", window_start_time=str(int(clock.now))),
        error_response(404, "notFound"),
    )
    with pytest.raises(NotFoundError):
        get(client.mailbox().api)
    assert clock.now - 1_800_000_000 >= 60


def test_the_limit_is_learned_from_an_error(wire: FakeGmail, clock: ManualClock, client: GmailClient) -> None:
    first(wire, error_response(403, "rateLimitExceeded", quota_limit="PerUser", quota_limit_value="15000"))
    get(client.mailbox().api)
    assert client.mailbox().api._transport._user_limiter.limit == 15_000
    assert client.project.limit == 1_200_000


def test_the_project_limit_is_learned_by_the_project(
    wire: FakeGmail, clock: ManualClock, client: GmailClient
) -> None:
    first(
        wire,
        error_response(403, "rateLimitExceeded", quota_unit="1/min/{project}", quota_limit_value="900000"),
    )
    get(client.mailbox().api)
    assert client.mailbox().api._transport._user_limiter.limit == 6_000
    assert client.project.limit == 900_000


def test_it_does_not_wait_for_a_day(wire: FakeGmail, clock: ManualClock, api: GmailApi) -> None:
    first(wire, FakeResponse(429, {"error": {"message": "no"}}, headers={"Retry-After": "86400"}))
    with pytest.raises(GmailError):
        get(api)
    assert clock.slept == []


def test_a_refused_token_is_renewed_once(wire: FakeGmail, clock: ManualClock, api: GmailApi) -> None:
    first(wire, error_response(401, "authError"))
    get(api)
    assert [request.token for request in wire.gets] == ["ya29.token-1", "ya29.token-2"]
    assert clock.slept == []


def test_a_renewed_token_that_is_refused_too_is_an_error(wire: FakeGmail, api: GmailApi) -> None:
    wire.handler = lambda _: error_response(401, "authError", "Invalid Credentials")
    with pytest.raises(CredentialsError, match="login"):
        get(api)
    assert len(wire.gets) == 2


def test_an_access_token_alone_is_not_renewed(wire: FakeGmail, clock: ManualClock) -> None:
    api = connect(wire, clock, credentials=Credentials.from_access_token("ya29.alone")).mailbox().api
    wire.handler = lambda _: error_response(401, "authError")
    with pytest.raises(CredentialsError, match="GMAIL_ACCESS_TOKEN"):
        get(api)
    assert len(wire.requests) == 1


def test_a_revoked_grant_ends_the_retries(wire: FakeGmail, api: GmailApi) -> None:
    wire.handler = lambda _: error_response(401, "authError")
    get_token = wire.token_handler
    wire.token_handler = lambda form: (
        get_token(form) if len(wire.token_requests) == 1 else FakeResponse(400, {"error": "invalid_grant"})
    )
    with pytest.raises(CredentialsError, match="revoked"):
        get(api)


def test_units_are_reserved_before_a_call_is_sent(wire: FakeGmail, clock: ManualClock, api: GmailApi) -> None:
    for _ in range(50):
        assert [answer.error for answer in api.get_many([api.message_call("1")])] == [None]
    assert clock.now - 1_800_000_000 >= 50 * 20 / 100 - 7
    assert api.usage.snapshot().waited == pytest.approx(clock.now - 1_800_000_000, abs=0.1)


def test_a_long_wait_is_reported(
    wire: FakeGmail, clock: ManualClock, api: GmailApi, caplog: pytest.LogCaptureFixture
) -> None:
    first(
        wire,
        FakeResponse(500, {}),
        error_response(403, "rateLimitExceeded", window_start_time=str(int(clock.now))),
    )
    get(api)
    assert [record.getMessage()[:8] for record in caplog.records] == ["Waiting "]
    assert "rateLimitExceeded" in caplog.text


def test_neither_token_nor_mail_is_logged(
    wire: FakeGmail, clock: ManualClock, api: GmailApi, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    first(
        wire,
        error_response(401, "authError"),
        FakeResponse(500, {}),
        FakeResponse(json={"id": "INBOX", "name": "dear diary"}),
    )
    get(api)
    list(api.get_many([api.message_call("1"), api.message_call("2")]))
    assert "ya29" not in caplog.text
    assert "s3cret" not in caplog.text
    assert "1//refresh" not in caplog.text
    assert "diary" not in caplog.text


def echo(request: FakeRequest) -> FakeResponse:
    """A 502 response that repeats the request."""
    return FakeResponse(403, {"error": {"message": f"Authorization: Bearer {request.token}"}})


@pytest.mark.parametrize("handler", [echo, lambda request: error_response(400, request.token, request.token)])
def test_errors_do_not_repeat_the_token(
    wire: FakeGmail, api: GmailApi, handler: Callable[[FakeRequest], FakeResponse]
) -> None:
    wire.handler = handler
    with pytest.raises(GmailError) as caught:
        get(api)
    assert "ya29" not in f"{caught.value} {caught.value!r} {caught.value.__dict__}"


SAID = st.sampled_from([trouble for trouble in TRANSIENT if isinstance(trouble, FakeResponse)]) | st.builds(
    FakeResponse, status=st.integers(100, 599), raw=st.binary(max_size=40)
)


@settings(deadline=None, max_examples=60)
@given(answers=st.lists(SAID, max_size=12))
def test_any_sequence_of_responses_ends_in_json_or_a_gmail_error(answers: list[FakeResponse]) -> None:
    wire, clock = FakeGmail(message_response), ManualClock()
    api = connect(wire, clock).mailbox().api
    first(wire, *answers)
    with contextlib.suppress(GmailError):
        assert isinstance(get(api), dict)
    assert sum(clock.slept) < 2_000
    assert api.usage.snapshot().total_calls == len(wire.gets)
