"""Text from mail: bytes to text, HTML to text, and text without control characters.

No function raises, for any input. All functions run in linear time.
"""

from __future__ import annotations

import binascii
import codecs
import importlib.util
import re
from html import unescape

from gmail_client.errors import ConfigurationError

__all__ = [
    "clean_line",
    "clean_text",
    "decode_base64url",
    "decode_clean",
    "decode_text",
    "html_to_text",
    "plain_snippet",
    "require_html_reader",
]

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
_NOT_IN_LINES = re.compile(f"{_CONTROL.pattern[:-1]}\u202a-\u202e\u2066-\u2069]")
_BREAKS = re.compile("[\t-\r\x1c-\x1f\x85\u2028\u2029]+")

_UNSUITABLE_CODECS = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"}
_LARGER_CHARSETS = {"gb2312": "gb18030", "gbk": "gb18030", "us-ascii": "", "ascii": ""}


def clean_text(text: str) -> str:
    """Text of several lines: line ends are line feeds, no control characters but these and tabs."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _unicode(_CONTROL.sub("", text))


_CONTROL_BYTES = bytes([*range(0x09), *range(0x0B, 0x20), 0x7F])


def decode_clean(data: bytes) -> str:
    """UTF-8 as clean text, like `clean_text` but faster: most control characters go before decoding."""
    cleaned = data.translate(None, _CONTROL_BYTES)
    if len(data) - len(cleaned) != data.count(b"\r\n"):  # not only the carriage returns of line ends
        cleaned = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").translate(None, _CONTROL_BYTES)
    data = cleaned
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return clean_text(decode_text(data))
    # What may be left begins with these bytes: U+0080 to U+009F, byte-order marks.
    return _CONTROL.sub("", text) if b"\xc2" in data or b"\xef" in data else text


def clean_line(text: str) -> str:
    """Text on one line, without control characters, bidirectional overrides and white space around it."""
    if text.isprintable():
        return text.strip()
    return _unicode(_NOT_IN_LINES.sub("", _BREAKS.sub(" ", text))).strip()


def _unicode(text: str) -> str:
    """Replace halves of surrogate pairs: they are not Unicode text and no table can hold them."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def decode_base64url(data: str) -> bytes:
    """The bytes of base64url text. Other characters are ignored, and padding may be missing."""
    raw = data.encode("ascii", "ignore").replace(b"-", b"+").replace(b"_", b"/")  # faster than `translate`
    try:
        return binascii.a2b_base64(raw + b"==")
    except binascii.Error:
        clean = _NOT_BASE64.sub(b"", raw)
        return binascii.a2b_base64(clean[: len(clean) // 4 * 4])


_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")


def decode_text(data: bytes, charset: str = "") -> str:
    """Bytes as text: in the charset named, else as UTF-8, else with U+FFFD for what can't be read.

    Args:
        data: The bytes.
        charset: The charset that the part or the encoded word names, "" for none.
    """
    name = charset.strip().strip("\"'").lower()
    name = _LARGER_CHARSETS.get(name, name)
    for encoding in (name, "utf-8"):
        text = _decode(data, encoding, "strict")
        if text is not None:
            return text
    text = _decode(data, name, "replace") or _decode(data, "cp1252", "replace")
    return text if text is not None else ""


def _decode(data: bytes, name: str, errors: str) -> str | None:
    try:
        if not name or codecs.lookup(name).name.replace("-", "_") in _UNSUITABLE_CODECS:
            return None
        return data.decode(name, errors)
    except (LookupError, UnicodeError, ValueError):
        return None


def plain_snippet(snippet: str) -> str:
    """Gmail's snippet without its HTML escapes."""
    return clean_line(unescape(snippet))


# HTML

_SKIPPED = frozenset({"head", "noscript", "object", "script", "style", "svg", "template", "title"})
_PARAGRAPHS = ("blockquote", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "ol", "p", "pre", "table", "ul")
_BLOCKS = (
    *("address", "article", "aside", "caption", "center", "dd", "details", "dir", "div", "dt", "fieldset"),
    *("figcaption", "figure", "footer", "form", "header", "legend", "li", "main", "menu", "nav", "section"),
    *("summary", "tbody", "tfoot", "thead", "tr"),
)
_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)
_BREAK, _PARAGRAPH, _LINE, _KEPT_SPACE = "\x01", "\x02", "\x03", "\x04"
"""Marks in the collected text: at least a new line, at least an empty line, one line end (`br`), a space of `pre`."""
_MARKS = {
    **dict.fromkeys(_PARAGRAPHS, _PARAGRAPH),
    **dict.fromkeys(_BLOCKS, _BREAK),
}
_STARTS = {**_MARKS, "br": _LINE, "li": f"{_BREAK}- "}
_ENDS = {**_MARKS, "td": " ", "th": " "}
_SPACES = re.compile("  +")
_GAP = re.compile("[\x01-\x03][ \x01-\x03]*")


class _Collector:
    """Collects visible text and marks from the parser's events; no tree is built, so depth costs nothing."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._skipping = 0
        self._preformatted = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._skipping:
            self._skipping += 1
            return
        if tag in _SKIPPED or ("style" in attributes and _HIDDEN.search(attributes["style"])):
            self._skipping = 1
            return
        if tag in _STARTS:
            self._pieces.append(_STARTS[tag])
            if tag == "pre":
                self._preformatted += 1

    def end(self, tag: str) -> None:
        if self._skipping:
            self._skipping -= 1
        elif tag in _ENDS:
            self._pieces.append(_ENDS[tag])
            if tag == "pre":
                self._preformatted -= 1

    def data(self, text: str) -> None:
        if self._skipping:
            return
        if self._preformatted:
            self._pieces.append(text.replace("\n", _LINE).replace(" ", _KEPT_SPACE))
        else:
            self._pieces.append(_one_spaced(text))

    def close(self) -> str:
        return "".join(self._pieces)


def require_html_reader() -> None:
    """Check that `html_to_text` can work, before mail is read for it.

    Raises:
        ConfigurationError: lxml is not installed.
    """
    if importlib.util.find_spec("lxml") is None:
        raise ConfigurationError(
            "The table 'emails' converts HTML to text with the package lxml, which is not installed.",
            fix="Install it where the mail is read: `pip install lxml`; on Databricks add it to the environment's "
            "dependencies.",
        )


def html_to_text(html: str) -> str:
    """The visible text of an HTML document: a line for each block, an empty line between paragraphs.

    Style sheets, scripts, hidden elements and the document's title are left out, links and images too.
    """
    from lxml import etree  # a Lakeflow source without derived tables needs no lxml

    collector = _Collector()
    parser = etree.HTMLParser(target=collector, encoding="utf-8", huge_tree=True)
    try:
        parser.feed(html.encode("utf-8", "replace"))
        parser.close()
    except (etree.LxmlError, ValueError):
        pass  # the text collected so far is kept
    text = _GAP.sub(_line_ends, _SPACES.sub(" ", collector.close()))
    return clean_text(text.replace(" \n", "\n").replace(_KEPT_SPACE, " ")).strip()


def _one_spaced(text: str) -> str:
    """Text whose runs of white space are single spaces, at its ends too."""
    words = " ".join(text.split())
    if not words:
        return " " if text else ""
    return f"{' ' if text[0].isspace() else ''}{words}{' ' if text[-1].isspace() else ''}"


def _line_ends(gap: re.Match[str]) -> str:
    marks = gap.group().replace(" ", "")
    blank = _PARAGRAPH in marks or marks.count(_LINE) > 1 or _BREAK + _LINE in marks
    return "\n\n" if blank else "\n"
