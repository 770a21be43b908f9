"""The cheapest calls for each request, one outcome for each message, and what a read that ends early still yields."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gmail_client.api import ApiCall, ApiResult, GmailApi
from gmail_client.errors import (
    DailyLimitError,
    ForbiddenError,
    GmailError,
    IncompleteReadError,
    NotFoundError,
    UnavailableError,
)
from gmail_client.fetch import FetchedThread, FetchRequest, fetch, prefers_thread
from gmail_client.quota import QuotaPlan, preset

CURRENT = preset("current")
GONE = NotFoundError("gone", fix="-", status=404)
REFUSED = ForbiddenError("refused", fix="-", status=403)


class Fake(GmailApi):
    """Threads as dictionaries of message ids; an error by id refuses it; `left_out` of threads.get only."""

    def __init__(self, threads: dict[str, list[str]], **errors: GmailError) -> None:
        self.user_id, self._root = "me", "/gmail/v1/users/me"
        self.threads = threads
        self.errors = errors
        self.left_out: set[str] = set()
        self.calls: list[ApiCall] = []
        self.before: Callable[[ApiCall], None] = lambda call: None

    @property
    def plan(self) -> QuotaPlan:
        return CURRENT

    def get_many(
        self, calls: Iterable[ApiCall], *, ordered: bool = False, stop: threading.Event | None = None
    ) -> Iterator[ApiResult]:
        for call in calls:
            if stop is not None and stop.is_set():
                return
            self.before(call)
            self.calls.append(call)
            error = self.errors.get(call.key)
            json = None if error else self._json(call)
            yield ApiResult(call, json, error or (GONE if json is None else None), 10)

    def _json(self, call: ApiCall) -> dict[str, Any] | None:
        if call.method == "threads.get":
            ids = self.threads.get(call.key)
            if ids is None:
                return None
            messages = [{"id": one, "threadId": call.key} for one in ids if one not in self.left_out]
            return {"id": call.key, "historyId": "9", "snippet": "s", "messages": messages}
        owner = next((thread for thread, ids in self.threads.items() if call.key in ids), None)
        return None if owner is None else {"id": call.key, "threadId": owner}

    @property
    def requested_calls(self) -> list[tuple[str, str]]:
        return [(call.method, call.key) for call in self.calls]


def ids(fetched: FetchedThread) -> list[str]:
    return [message["id"] for message in fetched.messages]


@pytest.mark.parametrize(
    ("request_", "format_", "thread"),
    [
        (FetchRequest("t", ("a",)), "full", False),
        (FetchRequest("t", ("a", "b")), "full", True),
        (FetchRequest("t", ("a", "b"), partly_stored=True), "full", False),
        (FetchRequest("t", ("a", "b", "c"), partly_stored=True), "full", True),
        (FetchRequest("t", ("a",), whole=True), "full", True),
        (FetchRequest("t", ("a", "b", "c"), whole=True), "raw", False),
        (FetchRequest("t", ()), "full", False),
    ],
)
def test_a_thread_is_fetched_if_it_costs_no_more_than_its_messages(
    request_: FetchRequest, format_: Any, thread: bool
) -> None:
    assert prefers_thread(request_, format_, 20, 40) is thread
    api = Fake({"t": ["a", "b", "c"]})
    list(fetch(api, [request_], format_))
    single = [("messages.get", one) for one in request_.message_ids]
    assert api.requested_calls == ([("threads.get", "t")] if thread else single)
    assert {call.params["format"] for call in api.calls} <= {format_}


@given(
    threads=st.dictionaries(st.sampled_from("tuvwx"), st.integers(0, 5), min_size=1, max_size=5),
    data=st.data(),
)
def test_every_requested_message_has_one_outcome(threads: dict[str, int], data: st.DataObject) -> None:
    known = {thread: [f"{thread}{number}" for number in range(count)] for thread, count in threads.items()}
    everything = [one for ids_ in known.values() for one in ids_]
    api = Fake(known)
    api.left_out = set(data.draw(st.lists(st.sampled_from(everything or ["-"]), max_size=4)))
    for one in data.draw(st.lists(st.sampled_from([*everything, *known]), max_size=3)):
        api.errors[one] = data.draw(st.sampled_from([GONE, REFUSED]))
    requests = [
        FetchRequest(thread, (*ids_[:take], f"{thread}-never"), whole, stored)
        for thread, ids_ in known.items()
        for take, whole, stored in [
            (data.draw(st.integers(0, 5)), data.draw(st.booleans()), data.draw(st.booleans()))
        ]
    ]
    found = {one.thread_id: one for one in fetch(api, requests)}
    assert found.keys() == known.keys()
    for request in requests:
        one = found[request.thread_id]
        outcomes = [*ids(one), *one.absent, *one.failed]
        assert set(request.message_ids) <= set(outcomes)
        assert not one.partial
        requested_calls = [
            key
            for method, key in api.requested_calls
            if method == "messages.get" and key.startswith(request.thread_id)
        ]
        assert len(requested_calls) == len(set(requested_calls))


def test_messages_missing_in_a_thread_are_fetched_singly() -> None:
    api = Fake({"t": ["a", "b", "c"]})
    api.left_out = {"b"}
    (fetched,) = fetch(api, [FetchRequest("t", ("a", "b", "c"))])
    assert api.requested_calls == [("threads.get", "t"), ("messages.get", "b")]
    assert ids(fetched) == ["a", "c", "b"]
    assert (fetched.history_id, fetched.snippet, fetched.size) == ("9", "s", 20)


def test_messages_of_a_deleted_or_refused_thread_are_fetched_singly() -> None:
    for error in (GONE, REFUSED):
        api = Fake({"t": ["a", "b", "c"]}, t=error, b=REFUSED)
        (fetched,) = fetch(api, [FetchRequest("t", ("a", "b", "c"))])
        assert (ids(fetched), fetched.failed) == (["a", "c"], {"b": REFUSED})
    for request in (FetchRequest("t", ("a",), whole=True), FetchRequest("t", (), whole=True)):
        (fetched,) = fetch(Fake({"t": ["a"]}, t=REFUSED), [request])
        assert fetched.failed == {(request.message_ids or ("t",))[0]: REFUSED}


def test_a_message_that_names_another_thread_is_not_taken_for_one_of_this_thread() -> None:
    api = Fake({"t": ["a"], "u": ["b"]})
    (fetched,) = fetch(api, [FetchRequest("t", ("a", "b"), partly_stored=True)])
    assert ids(fetched) == ["a"]
    assert fetched.moved == {"b": "u"}
    assert "threadId is 'u'; it was listed in the thread 't'" in str(fetched.failed["b"])


def test_many_follow_up_calls_are_grouped() -> None:
    threads = {f"t{number}": [f"a{number}", f"b{number}", f"c{number}"] for number in range(90)}
    api = Fake(threads)
    api.left_out = {f"b{number}" for number in range(90)}
    found = list(fetch(api, [FetchRequest(thread, tuple(ids_)) for thread, ids_ in threads.items()]))
    assert len(found) == 90
    first = next(place for place, (method, _) in enumerate(api.requested_calls) if method == "messages.get")
    assert first == 40


def test_a_repeated_thread_and_a_missing_outcome_are_errors() -> None:
    class Lazy(Fake):
        def get_many(self, calls: Iterable[ApiCall], **named: Any) -> Iterator[ApiResult]:
            return super().get_many(list(calls), **named)

    with pytest.raises(IncompleteReadError, match="'a'"):
        list(fetch(Lazy({"t": ["a"]}), [FetchRequest("t", ("a",)), FetchRequest("t", ("b",))]))

    class Losing(Fake):
        def get_many(self, calls: Iterable[ApiCall], **named: Any) -> Iterator[ApiResult]:
            return iter(list(super().get_many(calls, **named))[:-1])

    with pytest.raises(IncompleteReadError, match="have no outcome: 1"):
        list(fetch(Losing({"t": ["a"]}), [FetchRequest("t", ("a",))]))


def test_retried_requests_make_retried_calls() -> None:
    api = Fake({"t": ["a", "b", "c"], "u": ["d"], "v": ["e"]})
    api.left_out = {"b"}
    requests = [FetchRequest("t", ("a", "b", "c"), retried=True), FetchRequest("u", ("d",), retried=True)]
    list(fetch(api, [*requests, FetchRequest("v", ("e",))]))
    assert {call.key: call.retried for call in api.calls} == {"t": True, "b": True, "d": True, "e": False}


@pytest.mark.parametrize("how", ["stop", "error"])
@given(at=st.integers(0, 8), left_out=st.booleans())
@example(at=3, left_out=True)
@example(at=5, left_out=False)
def test_a_read_that_ends_early_yields_everything_fetched(how: str, at: int, left_out: bool) -> None:
    api, stop = Fake({"t": ["a", "b", "c"], "u": ["d", "e"], "v": ["f", "g"]}), threading.Event()
    api.left_out = {"b"} if left_out else set()
    requests = [
        FetchRequest("t", ("a", "b", "c")),
        FetchRequest("u", ("d", "e"), partly_stored=True),
        FetchRequest("v", ("f", "g"), partly_stored=True),
    ]

    def before(call: ApiCall) -> None:
        if len(api.calls) == at:
            if how == "error":
                raise DailyLimitError("used up")
            stop.set()

    api.before = before
    found: list[FetchedThread] = []
    error: GmailError | None = None
    try:
        for one in fetch(api, requests, stop=stop):
            found.append(one)
    except DailyLimitError as raised:
        error = raised
    assert error is None or (how == "error" and len(api.calls) == at)
    assert error is not None or how == "stop" or at >= len(api.calls)
    fetched_ids = {key for method, key in api.requested_calls if method == "messages.get"}
    if ("threads.get", "t") in api.requested_calls:
        fetched_ids |= {"a", "b", "c"} - api.left_out
    assert {one for thread in found for one in ids(thread)} == fetched_ids
    for thread in found:
        request = next(one for one in requests if one.thread_id == thread.thread_id)
        assert thread.partial == (not set(request.message_ids) <= set(ids(thread)))


def test_a_thread_refused_before_an_early_end_is_recorded_as_failed() -> None:
    refused = UnavailableError("503")
    api, stop = Fake({"t": ["a", "b", "c"], "u": ["d"]}, t=refused), threading.Event()

    def before(call: ApiCall) -> None:
        if call.key == "d":
            raise DailyLimitError("used up")

    api.before = before
    reading = fetch(api, [FetchRequest("t", ("a", "b", "c")), FetchRequest("u", ("d",))], stop=stop)
    found = next(reading)
    assert (found.thread_id, found.failed, found.partial) == ("t", dict.fromkeys("abc", refused), False)
    with pytest.raises(DailyLimitError):
        next(reading)


def test_without_a_stop_no_partial_thread_is_yielded() -> None:
    api = Fake({"u": ["d", "e"]}, e=DailyLimitError("used up"))
    api.errors.clear()

    def before(call: ApiCall) -> None:
        if call.key == "e":
            raise DailyLimitError("used up")

    api.before = before
    reading = fetch(api, [FetchRequest("u", ("d", "e"), partly_stored=True)])
    with pytest.raises(DailyLimitError):
        next(reading)
