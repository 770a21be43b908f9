"""Header values: unfolded, decoded (RFC 2047), with parameters (RFC 2231), dates and message ids.

No function raises, for any bytes. Seen in real responses: a line break and the white space character after it are
replaced by one space, further white space is kept; the continuations of a parameter (`filename*0=`, `filename*1=`) are
joined. Chosen here: encoded words are decoded, 8-bit bytes are decoded as UTF-8, else as Latin-1.
"""

from __future__ import annotations

import binascii
import re
from email.utils import mktime_tz, parsedate_tz
from functools import lru_cache
from urllib.parse import unquote_to_bytes

__all__ = [
    "base_subject",
    "content_type",
    "date_ms",
    "decode_bytes",
    "decode_words",
    "display_value",
    "header_text",
    "message_ids",
    "parameters",
]

_WORD = r"=\?[^?\s]{1,60}\?[bBqQ]\?[^?]*\?="
_ENCODED = re.compile(rf"{_WORD}(?:[ \t]*{_WORD})*")
_WORD_PIECES = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]*)\?=")
_TYPE = re.compile(r"\s*([!#$%&'*+.^_`|~0-9a-zA-Z{}-]+/[!#$%&'*+.^_`|~0-9a-zA-Z{}-]+)\s*(?:[;(,]|\s|$)")
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^;]*))', re.DOTALL)
_CONTINUATION = re.compile(r";\s*[^\s=;\"]+\*\d{1,3}\*?\s*=")
_QUOTED = re.compile(r"\\([\\\"])")
_FOLD = re.compile(rb"(?:\r\n|\r|\n)[ \t]")
_REPLY_PREFIX = re.compile(r"^\s*((re|fwd?|aw|wg|sv|vs|tr|rv)\s*(\[\d+\])?\s*:\s*)+", re.IGNORECASE)
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
# Python codecs that are not charsets of mail.
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
    """The value of a header as one line of text: a line break and one white space character become a space."""
    data = _FOLD.sub(b" ", value) if b"\n" in value or b"\r" in value else value
    data = data.translate(None, b"\r\n").strip(b" \t")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return decode_bytes(data)


def _decode_run(match: re.Match[str]) -> str:
    """Adjacent encoded words, joined before they are decoded: a character may be split between two of them."""
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
    """The value of a header with RFC 2047 encoded words decoded, without the white space between two of them."""
    return _decode_words(value) if "=?" in value else value


def display_value(name: str, value: str) -> str:
    """An unfolded value as Gmail shows it: encoded words decoded, continuations of parameters joined."""
    if (
        "*" in value
        and name.lower() in ("content-disposition", "content-type")
        and _CONTINUATION.search(value)
    ):
        value = _join_continuations(value)
    return decode_words(value)


def _join_continuations(value: str) -> str:
    start, _, rest = value.partition(";")
    joined = parameters(value)
    shown = [start.strip()]
    done = set()
    for match in _PARAMETER.finditer(f";{rest}"):
        base, star, number = match[1].partition("*")
        if not star or not number.rstrip("*").isdecimal():
            shown.append(match[0].lstrip("; \t").rstrip())
        elif base.lower() not in done and base.lower() in joined:
            done.add(base.lower())
            text = joined[base.lower()].replace("\\", r"\\").replace('"', r"\"")
            shown.append(f'{base}="{text}"')
    return "; ".join(shown)


@lru_cache(maxsize=4096)
def _decode_words(value: str) -> str:
    # The same names and subjects occur many times in a mailbox.
    return _ENCODED.sub(_decode_run, value)


def content_type(value: str, default: str = "text/plain") -> str:
    """The lower-case type/subtype of a Content-Type: text/plain when it is invalid, `default` when empty."""
    if not value:
        return default
    match = _TYPE.match(value)
    return match.group(1).lower() if match else "text/plain"


def parameters(value: str) -> dict[str, str]:
    """The parameters of a Content-Type or Content-Disposition, names lower-case, values decoded.

    RFC 2231 continuations are joined and decoded. Encoded words are decoded too: some mailers use them here
    against the standard.
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
            # Some mailers split an escape sequence between two pieces: join them before unquoting.
            escaped += text
        else:
            data += unquote_to_bytes(escaped) + text.encode("utf-8", "replace")
            escaped = ""
    return decode_bytes(data + unquote_to_bytes(escaped), charset)


def base_subject(subject: str) -> str:
    """A subject without reply and forward prefixes, in lower case, white space collapsed."""
    return " ".join(_REPLY_PREFIX.sub("", subject).split()).casefold()


def message_ids(*values: str) -> tuple[str, ...]:
    """The message ids in References and In-Reply-To, in order, without duplicates, with their brackets."""
    return tuple(dict.fromkeys(found for value in values for found in _MESSAGE_ID.findall(value)))


def date_ms(value: str) -> int:
    """A Date header in epoch milliseconds; 0 when it is unreadable or not between 1970 and 9999."""
    try:
        parsed = parsedate_tz(value)
        seconds = mktime_tz(parsed) if parsed else 0
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0
    return seconds * 1000 if 0 < seconds * 1000 < _LATEST_MS else 0
