from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest
import requests
from support.batches import RATE_LIMITED, TOO_MANY_CONCURRENT, calls, connect_with_quota
from support.fake_gmail import (
    API,
    OAUTH,
    FakeGmail,
    FakeRequest,
    FakeResponse,
    ManualClock,
    error_response,
    message_response,
    multipart,
)

from gmail_client.api import ApiCall, GmailApi
from gmail_client.auth.credentials import Credentials
from gmail_client.client import GmailClient
from gmail_client.errors import (
    ResponseError,
)
from gmail_client.http import batch, transport
from gmail_client.http.body import read_body
from gmail_client.quota import preset


@pytest.mark.parametrize("count", [0, 1, 2, 19, 20, 21, 41, 500])
@pytest.mark.parametrize("ordered", [False, True])
def test_every_call_has_one_result(api: GmailApi, count: int, ordered: bool) -> None:
    requested = calls(api, count)
    results = list(api.get_many(requested, ordered=ordered))
    keys = [result.call.key for result in results]
    assert (
        keys == [call.key for call in requested]
        if ordered
        else sorted(keys) == sorted(c.key for c in requested)
    )
    assert all(result.json is not None and result.json["id"] == result.call.key for result in results)


def test_batches_have_twenty_calls_and_single_calls_are_sent_singly(wire: FakeGmail, api: GmailApi) -> None:
    list(api.get_many(calls(api, 41)))
    assert sorted(wire.batches) == [20, 20]
    assert sum(not request.batched for request in wire.gets) == 1
    assert api.usage.snapshot().requests == 3


def test_a_batch_fits_the_burst_of_the_quota(wire: FakeGmail, clock: ManualClock) -> None:
    api = connect_with_quota(wire, clock, preset("current")).mailbox().api
    list(api.get_many(api.thread_call(str(number)) for number in range(60)))
    assert max(wire.batches) * 40 <= 600
    poor = connect_with_quota(wire, clock, preset(300)).mailbox().api
    wire.batches.clear()
    list(poor.get_many(calls(poor, 5)))
    assert wire.batches == []


def test_parts_may_arrive_in_any_order(wire: FakeGmail, api: GmailApi) -> None:
    wire.order = lambda parts: parts[::-1]
    assert all(
        result.json and result.json["id"] == result.call.key for result in api.get_many(calls(api, 50))
    )


def test_missing_parts_are_sent_again(wire: FakeGmail, api: GmailApi) -> None:
    wire.order = lambda parts: parts[: max(1, len(parts) // 2)]
    results = list(api.get_many(calls(api, 40)))
    assert all(result.json is not None for result in results)
    assert len(results) == 40


@pytest.mark.parametrize(
    "response", [RATE_LIMITED, TOO_MANY_CONCURRENT, FakeResponse(503, {}), FakeResponse(200, raw=b'{"cut')]
)
def test_only_refused_parts_are_sent_again(
    wire: FakeGmail, clock: ManualClock, api: GmailApi, response: FakeResponse
) -> None:
    seen: set[str] = set()

    def handler(request: FakeRequest) -> FakeResponse:
        if int(request.id, 16) % 5 == 0 and request.id not in seen:
            seen.add(request.id)
            return response
        return message_response(request)

    wire.handler = handler
    results = list(api.get_many(calls(api, 40)))
    assert all(result.json is not None for result in results)
    assert len(wire.gets) == 40 + 8
    assert api.usage.snapshot().calls == {"messages.get": 48}
    assert api.usage.snapshot().units == {"messages.get": 40 * 20}


def test_parts_with_an_expired_token_are_retried_with_a_new_one(
    wire: FakeGmail, clock: ManualClock, api: GmailApi
) -> None:
    wire.handler = lambda request: (
        error_response(401, "authError") if request.token == "ya29.token-1" else message_response(request)
    )
    assert all(result.json for result in api.get_many(calls(api, 100)))
    assert len(wire.token_requests) == 2
    assert clock.slept == []


def test_a_batch_with_an_expired_token_is_retried_with_a_new_one(
    wire: FakeGmail, clock: ManualClock, api: GmailApi
) -> None:
    responses = [error_response(401, "authError")]

    def batch() -> FakeResponse:
        wire.batch_handler = None
        return responses.pop()

    wire.batch_handler = batch
    assert all(result.json for result in api.get_many(calls(api, 10)))
    assert [request.token for request in wire.gets] == ["ya29.token-2"] * 10


def test_a_rate_limited_batch_is_retried_after_the_wait(
    wire: FakeGmail, clock: ManualClock, api: GmailApi
) -> None:
    def batch() -> FakeResponse:
        wire.batch_handler = None
        return error_response(403, "rateLimitExceeded", window_start_time=str(int(clock.now)))

    wire.batch_handler = batch
    assert all(result.json for result in api.get_many(calls(api, 10)))
    assert clock.now - 1_800_000_000 >= 60
    assert wire.batches == [10, 10]


@pytest.mark.parametrize(
    "response",
    [
        FakeResponse(503, {}),
        FakeResponse(503, raw=b"Service Unavailable"),
        FakeResponse(404, raw=b"<html>"),
        error_response(404, "notFound"),
        error_response(400, "badRequest"),
        error_response(403, "forbidden"),
        FakeResponse(200, {}),
        FakeResponse(200, raw=b"<html>", headers={"Content-Type": "text/html"}),
        FakeResponse(200, raw=b"--x\r\n", headers={"Content-Type": "multipart/mixed; boundary=x"}),
        multipart([("nobody", FakeResponse(json={}))]),
        requests.ConnectionError("reset"),
        requests.ReadTimeout("late"),
    ],
    ids=lambda response: repr(response)[:40],
)
def test_when_batches_fail_calls_are_sent_singly_at_once(
    wire: FakeGmail, clock: ManualClock, api: GmailApi, response: FakeResponse | Exception
) -> None:
    wire.batch_handler = lambda: response
    results = list(api.get_many(calls(api, 300)))
    assert all(result.json is not None for result in results)
    assert len(wire.gets) == 300
    assert len(wire.batches) == 1
    assert clock.slept == []


def test_one_batch_probes_the_batch_endpoint(wire: FakeGmail, api: GmailApi) -> None:
    """Calls whose responses can't be matched are paid twice, so the second batch waits for the first response."""
    wire.order = lambda parts: [(f"other-{name}", response) for name, response in parts]
    results = list(api.get_many(calls(api, 300)))
    assert all(result.json is not None for result in results)
    assert wire.batches == [20]
    assert len(wire.gets) == 300 + 20


def test_a_rate_limited_probe_does_not_disable_batches(
    wire: FakeGmail, clock: ManualClock, api: GmailApi
) -> None:
    responses: list[FakeResponse] = [
        error_response(403, "rateLimitExceeded"),
        error_response(401, "authError"),
    ]

    def batch() -> FakeResponse:
        if len(responses) == 1:
            wire.batch_handler = None
        return responses.pop()

    wire.batch_handler = batch
    assert all(result.json is not None for result in api.get_many(calls(api, 200)))
    assert all(request.batched for request in wire.gets)


def test_calls_of_a_too_large_batch_are_sent_singly_and_batches_continue(
    wire: FakeGmail, api: GmailApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "read_body", lambda response, method: read_body(response, method, 20_000))
    wire.handler = lambda request: FakeResponse(
        json={"id": request.id, "snippet": "x" * (15_000 if request.id in ("7", "8") else 1)}
    )
    results = {result.call.key: result for result in api.get_many(calls(api, 60))}
    assert [key for key, result in results.items() if result.error is not None] == []
    assert sum(not request.batched for request in wire.gets) == 20
    wire.handler = lambda request: FakeResponse(
        json={"id": request.id, "snippet": "x" * (20_000 if request.id == "7" else 1)}
    )
    results = {result.call.key: result for result in api.get_many(calls(api, 60))}
    assert {key for key, result in results.items() if isinstance(result.error, ResponseError)} == {"7"}


@pytest.mark.parametrize("count", [20, 2_000])
def test_a_stop_ends_the_read_without_losing_what_was_sent(
    wire: FakeGmail, api: GmailApi, count: int
) -> None:
    stop = threading.Event()

    def handler(request: FakeRequest) -> FakeResponse:
        if request.id == "b":
            stop.set()
        return message_response(request)

    wire.handler = handler
    results = [result.call.key for result in api.get_many(calls(api, count), stop=stop)]
    assert sorted(results) == sorted(request.id for request in wire.gets)
    assert len(results) == 20 or count > 20
    assert len(results) < 2_000
    assert list(api.get_many(calls(api, count), stop=stop)) == []


def test_progress_of_a_batch_resets_its_retries(wire: FakeGmail, api: GmailApi) -> None:
    served: set[int] = set()

    def handler(request: FakeRequest) -> FakeResponse:
        if request.batched and len(wire.batches) in served:
            return FakeResponse(503, {})
        served.add(len(wire.batches))
        return message_response(request)

    wire.handler = handler
    assert all(result.json is not None for result in api.get_many(calls(api, 20)))
    assert len(wire.batches) == 19


def test_parallel_batch_failures_count_once(clock: ManualClock) -> None:
    endpoint = batch._BatchEndpoint(clock)
    assert endpoint.begin(None)
    endpoint.worked()
    endpoint.end()
    for _ in range(4):
        endpoint.failed()
    assert not endpoint.begin(None)
    clock.now += 15
    assert endpoint.begin(None)
    endpoint.failed()
    endpoint.end()
    clock.now += 15
    assert not endpoint.begin(None)
    clock.now += 15
    assert endpoint.begin(None)
    # A successful batch resets the count.
    endpoint.worked()
    endpoint.end()
    endpoint.failed()
    clock.now += 15
    assert endpoint.begin(None)


def test_a_failed_batch_endpoint_is_probed_with_growing_intervals(
    wire: FakeGmail, clock: ManualClock, api: GmailApi
) -> None:
    wire.batch_handler = lambda: FakeResponse(503, {})
    tried: list[int] = []
    for _ in range(200):
        clock.now += 60
        list(api.get_many(calls(api, 2)))
        tried.append(len(wire.batches))
    assert tried[0] == 1
    assert 5 < tried[-1] < 20
    wire.batch_handler = None
    clock.now += 3_600
    wire.gets.clear()
    list(api.get_many(calls(api, 2)))
    assert all(request.batched for request in wire.gets)


def test_batches_shrink_at_the_concurrency_limit_and_grow_back(
    wire: FakeGmail, clock: ManualClock, api: GmailApi
) -> None:
    wall = 8
    wire.order = lambda parts: [
        (name, TOO_MANY_CONCURRENT if place >= wall else response)
        for place, (name, response) in enumerate(parts)
    ]
    results = list(api.get_many(calls(api, 300)))
    assert all(result.json is not None for result in results)
    assert max(wire.batches[len(wire.batches) // 2 :]) < 2 * wall
    wire.order = lambda parts: parts
    list(api.get_many(calls(api, 2_000)))
    assert max(wire.batches[-10:]) == 20


def test_a_low_concurrency_limit_loses_no_message(wire: FakeGmail, api: GmailApi) -> None:
    wire.order = lambda parts: [
        (name, TOO_MANY_CONCURRENT if place else response) for place, (name, response) in enumerate(parts)
    ]
    results = list(api.get_many(calls(api, 300)))
    assert all(result.json is not None for result in results)


def test_forty_parts_and_no_more_are_in_flight(wire: FakeGmail, clock: ManualClock) -> None:
    inside, most = 0, 0
    lock, two_batches = threading.Lock(), threading.Event()

    def order(parts: list[tuple[str, FakeResponse]]) -> list[tuple[str, FakeResponse]]:
        nonlocal inside, most
        with lock:
            inside += len(parts)
            most = max(most, inside)
            if inside > 20:
                two_batches.set()
        two_batches.wait(1)
        with lock:
            inside -= len(parts)
        return parts

    wire.order = order
    api = connect_with_quota(wire, clock).mailbox().api
    list(api.get_many(calls(api, 400)))
    assert most == 40


def test_calls_are_consumed_lazily_in_the_callers_thread(wire: FakeGmail, api: GmailApi) -> None:
    pulled = 0

    def endless() -> Iterator[ApiCall]:
        nonlocal pulled
        for number in itertools.count():
            assert threading.current_thread() is threading.main_thread()
            pulled += 1
            yield api.message_call(str(number))

    stream = api.get_many(endless())
    assert pulled == 0
    for _ in range(30):
        next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert pulled <= 300


def test_large_messages_reduce_the_calls_in_flight(wire: FakeGmail, api: GmailApi) -> None:
    wire.handler = lambda request: FakeResponse(json={"id": request.id, "data": "x" * 400_000})
    pulled = 0

    def endless() -> Iterator[ApiCall]:
        nonlocal pulled
        for number in itertools.count():
            pulled += 1
            yield api.message_call(str(number))

    stream = api.get_many(endless())
    for taken, _ in enumerate(stream, start=1):
        if taken > 150:
            assert pulled - taken <= 120
        if taken == 180:
            break
    stream.close()  # type: ignore[attr-defined]
    assert min(wire.batches[-4:]) <= 12


def test_closing_early_ends_threads_that_wait_for_quota(wire: FakeGmail) -> None:
    api = (
        GmailClient(
            Credentials.from_access_token("ya29.alone"), api_root=API, oauth_root=OAUTH, session=wire.session
        )
        .mailbox()
        .api
    )
    stream = api.get_many(calls(api, 10_000))
    next(stream)
    assert [thread for thread in threading.enumerate() if thread.name.startswith("gmail-")]
    stream.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gmail-")]
    assert len(wire.gets) < 100
