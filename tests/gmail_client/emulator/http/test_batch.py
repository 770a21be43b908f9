"""Batches: both endpoints, ids, order, statuses, limits, and invalid ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.gmail_api import Caller

from gmail_client.emulator import Emulator, Quota
from gmail_client.emulator.http.batch import assemble, parse_batch
from gmail_client.emulator.http.calls import ServerReply

Start = Callable[..., Emulator]
Call = Callable[..., Caller]


def test_parts_come_back_out_of_order_with_their_own_status(start: Start, call: Call) -> None:
    gmail = start(messages=4)
    me = call(gmail)
    ids = gmail.mailbox().message_ids()
    paths = [f"/gmail/v1/users/me/messages/{one}?format=minimal" for one in (*ids, "ffff", "0?x=1")]
    answer, found = me.batch(paths)
    assert answer.status_code == 200
    assert {key: status for key, (status, _) in found.items()} == {
        "0": 200,
        "1": 200,
        "2": 200,
        "3": 200,
        "4": 404,
        "5": 400,
    }
    assert [found[str(number)][1]["id"] for number in range(4)] == ids
    assert list(found) != sorted(found)
    assert "boundary=limit" not in answer.headers["Content-Type"]
    assert gmail.usage.calls == {"messages.get": 6}
    assert gmail.usage.units == {"messages.get": 100}
    assert (gmail.usage.batches, gmail.usage.http_requests) == (1, 1)


def test_both_endpoints(start: Start, call: Call) -> None:
    me = call(start(messages=1))
    body = "--b\nContent-Type: application/http\nContent-ID: <a b>\n\nGET /gmail/v1/users/me/profile\n\n--b--"
    for path in ("/batch", "/batch/gmail/v1"):
        answer = me.send("POST", path, data=body, headers={"Content-Type": 'multipart/mixed; boundary="b"'})
        assert "Content-ID: <response-a b>" in answer.text
        assert "HTTP/1.1 200 OK" in answer.text


def test_a_part_may_have_its_own_token(start: Start, call: Call) -> None:
    gmail = start(mailboxes=2, messages=1)
    token = gmail.access_token(gmail.addresses[1])
    body = (
        "--b\r\nContent-Type: application/http\r\nContent-ID: <1>\r\n\r\nGET /gmail/v1/users/me/profile HTTP/1.1\r\n"
        f"Authorization: Bearer {token}\r\n\r\n\r\n"
        "--b\r\nContent-Type: application/http\r\nContent-ID: <2>\r\n\r\nGET /gmail/v1/users/me/profile\r\n\r\n--b--"
    )
    headers = {"Content-Type": "multipart/mixed; boundary=b"}
    answer = call(gmail).send("POST", "/batch", data=body, headers=headers)
    for address in gmail.addresses:
        assert f'"emailAddress":"{address}"' in answer.text


def test_writes_in_a_batch(start: Start, call: Call) -> None:
    gmail = start(messages=2)
    first, second = gmail.mailbox().message_ids()
    content = '{"addLabelIds":["STARRED"]}'
    body = (
        "--b\r\nContent-Type: application/http\r\nContent-ID: <1>\r\n\r\n"
        f"POST /gmail/v1/users/me/messages/{first}/modify\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n{content}\r\n"
        "--b\r\nContent-Type: application/http\r\nContent-ID: <2>\r\n\r\n"
        f"DELETE /gmail/v1/users/me/messages/{second}\r\n\r\n--b--"
    )
    headers = {"Content-Type": "multipart/mixed; boundary=b"}
    answer = call(gmail).send("POST", "/batch", data=body, headers=headers)
    assert "HTTP/1.1 204 No Content" in answer.text
    assert "STARRED" in gmail.mailbox().label_ids(first)
    assert gmail.mailbox().message_ids() == [first]


def test_a_batch_has_at_most_100_parts(start: Start, call: Call) -> None:
    gmail = start(messages=1)
    me = call(gmail)
    answer, found = me.batch(["/gmail/v1/users/me/profile"] * 100)
    assert (answer.status_code, len(found)) == (200, 100)
    answer, _ = me.batch(["/gmail/v1/users/me/profile"] * 101)
    assert answer.status_code == 400
    assert gmail.usage.calls["getProfile"] == 100


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/mixed", "--b--"),
        ("multipart/mixed; boundary=b", ""),
        ("multipart/mixed; boundary=b", "--b--"),
        ("multipart/mixed; boundary=b", "--b\r\nContent-Type: application/http\r\n\r\n\r\n--b--"),
        ("application/json", "{}"),
    ],
)
def test_invalid_batches(start: Start, call: Call, content_type: str, body: str) -> None:
    gmail = start(messages=1)
    answer = call(gmail).send("POST", "/batch", data=body, headers={"Content-Type": content_type})
    assert answer.status_code == 400
    assert gmail.usage.total_calls == 0


def test_the_limit_of_calls_in_flight_applies_to_parts(start: Start, call: Call) -> None:
    gmail = start(messages=1, quota=Quota(per_user=None, per_project=None, burst=None))
    me = call(gmail)
    for size, refused in ((10, 0), (25, 0), (32, 0), (40, 8), (100, 68)):
        _, found = me.batch(["/gmail/v1/users/me/profile"] * size)
        walls = [body for status, body in found.values() if status == 429]
        assert len(walls) == refused
        for body in walls:
            assert body["error"]["status"] == "RESOURCE_EXHAUSTED"
            assert body["error"]["errors"][0]["reason"] == "rateLimitExceeded"
            assert body["error"]["message"] == "Too many concurrent requests for user."
    assert gmail.usage.peak_concurrency == 32
    assert gmail.usage.errors == {"getProfile": {429: 76}}


def test_bodies_survive_parsing_and_assembly() -> None:
    body = b"--x\r\nContent-ID: <1>\r\n\r\nPOST /p?q=1 HTTP/1.1\r\nA: b\r\nContent-Length: 6\r\n\r\na\r\n\r\nb\r\n--x--"
    (part,) = parse_batch(body, "multipart/mixed; boundary=x")
    assert part.request.body == b"a\r\n\r\nb"
    assert (part.request.path, part.request.query) == ("/p", "q=1")
    assert part.request.headers["a"] == "b"
    text, content_type = assemble([part], [ServerReply(200, b'{"a":1}')])
    boundary = content_type.partition("boundary=")[2].encode()
    assert text.startswith(b"--" + boundary)
    assert b"Content-Length: 7\r\n\r\n" + b'{"a":1}' in text
