"""Bytes and HTML to text without control characters, for any input."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gmail_client.views.text import (
    clean_line,
    clean_text,
    decode_base64url,
    decode_clean,
    decode_text,
    html_to_text,
    plain_snippet,
)

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ud800-\udfff]")
ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a<br>b", "a\nb"),
        ("a<br><br>b", "a\n\nb"),
        ("<div>a</div><div><br></div><div>b</div>", "a\n\nb"),
        ("<div>a<br></div><div>b</div>", "a\nb"),
        ("<p>a</p><p>b", "a\n\nb"),
        ("<ul><li>x<li>y</ul>z", "- x\n- y\n\nz"),
        ("<table><tr><td>a<td>b<tr><td>c</table>", "a b\nc"),
        ("<pre>a\n   b</pre>", "a\n   b"),
        ("one\n  two\tthree", "one two three"),
        ("x &lt;y&gt;&nbsp;&amp; z &#x20AC;", "x <y> & z €"),
        ("<title>t</title><style>p {}</style><script>x()</script><p>shown", "shown"),
        ("<span style='color:red; DISPLAY : none'>not<img>this</span>this", "this"),
        ("a<!-- not this -->b", "ab"),
        ("<b>a</b><i>b</i> <a href='https://example.com'>c</a>", "ab c"),
        ('<html><head><meta charset="iso-8859-1"></head>Grüße, 世界', "Grüße, 世界"),
        ("<p>\x1b[31mred &#27; &#155;", "[31mred  ›"),
        ("", ""),
        ("<style>only", ""),
        ("< 3 > 2 & 1", "< 3 > 2 & 1"),
    ],
)
def test_html(html: str, text: str) -> None:
    assert html_to_text(html) == text


@settings(deadline=None)
@given(ANY_TEXT)
def test_html_of_any_kind_gives_clean_text(text: str) -> None:
    assert not CONTROL.search(html_to_text(f"<p>{text}</p>"))


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["<p>", "</p>", "<div", ">", "<table>", "<pre>", "</td>", "<!--", "x", " ", "&", "<![CDATA["]
        )
    )
)
def test_broken_html_gives_clean_text(pieces: list[str]) -> None:
    text = html_to_text("".join(pieces))
    assert text == text.strip()
    assert not CONTROL.search(text)
    assert "\n\n\n" not in text


BIG = {
    "deep": ("<div>" * 2_000_000 + "x", "x"),
    "tables": ("<table>" * 1_400_000 + "x", "x"),
    "flat": ("<p>hello <b>x</b></p>" * 470_000, "\n\n".join(["hello x"] * 470_000)),
    "open tags": ("<b><i><p>" * 1_100_000 + "x", "x"),
    "attributes": ("<a " + "x=1 " * 2_500_000 + ">x", "x"),
    "spaces": (" \n" * 5_000_000 + "x", "x"),
    "breaks": ("<br>" * 2_500_000 + "x", "x"),
    "hidden": ("<i style='display:none'>" * 400_000 + "x", ""),
    "entities": ("&amp;" * 2_000_000, "&" * 2_000_000),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BIG)
def test_ten_megabytes(name: str) -> None:
    """Each takes a few seconds; with quadratic run time, it would take hours."""
    html, text = BIG[name]
    assert html_to_text(html) == text


def test_deeply_nested_html() -> None:
    assert html_to_text("<div>" * 40_000 + "x") == "x"


@settings(deadline=None)
@given(ANY_TEXT)
def test_clean_text_and_lines(text: str) -> None:
    for cleaned in (clean_text(text), clean_line(text)):
        assert not CONTROL.search(cleaned)
        cleaned.encode()
    assert len(clean_line(text).splitlines()) <= 1
    assert clean_text(clean_text(text)) == clean_text(text)
    assert clean_line(clean_line(text)) == clean_line(text)


def test_a_line_has_no_bidirectional_overrides() -> None:
    assert clean_line("invoice\u202efdp.exe \u05d0\u200f") == "invoicefdp.exe \u05d0\u200f"


@settings(deadline=None)
@given(st.text().filter(lambda text: not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ufffe\uffff]", text)))
def test_clean_text_stays(text: str) -> None:
    assert clean_text(text) == text
    assert decode_clean(text.encode()) == text


@settings(deadline=None)
@given(st.text())
@example("one\rtwo\r\nthree")
@example("\ufeffbegin\x85\x9f\ufffe\uffff end\xa0")
@example("Fu\xdf \xc2\x80 \u4f60\uff0c\xbf")
@example("a\x00b\r\nc\x01")
def test_clean_decoding_agrees_with_its_two_steps(text: str) -> None:
    data = text.encode()
    assert decode_clean(data) == clean_text(decode_text(data))


@settings(deadline=None)
@given(
    st.text(), st.sampled_from(["utf-8", "utf-16", "iso-2022-jp", "shift_jis", "koi8-r", "gb18030", "utf-7"])
)
def test_text_round_trips_in_its_charset(text: str, charset: str) -> None:
    try:
        data = text.encode(charset)
    except UnicodeEncodeError:
        return
    if data.decode(charset) == text:
        assert decode_text(data, charset) == text


@pytest.mark.parametrize(
    "charset", ["", "x-unknown", "idna", "undefined", "unicode_escape", "hex", "\0", "ascii"]
)
@pytest.mark.parametrize("data", [b"\xff\xfe", b"caf\xe9", "é".encode(), b"\\u0041", b""])
def test_an_unusable_charset_gives_text(charset: str, data: bytes) -> None:
    text = decode_text(data, charset)
    assert isinstance(text, str)
    assert text == {b"caf\xe9": "café", b"\xff\xfe": "ÿþ"}.get(data, data.decode("utf-8", "replace"))


@settings(deadline=None)
@given(st.binary(), st.booleans())
def test_base64_without_padding_is_decoded(data: bytes, padded: bool) -> None:
    text = base64.urlsafe_b64encode(data).decode()
    assert decode_base64url(text if padded else text.rstrip("=")) == data


@settings(deadline=None)
@given(ANY_TEXT)
def test_broken_base64_gives_bytes(text: str) -> None:
    assert isinstance(decode_base64url(text), bytes)


def test_a_snippet_is_unescaped() -> None:
    assert plain_snippet("Tom &amp; Ann&#39;s\u200c &lt;list&gt;\n") == "Tom & Ann's\u200c <list>"
