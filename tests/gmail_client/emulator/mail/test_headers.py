"""Header values: unfolded, joined, decoded, whatever charset they name."""

from __future__ import annotations

from encodings import aliases

import pytest
from support.payloads import exercise, shown, text_of

from gmail_client.emulator.mail.content import from_raw


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
