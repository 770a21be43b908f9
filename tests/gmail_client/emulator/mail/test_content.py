"""The content of raw mail: 326 torture-test mails and arbitrary bytes pass; dates, ids and references."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.corpus import CORPUS, corpus_files, needs_corpus
from support.payloads import check_rules, exercise, walk

from gmail_client.emulator.mail.content import from_raw


@needs_corpus
def test_the_corpus_is_complete() -> None:
    assert len(corpus_files()) == 326


@needs_corpus
@pytest.mark.parametrize("folder", ["cpython", "enmime", "mikel_mail", "mimekit", "stalwart"])
def test_every_mail_of_the_corpus_passes(folder: str) -> None:
    for path in sorted((CORPUS / folder).glob("*.eml")):
        raw = path.read_bytes()
        content = from_raw(raw)
        assert content.raw() == raw
        for part in walk(exercise(content)):
            check_rules(part)


def test_dates_ids_and_references() -> None:
    content = from_raw(
        b"Date: Mon, 2 Nov 2026 10:00:00 -0800 (PST)\r\nMessage-ID:\r\n <one@example.com>\r\n"
        b"References: <a@x> <b@x>\r\n <a@x>\r\nIn-Reply-To: <c@x>\r\nSubject: =?utf-8?q?=C3=A9?=\r\n\r\n"
    )
    assert content.date_ms == 1793642400000
    assert content.message_id == "<one@example.com>"
    assert content.references == ("<a@x>", "<b@x>", "<c@x>")
    assert content.subject == "é"
    for date in ("", "yesterday", "Mon, 99 Xxx 2026", "1 Jan 99999 00:00", "Thu, 1 Jan 1960 00:00:00 +0000"):
        assert from_raw(f"Date: {date}\r\n\r\n".encode()).date_ms == 0


pieces = st.sampled_from(
    [
        b"Content-Type: ",
        b"multipart/mixed; boundary=b",
        b"message/rfc822",
        b"text/html; charset=",
        b"utf-7",
        b"undefined",
        b"--b",
        b"--b--",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"Content-Transfer-Encoding: base64",
        b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 6 x\n",
        b"Content-Disposition: attachment; filename*0*=",
        b"=?utf-8?B?w6?=",
        b"=?x?q?=",
        b"Date: 1 Jan 99999 ",
        b"Subject: ",
        b"From ",
        b":",
        b"\xff\xfe",
        b"<b>&#xD800;&",
        b"\x00",
    ]
)


@settings(deadline=None, max_examples=400)
@given(st.lists(pieces | st.binary(max_size=8), max_size=25).map(b"".join))
def test_nothing_raises(raw: bytes) -> None:
    content = from_raw(raw)
    assert content.raw() == raw
    for part in walk(exercise(content)):
        check_rules(part)
