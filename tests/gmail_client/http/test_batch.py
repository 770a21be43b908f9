from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest
import requests
from support.batches import CONCURRENT, SPENT, calls, plentiful
from support.wire import API, OAUTH, Asked, ManualClock, Said, Wire, message, multipart, refused

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
    asked = calls(api, count)
    answers = list(api.get_many(asked, ordered=ordered))
    keys = [answer.call.key for answer in answers]
    assert keys == [call.key for call in asked] if ordered else sorted(keys) == sorted(c.key for c in asked)
    assert all(answer.json is not None and answer.json["id"] == answer.call.key for answer in answers)


def test_batches_have_twenty_calls_and_single_calls_are_sent_singly(wire: Wire, api: GmailApi) -> None:
    list(api.get_many(calls(api, 41)))
    assert sorted(wire.batches) == [20, 20]
    assert sum(not asked.batched for asked in wire.asked) == 1
    assert api.usage.snapshot().requests == 3


def test_a_batch_fits_the_burst_of_the_quota(wire: Wire, clock: ManualClock) -> None:
    api = plentiful(wire, clock, preset("current")).mailbox().api
    list(api.get_many(api.thread_call(str(number)) for number in range(60)))
    assert max(wire.batches) * 40 <= 600
    poor = plentiful(wire, clock, preset(300)).mailbox().api
    wire.batches.clear()
    list(poor.get_many(calls(poor, 5)))
    assert wire.batches == []


def test_parts_may_arrive_in_any_order(wire: Wire, api: GmailApi) -> None:
    wire.order = lambda parts: parts[::-1]
    assert all(
        answer.json and answer.json["id"] == answer.call.key for answer in api.get_many(calls(api, 50))
    )


def test_missing_parts_are_sent_again(wire: Wire, api: GmailApi) -> None:
    wire.order = lambda parts: parts[: max(1, len(parts) // 2)]
    answers = list(api.get_many(calls(api, 40)))
    assert all(answer.json is not None for answer in answers)
    assert len(answers) == 40


@pytest.mark.parametrize("said", [SPENT, CONCURRENT, Said(503, {}), Said(200, raw=b'{"cut')])
def test_only_refused_parts_are_sent_again(wire: Wire, clock: ManualClock, api: GmailApi, said: Said) -> None:
    seen: set[str] = set()

    def answer(asked: Asked) -> Said:
        if int(asked.id, 16) % 5 == 0 and asked.id not in seen:
            seen.add(asked.id)
            return said
        return message(asked)

    wire.answer = answer
    answers = list(api.get_many(calls(api, 40)))
    assert all(answer.json is not None for answer in answers)
    assert len(wire.asked) == 40 + 8
    assert api.usage.snapshot().calls == {"messages.get": 48}
    assert api.usage.snapshot().units == {"messages.get": 40 * 20}


def test_parts_with_an_expired_token_are_retried_with_a_new_one(
    wire: Wire, clock: ManualClock, api: GmailApi
) -> None:
    wire.answer = lambda asked: refused(401, "authError") if asked.token == "ya29.token-1" else message(asked)
    assert all(answer.json for answer in api.get_many(calls(api, 100)))
    assert len(wire.token_requests) == 2
    assert clock.slept == []


def test_a_batch_with_an_expired_token_is_retried_with_a_new_one(
    wire: Wire, clock: ManualClock, api: GmailApi
) -> None:
    answers = [refused(401, "authError")]

    def batch() -> Said:
        wire.batch_answer = None
        return answers.pop()

    wire.batch_answer = batch
    assert all(answer.json for answer in api.get_many(calls(api, 10)))
    assert [asked.token for asked in wire.asked] == ["ya29.token-2"] * 10


def test_a_rate_limited_batch_is_retried_after_the_wait(
    wire: Wire, clock: ManualClock, api: GmailApi
) -> None:
    def batch() -> Said:
        wire.batch_answer = None
        return refused(403, "rateLimitExceeded", window_start_time=str(int(clock.now)))

    wire.batch_answer = batch
    assert all(answer.json for answer in api.get_many(calls(api, 10)))
    assert clock.now - 1_800_000_000 >= 60
    assert wire.batches == [10, 10]


@pytest.mark.parametrize(
    "said",
    [
        Said(503, {}),
        Said(503, raw=b"Service Unavailable"),
        Said(404, raw=b"<html>"),
        refused(404, "notFound"),
        refused(400, "badRequest"),
        refused(403, "forbidden"),
        Said(200, {}),
        Said(200, raw=b"<html>", headers={"Content-Type": "text/html"}),
        Said(200, raw=b"--x\r\n", headers={"Content-Type": "multipart/mixed; boundary=x"}),
        multipart([("nobody", Said(json={}))]),
        requests.ConnectionError("reset"),
        requests.ReadTimeout("late"),
    ],
    ids=lambda said: repr(said)[:40],
)
def test_when_batches_fail_calls_are_sent_singly_at_once(
    wire: Wire, clock: ManualClock, api: GmailApi, said: Said | Exception
) -> None:
    wire.batch_answer = lambda: said
    answers = list(api.get_many(calls(api, 300)))
    assert all(answer.json is not None for answer in answers)
    assert len(wire.asked) == 300
    assert len(wire.batches) == 1
    assert clock.slept == []


def test_one_batch_probes_the_batch_endpoint(wire: Wire, api: GmailApi) -> None:
    """Calls of a batch that can't be matched are paid twice, so no second one is sent before the first is back."""
    wire.order = lambda parts: [(f"other-{name}", said) for name, said in parts]
    results = list(api.get_many(calls(api, 300)))
    assert all(result.json is not None for result in results)
    assert wire.batches == [20]
    assert len(wire.asked) == 300 + 20


def test_a_rate_limited_probe_does_not_disable_batches(wire: Wire, clock: ManualClock, api: GmailApi) -> None:
    answers: list[Said] = [refused(403, "rateLimitExceeded"), refused(401, "authError")]

    def batch() -> Said:
        if len(answers) == 1:
            wire.batch_answer = None
        return answers.pop()

    wire.batch_answer = batch
    assert all(result.json is not None for result in api.get_many(calls(api, 200)))
    assert all(asked.batched for asked in wire.asked)


def test_calls_of_a_too_large_batch_are_sent_singly_and_batches_continue(
    wire: Wire, api: GmailApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "read_body", lambda response, method: read_body(response, method, 20_000))
    wire.answer = lambda asked: Said(
        json={"id": asked.id, "snippet": "x" * (15_000 if asked.id in ("7", "8") else 1)}
    )
    results = {result.call.key: result for result in api.get_many(calls(api, 60))}
    assert [key for key, result in results.items() if result.error is not None] == []
    assert sum(not asked.batched for asked in wire.asked) == 20
    wire.answer = lambda asked: Said(
        json={"id": asked.id, "snippet": "x" * (20_000 if asked.id == "7" else 1)}
    )
    results = {result.call.key: result for result in api.get_many(calls(api, 60))}
    assert {key for key, result in results.items() if isinstance(result.error, ResponseError)} == {"7"}


@pytest.mark.parametrize("count", [20, 2_000])
def test_a_stop_ends_the_read_without_losing_what_was_sent(wire: Wire, api: GmailApi, count: int) -> None:
    stop = threading.Event()

    def answer(asked: Asked) -> Said:
        if asked.id == "b":
            stop.set()
        return message(asked)

    wire.answer = answer
    results = [result.call.key for result in api.get_many(calls(api, count), stop=stop)]
    assert sorted(results) == sorted(asked.id for asked in wire.asked)
    assert len(results) == 20 or count > 20
    assert len(results) < 2_000
    assert list(api.get_many(calls(api, count), stop=stop)) == []


def test_progress_of_a_batch_resets_its_retries(wire: Wire, api: GmailApi) -> None:
    served: set[int] = set()

    def answer(asked: Asked) -> Said:
        if asked.batched and len(wire.batches) in served:
            return Said(503, {})
        served.add(len(wire.batches))
        return message(asked)

    wire.answer = answer
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
    # One that works starts over.
    endpoint.worked()
    endpoint.end()
    endpoint.failed()
    clock.now += 15
    assert endpoint.begin(None)


def test_a_failed_batch_endpoint_is_probed_with_growing_intervals(
    wire: Wire, clock: ManualClock, api: GmailApi
) -> None:
    wire.batch_answer = lambda: Said(503, {})
    tried: list[int] = []
    for _ in range(200):
        clock.now += 60
        list(api.get_many(calls(api, 2)))
        tried.append(len(wire.batches))
    assert tried[0] == 1
    assert 5 < tried[-1] < 20
    wire.batch_answer = None
    clock.now += 3_600
    wire.asked.clear()
    list(api.get_many(calls(api, 2)))
    assert all(asked.batched for asked in wire.asked)


def test_batches_shrink_at_the_concurrency_limit_and_grow_back(
    wire: Wire, clock: ManualClock, api: GmailApi
) -> None:
    wall = 8
    wire.order = lambda parts: [
        (name, CONCURRENT if place >= wall else said) for place, (name, said) in enumerate(parts)
    ]
    answers = list(api.get_many(calls(api, 300)))
    assert all(answer.json is not None for answer in answers)
    assert max(wire.batches[len(wire.batches) // 2 :]) < 2 * wall
    wire.order = lambda parts: parts
    list(api.get_many(calls(api, 2_000)))
    assert max(wire.batches[-10:]) == 20


def test_a_low_concurrency_limit_loses_no_message(wire: Wire, api: GmailApi) -> None:
    wire.order = lambda parts: [
        (name, CONCURRENT if place else said) for place, (name, said) in enumerate(parts)
    ]
    answers = list(api.get_many(calls(api, 300)))
    assert all(answer.json is not None for answer in answers)


def test_at_most_forty_parts_are_in_flight(wire: Wire, clock: ManualClock) -> None:
    inside, most = 0, 0
    lock = threading.Lock()

    def order(parts: list[tuple[str, Said]]) -> list[tuple[str, Said]]:
        nonlocal inside, most
        with lock:
            inside += len(parts)
            most = max(most, inside)
        time.sleep(0.005)
        with lock:
            inside -= len(parts)
        return parts

    wire.order = order
    api = plentiful(wire, clock).mailbox().api
    list(api.get_many(calls(api, 400)))
    assert 20 <= most <= 40


def test_calls_are_consumed_lazily_in_the_callers_thread(wire: Wire, api: GmailApi) -> None:
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


def test_large_messages_reduce_the_calls_in_flight(wire: Wire, api: GmailApi) -> None:
    wire.answer = lambda asked: Said(json={"id": asked.id, "data": "x" * 400_000})
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


def test_closing_early_ends_threads_that_wait_for_quota(wire: Wire) -> None:
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
    assert len(wire.asked) < 100
