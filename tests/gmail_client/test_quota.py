from __future__ import annotations

import json
import threading
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_gmail import ManualClock

from gmail_client.emulator.api.methods import METHODS
from gmail_client.errors import ConfigurationError
from gmail_client.http.clock import ScaledClock
from gmail_client.http.waiting import Stopped
from gmail_client.quota import PRICES, Price, RateLimiter, preset


def _read_methods(resource: dict[str, Any]) -> list[str]:
    found = [
        method["id"].removeprefix("gmail.users.")
        for method in resource.get("methods", {}).values()
        if method["httpMethod"] == "GET"
    ]
    for inner in resource.get("resources", {}).values():
        found += _read_methods(inner)
    return found


def test_every_read_method_of_the_discovery_document_has_a_price() -> None:
    document = files("googleapiclient.discovery_cache") / "documents" / "gmail.v1.json"
    methods = _read_methods(json.loads(document.read_text()))
    assert len(methods) == 30
    assert set(PRICES) == {*methods, "watch", "stop"}


@pytest.mark.parametrize(
    ("name", "limit", "get", "threads_get"), [("current", 6_000, 20, 40), ("legacy", 15_000, 5, 10)]
)
def test_presets(name: str, limit: int, get: int, threads_get: int) -> None:
    plan = preset(name)
    assert (plan.user_per_minute, plan.project_per_minute) == (limit, 1_200_000)
    assert (plan.price("messages.get"), plan.price("threads.get")) == (get, threads_get)


@pytest.mark.parametrize("value", [9_000, "9000", " 9_000 "])
def test_a_number_is_a_limit_at_current_prices(value: str | int) -> None:
    plan = preset(value)
    assert (plan.name, plan.user_per_minute, plan.price("messages.get")) == ("9000", 9_000, 20)


@pytest.mark.parametrize("value", ["", "fast", "-5", "0", "59", "1e4", "٣٠٠٠", 10**9])
def test_invalid_quotas(value: str | int) -> None:
    with pytest.raises(ConfigurationError, match="GMAIL_QUOTA"):
        preset(value)


def test_prices_and_limits_are_those_of_the_emulator_s_own_table() -> None:
    """The emulator's price table was written independently from Gmail's quota page."""
    table = {method.name: Price(method.units, method.legacy_units) for method in METHODS.values()}
    assert {name: table[name] for name in PRICES.keys() & table.keys()} == {
        name: PRICES[name] for name in PRICES.keys() & table.keys()
    }
    assert len(PRICES.keys() & table.keys()) >= 20
    assert (preset("current").project_per_minute, preset("current").project_per_day) == (
        1_200_000,
        80_000_000,
    )
    assert (preset("legacy").project_per_minute, preset("legacy").project_per_day) == (1_200_000, None)
    assert preset(7_000).project_per_day == 80_000_000


def test_an_unknown_method_has_no_price() -> None:
    with pytest.raises(ConfigurationError, match=r"messages\.fetch"):
        preset("current").price("messages.fetch")


def test_a_refusal_at_the_current_limit_reveals_current_prices() -> None:
    assert preset("legacy").revealed_by(6_000).price("messages.get") == 20
    assert preset("legacy").revealed_by(9_000).price("messages.get") == 5
    assert preset("current").revealed_by(15_000).price("messages.get") == 20


def _most_in_a_minute(spent: list[tuple[float, int]]) -> int:
    """The largest sum of units in any window of 60 s; a call can count at any time between its start and end."""
    return max(
        (sum(units for at, units in spent if start <= at < start + 60) for start, _ in spent), default=0
    )


@settings(deadline=None, max_examples=60)
@given(
    limit=st.integers(200, 20_000),
    reservations=st.lists(
        st.tuples(st.integers(1, 40), st.floats(0, 30), st.floats(0, 5), st.floats(0, 1)),
        min_size=1,
        max_size=150,
    ),
    scale=st.integers(1, 20),
)
def test_no_minute_holds_more_than_the_limit(
    limit: int, reservations: list[tuple[int, float, float, float]], scale: int
) -> None:
    clock = ManualClock()
    limiter = RateLimiter(limit, clock=clock)
    spent: list[tuple[float, int]] = []
    for units, pause, latency, share in reservations:
        units = min(units * scale, limit // 2)
        clock.now += pause if pause > 25 else 0
        with limiter.reserve(units) as reservation:
            sent = clock.now
            clock.now += latency
        spent.append((sent + share * latency, reservation.units))
    assert _most_in_a_minute(spent) <= limit


@settings(deadline=None, max_examples=15)
@given(
    limit=st.integers(600, 20_000),
    prices=st.lists(st.integers(1, 40), min_size=1, max_size=10),
    batch=st.integers(1, 20),
    least=st.booleans(),
)
def test_under_load_at_least_95_percent_are_used(
    limit: int, prices: list[int], batch: int, least: bool
) -> None:
    clock = ManualClock()
    limiter = RateLimiter(limit, clock=clock)
    start, spent, turn = clock.now, 0, 0
    while clock.now < start + 300:
        price = min(prices[turn % len(prices)], max(1, limit // 100))
        units = max(price, min(price * batch, limiter.burst // 2))
        with limiter.reserve(
            units, least=min(units, max(price, limiter.smallest_grant)) if least else price
        ) as held:
            spent += held.units
        turn += 1
    assert spent <= limit * 5 + limiter.burst
    assert spent >= limit * 5 * 0.95


def test_an_idle_limiter_allows_a_burst_and_then_a_steady_rate() -> None:
    clock = ManualClock()
    limiter = RateLimiter(6_000, clock=clock)
    limiter.reserve(limiter.burst).settle()
    assert clock.slept == []
    limiter.reserve(99).settle()
    assert sum(clock.slept) == pytest.approx(1.0, abs=0.01)


def test_the_rest_of_a_minute_goes_to_a_smaller_reservation() -> None:
    clock = ManualClock()
    limiter = RateLimiter(6_000, clock=clock, headroom=0)
    for _ in range(14):
        limiter.reserve(400).settle()
    before = clock.now
    assert limiter.reserve(500, least=limiter.smallest_grant).units == 400
    assert clock.now - before < 10


def test_a_smaller_grant_leaves_the_units_in_flight_within_the_limit() -> None:
    clock = ManualClock()
    limiter = RateLimiter(6_000, clock=clock, headroom=0)
    in_flight = [limiter.reserve(400) for _ in range(14)]
    in_flight.append(limiter.reserve(500, least=limiter.smallest_grant))
    assert [reservation.units for reservation in in_flight] == [*[400] * 14, 400]
    for reservation in in_flight:
        reservation.settle()


def test_released_units_are_available_again() -> None:
    clock = ManualClock()
    limiter = RateLimiter(6_000, clock=clock)
    reservation = limiter.reserve(limiter.burst)
    reservation.keep(10)
    reservation.keep(10)
    assert reservation.units == 10
    assert limiter.reserve(limiter.burst - 10).waited == 0


def test_an_unsettled_reservation_counts_until_it_is_settled() -> None:
    clock = ManualClock()
    limiter = RateLimiter(600, clock=clock, headroom=0)
    slow = limiter.reserve(50)
    clock.now += 300
    slow.settle()
    clock.now += 10
    spent = 0
    while spent < 550:
        spent += limiter.reserve(10).units
    assert clock.now - 1_800_000_310 < 60
    limiter.reserve(10)
    assert clock.now >= 1_800_000_000 + 300 + 60


def test_a_reservation_above_the_limit_runs_alone() -> None:
    clock = ManualClock()
    limiter = RateLimiter(60, clock=clock)
    limiter.reserve(40).settle()
    before = clock.now
    assert limiter.reserve(400).units == 400
    assert clock.now - before >= 60


def test_a_higher_limit_is_learned() -> None:
    clock = ManualClock()
    limiter = RateLimiter(6_000, clock=clock)
    limiter.learn(60_000)
    start = clock.now
    for _ in range(100):
        limiter.reserve(500).settle()
    assert limiter.limit == 60_000
    assert clock.now - start < 60


def test_a_lower_limit_is_learned() -> None:
    clock = ManualClock()
    limiter = RateLimiter(15_000, clock=clock)
    limiter.reserve(1_000).settle()
    limiter.learn(1_200)
    start = clock.now
    limiter.reserve(400).settle()
    assert clock.now - start >= 19
    limiter.learn(0)
    assert limiter.limit == 1_200


def test_a_lower_limit_drops_units_saved_under_a_higher_one() -> None:
    clock = ManualClock()
    limiter = RateLimiter(15_000, clock=clock, headroom=0)
    limiter.learn(1_200)
    limiter.reserve(limiter.burst).settle()
    assert clock.slept == []
    start = clock.now
    limiter.reserve(100).settle()
    assert clock.now - start == pytest.approx(100 / (1_200 / 60), abs=0.1)


def test_nothing_is_granted_before_the_retry_time() -> None:
    clock = ManualClock()
    limiter = RateLimiter(6_000, clock=clock)
    limiter.block_until(clock.now + 37)
    limiter.block_until(clock.now + 5)
    reservation = limiter.reserve(1)
    assert clock.now >= 1_800_000_037
    assert reservation.waited == pytest.approx(37, abs=0.01)


def test_a_clock_set_back_does_not_block_the_limiter() -> None:
    clock = ManualClock()
    limiter = RateLimiter(600, clock=clock, headroom=0)
    for _ in range(60):
        limiter.reserve(10).settle()
    limiter.block_until(clock.now + 5)
    clock.now -= 7_200
    before = clock.now
    for _ in range(6):
        limiter.reserve(10).settle()
    assert clock.now - before <= 61


def test_a_set_stop_ends_the_wait_of_all() -> None:
    limiter = RateLimiter(60)
    limiter.block_until(4e9)
    stop = threading.Event()
    ended: list[str] = []

    def wait() -> None:
        try:
            limiter.reserve(1, stop=stop)
        except Stopped:
            ended.append("stopped")

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    stop.set()
    for thread in threads:
        thread.join(10)
    assert ended == ["stopped"] * 3


def test_reservations_are_first_come_first_served() -> None:
    clock = ScaledClock(200)
    limiter = RateLimiter(6_000, clock=clock)
    limiter.block_until(clock.time() + 60)
    served: list[int] = []
    threads: list[threading.Thread] = []
    for number in range(5):
        thread = threading.Thread(
            target=lambda number=number: (limiter.reserve(200 - number).settle(), served.append(number))
        )
        threads.append(thread)
        thread.start()
        while len(limiter._turns) + len(served) <= number:
            pass
    for thread in threads:
        thread.join(30)
    assert served == sorted(served)
    assert len(served) == 5


def test_urgent_reservations_go_before_all_that_wait() -> None:
    clock = ScaledClock(200)
    limiter = RateLimiter(6_000, clock=clock)
    limiter.block_until(clock.time() + 60)
    served: list[str] = []
    threads: list[threading.Thread] = []

    def reserve(name: str) -> None:
        limiter.reserve(100, urgent=name.startswith("urgent")).settle()
        served.append(name)

    for number, name in enumerate(["load 1", "load 2", "urgent 1", "load 3", "urgent 2"]):
        threads.append(threading.Thread(target=reserve, args=(name,)))
        threads[-1].start()
        while len(limiter._turns) + len(limiter._urgent_turns) + len(served) <= number:
            pass
    for thread in threads:
        thread.join(30)
    assert served == ["urgent 1", "urgent 2", "load 1", "load 2", "load 3"]


def test_threads_together_stay_within_the_limit() -> None:
    clock = ScaledClock(300)
    limiter = RateLimiter(6_000, clock=clock)
    spent: list[tuple[float, int]] = []
    lock = threading.Lock()
    end = clock.time() + 200

    def work() -> None:
        while clock.time() < end:
            with limiter.reserve(80):
                at = clock.time()
            with lock:
                spent.append((at, 80))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(spent) > 20
    assert _most_in_a_minute(spent) <= 6_000


@pytest.mark.parametrize("units", [0, -1])
def test_zero_units_cannot_be_reserved(units: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RateLimiter(100).reserve(units)
