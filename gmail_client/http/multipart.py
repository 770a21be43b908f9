"""The wire format of a batch: `encode_batch` writes a multipart/mixed request, `decode_batch` splits its response.

https://developers.google.com/workspace/gmail/api/guides/batch. The standard library's mail parser would take about
twenty times as long per part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["BatchPart", "decode_batch", "encode_batch"]

_BOUNDARY = re.compile(r";\s*boundary\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;\"]+))", re.IGNORECASE)
_CONTENT_ID = re.compile(
    rb"^content-id[ \t]*:[ \t]*<?response-part-(\d{1,4})>?[ \t]*\r?$", re.IGNORECASE | re.MULTILINE
)
_STATUS = re.compile(rb"HTTP/[\d.]+ (\d{3})\b")
_LENGTH = re.compile(rb"\ncontent-length[ \t]*:[ \t]*(\d+)", re.IGNORECASE)
_MAX_DIGITS = 12


@dataclass(frozen=True, slots=True)
class BatchPart:
    """The response to one call of a batch, with its own status and body."""

    status: int
    head: bytes
    content: bytes

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, names in lower case."""
        lines = (line.partition(":") for line in self.head.decode("latin-1").splitlines())
        return {name.strip().lower(): value.strip() for name, colon, value in lines if colon}


def encode_batch(targets: Sequence[str], boundary: str) -> bytes:
    """The body of a batch request: one GET per target, numbered from 0 in its Content-ID.

    Args:
        targets: Path and query of each call, without a host.
        boundary: A string that occurs in none of them.
    """
    parts = [
        f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: <part-{number}>\r\n\r\n"
        f"GET {target} HTTP/1.1\r\n\r\n"
        for number, target in enumerate(targets)
    ]
    return "".join([*parts, f"--{boundary}--\r\n"]).encode("ascii")


def decode_batch(content: bytes, content_type: str) -> dict[int, BatchPart]:
    """The parts of a batch response, by the number of their request.

    Leaves out parts that are truncated, have no readable head or no known Content-ID; of two parts with the same
    number the first counts. The result is empty when the response is not multipart.

    Args:
        content: The whole body.
        content_type: The Content-Type header, which names the boundary.
    """
    match = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/") or match is None:
        return {}
    boundary = re.sub(r"\\(.)", r"\1", match[1]) if match[1] is not None else match[2]
    found: dict[int, BatchPart] = {}
    for start, end in _spans(content, b"--" + boundary.encode("latin-1", "replace")):
        numbered = _part(content, start, end)
        if numbered is not None:
            found.setdefault(*numbered)
    return found


def _spans(content: bytes, dash_boundary: bytes) -> list[tuple[int, int]]:
    """Start and end of each part between two delimiter lines; what follows the last one is not a part."""
    spans: list[tuple[int, int]] = []
    start: int | None = None
    at = -1
    while (at := content.find(dash_boundary, at + 1)) >= 0:
        if at and content[at - 1 : at] != b"\n":
            continue
        after = at + len(dash_boundary)
        closing = content[after : after + 2] == b"--"
        line_end = content.find(b"\n", after)
        rest = content[after:line_end] if line_end >= 0 else content[after:]
        if not closing and (rest.strip(b" \t\r") or line_end < 0):
            continue
        if start is not None:
            spans.append((start, max(start, at - 2 if content[at - 2 : at - 1] == b"\r" else at - 1)))
        if closing:
            break
        start = line_end + 1
    return spans


def _part(content: bytes, start: int, end: int) -> tuple[int, BatchPart] | None:
    outer_end, inner_start = _blank_line(content, start, end)
    number = _CONTENT_ID.search(content[start:outer_end])
    status = _STATUS.match(content, inner_start, end)
    if number is None or status is None:
        return None
    head_end, body_start = _blank_line(content, inner_start, end)
    head = content[status.end() : head_end]
    length = _LENGTH.search(head)
    if length is not None and (len(length[1]) > _MAX_DIGITS or int(length[1]) > end - body_start):
        return None
    return int(number[1]), BatchPart(int(status[1]), head, content[body_start:end])


def _blank_line(content: bytes, start: int, end: int) -> tuple[int, int]:
    """The end of the head that starts at `start`, and the first position after its blank line."""
    crlf = content.find(b"\r\n\r\n", start, end)
    lf = content.find(b"\n\n", start, crlf if crlf >= 0 else end)
    if lf >= 0:
        return lf, lf + 2
    return (crlf, crlf + 4) if crlf >= 0 else (end, end)
