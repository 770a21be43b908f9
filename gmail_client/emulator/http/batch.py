"""Batches: `parse_batch` parses a multipart/mixed request, `assemble` builds the response.

Source: Google's guide to batching. A batch has at most 100 calls; every part of the response has its own status and the
Content-ID of its call with the prefix `response-`, in any order, and the server chooses the boundary.
"""

from __future__ import annotations

import http
import secrets
from collections.abc import Sequence
from email.message import Message
from typing import NamedTuple
from urllib.parse import urlsplit

from gmail_client.emulator.api.errors import ApiError, bad_argument
from gmail_client.emulator.http.calls import ServerReply, ServerRequest

__all__ = ["MOST_PARTS", "BatchedRequest", "assemble", "parse_batch"]

MOST_PARTS = 100


class BatchedRequest(NamedTuple):
    """One call of a batch and its Content-ID, "" when it has none."""

    content_id: str
    request: ServerRequest


def parse_batch(body: bytes, content_type: str) -> list[BatchedRequest]:
    """The calls of a batch, in order.

    Raises:
        ApiError: 400 for a body that is not a batch, or has more than 100 calls.
    """
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/mixed" or not isinstance(boundary, str) or not boundary:
        raise _malformed("The batch request needs the content type multipart/mixed with a boundary")
    chunks = (b"\n" + body).split(b"\n--" + boundary.encode())
    parts: list[BatchedRequest] = []
    for chunk in chunks[1:]:
        if chunk.startswith(b"--"):
            break
        if len(parts) == MOST_PARTS:
            raise bad_argument(f"The batch request has more than {MOST_PARTS} calls")
        parts.append(_part(chunk))
    if not parts:
        raise _malformed("The batch request has no parts")
    return parts


def _malformed(message: str) -> ApiError:
    return ApiError(400, "badRequest", message)


def _part(chunk: bytes) -> BatchedRequest:
    outer, rest = _head(chunk)
    lines = outer.split("\n")[1:]
    headers = _headers(lines)
    inner, body = _head(rest.lstrip(b"\r\n"))
    request_line, *inner_lines = inner.split("\n")
    words = request_line.split()
    if not 2 <= len(words) <= 3:
        raise _malformed("Failed to parse a call of the batch request: no request line")
    target = urlsplit(words[1])
    inner_headers = _headers(inner_lines)
    length = inner_headers.get("content-length", "")
    if length.isdigit():
        body = body[: int(length)]
    elif body.endswith(b"\r"):
        body = body[:-1]
    return BatchedRequest(
        headers.get("content-id", ""),
        ServerRequest(words[0].upper(), target.path, target.query, inner_headers, body),
    )


def _head(text: bytes) -> tuple[str, bytes]:
    """The text before the first empty line, with LF line ends, and the bytes after it."""
    crlf, lf = text.find(b"\r\n\r\n"), text.find(b"\n\n")
    if crlf >= 0 and (lf < 0 or crlf < lf):
        head, body = text[:crlf], text[crlf + 4 :]
    elif lf >= 0:
        head, body = text[:lf], text[lf + 2 :]
    else:
        head, body = text, b""
    return head.decode("latin-1").replace("\r\n", "\n").rstrip("\r\n"), body


def _headers(lines: Sequence[str]) -> dict[str, str]:
    found = {}
    for line in lines:
        name, separator, value = line.partition(":")
        if separator:
            found[name.strip().lower()] = value.strip()
    return found


def _response_id(content_id: str) -> str:
    if content_id.startswith("<") and content_id.endswith(">"):
        return f"<response-{content_id[1:-1]}>"
    return f"response-{content_id}"


def assemble(parts: Sequence[BatchedRequest], replies: Sequence[ServerReply]) -> tuple[bytes, str]:
    """The body of the response to a batch and its content type.

    The parts are out of order (those at odd positions first), because Gmail does not guarantee their order.
    """
    boundary = f"batch_{secrets.token_urlsafe(24)}"
    pieces: list[bytes] = []
    order = [*range(1, len(parts), 2), *range(0, len(parts), 2)]
    for index in order:
        content_id, reply = parts[index].content_id, replies[index]
        head = [f"--{boundary}", "Content-Type: application/http"]
        if content_id:
            head.append(f"Content-ID: {_response_id(content_id)}")
        head += ["", f"HTTP/1.1 {reply.status} {_phrase(reply.status)}"]
        if reply.body:
            head.append(f"Content-Type: {reply.content_type}")
        head += [f"{name}: {value}" for name, value in reply.headers.items()]
        head += [
            "Vary: Origin",
            "Vary: X-Origin",
            "Vary: Referer",
            f"Content-Length: {len(reply.body)}",
            "",
            "",
        ]
        pieces.append("\r\n".join(head).encode())
        pieces.append(reply.body)
        pieces.append(b"\r\n")
    pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces), f"multipart/mixed; boundary={boundary}"


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
