"""RFC 822 bytes parsed into a tree of entities, each with its headers and the bytes of its body.

The parser is lenient, by the rules of Python's `email` package: a line that is not a header ends the headers;
the delimiters of an outer multipart take precedence over those inside; a multipart whose boundary is missing or
never appears is a leaf. Bodies are slices of the raw bytes, so an attached message keeps its exact bytes.
No function raises.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field

from gmail_client.emulator.mail.headers import (
    content_type,
    decode_bytes,
    display_value,
    header_text,
    parameters,
)

__all__ = ["MimeEntity", "parse", "read_headers"]

MAXIMUM_DEPTH = 50

_FIELD = re.compile(rb"([\x21-\x39\x3b-\x7e]+):([^\r\n]*(?:(?:\r\n|\r|\n)[ \t][^\r\n]*)*)(?:\r\n|\r|\n|\Z)")
# Lines among headers that are not headers: "From " of an mbox file, a value without a name, a stray continuation.
_ODD_LINE = re.compile(rb"(?:From |:|[\t ])[^\r\n]*(?:\r\n|\r|\n|\Z)")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_DELIMITER_REST = re.compile(rb"(--)?[ \t]*(?:\r\n|\r|\n|\Z)")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")


@dataclass(slots=True)
class MimeEntity:
    """A message or a part: `headers` as shown and in order, `body` still transfer-encoded, `children`."""

    headers: list[tuple[str, str]]
    mime_type: str
    parameters: dict[str, str]
    filename: str
    encoding: str
    body: bytes
    children: list[MimeEntity] = field(default_factory=list)

    @property
    def is_multipart(self) -> bool:
        """Whether the entity was split at a boundary."""
        return bool(self.children) and self.mime_type.startswith("multipart/")

    def header(self, name: str) -> str:
        """The first header of that name (lower-case), "" when absent."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def decoded(self) -> bytes:
        """The body with its transfer encoding decoded; unchanged when it is invalid."""
        return _decode(self.body, self.encoding)

    def decoded_size(self) -> int:
        """The length of `decoded()`."""
        return len(self.decoded())

    def text(self) -> str:
        """The decoded body as text, by its charset."""
        return decode_bytes(self.decoded(), self.parameters.get("charset", ""))

    def utf8(self) -> bytes:
        """The decoded body as text in UTF-8."""
        return self.text().encode("utf-8", "replace")


def parse(raw: bytes) -> MimeEntity:
    """Parse a whole message."""
    return _entity(raw, "text/plain", 0)


def _entity(data: bytes, default_type: str, depth: int) -> MimeEntity:
    pairs, start = read_headers(data)
    headers = [(name, display_value(name, value)) for name, value in pairs]
    plain: dict[str, str] = {}
    for name, value in pairs:
        plain.setdefault(name.lower(), value)
    kind = plain.get("content-type", "")
    mime_type = content_type(kind, default_type)
    options = parameters(kind)
    filename = parameters(plain.get("content-disposition", "")).get("filename") or options.get("name", "")
    encoding = plain.get("content-transfer-encoding", "").split(";")[0].strip().lower()
    entity = MimeEntity(headers, mime_type, options, filename, encoding, data[start:])
    if depth >= MAXIMUM_DEPTH:
        return entity
    if mime_type.startswith("multipart/"):
        boundary = options.get("boundary", "").rstrip()
        if boundary:
            inner = "message/rfc822" if mime_type == "multipart/digest" else "text/plain"
            entity.children = [_entity(part, inner, depth + 1) for part in _split(entity.body, boundary)]
    elif mime_type.startswith("message/") and mime_type != "message/global":
        entity.children = [_entity(entity.decoded(), "text/plain", depth + 1)]
    return entity


def read_headers(data: bytes) -> tuple[list[tuple[str, str]], int]:
    """The (name, unfolded value) pairs at the start of `data`, and the position of the body."""
    fields: list[tuple[bytes, bytes]] = []
    position, size = 0, len(data)
    while position < size:
        if field := _FIELD.match(data, position):
            fields.append((field[1], field[2]))
            position = field.end()
            continue
        odd = _ODD_LINE.match(data, position)
        if not odd:
            # The empty line, or a body without an empty line before it.
            end = _LINE_END.match(data, position)
            position = end.end() if end else position
            break
        if odd[0].startswith(b"From ") and position and not _begins_header(data, odd.end()):
            break
        position = odd.end()
    return [(name.decode("ascii"), header_text(value)) for name, value in fields], position


def _begins_header(data: bytes, position: int) -> bool:
    return bool(_FIELD.match(data, position) or _ODD_LINE.match(data, position))


def _split(body: bytes, boundary: str) -> list[bytes]:
    """The parts between the delimiter lines of a multipart; none when there is no first delimiter."""
    mark = b"--" + boundary.encode("utf-8", "replace")
    parts: list[bytes] = []
    start = -1
    position = body.find(mark)
    while position >= 0:
        rest = _DELIMITER_REST.match(body, position + len(mark))
        if rest is None or (position and body[position - 1] not in b"\r\n"):
            position = body.find(mark, position + 1)
            continue
        if start >= 0:
            parts.append(_without_last_line_end(body[start:position]))
        elif rest.group(1):
            return []
        if rest.group(1):
            return parts
        start = rest.end()
        # Adjacent delimiters count as one, even if a closing one is among them.
        while body.startswith(mark, start) and (rest := _DELIMITER_REST.match(body, start + len(mark))):
            start = rest.end()
        position = body.find(mark, start)
    if start >= 0:
        parts.append(_without_last_line_end(body[start:]))
    return parts


def _without_last_line_end(part: bytes) -> bytes:
    if part.endswith(b"\r\n"):
        return part[:-2]
    return part[:-1] if part.endswith((b"\n", b"\r")) else part


def _decode(body: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        try:
            return binascii.a2b_base64(body)
        except binascii.Error:
            clean = _NOT_BASE64.sub(b"", body)
            return body if len(clean) % 4 == 1 else binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))
    if encoding == "quoted-printable":
        return binascii.a2b_qp(body)
    if encoding in ("x-uuencode", "uuencode", "uue", "x-uue"):
        return _decode_uu(body)
    return body


def _decode_uu(body: bytes) -> bytes:
    lines = iter(body.splitlines())
    if not any(line.startswith(b"begin ") for line in lines):
        return body
    decoded = []
    for line in lines:
        if line.strip() in (b"end", b"`"):
            break
        try:
            decoded.append(binascii.a2b_uu(line))
        except binascii.Error:
            try:
                # Some encoders pad lines beyond the length that they declare.
                decoded.append(binascii.a2b_uu(line[: (((line[0] - 32) & 63) * 4 + 5) // 3 + 1]))
            except (binascii.Error, IndexError):
                return body
    return b"".join(decoded)
