"""Errors of single calls in a batch, errors that end the read, and what is counted as an outage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.batches import AMPLE_QUOTA, calls
from support.fake_gmail import (
    FakeGmail,
    FakeRequest,
    FakeResponse,
    ManualClock,
    connect,
    error_response,
    message_response,
)

from gmail_client.api import ApiCall, GmailApi
from gmail_client.auth.credentials import Credentials
from gmail_client.errors import (
    ApiDisabledError,
    CredentialsError,
    DailyLimitError,
    ForbiddenError,
    GmailError,
    IncompleteReadError,
    NotFoundError,
    PreconditionError,
    RateLimitError,
    RequestError,
    ResponseError,
    UnavailableError,
)
from gmail_client.http.worker_pool import WorkerPool


def test_a_deleted_message_is_a_result_with_an_error(
    wire: FakeGmail, clock: ManualClock, api: GmailApi
) -> None:
    wire.handler = lambda request: (
        error_response(404, "notFound", "Requested entity was not found.")
        if request.id == "7"
        else message_response(request)
    )
    results = {result.call.key: result for result in api.get_many(calls(api, 30))}
    assert isinstance(results["7"].error, NotFoundError)
    assert results["7"].json is None
    assert sum(result.error is not None for result in results.values()) == 1
    assert clock.slept == []


def test_a_malformed_call_is_a_result_with_an_error(wire: FakeGmail, api: GmailApi) -> None:
    wire.handler = lambda request: (
        error_response(400, "invalidArgument") if request.id == "7" else message_response(request)
    )
    results = {result.call.key: result for result in api.get_many(calls(api, 30))}
    assert isinstance(results["7"].error, RequestError)


@pytest.mark.parametrize(
    "response", [FakeResponse(500, {}), FakeResponse(200, raw=b"{"), FakeResponse(200, raw=b"")]
)
def test_an_unavailable_message_does_not_stop_the_others(
    wire: FakeGmail, api: GmailApi, response: FakeResponse
) -> None:
    wire.handler = lambda request: response if request.id in ("7", "19") else message_response(request)
    results = {result.call.key: result for result in api.get_many(calls(api, 60))}
    failed = {key for key, result in results.items() if result.error is not None}
    assert failed == {"7", "19"}
    assert isinstance(results["7"].error, UnavailableError)


@pytest.mark.parametrize("batch", [True, False])
def test_an_unreachable_gmail_ends_the_read(
    wire: FakeGmail, clock: ManualClock, api: GmailApi, batch: bool
) -> None:
    if not batch:
        wire.batch_handler = lambda: FakeResponse(503, {})
    wire.handler = lambda _: FakeResponse(503, {})
    with pytest.raises(UnavailableError):
        list(api.get_many(calls(api, 200)))
    assert len(wire.gets) < 2_000


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (error_response(403, "dailyLimitExceeded"), DailyLimitError),
        (error_response(403, "accessNotConfigured"), ApiDisabledError),
        (error_response(401, "authError"), CredentialsError),
    ],
)
def test_errors_of_the_whole_mailbox_are_raised(
    wire: FakeGmail, clock: ManualClock, api: GmailApi, response: FakeResponse, kind: type[GmailError]
) -> None:
    wire.handler = lambda request: response if int(request.id, 16) > 50 else message_response(request)
    with pytest.raises(kind):
        list(api.get_many(calls(api, 200)))
    assert clock.slept == []


def test_a_revoked_access_token_is_raised(wire: FakeGmail, clock: ManualClock) -> None:
    credentials = Credentials.from_access_token("ya29.alone")
    api = connect(wire, clock, credentials=credentials, quota=AMPLE_QUOTA).mailbox().api
    wire.handler = lambda _: error_response(401, "authError")
    with pytest.raises(CredentialsError, match="GMAIL_ACCESS_TOKEN"):
        list(api.get_many(calls(api, 100)))


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (error_response(403, "forbidden"), ForbiddenError),
        (error_response(400, "invalidArgument", "Invalid id value"), RequestError),
        (FakeResponse(json={}), ResponseError),
        (FakeResponse(json={"id": "other"}), ResponseError),
        (FakeResponse(json={"id": "7", "labelIds": 7}), ResponseError),
        (FakeResponse(raw=b'{"id": ' + b"[" * 100_000), ResponseError),
    ],
    ids=lambda value: repr(value)[:40],
)
@pytest.mark.parametrize("batched", [True, False])
def test_an_error_of_one_message_does_not_affect_others(
    wire: FakeGmail,
    clock: ManualClock,
    api: GmailApi,
    response: FakeResponse,
    kind: type[GmailError],
    batched: bool,
) -> None:
    if not batched:
        wire.batch_handler = lambda: FakeResponse(503, {})
    wire.handler = lambda request: response if request.id in ("7", "19") else message_response(request)
    results = {result.call.key: result for result in api.get_many(calls(api, 60))}
    assert {key for key, result in results.items() if isinstance(result.error, kind)} == {"7", "19"}
    assert sum(result.error is None for result in results.values()) == 58
    assert clock.slept == []


@pytest.mark.parametrize(
    "response",
    [error_response(403, "forbidden"), FakeResponse(json={}), error_response(400, "invalidArgument")],
)
def test_an_error_of_all_messages_is_raised_early(
    wire: FakeGmail, api: GmailApi, response: FakeResponse
) -> None:
    wire.handler = lambda _: response
    with pytest.raises((ForbiddenError, ResponseError, RequestError)):
        list(api.get_many(calls(api, 1_000)))
    assert len(wire.gets) <= 400
    few = list(api.get_many(calls(api, 50)))
    assert all(result.error is not None for result in few)


def test_errors_after_a_success_belong_to_their_messages(wire: FakeGmail, api: GmailApi) -> None:
    wire.handler = lambda request: (
        message_response(request) if request.id == "0" else error_response(403, "forbidden")
    )
    results = list(api.get_many(calls(api, 500)))
    assert sum(result.error is None for result in results) == 1


@pytest.mark.parametrize(
    "response",
    [
        error_response(403, "forbidden"),
        error_response(400, "invalidArgument"),
        FakeResponse(json={}),
        FakeResponse(503, {}),
    ],
)
def test_retried_calls_do_not_count_as_an_outage(
    wire: FakeGmail, api: GmailApi, response: FakeResponse
) -> None:
    retried = [replace(call, retried=True) for call in calls(api, 150)]
    wire.handler = lambda request: response if int(request.id, 16) < 150 else message_response(request)
    results = list(api.get_many([*retried, api.message_call("fff")]))
    assert [result.call.key for result in results if result.error is None] == ["fff"]
    assert len(results) == 151
    # Failures of other calls still count, with retried calls between them.
    wire.handler = lambda _: response
    between = [call for pair in zip(retried, calls(api, 150), strict=True) for call in pair]
    with pytest.raises((ForbiddenError, ResponseError, RequestError, UnavailableError)):
        list(api.get_many(between))


@pytest.mark.parametrize("count", [20, 200])
def test_results_before_an_error_are_yielded_first(wire: FakeGmail, api: GmailApi, count: int) -> None:
    wire.handler = lambda request: (
        error_response(403, "dailyLimitExceeded") if request.id in ("7", "97") else message_response(request)
    )
    results = []
    with pytest.raises(DailyLimitError):
        results.extend(result.call.key for result in api.get_many(calls(api, count)))
    served = {request.id for request in wire.gets} - {"7", "97"}
    assert set(results) == served
    assert len(results) == len(served) >= 19


PRECONDITION = error_response(400, "failedPrecondition", "Precondition check failed.")


def test_precondition_errors_are_retried_and_then_fail_their_message(
    wire: FakeGmail, clock: ManualClock, api: GmailApi
) -> None:
    seen: Counter[str] = Counter()

    def handler(request: FakeRequest) -> FakeResponse:
        seen[request.id] += 1
        if request.id == "profile":
            return FakeResponse(json={"emailAddress": "ada@b.test", "historyId": "1"})
        return PRECONDITION if request.id == "7" or seen[request.id] == 1 else message_response(request)

    wire.handler = handler
    results = {result.call.key: result for result in api.get_many(calls(api, 60))}
    assert {key for key, result in results.items() if result.error is not None} == {"7"}
    assert isinstance(results["7"].error, PreconditionError)
    assert seen["7"] < 12
    assert api.usage.snapshot().units["messages.get"] == 59 * 20


def test_only_consecutive_unavailable_calls_count_as_an_outage(wire: FakeGmail, clock: ManualClock) -> None:
    api = connect(wire, clock, quota=AMPLE_QUOTA, workers=1).mailbox().api
    broken = {f"{number:x}" for number in (*range(4), *range(20, 24), *range(40, 44))}
    wire.handler = lambda request: (
        FakeResponse(503, {}) if request.id in broken else message_response(request)
    )
    results = list(api.get_many(calls(api, 60)))
    assert {result.call.key for result in results if result.error is not None} == broken


def test_an_error_of_the_calls_iterator_is_raised(api: GmailApi) -> None:
    def broken() -> Iterator[ApiCall]:
        yield from calls(api, 100)
        raise RateLimitError("the listing behind it failed")

    with pytest.raises(RateLimitError, match="listing"):
        list(api.get_many(broken()))


def test_fewer_results_than_calls_is_an_error(
    wire: FakeGmail, api: GmailApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = WorkerPool.next_results
    monkeypatch.setattr(WorkerPool, "next_results", lambda self, ordered: take(self, ordered=ordered)[:-1])
    with pytest.raises(IncompleteReadError, match="results of"):
        list(api.get_many(calls(api, 60)))
