"""The MIME parts of generated mail, from which both the raw bytes and Gmail's payload are made.

A part has its headers as sent and as shown, and its body as pieces of text that cache their encoded forms. So the
payload of generated mail is made without parsing, and its size is computed without building the message. Parts
implement `payload.MimeNode`.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from functools import lru_cache
from random import Random

from gmail_client.emulator.mail.headers import display_value

__all__ = ["BinaryPart", "EmbeddedMessagePart", "MimePart", "MultipartPart", "TextPart", "TextPiece"]

_LINE = 76


class TextPiece:
    """Text that ends with a line break (internally CRLF). `form` caches its encoded forms."""

    __slots__ = ("_forms", "utf8")

    def __init__(self, text: str) -> None:
        self.utf8 = text.encode("utf-8")
        self._forms: dict[tuple[str, bool], bytes] | None = None

    @property
    def text(self) -> str:
        """The text."""
        return self.utf8.decode("utf-8")

    def form(self, charset: str, *, quoted: bool) -> bytes:
        """The text in `charset`, in quoted-printable or unencoded.

        Raises:
            UnicodeEncodeError: The charset lacks a character.
        """
        if charset != "utf-8" and self.utf8.isascii():
            charset = "utf-8"  # the same bytes in every charset of mail
        if not quoted and charset == "utf-8":
            return self.utf8
        key = (charset, quoted)
        if self._forms is None:
            self._forms = {}
        found = self._forms.get(key)
        if found is None:
            found = self.utf8 if charset == "utf-8" else self.text.encode(charset)
            if quoted:
                found = binascii.b2a_qp(found)
            self._forms[key] = found
        return found


class MimePart:
    """The base of all parts: headers, and a body that each subclass creates."""

    __slots__ = ("_head", "_headers", "children", "filename", "mime_type")

    is_multipart = False

    def __init__(self, mime_type: str, filename: str = "") -> None:
        self.mime_type = mime_type
        self.filename = filename
        self.children: Sequence[MimePart] = ()
        self._head: list[str] = []
        self._headers: list[tuple[str, str]] | None = None

    def write(self, lines: str) -> None:
        """Append header lines in ASCII, each ended by a line feed, with form feeds as folds."""
        self._head.append(lines)
        self._headers = None

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Names and shown values, in order."""
        if self._headers is None:
            text = "".join(self._head).replace("\f\t", " ").replace("\f", "")
            split = [line.partition(": ") for line in text.split("\n")[:-1]]
            if "?" in text or "*" in text:
                self._headers = [(name, display_value(name, value)) for name, _, value in split]
            else:
                self._headers = [(name, value) for name, _, value in split]
        return self._headers

    def header(self, name: str) -> str:
        """The first header of that name (lower-case), "" when absent."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def raw(self) -> bytes:
        """The part as sent: headers, an empty line, the body."""
        head = "".join(self._head).replace("\n", "\r\n").replace("\f", "\r\n")
        return head.encode("ascii") + b"\r\n" + self.raw_body()

    def raw_size(self) -> int:
        """The length of `raw()`, without building it."""
        # A line feed and a form feed become two characters each.
        head = sum(len(lines) + lines.count("\n") + lines.count("\f") for lines in self._head)
        return head + 2 + self.raw_body_size()

    def raw_body(self) -> bytes:
        """The body, transfer-encoded."""
        raise NotImplementedError

    def raw_body_size(self) -> int:
        """The length of `raw_body()`."""
        raise NotImplementedError

    def decoded(self) -> bytes:
        """The body with its transfer encoding decoded."""
        return self.raw_body()

    def decoded_size(self) -> int:
        """The length of `decoded()`."""
        return self.raw_body_size()

    def text(self) -> str:
        """The body as text."""
        return self.utf8().decode("utf-8")

    def utf8(self) -> bytes:
        """The body as UTF-8."""
        return self.decoded()


class TextPart(MimePart):
    """A text part in 7bit, 8bit, quoted-printable or base64; UTF-8 is used if the charset lacks a character."""

    __slots__ = ("_pieces", "charset", "encoding")

    def __init__(
        self,
        subtype: str,
        pieces: Sequence[TextPiece],
        *,
        charset: str = "utf-8",
        encoding: str = "8bit",
        filename: str = "",
    ) -> None:
        super().__init__(f"text/{subtype}", filename)
        self._pieces = pieces
        self.charset = _large_enough(charset, pieces)
        self.encoding = encoding

    def _forms(self) -> list[bytes]:
        quoted = self.encoding == "quoted-printable"
        return [piece.form(self.charset, quoted=quoted) for piece in self._pieces]

    def raw_body(self) -> bytes:
        """The body, transfer-encoded."""
        body = b"".join(self._forms())
        return _base64_lines(body) if self.encoding == "base64" else body

    def raw_body_size(self) -> int:
        """The length of `raw_body()`."""
        size = sum(map(len, self._forms()))
        return _base64_size(size) if self.encoding == "base64" else size

    def decoded(self) -> bytes:
        """The body with its transfer encoding decoded."""
        return b"".join([piece.form(self.charset, quoted=False) for piece in self._pieces])

    def decoded_size(self) -> int:
        """The length of `decoded()`."""
        return sum(len(piece.form(self.charset, quoted=False)) for piece in self._pieces)

    def text(self) -> str:
        """The body as text."""
        return self.utf8().decode("utf-8")

    def utf8(self) -> bytes:
        """The body as UTF-8."""
        return b"".join([piece.utf8 for piece in self._pieces])


class BinaryPart(MimePart):
    """A part of `size` bytes, sent in base64: `magic` followed by random bytes."""

    __slots__ = ("_magic", "_offset", "_size")

    def __init__(self, mime_type: str, filename: str, magic: bytes, size: int, offset: int) -> None:
        super().__init__(mime_type, filename)
        self._magic = magic
        self._size = max(size, len(magic))
        self._offset = offset

    def raw_body(self) -> bytes:
        """The body, transfer-encoded."""
        return _base64_lines(self.decoded())

    def raw_body_size(self) -> int:
        """The length of `raw_body()`."""
        return _base64_size(self._size)

    def decoded(self) -> bytes:
        """The body with its transfer encoding decoded."""
        noise = _noise()
        wanted = self._size - len(self._magic)
        begin = self._offset % len(noise)
        times = (begin + wanted) // len(noise) + 1
        return self._magic + (noise * times)[begin : begin + wanted]

    def decoded_size(self) -> int:
        """The length of `decoded()`."""
        return self._size


class MultipartPart(MimePart):
    """A multipart/* part."""

    __slots__ = ("_boundary", "_options")

    is_multipart = True

    def __init__(self, subtype: str, children: Sequence[MimePart], boundary: str, options: str = "") -> None:
        super().__init__(f"multipart/{subtype}")
        self.children = children
        self._boundary = boundary
        self._options = options

    @property
    def content_type(self) -> str:
        """The value of its Content-Type header."""
        return f'{self.mime_type}; {self._options}boundary="{self._boundary}"'

    def raw_body(self) -> bytes:
        """The body, transfer-encoded."""
        mark = f"--{self._boundary}".encode("ascii")
        parts = [mark + b"\r\n" + child.raw() + b"\r\n" for child in self.children]
        return b"".join(parts) + mark + b"--\r\n"

    def raw_body_size(self) -> int:
        """The length of `raw_body()`."""
        mark = len(self._boundary) + 2
        return sum(child.raw_size() for child in self.children) + (mark + 4) * (len(self.children) + 1)


class EmbeddedMessagePart(MimePart):
    """A message/* part with the message inside."""

    __slots__ = ()

    def __init__(self, mime_type: str, inner: MimePart, filename: str = "") -> None:
        super().__init__(mime_type, filename)
        self.children = (inner,)

    def raw_body(self) -> bytes:
        """The body, transfer-encoded."""
        return self.children[0].raw()

    def raw_body_size(self) -> int:
        """The length of `raw_body()`."""
        return self.children[0].raw_size()


def _large_enough(charset: str, pieces: Sequence[TextPiece]) -> str:
    """The charset, or UTF-8 if it lacks a character."""
    if charset != "utf-8":
        try:
            for piece in pieces:
                piece.form(charset, quoted=False)
        except UnicodeEncodeError:
            return "utf-8"
    return charset


@lru_cache(maxsize=1)
def _noise() -> bytes:
    return Random(20261101).randbytes(1 << 16)  # noqa: S311


def _base64_lines(data: bytes) -> bytes:
    encoded = binascii.b2a_base64(data, newline=False)
    lines = [encoded[start : start + _LINE] for start in range(0, len(encoded), _LINE)]
    return b"\r\n".join(lines) + b"\r\n" if lines else b""


def _base64_size(size: int) -> int:
    encoded = -(-size // 3) * 4
    return encoded + -(-encoded // _LINE) * 2
