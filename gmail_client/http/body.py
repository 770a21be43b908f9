"""Reads a response body up to a limit: `read_body`.

A small compressed response can become gigabytes, so it is decompressed here, piece by piece, rather than by requests.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

import requests

from gmail_client.errors import ResponseError

__all__ = ["MAX_BODY_BYTES", "MAX_TOKEN_BODY_BYTES", "read_body"]

MAX_BODY_BYTES = 128 << 20
"""Bytes of a response of Gmail, uncompressed. A mail of 50 MB, the largest that Gmail accepts, is 70 MB of JSON."""

MAX_TOKEN_BODY_BYTES = 1 << 20
"""Bytes of a response of the token endpoint."""

_PIECE = 64 << 10


def read_body(response: requests.Response, method: str, limit: int = MAX_BODY_BYTES) -> bytes:
    """The uncompressed body of a response that was requested with `stream=True`.

    Args:
        response: The response; it is closed if the body is not read to its end.
        method: What was called, for the error.
        limit: Bytes that the body may have.

    Raises:
        ResponseError: The body is larger than the limit.
        OSError: The connection broke (or urllib3's HTTPError), or the compressed data is damaged.
    """
    if not hasattr(response.raw, "stream") or response.raw.closed:
        # Where a session's `send` is replaced (Lakeflow's shared tests do so), the response has been read already.
        content = response.content or b""
        if len(content) > limit:
            raise _too_large(method, limit, response.status_code)
        return content
    pieces: list[bytes] = []
    size = 0
    try:
        compressed = response.headers.get("Content-Encoding", "").strip().lower() in ("gzip", "x-gzip")
        raw: Iterable[bytes] = response.raw.stream(_PIECE, decode_content=False)
        for piece in _decompressed(raw) if compressed else raw:
            size += len(piece)
            if size > limit:
                raise _too_large(method, limit, response.status_code)
            pieces.append(piece)
    except BaseException:
        response.close()
        raise
    return b"".join(pieces)


def _too_large(method: str, limit: int, status: int) -> ResponseError:
    return ResponseError(
        f"{method}: the response is larger than {limit >> 20} MB.",
        fix="If it is one large mail, it can't be read; otherwise check the proxy and GMAIL_API_ROOT.",
        status=status,
        method=method,
    )


def _decompressed(raw: Iterable[bytes]) -> Iterator[bytes]:
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    started = False
    try:
        for piece in raw:
            started = True
            while piece and not decoder.eof:
                yield decoder.decompress(piece, _PIECE)
                piece = decoder.unconsumed_tail
    except zlib.error as error:
        raise OSError(f"damaged gzip data ({error})") from None
    while started and not decoder.eof and (rest := decoder.decompress(decoder.unconsumed_tail, _PIECE)):
        yield rest
    if started and not decoder.eof:
        raise OSError("truncated gzip data")
