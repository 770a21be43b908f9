"""Work on many mailboxes at once."""

from __future__ import annotations

import os
import signal
import threading

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gmail_assets.syncing.many import run_mailboxes
from gmail_assets.syncing.stopping import RunGroup, RunStop, TimeUpError
from gmail_client.errors import ConfigurationError, CredentialsError, GmailError, UnavailableError

FATES = ["done", "down once", "down", "revoked", "misconfigured", "defect", "exit"]


@given(st.lists(st.sampled_from(FATES), max_size=12), st.integers(1, 8))
@example(FATES, 2)
def test_each_succeeds_or_fails_by_itself(fates: list[str], jobs: int) -> None:
    names = [f"{number} {fate}" for number, fate in enumerate(fates)]
    lock, tried, at_once = threading.Lock(), [], [0, 0]
    reported: list[str] = []

    def work(name: str) -> str:
        with lock:
            tried.append(name)
            at_once[0] += 1
            at_once[1] = max(at_once)
        try:
            return outcome_of(name, tried.count(name))
        finally:
            with lock:
                at_once[0] -= 1

    outcomes = run_mailboxes(names, work, jobs=jobs, on_done=lambda outcome: reported.append(outcome.mailbox))
    assert [outcome.mailbox for outcome in outcomes] == names
    assert sorted(reported) == sorted(names)
    assert at_once[1] <= jobs
    for outcome, fate in zip(outcomes, fates, strict=True):
        assert (outcome.error is None) == (fate in ("done", "down once"))
        assert (outcome.value is None) == (outcome.error is not None)
        # A defect and wrong settings are not mended by another attempt.
        assert outcome.attempts == (1 if fate in ("done", "misconfigured", "defect", "exit") else 2)
    again = [name for name in tried if tried.count(name) == 2]
    first = [name for name in tried if tried.count(name) == 1]
    if again and first:  # the second attempts come after all first ones
        assert max(tried.index(name) for name in names) < len(tried) - len(again) // 2


def outcome_of(name: str, attempt: int) -> str:
    fate = name.split(" ", 1)[1]
    errors: dict[str, BaseException] = {
        "down": UnavailableError("down"),
        "revoked": CredentialsError("revoked"),
        "misconfigured": ConfigurationError("misconfigured"),
        "defect": ZeroDivisionError("defect"),
        "exit": SystemExit(1),
    }
    if fate == "down once" and attempt == 1:
        raise UnavailableError("down")
    if fate in errors:
        raise errors[fate]
    return name


def test_a_signal_stops_all_and_takes_effect_when_they_have_ended() -> None:
    stop = RunGroup()
    began, ended = threading.Semaphore(0), []

    def work(name: str) -> None:
        run = RunStop(None, group=stop)
        began.release()
        while True:
            run.event.wait()
            with pytest.raises(TimeUpError):
                run.check()
            ended.append(name)
            return

    def interrupt() -> None:
        for _ in range(2):
            began.acquire()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_mailboxes(["a", "b", "c"], work, jobs=2, stop=stop)
    assert sorted(ended) == ["a", "b"]


def test_those_that_did_not_begin_have_no_outcome() -> None:
    stop = RunGroup()

    def work(name: str) -> str:
        stop.set()
        return name

    outcomes = run_mailboxes(["a", "b"], work, jobs=1, stop=stop)
    assert [(outcome.value, outcome.attempts) for outcome in outcomes] == [("a", 1), (None, 0)]


def test_a_late_member_of_a_stopped_group_stops_at_once() -> None:
    stop = RunGroup()
    stop.set()
    with pytest.raises(TimeUpError):
        RunStop(None, group=stop).check()


def test_each_thread_returns_its_memory_after_a_mailbox(monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[str] = []

    class Pool:
        def release_unused(self) -> None:
            released.append(threading.current_thread().name)

    monkeypatch.setattr(pa, "default_memory_pool", Pool)
    at_work = threading.Barrier(3)
    run_mailboxes(["a", "b", "c"], lambda name: at_work.wait(20), jobs=3)
    assert sorted(released) == ["mailbox-1", "mailbox-2", "mailbox-3"]


def test_nothing_to_do() -> None:
    def work(name: str) -> None:
        raise GmailError("not called")

    assert run_mailboxes([], work) == []


def test_an_exception_of_the_caller_stops_the_mailboxes_that_are_worked_on() -> None:
    group, first_done, stopped = RunGroup(), threading.Event(), threading.Event()

    def work(name: str) -> None:
        if name == "a":
            first_done.wait(10)
        else:
            event = threading.Event()
            group.add(event)
            first_done.set()
            if event.wait(10):
                stopped.set()

    def fail(outcome: object) -> None:
        raise OSError("the event log is full")

    with pytest.raises(OSError, match="event log"):
        run_mailboxes(["a", "b"], work, jobs=2, stop=group, on_done=fail)
    assert stopped.wait(10)
