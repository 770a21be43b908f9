"""Every call has one result, with any faults, limits and sizes."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.batches import AMPLE_QUOTA, RATE_LIMITED, TOO_MANY_CONCURRENT, calls
from support.examples import examples
from support.fake_gmail import (
    FakeGmail,
    FakeRequest,
    FakeResponse,
    ManualClock,
    connect,
    error_response,
    message_response,
)

from gmail_client.errors import (
    NotFoundError,
    UnavailableError,
)
from gmail_client.http import batch
from gmail_client.quota import preset

TROUBLE = st.sampled_from(["ok", "ok", "ok", "404", "403", "429", "503", "cut", "lost"])


SIZES = st.lists(st.sampled_from([100, 1_000, 15_000, 1_000_000]), min_size=1, max_size=8)


class Wall:
    """Refuses requests of one user above a limit in flight, as Gmail does; each part of a batch counts."""

    def __init__(self, wire: FakeGmail, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self._lock = threading.Lock()
        self._one, self._order = wire._one, wire.order
        wire._one = self.single  # type: ignore[method-assign]

    def single(self, target: str, batched: bool, token: str) -> FakeResponse:
        with self._lock:
            self._inside += 1
            full = self._inside > self._limit
        try:
            # The parts of a batch run in parallel: the earlier ones are still in flight.
            return TOO_MANY_CONCURRENT if full else self._one(target, batched, token)
        finally:
            with self._lock:
                if not batched:
                    self._inside -= 1

    def order(self, parts: list[tuple[str, FakeResponse]]) -> list[tuple[str, FakeResponse]]:
        with self._lock:
            self._inside -= len(parts)
        return self._order(parts)


@examples(40)
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
def test_under_any_faults_every_call_has_one_result(
    plan: list[str],
    sizes: list[int],
    count: int,
    ordered: bool,
    workers: int,
    wall: int,
    batches: bool,
    quota: str | int,
) -> None:
    wire, clock = FakeGmail(message_response), ManualClock()
    turns = iter(plan)
    lock = threading.Lock()
    gone: set[str] = set()
    kinds = {
        "403": RATE_LIMITED,
        "429": TOO_MANY_CONCURRENT,
        "503": FakeResponse(503, {}),
        "cut": FakeResponse(200, raw=b"{"),
    }

    def handler(request: FakeRequest) -> FakeResponse:
        with lock:
            what = next(turns, "ok")
            if what == "404":
                gone.add(request.id)
        if request.id in gone:
            return error_response(404, "notFound")
        size = sizes[int(request.id, 16) % len(sizes)]
        large = FakeResponse(json={"id": request.id, "snippet": "x" * size})
        return kinds.get(what, large)

    def order(parts: list[tuple[str, FakeResponse]]) -> list[tuple[str, FakeResponse]]:
        with lock:
            lost = next(turns, "ok") == "lost"
        return parts[1:] if lost else parts[::-1]

    wire.handler, wire.order = handler, order
    barrier = Wall(wire, wall)
    wire.order = barrier.order
    if not batches:
        wire.batch_handler = lambda: FakeResponse(503, {})
    api = connect(wire, clock, quota=preset(quota), workers=workers).mailbox().api
    requested = calls(api, count)
    results = list(api.get_many(requested, ordered=ordered))
    keys = [result.call.key for result in results]
    assert (keys if ordered else sorted(keys)) == (
        [call.key for call in requested] if ordered else sorted(call.key for call in requested)
    )
    for result in results:
        assert (result.json is None) == (result.error is not None)
        assert result.error is None or isinstance(result.error, NotFoundError | UnavailableError)


@pytest.mark.parametrize("workers", [1, 5])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_low_concurrency_limit_does_not_end_a_read_early(
    wire: FakeGmail, clock: ManualClock, workers: int, width: int
) -> None:
    api = connect(wire, clock, quota=AMPLE_QUOTA, workers=workers).mailbox().api
    api._transport.concurrency._limit = width  # as after refusals
    assert len(list(api.get_many(calls(api, 96)))) == 96


@pytest.mark.parametrize("workers", [1, 5])
def test_responses_larger_than_the_buffer_do_not_end_a_read_early(
    wire: FakeGmail, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(batch, "_BUFFER_BYTES", 1_000)
    wire.handler = lambda request: FakeResponse(json={"id": request.id, "snippet": "x" * 40_000})
    api = connect(wire, clock, quota=AMPLE_QUOTA, workers=workers).mailbox().api
    assert sum(1 for _ in api.get_many(calls(api, 96))) == 96
