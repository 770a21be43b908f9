"""Payloads of raw mail: the rules one by one, 326 torture-test mails, and arbitrary bytes."""

from __future__ import annotations

import base64
import email
import json
import re
from email.message import Message
from encodings import aliases
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.corpus import CORPUS, corpus_files, needs_corpus

from gmail_client.emulator.mail.content import MessageContent, from_raw
from gmail_client.emulator.mail.mime import MimeEntity, parse
from gmail_client.emulator.mail.snippet import SnippetStyle

STYLES = [SnippetStyle(source, cut) for source in ("html", "plain") for cut in ("word", "character")]

# Where this parser finds more than Python's: a boundary folded over two lines, a Content-Type without the
# semicolon, a transfer encoding with blanks behind it, an attached message in base64, text that calls
# itself base64.
SEEN_OTHERWISE = {
    "stalwart/099": "boundary with a line end inside",
    "stalwart/072": "no semicolon before the boundary",
    "stalwart/085": "message/rfc822 in base64",
    "stalwart/090": "quoted-printable with blanks",
    "enmime/032": "text that is not base64",
    "enmime/033": "no semicolon before the name",
    "enmime/034": "no semicolon before the name",
    "mimekit/003": "boundaries that begin alike",
}


def shown(raw: bytes | str) -> dict[str, Any]:
    return from_raw(raw.encode() if isinstance(raw, str) else raw).payload(lambda part_id: f"id-{part_id}")


def text_of(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64decode(part["body"]["data"]).decode("utf-8")


def walk(part: dict[str, Any]) -> list[dict[str, Any]]:
    return [part, *(inner for child in part.get("parts", ()) for inner in walk(child))]


def exercise(content: MessageContent) -> dict[str, Any]:
    """Call everything that the server uses of a content; returns the payload."""
    minted: list[str] = []

    def mint(part_id: str) -> str:
        minted.append(part_id)
        return f"id-{part_id}"

    payload = content.payload(mint)
    json.dumps(payload).encode("ascii")
    json.dumps(payload, ensure_ascii=False).encode("utf-8")
    for part_id in minted:
        assert isinstance(content.attachment(part_id), bytes)
    fields = content.search_text()
    assert isinstance(fields.anywhere + fields.mailing_list + fields.delivered_to, str)
    assert content.size == len(content.raw())
    assert content.date_ms >= 0
    assert all(reference.startswith("<") for reference in content.references)
    assert content.headers() == payload["headers"]
    assert content.mime_type == payload["mimeType"]
    assert isinstance(content.subject + content.message_id, str)
    for style in STYLES:
        assert len(re.sub(r"&(amp|lt|gt|quot|#39);", "x", content.snippet(style))) <= 200
    return payload


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


def check_rules(part: dict[str, Any]) -> None:
    body, kind = part["body"], part["mimeType"]
    assert kind == kind.lower()
    assert set(part) - {"parts"} == {"partId", "mimeType", "filename", "headers", "body"}
    for number, child in enumerate(part.get("parts", ())):
        assert child["partId"] == (f"{part['partId']}." if part["partId"] else "") + str(number)
    if "parts" in part and (kind.startswith("multipart/") or not part["filename"]):
        assert body == {"size": 0}
    elif "parts" in part or part["filename"] or not kind.startswith(("text/", "multipart/")):
        assert set(body) == {"attachmentId", "size"}
    elif "data" in body:
        data = base64.urlsafe_b64decode(body["data"])
        assert body["size"] - len(data) in (0, 3)
        assert len(body["data"]) % 4 == 0
        text_of(part)
    elif body["size"] == 3:
        assert body == {"size": 3}
    else:
        assert body == {"size": 0}
    if "parts" in part and kind.startswith("message/"):
        assert len(part["parts"]) == 1
    assert not (kind == "message/global" and "parts" in part)


@needs_corpus
@pytest.mark.parametrize("folder", ["cpython", "enmime", "mikel_mail", "mimekit", "stalwart"])
def test_part_trees_are_those_of_pythons_email_package(folder: str) -> None:
    for path in sorted((CORPUS / folder).glob("*.eml")):
        name = f"{folder}/{path.stem}"
        raw = path.read_bytes()
        differences = compare(email.message_from_bytes(raw), parse(raw), name)
        if name in SEEN_OTHERWISE:
            assert differences, f"{name} needs no exception any more"
        else:
            assert differences == []


def compare(theirs: Message, ours: MimeEntity, where: str) -> list[str]:
    found: list[str] = []
    kind = theirs.get_content_type()
    if kind != ours.mime_type:
        found.append(f"{where}: {ours.mime_type}, not {kind}")
    names = [name for name, _ in theirs.raw_items()]
    if names != [name for name, _ in ours.headers]:
        found.append(f"{where}: headers")
    inside = theirs.get_payload()
    if kind == "message/global":
        return found + ([f"{where}: opened"] if ours.children else [])
    if kind == "message/delivery-status":
        # Python parses each block of fields as a message, Gmail all of them as one.
        return found + ([f"{where}: {len(ours.children)} children"] if len(ours.children) != 1 else [])
    if isinstance(inside, list):
        if kind.startswith("message/") and ours.encoding == "base64":
            return [*found, f"{where}: an attached message in base64"]
        if len(inside) != len(ours.children):
            return [*found, f"{where}: {len(ours.children)} children, not {len(inside)}"]
        for number, (their, our) in enumerate(zip(inside, ours.children, strict=True)):
            found += compare(their, our, f"{where}.{number}")
    elif ours.children:
        found.append(f"{where}: children of a leaf")
    elif kind.startswith("text/") and theirs.get_payload(decode=True) != ours.decoded():
        found.append(f"{where}: content")
    return found


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


def test_headers_come_as_sent() -> None:
    payload = shown(
        "Received: one\r\nreceived: two\r\nMessage-Id: <x@y>\r\nX-Folded: a\r\n\tb\r\n   c \r\nX-Empty:\r\n"
        "Subject: =?utf-8?Q?caf=C3=A9_?= =?utf-8?B?w6k=?= end\r\nX-Odd=Name: v\r\n\r\nbody"
    )
    assert [(header["name"], header["value"]) for header in payload["headers"]] == [
        ("Received", "one"),
        ("received", "two"),
        ("Message-Id", "<x@y>"),
        ("X-Folded", "a b   c"),
        ("X-Empty", ""),
        ("Subject", "café é end"),
        ("X-Odd=Name", "v"),
    ]


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("one\r\n\ttwo", "one two"),
        ("one\r\n two", "one two"),
        ("mx.google.com;\r\n       spf=pass", "mx.google.com;       spf=pass"),
        ("one\n\ttwo", "one two"),
        ("one\ttwo", "one\ttwo"),
        ("one\r\n \r\n", "one"),
        ("\r\n one", "one"),
        ("=?utf-8?Q?=C3=A9?=\r\n\t=?utf-8?Q?=C3=A9?=", "éé"),
    ],
)
def test_a_fold_is_one_space(raw: str, value: str) -> None:
    assert shown(f"X-A: {raw}\r\n\r\n")["headers"][0] == {"name": "X-A", "value": value}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            'attachment;\r\n filename*0="a long ";\r\n filename*1="name.txt"; size=3',
            'attachment; filename="a long name.txt"; size=3',
        ),
        ("attachment; filename*1=b.txt; filename*0=a-", 'attachment; filename="a-b.txt"'),
        ("attachment; filename*0*=UTF-8''%e2%82; filename*1*=%ac%22.txt", 'attachment; filename="€\\".txt"'),
        ("attachment; filename*=UTF-8''a%20b", "attachment; filename*=UTF-8''a%20b"),
        ("attachment; filename=2*3*4=.txt", "attachment; filename=2*3*4=.txt"),
    ],
)
def test_continuations_of_a_parameter_are_joined(value: str, expected: str) -> None:
    payload = shown(f"Content-Disposition: {value}\r\nX-Other: a; b*0=c\r\n\r\n")
    assert [header["value"] for header in payload["headers"]] == [expected, "a; b*0=c"]


def test_eight_bit_headers() -> None:
    payload = shown("Subject: Grüße\r\n".encode() + "X-Old: Grüße\r\n\r\n".encode("latin-1"))
    assert [header["value"] for header in payload["headers"]] == ["Grüße", "Grüße"]


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("text/plain; charset=iso-8859-1", b"Gr\xfc\xdfe", "Grüße"),
        ("text/plain; charset=windows-1252", b"\x93quoted\x94", "“quoted”"),
        ("text/plain; charset=koi8-r", "привет".encode("koi8-r"), "привет"),
        ("text/plain; charset=ISO-2022-JP", "日本".encode("iso-2022-jp"), "日本"),
        ("text/plain; charset=gb2312", "北京".encode("gbk"), "北京"),
        ("text/plain; charset=utf-16", "hé".encode("utf-16"), "hé"),
        ("text/plain; charset=us-ascii", "naïve".encode(), "naïve"),
        ("text/plain; charset=no-such-charset", "naïve".encode(), "naïve"),
        ("text/plain; charset=no-such-charset", b"na\xefve", "naïve"),
        ("text/plain; charset=utf-8", b"bad \xff byte", "bad � byte"),
        ("text/plain; charset=rot13", b"not rot13", "not rot13"),
        ("text/plain; charset=unicode_escape", rb"\x41", r"\x41"),
        ("text/plain; charset=idna", b"plain", "plain"),
        ("text/plain", "ünïcode".encode(), "ünïcode"),
        ("text/html; charset=\"'utf-8'\"", "é".encode(), "é"),
        ("nonsense", b"taken for text", "taken for text"),
    ],
)
def test_text_is_shown_in_utf8(kind: str, body: bytes, expected: str) -> None:
    assert text_of(shown(f"Content-Type: {kind}\r\n\r\n".encode() + body)) == expected


def test_no_python_codec_breaks_a_mail() -> None:
    names = {
        *aliases.aliases,
        *aliases.aliases.values(),
        "undefined",
        "mbcs",
        "oem",
        "punycode",
        "aliases",
        "a\0b",
    }
    for name in names:
        for body in (b"plain +AGE- \\x41", b"\xff\xfe\x00\xd8", "é".encode("utf-16")):
            exercise(from_raw(f'Content-Type: text/plain; charset="{name}"\r\n\r\n'.encode() + body))


@pytest.mark.parametrize(
    ("encoding", "body", "expected"),
    [
        ("quoted-printable", "caf=C3=A9 =\r\nand =ZZ", "café and =ZZ"),
        ("QUOTED-PRINTABLE ", "a=3Db", "a=b"),
        ("base64", "aGVs\r\nbG8=", "hello"),
        ("base64", "aGVsbG8", "hello"),
        ("base64", "aGVs bG8=\r\n-- \r\nfooter", "hello"),
        ("base64", "x", "x"),
        ("x-uuencode", "begin 644 a\n%:&5L;&\\\n`\nend\n", "hello"),
        ("x-uuencode", "no uuencode", "no uuencode"),
        ("8bit", "as it is", "as it is"),
        ("rot26", "unknown", "unknown"),
    ],
)
def test_transfer_encodings(encoding: str, body: str, expected: str) -> None:
    assert text_of(shown(f"Content-Transfer-Encoding: {encoding}\r\n\r\n{body}")) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ('Content-Disposition: attachment; filename="a b.txt"', "a b.txt"),
        ("Content-Disposition: attachment; filename=plain.txt; size=3", "plain.txt"),
        ("Content-Type: image/png; name=x.png", "x.png"),
        ('Content-Type: image/png; name=x.png\r\nContent-Disposition: inline; filename="y.png"', "y.png"),
        (r'Content-Disposition: attachment; filename="a\"b\\c.txt"', r'a"b\c.txt'),
        (r'Content-Disposition: attachment; filename="C:\TEMP\n.txt"', r"C:\TEMP\n.txt"),
        ("Content-Disposition: attachment; filename*=UTF-8''%E2%82%AC%20rates", "€ rates"),
        ("Content-Disposition: attachment; filename*=iso-8859-1'en'%A3", "£"),
        (
            "Content-Disposition: attachment; filename*0*=UTF-8''%e4%bd; filename*1*=%a0%2; filename*2*=0x",
            "你 x",
        ),
        ('Content-Disposition: attachment; filename*1="b.txt"; filename*0="a-"', "a-b.txt"),
        ('Content-Disposition: attachment; filename="=?utf-8?B?w6kudHh0?="', "é.txt"),
        ('Content-Disposition: attachment; filename="semi;colon.txt"', "semi;colon.txt"),
        ('Content-Disposition: attachment; filename="unclosed.txt', "unclosed.txt"),
        ("Content-Disposition: attachment; filename*99999999999=x", ""),
        ("Content-Disposition: attachment", ""),
    ],
)
def test_filenames(headers: str, expected: str) -> None:
    assert shown(f"{headers}\r\n\r\nbody")["filename"] == expected


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


def test_broken_multiparts() -> None:
    assert text_of(shown("Content-Type: multipart/mixed\r\n\r\nno boundary")) == "no boundary"
    assert text_of(shown("Content-Type: multipart/mixed; boundary=x\r\n\r\nnever")) == "never"
    unclosed = shown("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n--x\r\n\r\ntwo\r\n")
    assert [text_of(part) for part in unclosed["parts"]] == ["one", "two"]
    lookalike = shown(
        "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\na --x\r\n--xy\r\nb\r\n--x--\r\n"
    )
    assert [text_of(part) for part in lookalike["parts"]] == ["a --x\r\n--xy\r\nb"]
    digest = shown(
        "Content-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\nSubject: in\r\n\r\nhi\r\n--x--"
    )
    assert digest["parts"][0]["mimeType"] == "message/rfc822"
    assert digest["parts"][0]["parts"][0]["headers"] == [{"name": "Subject", "value": "in"}]


def test_nesting_is_bounded_and_fast() -> None:
    raw = b"".join(
        b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (n, n) for n in range(3000)
    )
    payload = exercise(from_raw(raw))
    assert len(walk(payload)) < 100
    exercise(from_raw(b"Content-Type: message/rfc822\r\n\r\n" * 3000))
    exercise(from_raw(b"X: y\r\n" + b" folded\r\n" * 50_000 + b"\r\nbody"))
    exercise(from_raw(b"Content-Type: text/html\r\n\r\n" + b"<!--<" * 100_000))
    exercise(from_raw(b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n" * 50_000))


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
