"""Errors on demand, in single calls and inside batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import requests
from support.gmail_api import Caller, reason

from gmail_client.emulator import Emulator, Fault, Faults
from gmail_client.http.clock import ScaledClock

Start = Callable[..., Emulator]
Call = Callable[..., Caller]


@pytest.fixture
def gmail(start: Start) -> Emulator:
    return start(messages=12, mailboxes=2)


@pytest.fixture
def me(gmail: Emulator, call: Call) -> Caller:
    return call(gmail)


def statuses(me: Caller, path: str, number: int) -> list[int]:
    return [me.get(path).status_code for _ in range(number)]


def test_nth_times_and_probability(gmail: Emulator, me: Caller) -> None:
    gmail.faults.add(Fault("getProfile", status=500, nth=3))
    assert statuses(me, "profile", 5) == [200, 200, 500, 200, 200]
    gmail.faults.clear()
    gmail.faults.add(Fault("getProfile", status=503, times=2))
    assert statuses(me, "profile", 4) == [503, 503, 200, 200]
    gmail.faults.clear()
    gmail.faults.add(Fault("*", status=429, share=0.5, seed=4))
    failed = Counter(statuses(me, "profile", 60))
    assert 15 < failed[429] < 45
    assert gmail.faults.listed()[0]["seen"] == 60
    assert gmail.faults.listed()[0]["done"] == failed[429]


def test_an_error_has_gmails_form_and_costs_nothing(gmail: Emulator, me: Caller) -> None:
    gmail.faults.add(
        Fault("getProfile", status=403, reason="userRateLimitExceeded", headers={"Retry-After": "2"})
    )
    answer = me.get("profile")
    assert (answer.status_code, reason(answer)) == (403, "userRateLimitExceeded")
    assert answer.headers["Retry-After"] == "2"
    assert gmail.usage.units == {"getProfile": 0}
    assert gmail.usage.errors == {"getProfile": {403: 1}}


def test_placement_and_mailbox(gmail: Emulator, me: Caller, call: Call) -> None:
    other = call(gmail, gmail.access_token(gmail.addresses[1]))
    gmail.faults.add(Fault("getProfile", where="batch"))
    gmail.faults.add(Fault("labels.list", where="single"))
    gmail.faults.add(Fault("drafts.list", mailbox=gmail.addresses[1]))
    assert me.get("profile").status_code == 200
    assert me.get("labels").status_code == 503
    assert (me.get("drafts").status_code, other.get("drafts").status_code) == (200, 503)
    _, found = me.batch(["/gmail/v1/users/me/profile", "/gmail/v1/users/me/labels"])
    assert (found["0"][0], found["1"][0]) == (503, 200)


def test_nth_counts_inside_batches(gmail: Emulator, me: Caller) -> None:
    gmail.faults.add(Fault("messages.get", status=404, nth=4))
    ids = gmail.mailbox().message_ids()
    _, found = me.batch([f"/gmail/v1/users/me/messages/{one}" for one in ids[:6]])
    assert [found[str(number)][0] for number in range(6)] == [200, 200, 200, 404, 200, 200]


def test_a_whole_batch_fails(gmail: Emulator, me: Caller) -> None:
    gmail.faults.add(Fault("batch", status=502, times=1))
    answer, found = me.batch(["/gmail/v1/users/me/profile"])
    assert (answer.status_code, found) == (502, {})
    gmail.faults.add(Fault("batch", kind="content-type", times=1))
    answer, _ = me.batch(["/gmail/v1/users/me/profile"])
    assert answer.headers["Content-Type"].startswith("text/html")
    assert me.batch(["/gmail/v1/users/me/profile"])[1]["0"][0] == 200


@pytest.mark.parametrize(
    ("kind", "status", "message", "name", "why"),
    [
        ("precondition", 400, "Precondition check failed.", "FAILED_PRECONDITION", "failedPrecondition"),
        ("mail-not-enabled", 400, "Mail service not enabled", "FAILED_PRECONDITION", "failedPrecondition"),
        (
            "too-many-concurrent",
            429,
            "Too many concurrent requests for user.",
            "RESOURCE_EXHAUSTED",
            "rateLimitExceeded",
        ),
        (
            "resource-exhausted",
            429,
            "Resource has been exhausted (e.g. check quota).",
            "RESOURCE_EXHAUSTED",
            "rateLimitExceeded",
        ),
        ("rate-limit", 429, "Rate Limit Exceeded", "RESOURCE_EXHAUSTED", "rateLimitExceeded"),
    ],
)
def test_errors_in_gmails_words(
    gmail: Emulator, me: Caller, kind: Any, status: int, message: str, name: str, why: str
) -> None:
    gmail.faults.add(Fault("labels.list", kind=kind))
    answer = me.get("labels")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, status)
    assert (error["message"], error["status"]) == (message, name)
    assert (error["errors"][0]["reason"], error["errors"][0]["message"]) == (why, message)
    _, found = me.batch(["/gmail/v1/users/me/labels", "/gmail/v1/users/me/profile"])
    assert found["0"] == (status, answer.json())
    assert found["1"][0] == 200
    assert gmail.usage.units["labels.list"] == 0


def test_a_rate_limit_may_be_an_html_page(gmail: Emulator, me: Caller) -> None:
    gmail.faults.add(Fault("labels.list", kind="rate-limit-page", headers={"Retry-After": "3"}))
    gmail.faults.add(Fault("batch", kind="rate-limit-page", times=1))
    answer = me.get("labels")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "<html>" in answer.text
    assert me.batch(["/gmail/v1/users/me/labels"])[0].status_code == 429
    _, found = me.batch(["/gmail/v1/users/me/labels"])
    assert found["0"][0] == 429
    assert "<html>" in found["0"][1]


def test_one_message_that_gmail_refuses(gmail: Emulator, me: Caller) -> None:
    first, second = gmail.mailbox().message_ids()[:2]
    gmail.faults.add(Fault("messages.get", status=403, id=first))
    assert [me.get(f"messages/{one}").status_code for one in (first, second, first)] == [403, 200, 403]
    _, found = me.batch([f"/gmail/v1/users/me/messages/{one}" for one in (first, second)])
    assert [found[str(number)][0] for number in range(2)] == [403, 200]


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"messagesTotal": None}, {"messagesTotal": "absent"}),
        ({"historyId": 5, "more": {"x": [1]}}, {"historyId": 5, "more": {"x": [1]}, "messagesTotal": 12}),
    ],
)
def test_a_response_can_be_patched(
    gmail: Emulator, me: Caller, patch: dict[str, Any], expected: dict[str, Any]
) -> None:
    gmail.faults.add(Fault("getProfile", kind="patch", patch=patch))
    answer = me.me("profile")
    assert {key: answer.get(key, "absent") for key in expected} == expected
    assert answer["emailAddress"] == gmail.addresses[0]
    assert me.batch(["/gmail/v1/users/me/profile"])[1]["0"] == (200, answer)


def test_a_response_can_be_replaced(gmail: Emulator, me: Caller) -> None:
    gmail.faults.add(Fault("labels.list", kind="patch", patch=[1, "x"]))
    assert me.get("labels").json() == [1, "x"]


@pytest.mark.parametrize("kind", ["reset", "truncate"])
@pytest.mark.parametrize("where", ["single", "batch"])
def test_broken_connections(gmail: Emulator, me: Caller, kind: Any, where: str) -> None:
    gmail.faults.add(Fault("labels.list", kind=kind, times=1))

    def once() -> int:
        if where == "single":
            return me.get("labels").status_code
        return me.batch(["/gmail/v1/users/me/labels", "/gmail/v1/users/me/profile"])[0].status_code

    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        once()
    assert once() == 200


def test_wrong_content_type_of_a_part(gmail: Emulator, me: Caller) -> None:
    gmail.faults.add(Fault("labels.list", kind="content-type"))
    answer = me.get("labels")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    _, found = me.batch(["/gmail/v1/users/me/labels", "/gmail/v1/users/me/profile"])
    assert "<html>" in found["0"][1]
    assert found["1"][1]["emailAddress"] == gmail.addresses[0]


def test_delay_runs_by_the_clock(start: Start, call: Call) -> None:
    gmail = start(messages=1, clock=ScaledClock(200))
    gmail.faults.add(Fault("getProfile", kind="delay", seconds=30))
    began = gmail.clock.time()
    assert call(gmail).get("profile").status_code == 200
    assert gmail.clock.time() - began >= 30
    began = gmail.clock.time()
    assert call(gmail).batch(["/gmail/v1/users/me/profile"] * 3)[0].status_code == 200
    assert 30 <= gmail.clock.time() - began < 85


def test_token_endpoint(gmail: Emulator) -> None:
    environment = gmail.environment()
    form = {
        "grant_type": "refresh_token",
        "client_id": environment["GMAIL_CLIENT_ID"],
        "client_secret": environment["GMAIL_CLIENT_SECRET"],
        "refresh_token": environment["GMAIL_REFRESH_TOKEN"],
    }
    gmail.faults.add(Fault("oauth.token", status=400, reason="invalid_rapt", times=1))
    first = requests.post(f"{gmail.url}/token", data=form, timeout=10)
    assert (first.status_code, first.json()["error"]) == (400, "invalid_rapt")
    assert requests.post(f"{gmail.url}/token", data=form, timeout=10).status_code == 200


@pytest.mark.parametrize("arguments", [{"kind": "explode"}, {"where": "nowhere"}, {"nth": 0}, {"share": 1.5}])
def test_invalid_faults(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Fault(**arguments)


def test_json_round_trips() -> None:
    fault = Fault("messages.get", status=429, share=0.1, times=3, where="batch", headers={"Retry-After": "1"})
    assert Fault.from_json(fault.as_json()) == fault
    with pytest.raises(ValueError, match="unknown keys of a fault: methods"):
        Fault.from_json({"methods": "x"})
    assert Faults().next_for("getProfile") is None
