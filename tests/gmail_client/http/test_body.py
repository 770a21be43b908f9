"""Bodies are read up to a limit, compressed or not."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zlib

import pytest
import requests
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from gmail_client.errors import ResponseError
from gmail_client.http.body import read_body


def response(content: bytes, **headers: str) -> requests.Response:
    made = requests.Response()
    made.status_code = 200
    made.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    made.raw = urllib3.HTTPResponse(io.BytesIO(content), preload_content=False, decode_content=False)
    return made


@given(content=st.binary(max_size=300_000), compressed=st.booleans())
def test_a_body_is_read_completely(content: bytes, compressed: bool) -> None:
    if compressed:
        assert read_body(response(gzip.compress(content), content_encoding="gzip"), "x") == content
    else:
        assert read_body(response(content), "x") == content


@given(content=st.binary(max_size=1_000))
def test_a_body_that_was_read_before_is_not_lost(content: bytes) -> None:
    read = response(content)
    assert read.content == content
    assert read_body(read, "x") == content


def test_a_large_body_is_an_error_that_names_the_method_and_the_limit() -> None:
    with pytest.raises(ResponseError, match=r"messages\.get: the response is larger than 1 MB") as caught:
        read_body(response(b"x" * 1_048_577), "messages.get", 1 << 20)
    assert "large mail" in caught.value.fix
    assert len(read_body(response(b"x" * 1_048_576), "messages.get", 1 << 20)) == 1 << 20


def test_a_small_body_that_becomes_large_takes_no_more_memory_than_the_limit() -> None:
    bomb = gzip.compress(bytes(300 << 20), 9)
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    with pytest.raises(ResponseError, match="larger than 8 MB"):
        read_body(response(bomb, content_encoding="gzip"), "messages.get", 8 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 24 << 20


@pytest.mark.parametrize(
    "content",
    [gzip.compress(b"x" * 1_000)[:-9], b"no gzip", zlib.compress(b"x")],
    ids=["truncated", "text", "zlib"],
)
def test_damaged_data_is_a_connection_error(content: bytes) -> None:
    with pytest.raises(OSError, match="gzip data"):
        read_body(response(content, content_encoding="gzip"), "x")


def test_an_empty_body_is_empty() -> None:
    assert read_body(response(b"", content_encoding="gzip"), "x") == b""


def test_a_response_that_was_read_already_is_used() -> None:
    """Lakeflow's shared tests replace `Session.send`: their responses have content and no connection."""
    response = requests.Response()
    response.status_code = 200
    response._content = b'{"id": "1"}'
    assert read_body(response, "messages.get") == b'{"id": "1"}'
    with pytest.raises(ResponseError, match="larger"):
        read_body(response, "messages.get", limit=5)
