"""Snippets: the source of their text, how it is shortened and escaped."""

from __future__ import annotations

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmail_client.emulator.mail.content import from_raw
from gmail_client.emulator.mail.snippet import SnippetStyle

WORD = SnippetStyle(cut="word")
CHARACTER = SnippetStyle(cut="character")
PLAIN = SnippetStyle(source="plain")


def snippet(raw: bytes, style: SnippetStyle = WORD) -> str:
    return from_raw(raw).snippet(style)


def alternative(*parts: bytes) -> bytes:
    """A multipart/alternative of parts that are headers, an empty line and a body."""
    inside = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts)
    return b"Content-Type: multipart/alternative; boundary=b\r\n\r\n" + inside + b"--b--\r\n"


HTML = b"Content-Type: text/html\r\n\r\n<p>from <b>html</b></p>"
TEXT = b"\r\nfrom text"


def test_white_space_is_collapsed_and_html_escaped() -> None:
    assert snippet(b"\r\n\r\n  Tom & 'Jerry' \r\n\r\n <said> \"hi\" ") == (
        "Tom &amp; &#39;Jerry&#39; &lt;said&gt; &quot;hi&quot;"
    )


def test_the_visible_text_of_html() -> None:
    page = b"<style>p {}</style><script>x<y</script><!-- no --><p>One&nbsp;two</p>&euro;3"
    assert snippet(b"Content-Type: text/html\r\n\r\n" + page) == "One two €3"


@pytest.mark.parametrize(
    ("style", "expected"), [(SnippetStyle(), "from html"), (PLAIN, "from text")], ids=["html", "plain"]
)
@pytest.mark.parametrize("order", [(TEXT, HTML), (HTML, TEXT)], ids=["text-html", "html-text"])
def test_multipart_alternative_uses_html(
    style: SnippetStyle, expected: str, order: tuple[bytes, ...]
) -> None:
    if style == PLAIN and order[0] is HTML:
        expected = "from html"  # the first form
    assert snippet(alternative(*order), style) == expected


def test_html_inside_related_counts_as_html() -> None:
    related = b"Content-Type: multipart/related; boundary=r\r\n\r\n--r\r\n" + HTML + b"\r\n--r--"
    assert snippet(alternative(TEXT, related)) == "from html"
    calendar = b"Content-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR"
    assert snippet(alternative(TEXT, HTML, calendar)) == "from html"


def test_empty_parts_and_files_are_skipped() -> None:
    assert snippet(alternative(b"\r\n ", HTML), PLAIN) == "from html"
    assert snippet(alternative(TEXT, b"Content-Type: text/html\r\n\r\n<p> </p>")) == "from text"
    assert snippet(alternative(TEXT, b"Content-Type: text/html; name=a.html\r\n\r\nfile")) == "from text"
    assert snippet(b"Content-Type: image/png\r\n\r\nxx") == ""
    assert snippet(b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nhi") == ""
    assert snippet(b"Content-Type: text/plain; charset=utf-8\r\n\r\n\xef\xbb\xbfhi") == "hi"


def test_long_text_ends_after_a_word_or_after_200_characters() -> None:
    long = b"\r\n" + b"wonderful " * 30 + b"\r\n"
    assert snippet(long, CHARACTER) == ("wonderful " * 20).strip()
    shifted = b"\r\nAh " + b"wonderful " * 30
    assert snippet(shifted, CHARACTER) == "Ah " + "wonderful " * 19 + "wonderf"
    assert snippet(shifted, WORD) == "Ah " + ("wonderful " * 19).strip()
    assert snippet(b"\r\n" + b"x" * 500, WORD) == "x" * 200
    assert snippet(b"\r\nshort " + b"x" * 500, WORD) == "short " + "x" * 194


@given(st.text(max_size=400), st.sampled_from([WORD, CHARACTER]))
def test_a_snippet_is_the_start_of_the_text(text: str, style: SnippetStyle) -> None:
    raw = b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + text.encode("utf-8", "replace")
    found = html.unescape(snippet(raw, style))
    words = " ".join(text.encode("utf-8", "replace").decode().removeprefix("\ufeff").split())
    assert words.startswith(found)
    assert len(found) <= 200
    if len(words) <= 200:
        assert found == words
    elif style == WORD and len(found) < 199:
        assert words[len(found)] == " "
