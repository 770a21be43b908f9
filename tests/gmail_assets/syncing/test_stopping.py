"""How a run stops early: fetched messages are written, and none is fetched twice."""

from __future__ import annotations

import itertools
import os
import queue
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from support.chaos import client_of
from support.faulty_mailbox import map_results
from support.lake import assert_lake_equals_mailbox, stored_rows

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition_status import partition_statuses
from gmail_assets.syncing import Progress, labels, stopping, sync
from gmail_assets.syncing.stopping import RunStop, TimeUpError, UntilError
from gmail_client.client import Mailbox
from gmail_client.emulator import Emulator, Fault
from gmail_client.errors import DailyLimitError, GmailError
from gmail_client.http.calls import ApiResult
from gmail_client.spec import SpecTable

SIGNALS = [signal.SIGINT, signal.SIGTERM]


class Interrupted(BaseException):
    """Raised by the handlers of these tests, as Dagster's handlers do."""


def interrupt(number: int, frame: object) -> None:
    raise Interrupted(number)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, interrupt)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def gmail() -> Iterator[Emulator]:
    with Emulator(messages=250, seed=5, mean_json_kb=3) as emulator:
        yield emulator


def spec(table: str, **configuration: Any) -> SpecTable:
    return SpecTable.parse({"source_table": table, "table_configuration": configuration})


BOTH = [spec("messages"), spec("threads")]
KINDS = pytest.mark.parametrize(
    "tables",
    [BOTH, BOTH[:1], BOTH[1:], pytest.param([spec("messages", format="raw")], marks=pytest.mark.slow)],
    ids=["both", "messages", "threads", "raw"],
)


def at_result(number: int, act: Callable[[], None]) -> Callable[[ApiResult], ApiResult]:
    """Call `act` at result number `number`."""
    count = itertools.count(1)

    def answer(result: ApiResult) -> ApiResult:
        if next(count) == number:
            act()
        return result

    return answer


def run(mailbox: Mailbox, lake: Lake, tables: list[SpecTable], **named: Any) -> dict[str, Any]:
    return sync(mailbox, lake, tables, sample=random.Random(1), **named)


def stored(lake: Lake, tables: list[SpecTable]) -> set[str]:
    """Ids of the messages in any of the tables."""
    return {
        member["id"]
        for table in tables
        for row in stored_rows(lake, table.table_name)
        for member in row.get("messages") or [row]
    }


def fetched(gmail: Emulator) -> set[str]:
    """Ids of the messages whose content was sent, except trashed ones that were sent with their thread."""
    visible = {row["id"] for row in gmail.truth("messages", format="minimal")}
    return visible & gmail.usage.fetches[gmail.addresses[0]].keys()


# The block


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_takes_effect_at_the_end_of_the_block(number: signal.Signals) -> None:
    stop = RunStop(None)

    def block() -> None:
        with stop.announced():
            assert not stop.event.is_set()
            os.kill(os.getpid(), number)
            assert stop.event.is_set()
            with pytest.raises(TimeUpError):
                stop.check()
            with pytest.raises(TimeUpError):
                stop.check_event()

    with pytest.raises(Interrupted) as raised:
        block()
    assert raised.value.args == (number,)
    assert [signal.getsignal(one) for one in SIGNALS] == [interrupt, interrupt]


@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_takes_effect_at_once(second: signal.Signals) -> None:
    reached = []

    def block() -> None:
        with RunStop(None).announced():
            signal.raise_signal(signal.SIGINT)
            reached.append("the first one")
            signal.raise_signal(second)
            reached.append("the second one")

    with pytest.raises(Interrupted) as raised:
        block()
    assert reached == ["the first one"]
    assert raised.value.args == (second,)
    assert [signal.getsignal(one) for one in SIGNALS] == [interrupt, interrupt]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_announced_at_once_and_once(number: signal.Signals) -> None:
    announced: queue.Queue[str] = queue.Queue()

    def block() -> None:
        with RunStop(None, lambda: announced.put(threading.current_thread().name)).announced():
            signal.raise_signal(number)
            # Within the block, although the handler interrupted this thread.
            assert announced.get(timeout=60) != threading.current_thread().name
            signal.raise_signal(number)

    with pytest.raises(Interrupted):
        block()
    assert announced.empty()


def test_a_run_reports_that_it_is_stopping(gmail: Emulator, lake: Lake) -> None:
    reports: queue.Queue[Progress] = queue.Queue()

    def report(progress: Progress) -> None:
        if progress.phase == "stopping":
            reports.put(progress)

    mailbox = client_of(gmail).mailbox()
    interrupting = map_results(mailbox, at_result(15, lambda: signal.raise_signal(signal.SIGINT)))
    with pytest.raises(Interrupted):
        run(interrupting, lake, BOTH[:1], progress=report)
    assert reports.get(timeout=60).units > 0
    assert reports.empty()


def test_a_signal_takes_effect_although_the_block_fails() -> None:
    def block() -> None:
        with RunStop(None).announced():
            signal.raise_signal(signal.SIGTERM)
            raise TimeUpError

    with pytest.raises(Interrupted):
        block()


def test_ignored_signals_stay_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = RunStop(None)
    with stop.announced():
        signal.raise_signal(signal.SIGINT)
        assert not stop.event.is_set()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_outside_of_the_main_thread_handlers_are_left_alone() -> None:
    seen = []

    def work() -> None:
        with RunStop(None).announced():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [interrupt]


def test_the_deadline_sets_the_event_and_a_fetch_has_at_least_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = []
    monkeypatch.setattr(
        threading, "Timer", lambda seconds, act: waits.append(seconds) or mock.Mock(start=act)
    )
    late = RunStop(time.monotonic() - 1)
    with late.announced():
        assert late.event.is_set()
    with RunStop(time.monotonic() + 1_000).announced():
        pass
    assert waits[0] == 60
    assert 60 < waits[1] <= 1_000
    with pytest.raises(TimeUpError):
        RunStop(time.monotonic() - 1).check()
    RunStop(time.monotonic() + 1_000).check()
    RunStop(None).check()


def test_items_before_an_error_come_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("2")

    until = UntilError(items())
    assert until.error is None
    assert list(until) == [1]
    with pytest.raises(KeyError):
        until.raise_error()


# A run


@KINDS
def test_an_interrupt_within_a_chunk_wastes_no_units(
    gmail: Emulator, lake: Lake, tables: list[SpecTable]
) -> None:
    mailbox = client_of(gmail).mailbox()
    interrupting = map_results(mailbox, at_result(15, lambda: signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(Interrupted):
        run(interrupting, lake, tables)
    kept = stored(lake, tables)
    assert kept
    assert kept == fetched(gmail)
    assert kept < {row["id"] for row in gmail.truth("messages", format="minimal")}
    run(mailbox, lake, tables)
    assert gmail.usage.fetched_twice == {}
    assert_lake_equals_mailbox(lake, gmail, tables)


@KINDS
def test_an_error_that_ends_the_run_wastes_no_units(
    gmail: Emulator, lake: Lake, tables: list[SpecTable]
) -> None:
    for method in ("messages.get", "threads.get"):
        gmail.faults.add(Fault(method=method, nth=33, status=403, reason="dailyLimitExceeded"))
    with pytest.raises(DailyLimitError):
        run(client_of(gmail).mailbox(), lake, tables)
    kept = stored(lake, tables)
    assert kept
    assert kept == fetched(gmail)
    gmail.faults.clear()
    run(client_of(gmail).mailbox(), lake, tables)
    assert gmail.usage.fetched_twice == {}
    assert_lake_equals_mailbox(lake, gmail, tables)


@pytest.mark.parametrize("error", [GmailError, ZeroDivisionError])
def test_an_error_of_the_consumer_ends_the_run_the_same_way(
    gmail: Emulator, lake: Lake, error: type[Exception]
) -> None:
    def fail(result: ApiResult) -> ApiResult:
        if len(seen) == 50:
            raise error("at the test's wish")
        seen.append(result)
        return result

    seen: list[ApiResult] = []
    with pytest.raises(error):
        run(map_results(client_of(gmail).mailbox(), fail), lake, BOTH[:1])
    assert len(stored(lake, BOTH[:1])) >= 50


@KINDS
def test_new_mail_is_kept_although_the_cursor_stays(
    gmail: Emulator, lake: Lake, tables: list[SpecTable]
) -> None:
    mailbox = client_of(gmail).mailbox()
    run(mailbox, lake, tables)
    address = gmail.addresses[0]
    cursors = [status.cursor for status in partition_statuses(lake, address, tables).values()]
    gmail.usage.reset()
    inbox = gmail.mailbox()
    first = [row["id"] for row in gmail.truth("messages", format="minimal")][:10]
    new = {inbox.receive(inbox.random_mail()) for _ in range(40)}
    new |= {inbox.receive(inbox.random_mail(reply_to=one)) for one in first}
    with pytest.raises(Interrupted):
        run(map_results(mailbox, at_result(5, lambda: signal.raise_signal(signal.SIGINT))), lake, tables)
    assert fetched(gmail) <= stored(lake, tables)
    assert new & stored(lake, tables)
    assert [status.cursor for status in partition_statuses(lake, address, tables).values()] == cursors
    run(mailbox, lake, tables)
    assert gmail.usage.fetched_twice == {}
    assert_lake_equals_mailbox(lake, gmail, tables)


@KINDS
def test_the_time_budget_ends_a_fetch_within_a_chunk(
    gmail: Emulator, lake: Lake, tables: list[SpecTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox = client_of(gmail).mailbox()
    stops: list[RunStop] = []
    announced = RunStop.announced
    monkeypatch.setattr(RunStop, "announced", lambda self: stops.append(self) or announced(self))
    at_twenty = map_results(mailbox, at_result(20, lambda: stops[-1].event.set()))
    results = run(at_twenty, lake, tables)
    assert not any(result.complete for result in results.values())
    assert stored(lake, tables) == fetched(gmail)
    assert sum(result.rows_total for result in results.values()) >= 20
    assert all(result.complete for result in run(mailbox, lake, tables).values())
    assert gmail.usage.fetched_twice == {}
    assert_lake_equals_mailbox(lake, gmail, tables)


def test_a_run_without_time_left_for_the_fetch_still_makes_progress(gmail: Emulator, lake: Lake) -> None:
    assert stopping._LEAST_SECONDS == 60
    result = run(client_of(gmail).mailbox(), lake, BOTH, deadline=time.monotonic())["messages"]
    assert not result.complete
    assert result.rows_total > 200


@pytest.mark.parametrize("how", ["interrupt", "error"])
def test_labels_that_were_read_are_written_and_not_read_again(
    gmail: Emulator, lake: Lake, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "_SAMPLE", 0)
    mailbox = client_of(gmail, workers=1).mailbox()
    run(mailbox, lake, BOTH)
    rows = gmail.truth("messages", format="minimal")
    changed = {row["threadId"]: row["id"] for row in rows if "STARRED" not in row["labelIds"]}
    for one in changed.values():
        gmail.mailbox().modify(one, ["STARRED"], [])
    gmail.expire_history()
    read: list[str] = []

    def answer(result: ApiResult) -> ApiResult:
        if result.json is not None:
            read.append(result.call.key)
        if how == "interrupt" and len(read) == 30:
            signal.raise_signal(signal.SIGINT)
        return result

    if how == "error":
        for method in ("messages.get", "threads.get"):
            gmail.faults.add(Fault(method=method, nth=30, status=403, reason="dailyLimitExceeded"))
    with pytest.raises(Interrupted if how == "interrupt" else DailyLimitError):
        run(map_results(mailbox, answer), lake, BOTH)
    before = len(read)
    assert 0 < before < len(changed)
    gmail.faults.clear()
    run(map_results(mailbox, answer), lake, BOTH)
    assert len(read) > before
    # The calls in the batch of the refused one are repeated; the labels before it are known to be correct.
    assert len(read) - len(set(read)) < (20 if how == "error" else 1)
    assert_lake_equals_mailbox(lake, gmail, BOTH)
