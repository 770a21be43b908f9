from __future__ import annotations

import email
import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.fake_gmail import FakeResponse, multipart

from gmail_client.http.multipart import decode_batch, encode_batch

TARGETS = ["/gmail/v1/users/me/messages/18c?format=full", "/gmail/v1/users/a%40b.test/labels/Label_1"]


def _answer(parts: list[tuple[str, FakeResponse]]) -> tuple[bytes, str]:
    response = multipart(parts)
    return response.content, response.headers["Content-Type"]


def test_the_request_is_multipart_as_the_standard_library_reads_it() -> None:
    head = b"Content-Type: multipart/mixed; boundary=b1\r\n\r\n"
    parts = email.message_from_bytes(head + encode_batch(TARGETS, "b1")).get_payload()
    assert isinstance(parts, list)
    assert [part["Content-ID"] for part in parts] == ["<part-0>", "<part-1>"]
    assert [part["Content-Type"] for part in parts] == ["application/http"] * 2
    assert [part.get_payload() for part in parts] == [f"GET {target} HTTP/1.1\r\n" for target in TARGETS]


def test_parts_are_matched_by_id_in_any_order() -> None:
    found = decode_batch(
        *_answer([("part-2", FakeResponse(json={"n": 2})), ("part-0", FakeResponse(404, {"n": 0}))])
    )
    assert {number: (part.status, part.content) for number, part in found.items()} == {
        2: (200, b'{"n": 2}'),
        0: (404, b'{"n": 0}'),
    }


def test_a_part_has_its_own_headers() -> None:
    found = decode_batch(*_answer([("part-0", FakeResponse(429, {}, headers={"Retry-After": " 7 "}))]))
    assert found[0].headers["retry-after"] == "7"


def test_bare_line_feeds_are_accepted() -> None:
    content, kind = _answer(
        [("part-0", FakeResponse(json={"a": 1})), ("part-1", FakeResponse(json={"a": 2}))]
    )
    found = decode_batch(content.replace(b"\r\n", b"\n"), kind)
    assert [json.loads(found[number].content) for number in (0, 1)] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    "kind",
    [
        'multipart/mixed; boundary="batch_foobar"',
        "Multipart/Mixed; charset=UTF-8; BOUNDARY=batch_foobar",
        "multipart/mixed; boundary=batch_foobar; charset=UTF-8",
    ],
)
def test_the_boundary_is_found_in_any_notation(kind: str) -> None:
    content, _ = _answer([("part-0", FakeResponse(json={}))])
    assert set(decode_batch(content, kind)) == {0}


def test_a_boundary_that_is_a_prefix_of_another_is_not_confused() -> None:
    inner = b"--batch_foobar_2\r\nnot a delimiter\r\n--batch_foobars\r\n"
    found = decode_batch(*_answer([("part-0", FakeResponse(raw=inner)), ("part-1", FakeResponse(json={}))]))
    assert found[0].content == inner
    assert set(found) == {0, 1}


def test_preamble_and_epilogue_are_ignored() -> None:
    content, kind = _answer([("part-0", FakeResponse(json={}))])
    assert set(decode_batch(b"preamble\r\n" + content + b"\r\n--batch_foobar\r\nepilogue", kind)) == {0}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<html>Sign in</html>", "text/html"),
        (b"", "multipart/mixed; boundary=x"),
        (b"--x\r\n--x--", "multipart/mixed"),
        (b"--x\r\n\r\n\r\n--x--\r\n", "multipart/mixed; boundary=x"),
        (b"--x\r\nContent-ID: <response-part-0>\r\n\r\nnot HTTP\r\n--x--\r\n", "multipart/mixed; boundary=x"),
        (
            b"--x\r\nContent-ID: <part-0>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}\r\n--x--",
            "multipart/mixed; boundary=x",
        ),
        (b"--x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}\r\n--x--", "multipart/mixed; boundary=x"),
    ],
)
def test_parts_without_a_matching_call_are_ignored(content: bytes, kind: str) -> None:
    assert decode_batch(content, kind) == {}


def test_the_first_of_two_responses_to_a_call_counts() -> None:
    found = decode_batch(*_answer([("part-0", FakeResponse(json=1)), ("part-0", FakeResponse(json=2))]))
    assert found[0].content == b"1"


TRAPS = [
    b"\r\n",
    b"\n\n",
    b"--",
    b"\r\n--batch_foo",
    b"HTTP/1.1 500 Oops\r\n",
    b"Content-ID: <response-part-1>\r\n",
    b"Content-Length: 1\r\n",
    b"Content-Length: " + b"9" * 5_000 + b"\r\n",
]
BODY = st.lists(st.sampled_from(TRAPS) | st.binary(max_size=50), max_size=6).map(b"".join)
BODIES = st.lists(BODY, min_size=1, max_size=8)


@settings(deadline=None)
@given(bodies=BODIES, statuses=st.lists(st.integers(100, 599), min_size=8, max_size=8), data=st.data())
def test_any_bytes_are_kept(bodies: list[bytes], statuses: list[int], data: st.DataObject) -> None:
    assume(not any(b"--batch_foobar" in body for body in bodies))
    parts = [
        (f"part-{number}", FakeResponse(statuses[number], raw=body)) for number, body in enumerate(bodies)
    ]
    found = decode_batch(*_answer(data.draw(st.permutations(parts))))
    assert {number: (part.status, part.content) for number, part in found.items()} == {
        number: (statuses[number], body) for number, body in enumerate(bodies)
    }


@settings(deadline=None)
@given(bodies=BODIES, data=st.data())
def test_a_truncated_response_gives_complete_parts_only(bodies: list[bytes], data: st.DataObject) -> None:
    assume(not any(b"--batch_foobar" in body for body in bodies))
    content, kind = _answer(
        [(f"part-{number}", FakeResponse(raw=body)) for number, body in enumerate(bodies)]
    )
    cut = data.draw(st.integers(0, len(content)))
    for number, part in decode_batch(content[:cut], kind).items():
        assert part.content == bodies[number]


@settings(deadline=None)
@given(content=st.binary(max_size=500), kind=st.text(max_size=60) | st.just("multipart/mixed; boundary=x"))
def test_noise_never_raises(content: bytes, kind: str) -> None:
    decode_batch(content, kind)
    decode_batch(content.replace(b"\x00", b"--x\r\n"), kind)
