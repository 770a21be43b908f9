from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from support.lives import lives
from support.wire import API, OAUTH, Asked, ManualClock, Said, Wire, connect, message, multipart, refused

from gmail_client.api import ApiCall, GmailApi
from gmail_client.auth.credentials import Credentials
from gmail_client.client import GmailClient
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
from gmail_client.http import batch, transport
from gmail_client.http.body import read_body
from gmail_client.http.worker_pool import WorkerPool
from gmail_client.quota import QuotaPlan, preset

CONCURRENT = refused(429, "rateLimitExceeded", "Too many concurrent requests for user.")
SPENT = refused(403, "rateLimitExceeded")
PLENTY = preset(1_200_000)


@pytest.fixture
def api(wire: Wire, clock: ManualClock) -> GmailApi:
    return plentiful(wire, clock).mailbox().api


def plentiful(wire: Wire, clock: ManualClock, quota: QuotaPlan = PLENTY) -> GmailClient:
    return connect(wire, clock, quota=quota)


def calls(api: GmailApi, count: int) -> list[ApiCall]:
    return [api.message_call(f"{number:x}") for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, 19, 20, 21, 41, 500])
@pytest.mark.parametrize("ordered", [False, True])
def test_every_call_is_answered_once(api: GmailApi, count: int, ordered: bool) -> None:
    asked = calls(api, count)
    answers = list(api.get_many(asked, ordered=ordered))
    keys = [answer.call.key for answer in answers]
    assert keys == [call.key for call in asked] if ordered else sorted(keys) == sorted(c.key for c in asked)
    assert all(answer.json is not None and answer.json["id"] == answer.call.key for answer in answers)


def test_batches_are_of_twenty_and_lonely_calls_go_alone(wire: Wire, api: GmailApi) -> None:
    list(api.get_many(calls(api, 41)))
    assert sorted(wire.batches) == [20, 20]
    assert sum(not asked.batched for asked in wire.asked) == 1
    assert api.usage.snapshot().requests == 3


def test_a_batch_never_asks_for_more_units_than_may_go_out_at_once(wire: Wire, clock: ManualClock) -> None:
    api = plentiful(wire, clock, preset("current")).mailbox().api
    list(api.get_many(api.thread_call(str(number)) for number in range(60)))
    assert max(wire.batches) * 40 <= 600
    poor = plentiful(wire, clock, preset(300)).mailbox().api
    wire.batches.clear()
    list(poor.get_many(calls(poor, 5)))
    assert wire.batches == []


def test_parts_may_come_in_any_order(wire: Wire, api: GmailApi) -> None:
    wire.order = lambda parts: parts[::-1]
    assert all(
        answer.json and answer.json["id"] == answer.call.key for answer in api.get_many(calls(api, 50))
    )


def test_parts_left_out_are_sent_again(wire: Wire, api: GmailApi) -> None:
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


def test_a_deleted_message_is_an_answer_with_an_error(wire: Wire, clock: ManualClock, api: GmailApi) -> None:
    wire.answer = lambda asked: (
        refused(404, "notFound", "Requested entity was not found.") if asked.id == "7" else message(asked)
    )
    answers = {answer.call.key: answer for answer in api.get_many(calls(api, 30))}
    assert isinstance(answers["7"].error, NotFoundError)
    assert answers["7"].json is None
    assert sum(answer.error is not None for answer in answers.values()) == 1
    assert clock.slept == []


def test_a_malformed_call_is_an_answer_with_an_error(wire: Wire, api: GmailApi) -> None:
    wire.answer = lambda asked: refused(400, "invalidArgument") if asked.id == "7" else message(asked)
    answers = {answer.call.key: answer for answer in api.get_many(calls(api, 30))}
    assert isinstance(answers["7"].error, RequestError)


@pytest.mark.parametrize("said", [Said(500, {}), Said(200, raw=b"{"), Said(200, raw=b"")])
def test_a_message_that_gmail_cannot_serve_holds_nobody_up(wire: Wire, api: GmailApi, said: Said) -> None:
    wire.answer = lambda asked: said if asked.id in ("7", "19") else message(asked)
    answers = {answer.call.key: answer for answer in api.get_many(calls(api, 60))}
    failed = {key for key, answer in answers.items() if answer.error is not None}
    assert failed == {"7", "19"}
    assert isinstance(answers["7"].error, UnavailableError)


@pytest.mark.parametrize("batch", [True, False])
def test_gmail_out_of_reach_is_an_error_for_all(
    wire: Wire, clock: ManualClock, api: GmailApi, batch: bool
) -> None:
    if not batch:
        wire.batch_answer = lambda: Said(503, {})
    wire.answer = lambda _: Said(503, {})
    with pytest.raises(UnavailableError):
        list(api.get_many(calls(api, 200)))
    assert len(wire.asked) < 2_000


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (refused(403, "dailyLimitExceeded"), DailyLimitError),
        (refused(403, "accessNotConfigured"), ApiDisabledError),
        (refused(401, "authError"), CredentialsError),
    ],
)
def test_what_stands_in_the_way_of_all_is_raised(
    wire: Wire, clock: ManualClock, api: GmailApi, said: Said, kind: type[GmailError]
) -> None:
    wire.answer = lambda asked: said if int(asked.id, 16) > 50 else message(asked)
    with pytest.raises(kind):
        list(api.get_many(calls(api, 200)))
    assert clock.slept == []


def test_a_revoked_access_token_is_raised(wire: Wire, clock: ManualClock) -> None:
    credentials = Credentials.from_access_token("ya29.alone")
    api = connect(wire, clock, credentials=credentials, quota=PLENTY).mailbox().api
    wire.answer = lambda _: refused(401, "authError")
    with pytest.raises(CredentialsError, match="GMAIL_ACCESS_TOKEN"):
        list(api.get_many(calls(api, 100)))


def test_parts_refused_for_an_old_token_get_a_new_one(wire: Wire, clock: ManualClock, api: GmailApi) -> None:
    wire.answer = lambda asked: refused(401, "authError") if asked.token == "ya29.token-1" else message(asked)
    assert all(answer.json for answer in api.get_many(calls(api, 100)))
    assert len(wire.token_requests) == 2
    assert clock.slept == []


def test_a_batch_refused_for_an_old_token_gets_a_new_one(
    wire: Wire, clock: ManualClock, api: GmailApi
) -> None:
    answers = [refused(401, "authError")]

    def batch() -> Said:
        wire.batch_answer = None
        return answers.pop()

    wire.batch_answer = batch
    assert all(answer.json for answer in api.get_many(calls(api, 10)))
    assert [asked.token for asked in wire.asked] == ["ya29.token-2"] * 10


def test_a_batch_refused_for_quota_waits_and_goes_again(
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
def test_when_batches_fail_calls_go_singly_at_once(
    wire: Wire, clock: ManualClock, api: GmailApi, said: Said | Exception
) -> None:
    wire.batch_answer = lambda: said
    answers = list(api.get_many(calls(api, 300)))
    assert all(answer.json is not None for answer in answers)
    assert len(wire.asked) == 300
    assert len(wire.batches) == 1
    assert clock.slept == []


def test_one_batch_finds_out_whether_batches_work(wire: Wire, api: GmailApi) -> None:
    """Calls of a batch that can't be matched are paid twice, so no second one is sent before the first is back."""
    wire.order = lambda parts: [(f"other-{name}", said) for name, said in parts]
    results = list(api.get_many(calls(api, 300)))
    assert all(result.json is not None for result in results)
    assert wire.batches == [20]
    assert len(wire.asked) == 300 + 20


def test_a_probe_that_is_refused_for_quota_does_not_end_batches(
    wire: Wire, clock: ManualClock, api: GmailApi
) -> None:
    answers: list[Said] = [refused(403, "rateLimitExceeded"), refused(401, "authError")]

    def batch() -> Said:
        if len(answers) == 1:
            wire.batch_answer = None
        return answers.pop()

    wire.batch_answer = batch
    assert all(result.json is not None for result in api.get_many(calls(api, 200)))
    assert all(asked.batched for asked in wire.asked)


def test_calls_of_a_batch_that_is_too_large_go_singly_and_batches_go_on(
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


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (refused(403, "forbidden"), ForbiddenError),
        (refused(400, "invalidArgument", "Invalid id value"), RequestError),
        (Said(json={}), ResponseError),
        (Said(json={"id": "other"}), ResponseError),
        (Said(json={"id": "7", "labelIds": 7}), ResponseError),
        (Said(raw=b'{"id": ' + b"[" * 100_000), ResponseError),
    ],
    ids=lambda value: repr(value)[:40],
)
@pytest.mark.parametrize("batched", [True, False])
def test_trouble_with_one_message_is_its_own(
    wire: Wire, clock: ManualClock, api: GmailApi, said: Said, kind: type[GmailError], batched: bool
) -> None:
    if not batched:
        wire.batch_answer = lambda: Said(503, {})
    wire.answer = lambda asked: said if asked.id in ("7", "19") else message(asked)
    results = {result.call.key: result for result in api.get_many(calls(api, 60))}
    assert {key for key, result in results.items() if isinstance(result.error, kind)} == {"7", "19"}
    assert sum(result.error is None for result in results.values()) == 58
    assert clock.slept == []


@pytest.mark.parametrize("said", [refused(403, "forbidden"), Said(json={}), refused(400, "invalidArgument")])
def test_the_same_trouble_with_all_messages_is_raised_before_much_is_spent(
    wire: Wire, api: GmailApi, said: Said
) -> None:
    wire.answer = lambda _: said
    with pytest.raises((ForbiddenError, ResponseError, RequestError)):
        list(api.get_many(calls(api, 1_000)))
    assert len(wire.asked) <= 400
    few = list(api.get_many(calls(api, 50)))
    assert all(result.error is not None for result in few)


def test_trouble_with_many_messages_after_a_good_one_is_theirs(wire: Wire, api: GmailApi) -> None:
    wire.answer = lambda asked: message(asked) if asked.id == "0" else refused(403, "forbidden")
    results = list(api.get_many(calls(api, 500)))
    assert sum(result.error is None for result in results) == 1


@pytest.mark.parametrize(
    "said", [refused(403, "forbidden"), refused(400, "invalidArgument"), Said(json={}), Said(503, {})]
)
def test_calls_that_failed_in_earlier_runs_are_no_sign_of_an_outage(
    wire: Wire, api: GmailApi, said: Said
) -> None:
    retried = [replace(call, retried=True) for call in calls(api, 150)]
    wire.answer = lambda asked: said if int(asked.id, 16) < 150 else message(asked)
    results = list(api.get_many([*retried, api.message_call("fff")]))
    assert [result.call.key for result in results if result.error is None] == ["fff"]
    assert len(results) == 151
    # Others that fail count as ever, whatever is between them.
    wire.answer = lambda _: said
    between = [call for pair in zip(retried, calls(api, 150), strict=True) for call in pair]
    with pytest.raises((ForbiddenError, ResponseError, RequestError, UnavailableError)):
        list(api.get_many(between))


@pytest.mark.parametrize("count", [20, 200])
def test_results_before_an_error_come_before_it(wire: Wire, api: GmailApi, count: int) -> None:
    wire.answer = lambda asked: (
        refused(403, "dailyLimitExceeded") if asked.id in ("7", "97") else message(asked)
    )
    results = []
    with pytest.raises(DailyLimitError):
        results.extend(result.call.key for result in api.get_many(calls(api, count)))
    served = {asked.id for asked in wire.asked} - {"7", "97"}
    assert set(results) == served
    assert len(results) == len(served) >= 19


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


PRECONDITION = refused(400, "failedPrecondition", "Precondition check failed.")


def test_precondition_errors_are_retried_and_then_are_one_messages_own(
    wire: Wire, clock: ManualClock, api: GmailApi
) -> None:
    seen: Counter[str] = Counter()

    def answer(asked: Asked) -> Said:
        seen[asked.id] += 1
        if asked.id == "profile":
            return Said(json={"emailAddress": "ada@b.test", "historyId": "1"})
        return PRECONDITION if asked.id == "7" or seen[asked.id] == 1 else message(asked)

    wire.answer = answer
    results = {result.call.key: result for result in api.get_many(calls(api, 60))}
    assert {key for key, result in results.items() if result.error is not None} == {"7"}
    assert isinstance(results["7"].error, PreconditionError)
    assert seen["7"] < 12
    assert api.usage.snapshot().units["messages.get"] == 59 * 20


def test_progress_of_a_batch_renews_its_attempts(wire: Wire, api: GmailApi) -> None:
    served: set[int] = set()

    def answer(asked: Asked) -> Said:
        if asked.batched and len(wire.batches) in served:
            return Said(503, {})
        served.add(len(wire.batches))
        return message(asked)

    wire.answer = answer
    assert all(result.json is not None for result in api.get_many(calls(api, 20)))
    assert len(wire.batches) == 19


def test_unavailable_calls_count_in_a_row_only(wire: Wire, clock: ManualClock) -> None:
    api = connect(wire, clock, quota=PLENTY, workers=1).mailbox().api
    broken = {f"{number:x}" for number in (*range(4), *range(20, 24), *range(40, 44))}
    wire.answer = lambda asked: Said(503, {}) if asked.id in broken else message(asked)
    results = list(api.get_many(calls(api, 60)))
    assert {result.call.key for result in results if result.error is not None} == broken


def test_batches_that_fail_together_are_one_failure(clock: ManualClock) -> None:
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


def test_the_batch_endpoint_is_tried_again_but_rarely(wire: Wire, clock: ManualClock, api: GmailApi) -> None:
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


def test_batches_shrink_at_the_wall_and_grow_back(wire: Wire, clock: ManualClock, api: GmailApi) -> None:
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


def test_a_low_wall_costs_patience_but_no_message(wire: Wire, api: GmailApi) -> None:
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


def test_calls_are_pulled_lazily_and_in_the_consumers_thread(wire: Wire, api: GmailApi) -> None:
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


def test_large_messages_bound_what_is_in_flight(wire: Wire, api: GmailApi) -> None:
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


def test_an_error_of_the_calls_themselves_comes_through(api: GmailApi) -> None:
    def broken() -> Iterator[ApiCall]:
        yield from calls(api, 100)
        raise RateLimitError("the listing behind it failed")

    with pytest.raises(RateLimitError, match="listing"):
        list(api.get_many(broken()))


TROUBLE = st.sampled_from(["ok", "ok", "ok", "404", "403", "429", "503", "cut", "lost"])


SIZES = st.lists(st.sampled_from([100, 1_000, 15_000, 1_000_000]), min_size=1, max_size=8)


class Wall:
    """Refuses requests of one user above so many in flight, as Gmail does; parts of a batch count one by one."""

    def __init__(self, wire: Wire, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self._lock = threading.Lock()
        self._one, self._order = wire._one, wire.order
        wire._one = self.single  # type: ignore[method-assign]

    def single(self, target: str, batched: bool, token: str) -> Said:
        with self._lock:
            self._inside += 1
            full = self._inside > self._limit
        try:
            # A batch's parts run at once: those before this one are in flight still.
            return CONCURRENT if full else self._one(target, batched, token)
        finally:
            with self._lock:
                if not batched:
                    self._inside -= 1

    def order(self, parts: list[tuple[str, Said]]) -> list[tuple[str, Said]]:
        with self._lock:
            self._inside -= len(parts)
        return self._order(parts)


@lives(60)
@given(
    plan=st.lists(TROUBLE, max_size=120),
    sizes=SIZES,
    count=st.integers(0, 150),
    ordered=st.booleans(),
    workers=st.integers(1, 20),
    wall=st.integers(1, 50),
    batches=st.booleans(),
    quota=st.sampled_from(["current", "legacy", 300, 1_200_000]),
)
def test_whatever_happens_every_call_has_one_answer(
    plan: list[str],
    sizes: list[int],
    count: int,
    ordered: bool,
    workers: int,
    wall: int,
    batches: bool,
    quota: str | int,
) -> None:
    wire, clock = Wire(message), ManualClock()
    turns = iter(plan)
    lock = threading.Lock()
    gone: set[str] = set()
    kinds = {"403": SPENT, "429": CONCURRENT, "503": Said(503, {}), "cut": Said(200, raw=b"{")}

    def answer(asked: Asked) -> Said:
        with lock:
            what = next(turns, "ok")
            if what == "404":
                gone.add(asked.id)
        if asked.id in gone:
            return refused(404, "notFound")
        size = sizes[int(asked.id, 16) % len(sizes)]
        large = Said(json={"id": asked.id, "snippet": "x" * size})
        return kinds.get(what, large)

    def order(parts: list[tuple[str, Said]]) -> list[tuple[str, Said]]:
        with lock:
            lost = next(turns, "ok") == "lost"
        return parts[1:] if lost else parts[::-1]

    wire.answer, wire.order = answer, order
    barrier = Wall(wire, wall)
    wire.order = barrier.order
    if not batches:
        wire.batch_answer = lambda: Said(503, {})
    api = connect(wire, clock, quota=preset(quota), workers=workers).mailbox().api
    asked = calls(api, count)
    answers = list(api.get_many(asked, ordered=ordered))
    keys = [answer.call.key for answer in answers]
    assert (keys if ordered else sorted(keys)) == (
        [call.key for call in asked] if ordered else sorted(call.key for call in asked)
    )
    for reply in answers:
        assert (reply.json is None) == (reply.error is not None)
        assert reply.error is None or isinstance(reply.error, NotFoundError | UnavailableError)


@pytest.mark.parametrize("workers", [1, 5])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_narrow_limit_ends_no_read_early(wire: Wire, clock: ManualClock, workers: int, width: int) -> None:
    api = connect(wire, clock, quota=PLENTY, workers=workers).mailbox().api
    api._transport.concurrency._limit = width  # as after refusals
    assert len(list(api.get_many(calls(api, 96)))) == 96


@pytest.mark.parametrize("workers", [1, 5])
def test_answers_larger_than_the_buffer_end_no_read_early(
    wire: Wire, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(batch, "_BUFFER_BYTES", 1_000)
    wire.answer = lambda asked: Said(json={"id": asked.id, "snippet": "x" * 40_000})
    api = connect(wire, clock, quota=PLENTY, workers=workers).mailbox().api
    assert sum(1 for _ in api.get_many(calls(api, 96))) == 96


def test_fewer_answers_than_calls_is_an_error_of_ours(
    wire: Wire, api: GmailApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = WorkerPool.next_results
    monkeypatch.setattr(WorkerPool, "next_results", lambda self, ordered: take(self, ordered=ordered)[:-1])
    with pytest.raises(IncompleteReadError, match="results of"):
        list(api.get_many(calls(api, 60)))
