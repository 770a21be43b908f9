"""Header values: unfolded, decoded (RFC 2047), with parameters (RFC 2231), dates and message ids.

Nothing here raises, whatever the bytes. Two decisions where Gmail documents nothing: encoded words
are shown decoded, and raw 8-bit bytes in a header are read as UTF-8, or as Latin-1 when they are not.
"""

from __future__ import annotations

import binascii
import re
from email.utils import mktime_tz, parsedate_tz
from functools import lru_cache
from urllib.parse import unquote_to_bytes

__all__ = [
    "content_type",
    "date_ms",
    "decode_bytes",
    "decode_words",
    "header_text",
    "message_ids",
    "parameters",
]

_WORD = r"=\?[^?\s]{1,60}\?[bBqQ]\?[^?]*\?="
_ENCODED = re.compile(rf"{_WORD}(?:[ \t]*{_WORD})*")
_WORD_PIECES = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]*)\?=")
_TYPE = re.compile(r"\s*([!#$%&'*+.^_`|~0-9a-zA-Z{}-]+/[!#$%&'*+.^_`|~0-9a-zA-Z{}-]+)\s*(?:[;(,]|\s|$)")
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^;]*))', re.DOTALL)
_QUOTED = re.compile(r"\\([\\\"])")
_MESSAGE_ID = re.compile(r"<[^<>\s]+>")
_LATEST_MS = 253402300800_000

_CHARSETS = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-8-e": "iso-8859-8",
    "x-sjis": "shift_jis",
    "x-unknown": "utf-8",
    "unicode-1-1-utf-7": "utf-7",
    "windows-874": "cp874",
    "ascii": "utf-8",
    "us-ascii": "utf-8",
}
# Codecs of Python's that are no charsets of mail.
_NO_CHARSETS = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"}


def decode_bytes(data: bytes, charset: str = "") -> str:
    """Bytes to text: in their charset, else as UTF-8, else as Latin-1; broken sequences become U+FFFD."""
    name = charset.strip().strip("\"'").lower()
    name = _CHARSETS.get(name, name)
    if name and name.replace("-", "_") not in _NO_CHARSETS and name.isascii():
        try:
            return data.decode(name)
        except (LookupError, UnicodeError, ValueError):
            try:
                if name not in ("utf-8", "utf8"):
                    return data.decode(name, "replace")
            except (LookupError, UnicodeError, ValueError):
                pass
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace") if name in ("utf-8", "utf8") else data.decode("latin-1")


def header_text(value: bytes) -> str:
    """A header's value as text on one line: line ends go, the white space that begins the next line stays."""
    data = value.translate(None, b"\r\n").strip(b" \t")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return decode_bytes(data)


def _decode_run(match: re.Match[str]) -> str:
    """Encoded words that follow each other: joined before they are decoded, for they may cut a character."""
    decoded: list[tuple[str, bytes]] = []
    for name, encoding, text in _WORD_PIECES.findall(match.group(0)):
        charset = name.partition("*")[0].lower()
        data = text.encode("utf-8", "replace")
        if encoding in "bB":
            try:
                data = binascii.a2b_base64(data + b"=" * (-len(data) % 4))
            except binascii.Error:
                return match.group(0)
        else:
            data = binascii.a2b_qp(data, header=True)
        if decoded and decoded[-1][0] == charset:
            decoded[-1] = (charset, decoded[-1][1] + data)
        else:
            decoded.append((charset, data))
    return "".join(decode_bytes(data, charset) for charset, data in decoded)


def decode_words(value: str) -> str:
    """A header's value with its RFC 2047 encoded words decoded; white space between two of them goes."""
    return _decode_words(value) if "=?" in value else value


@lru_cache(maxsize=4096)
def _decode_words(value: str) -> str:
    # The same names and subjects come again and again in a mailbox.
    return _ENCODED.sub(_decode_run, value)


def content_type(value: str, default: str = "text/plain") -> str:
    """The lower-case type/subtype of a Content-Type; text/plain when it is none, `default` when empty."""
    if not value:
        return default
    match = _TYPE.match(value)
    return match.group(1).lower() if match else "text/plain"


def parameters(value: str) -> dict[str, str]:
    """The parameters of a Content-Type or Content-Disposition, names lower-case, values decoded.

    RFC 2231 continuations and charsets are put together; encoded words, which mailers use against the
    rules, are decoded too.
    """
    plain: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[bool, str]]] = {}
    for name, quoted, bare in _PARAMETER.findall(";" + value.partition(";")[2]):
        text = _QUOTED.sub(r"\1", quoted) if quoted else bare.strip()
        base, star, rest = name.lower().partition("*")
        if not star:
            plain.setdefault(base, text)
            continue
        number, extended = rest.rstrip("*"), rest == "" or rest.endswith("*")
        if number == "" or (number.isascii() and number.isdigit() and len(number) < 4):
            pieces.setdefault(base, {}).setdefault(int(number or 0), (extended, text))
    result = {name: decode_words(text) for name, text in plain.items()}
    for base, parts in pieces.items():
        result[base] = _join_pieces(parts)
    return result


def _join_pieces(parts: dict[int, tuple[bool, str]]) -> str:
    charset, data, escaped = "", b"", ""
    for position, number in enumerate(sorted(parts)):
        extended, text = parts[number]
        if extended:
            if position == 0 and text.count("'") >= 2:
                charset, _, text = text.split("'", 2)
            # Some mailers cut an escape in two: join before unquoting.
            escaped += text
        else:
            data += unquote_to_bytes(escaped) + text.encode("utf-8", "replace")
            escaped = ""
    return decode_bytes(data + unquote_to_bytes(escaped), charset)


def message_ids(*values: str) -> tuple[str, ...]:
    """The message ids in References and In-Reply-To, in order, each once, with their brackets."""
    return tuple(dict.fromkeys(found for value in values for found in _MESSAGE_ID.findall(value)))


def date_ms(value: str) -> int:
    """A Date header in epoch milliseconds; 0 when it is unreadable or not between 1970 and 9999."""
    try:
        parsed = parsedate_tz(value)
        seconds = mktime_tz(parsed) if parsed else 0
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0
    return seconds * 1000 if 0 < seconds * 1000 < _LATEST_MS else 0
