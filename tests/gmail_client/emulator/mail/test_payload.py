"""Payloads of raw mail: part ids, opened messages, attachments, files."""

from __future__ import annotations

import base64

import pytest
from support.payloads import check_rules, shown, text_of, walk

from gmail_client.emulator.mail.content import from_raw

NESTED = """From: A <a@example.com>\r
Subject: all kinds\r
Content-Type: multipart/mixed; boundary=outer\r
\r
preamble\r
--outer\r
Content-Type: multipart/alternative; boundary="in ner"\r
\r
--in ner\r
\r
plain & simple\r
--in ner\r
Content-Type: TEXT/HTML\r
\r
<p>rich</p>\r
--in ner--\r
--outer\r
Content-Type: message/rfc822\r
\r
Subject: inside\r
Content-Type: multipart/mixed; boundary=deep\r
\r
--deep\r
\r
deep text\r
--deep\r
Content-Type: application/pdf; name=a.pdf\r
Content-Transfer-Encoding: base64\r
\r
JVBERg==\r
--deep--\r
\r
--outer\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; mx.example.com\r
\r
Final-Recipient: rfc822; x@example.com\r
Status: 5.1.1\r
\r
Final-Recipient: rfc822; y@example.com\r
Status: 5.2.2\r
--outer\r
Content-Type: message/global\r
\r
Subject: closed\r
\r
x\r
--outer\r
Content-Type: image/png\r
\r
PNG\r
--outer\r
Content-Type: text/plain\r
Content-Disposition: inline; filename="note.txt"\r
\r
named text\r
--outer--\r
epilogue\r
"""


def test_part_ids_and_what_is_opened() -> None:
    payload = shown(NESTED)
    assert [(part["partId"], part["mimeType"]) for part in walk(payload)] == [
        ("", "multipart/mixed"),
        ("0", "multipart/alternative"),
        ("0.0", "text/plain"),
        ("0.1", "text/html"),
        ("1", "message/rfc822"),
        ("1.0", "multipart/mixed"),
        ("1.0.0", "text/plain"),
        ("1.0.1", "application/pdf"),
        ("2", "message/delivery-status"),
        ("2.0", "text/plain"),
        ("3", "message/global"),
        ("4", "image/png"),
        ("5", "text/plain"),
    ]
    for part in walk(payload):
        check_rules(part)
    found = {part["partId"]: part for part in walk(payload)}
    assert text_of(found["0.0"]) == "plain & simple"
    assert found["1.0"]["headers"][0] == {"name": "Subject", "value": "inside"}
    assert found["2.0"]["headers"] == [{"name": "Reporting-MTA", "value": "dns; mx.example.com"}]
    assert "Status: 5.1.1" in text_of(found["2.0"])
    assert "Status: 5.2.2" in text_of(found["2.0"])
    assert found["1.0.1"]["body"] == {"attachmentId": "id-1.0.1", "size": 4}
    assert found["1"]["body"] == {"size": 0}
    assert found["2"]["body"] == {"size": 0}
    assert found["4"]["body"] == {"attachmentId": "id-4", "size": 3}
    assert found["5"]["body"] == {"attachmentId": "id-5", "size": 10}
    assert found["5"]["filename"] == "note.txt"


def test_attachments_are_fetched_by_part_id() -> None:
    content = from_raw(NESTED.encode())
    assert content.attachment("1.0.1") == b"%PDF"
    assert content.attachment("5") == b"named text"
    for absent in ("1", "2", "0.0", "7", "0.9", "x", "1..0", "-1", "²"):
        with pytest.raises(KeyError):
            content.attachment(absent)


@pytest.mark.parametrize("kind", ["message/rfc822", "message/delivery-status"])
def test_an_opened_message_with_a_filename_is_an_attachment_too(kind: str) -> None:
    inside = "Subject: in\r\n\r\nhi"
    named = shown(f"Content-Type: {kind}; name=a.eml\r\n\r\n{inside}")
    assert named["body"] == {"attachmentId": "id-", "size": len(inside)}
    assert named["parts"][0]["headers"] == [{"name": "Subject", "value": "in"}]
    assert (
        from_raw(f"Content-Type: {kind}; name=a.eml\r\n\r\n{inside}".encode()).attachment("")
        == inside.encode()
    )
    unnamed = shown(f"Content-Type: {kind}\r\n\r\n{inside}")
    assert unnamed["body"] == {"size": 0}
    assert text_of(unnamed["parts"][0]) == "hi"


@pytest.mark.parametrize(
    ("body", "data", "size"),
    [
        (b"\xef\xbb\xbfhi", b"hi", 5),
        (b"\xef\xbb\xbf", None, 3),
        (b"hi\xef\xbb\xbf", b"hi\xef\xbb\xbf", 5),
    ],
)
def test_a_byte_order_mark_is_counted_but_not_shown(body: bytes, data: bytes | None, size: int) -> None:
    shown_body = shown(b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + body)["body"]
    assert shown_body["size"] == size
    assert ("data" in shown_body) == (data is not None)
    if data is not None:
        assert base64.urlsafe_b64decode(shown_body["data"]) == data


def test_a_message_that_is_itself_a_file() -> None:
    payload = shown(
        "Content-Type: application/pdf; name=x.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n"
    )
    assert payload["partId"] == ""
    assert payload["filename"] == "x.pdf"
    assert payload["body"] == {"attachmentId": "id-", "size": 4}
    assert "parts" not in payload
