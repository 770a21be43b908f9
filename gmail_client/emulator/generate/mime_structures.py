"""The MIME structures of real mail: `compose` turns a `MessageSpec` into a tree of parts.

Length, charset, transfer encoding, attachments and signatures come from the random numbers of the spec, so the same
spec always gives the same bytes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from gmail_client.emulator.generate.languages import LANGUAGES
from gmail_client.emulator.generate.message_spec import MessageSpec, charset_of, describe, write_head
from gmail_client.emulator.generate.mime_parts import (
    BinaryPart,
    EmbeddedMessagePart,
    MimePart,
    MultipartPart,
    TextPart,
    TextPiece,
)
from gmail_client.emulator.generate.people import Person
from gmail_client.emulator.generate.text_stock import NEWSLETTER_HEAD, text_stock, token
from gmail_client.emulator.generate.trace_headers import date_text
from gmail_client.emulator.mail.text import escape

__all__ = ["compose"]

_FILES = (
    ("application/pdf", "pdf", b"%PDF-1.7\r\n%\xe2\xe3\xcf\xd3\r\n", 90_000),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "docx",
        b"PK\x03\x04\x14",
        40_000,
    ),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx", b"PK\x03\x04\x14", 25_000),
    ("image/jpeg", "jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF", 350_000),
    ("image/png", "png", b"\x89PNG\r\n\x1a\n", 120_000),
    ("application/zip", "zip", b"PK\x03\x04\x14", 500_000),
    ("application/octet-stream", "bin", b"\x00\x01", 8_000),
)
_BREAK = "\r\n"
_HTML_BREAK = "<br>\r\n"
_LARGEST_FILE = 12_000_000
_HTML_HEAD = TextPiece(
    '<html><head><meta http-equiv="Content-Type" content="text/html"></head>\r\n<body><div dir="auto">\r\n'
)
_HTML_TAIL = TextPiece("</div></body></html>\r\n")
_QUOTE_HEAD = '<blockquote class="quote" style="margin:0 0 0 .8ex;border-left:1px solid #ccc">\r\n'


def compose(spec: MessageSpec) -> MimePart:
    """The root part of a message, with all headers."""
    build = _choose(spec.rng, _SHAPES[spec.style])
    root = build(spec)
    write_head(root, spec)
    describe(root)
    return root


def _choose(rng: Random, shares: tuple[tuple[float, _Build], ...]) -> _Build:
    point = rng.random()
    for share, build in shares:
        point -= share
        if point < 0:
            return build
    return shares[0][1]


def _boundary(spec: MessageSpec) -> str:
    return f"=_{token(spec.rng, 26)}"


def _length(spec: MessageSpec, mean: float) -> int:
    """A length of text in bytes: log-normal around `mean`, times the scale of the spec."""
    spread = 1.0
    return int(spec.scale * mean * min(20.0, math.exp(spec.rng.normalvariate(-spread * spread / 2, spread))))


def _encoding(spec: MessageSpec, charset: str) -> str:
    point = spec.rng.random()
    if charset in ("us-ascii", "iso-2022-jp"):
        return "7bit"
    if spec.language == 0:
        return "quoted-printable" if point < 0.6 else "8bit" if point < 0.9 else "base64"
    return "base64" if point < 0.35 else "quoted-printable" if point < 0.85 else "8bit"


def _text(spec: MessageSpec, subtype: str, pieces: list[TextPiece], charset: str) -> TextPart:
    return TextPart(subtype, pieces, charset=charset, encoding=_encoding(spec, charset))


@dataclass(slots=True)
class _Prose:
    plain: list[TextPiece]
    html: list[TextPiece]
    charset: str


def _prose(spec: MessageSpec, mean: float) -> _Prose:
    """The text of the author, as plain text and as HTML."""
    rng, stock = spec.rng, text_stock(spec.language)
    language = stock.language
    if spec.draft and rng.random() < 0.2:
        return _Prose([], [], "utf-8")
    chosen = stock.choose(rng, _length(spec, mean), stock.plain)
    first = spec.to[0].name.split(",")[0] if spec.to else ""
    hello = f"{language.hello} {first}".strip() + ","
    bye = f"{language.bye}\r\n{spec.author.name}"
    plain = [TextPiece(f"{hello}\r\n\r\n"), *(stock.plain[n] for n in chosen), TextPiece(f"{bye}\r\n")]
    html = [
        _HTML_HEAD,
        TextPiece(f"<p>{escape(hello)}</p>\r\n"),
        *(stock.html[n] for n in chosen),
        TextPiece(f"<p>{escape(bye).replace(_BREAK, '<br>' + _BREAK)}</p>\r\n"),
    ]
    if spec.references:
        quoted = stock.choose(rng, _length(spec, mean * 0.6), stock.quoted)
        other = spec.to[0].name if spec.to else spec.owner.name
        line = f"{date_text(spec.seconds - 7200)[:16]}, {other} {language.wrote}:"
        plain += [TextPiece(f"\r\n{line}\r\n"), *(stock.quoted[n] for n in quoted)]
        html += [TextPiece(f"<div>{escape(line)}</div>\r\n{_QUOTE_HEAD}"), *(stock.html[n] for n in quoted)]
        html.append(TextPiece("</blockquote>\r\n"))
    html.append(_HTML_TAIL)
    return _Prose(plain, html, charset_of(spec))


def _multipart(spec: MessageSpec, subtype: str, children: list[MimePart], options: str = "") -> MultipartPart:
    return MultipartPart(subtype, children, _boundary(spec), options)


def _plain(spec: MessageSpec) -> MimePart:
    prose = _prose(spec, 2600)
    return _text(spec, "plain", prose.plain, prose.charset)


def _html(spec: MessageSpec) -> MimePart:
    prose = _prose(spec, 2600)
    return _text(spec, "html", prose.html, prose.charset)


def _alternative(spec: MessageSpec) -> MimePart:
    prose = _prose(spec, 1900)
    return _multipart(
        spec,
        "alternative",
        [
            describe(_text(spec, "plain", prose.plain, prose.charset)),
            describe(_text(spec, "html", prose.html, prose.charset)),
        ],
    )


def _file(spec: MessageSpec, *, kind: int | None = None) -> MimePart:
    rng = spec.rng
    number = int(rng.random() * 9000) + 1000
    if kind is None and rng.random() < 0.1:
        rows = [
            TextPiece("id;name;amount\r\n"),
            *(TextPiece(f"{n};position {n};{n * 13}.50\r\n") for n in range(number % 40)),
        ]
        return describe(TextPart("csv", rows, filename=f"export-{number}.csv", encoding="base64"))
    mime_type, extension, magic, median = _FILES[int(rng.random() * len(_FILES)) if kind is None else kind]
    size = min(_LARGEST_FILE, int(rng.lognormvariate(math.log(median), 1.1)))
    stem = "".join(
        character for character in spec.subject if character.isalnum() or character in " -_"
    ).strip()
    return describe(BinaryPart(mime_type, f"{stem} {number}.{extension}", magic, size, number * 7))


def _image(spec: MessageSpec, content_id: str, *, named: bool) -> MimePart:
    size = 2_000 + int(spec.rng.random() * 60_000)
    image = BinaryPart("image/png", "image001.png" if named else "", b"\x89PNG\r\n\x1a\n", size, size)
    return describe(image, disposition="inline", content_id=content_id)


def _attachments(spec: MessageSpec) -> MimePart:
    body = describe(_alternative(spec) if spec.rng.random() < 0.7 else _plain(spec))
    count = 1 + int(spec.rng.random() ** 3 * 4)
    return _multipart(spec, "mixed", [body, *(_file(spec) for _ in range(count))])


def _related(spec: MessageSpec) -> MimePart:
    body = describe(_alternative(spec))
    named = spec.rng.random() < 0.7
    image = _image(spec, f"ii_{token(spec.rng, 16)}", named=named)
    return _multipart(spec, "related", [body, image], 'type="multipart/alternative";\f\t')


def _deep(spec: MessageSpec) -> MimePart:
    prose = _prose(spec, 1900)
    html = describe(_text(spec, "html", prose.html, prose.charset))
    image = _image(spec, f"part1.{token(spec.rng, 16)}@example.com", named=True)
    related = describe(_multipart(spec, "related", [html, image]))
    plain = describe(_text(spec, "plain", prose.plain, prose.charset))
    alternative = describe(_multipart(spec, "alternative", [plain, related]))
    return _multipart(spec, "mixed", [alternative, _file(spec)])


def _signed(spec: MessageSpec) -> MimePart:
    body = describe(_plain(spec) if spec.rng.random() < 0.5 else _attachments(spec))
    signature = describe(
        BinaryPart(
            "application/pkcs7-signature", "smime.p7s", b"0\x80\x06\x09*\x86H\x86\xf7\r\x01\x07\x02", 5200, 3
        )
    )
    options = 'protocol="application/pkcs7-signature"; micalg=sha-256;\f\t'
    return _multipart(spec, "signed", [body, signature], options)


def _pgp_signed(spec: MessageSpec) -> MimePart:
    body = describe(_plain(spec))
    armour = f"-----BEGIN PGP SIGNATURE-----\r\n\r\n{token(spec.rng, 300)}\r\n-----END PGP SIGNATURE-----\r\n"
    name = "signature.asc" if spec.rng.random() < 0.5 else ""
    signature = describe(BinaryPart("application/pgp-signature", name, armour.encode("ascii"), 0, 0))
    options = 'micalg=pgp-sha512; protocol="application/pgp-signature";\f\t'
    return _multipart(spec, "signed", [body, signature], options)


def _inner(spec: MessageSpec, author: Person, to: tuple[Person, ...]) -> MimePart:
    """An older message, attached to this one."""
    older = replace(
        spec,
        style="personal",
        author=author,
        to=to,
        cc=(),
        references=(),
        message_id=f"<{token(spec.rng, 22)}@mail.example.com>",
        seconds=spec.seconds - 86_400,
        incoming=False,
        draft=False,
        mailing_list=None,
    )
    root = _choose(spec.rng, _SHAPES_INSIDE)(older)
    write_head(root, older)
    return describe(root)


def _forward(spec: MessageSpec) -> MimePart:
    note = describe(_plain(replace(spec, scale=spec.scale * 0.3)))
    count = 1 if spec.rng.random() < 0.9 else 2
    attached: list[MimePart] = []
    for _ in range(count):
        inner = _inner(spec, spec.to[0] if spec.to else spec.author, (spec.author,))
        name = "Forwarded message.eml" if spec.rng.random() < 0.5 else ""
        attached.append(
            describe(EmbeddedMessagePart("message/rfc822", inner, name), disposition="attachment")
        )
    return _multipart(spec, "mixed", [note, *attached])


def _bounce(spec: MessageSpec) -> MimePart:
    rng = spec.rng
    lost = f"nobody.{int(rng.random() * 999)}@example.org"
    say = TextPiece(f"Your message to {lost} could not be delivered.\r\n\r\nThe mailbox does not exist.\r\n")
    explanation = describe(TextPart("plain", [say], charset="us-ascii", encoding="7bit"))
    status = TextPart(
        "plain",
        [
            TextPiece(
                f"Final-Recipient: rfc822; {lost}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
                "Remote-MTA: dns; mx.example.org\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
            )
        ],
        charset="us-ascii",
        encoding="7bit",
    )
    arrived = date_text(spec.seconds - 5, -480)
    status.write(f"Reporting-MTA: dns; mx.gmail.test\nArrival-Date: {arrived}\n")
    report = describe(EmbeddedMessagePart("message/delivery-status", status))
    returned = _inner(spec, spec.owner, (Person("", lost, 0),))
    last: MimePart
    if rng.random() < 0.6:
        last = describe(EmbeddedMessagePart("message/rfc822", returned))
    else:
        lines = [TextPiece(f"{name}: {value}\r\n") for name, value in returned.headers if value.isascii()]
        last = describe(TextPart("rfc822-headers", lines, charset="us-ascii", encoding="7bit"))
    return _multipart(spec, "report", [explanation, report, last], "report-type=delivery-status;\f\t")


def _calendar(spec: MessageSpec) -> MimePart:
    prose = _prose(spec, 900)
    start = spec.seconds + 172_800
    lines = "\r\n".join(
        (
            "BEGIN:VCALENDAR",
            "PRODID:-//Example//Calendar//EN",
            "VERSION:2.0",
            "METHOD:REQUEST",
            "BEGIN:VEVENT",
            f"DTSTART:{_stamp(start)}",
            f"DTEND:{_stamp(start + 3600)}",
            f"UID:{token(spec.rng, 26)}@example.com",
            f"ORGANIZER;CN={spec.author.name}:mailto:{spec.author.address}",
            f"SUMMARY:{spec.subject}",
            "STATUS:CONFIRMED",
            "END:VEVENT",
            "END:VCALENDAR",
            "",
        )
    )
    event = TextPiece(lines)
    alternative = _multipart(
        spec,
        "alternative",
        [
            describe(_text(spec, "plain", prose.plain, prose.charset)),
            describe(_text(spec, "html", prose.html, prose.charset)),
            describe(TextPart("calendar", [event], encoding="base64"), options="; method=REQUEST"),
        ],
    )
    file = describe(BinaryPart("application/ics", "invite.ics", event.utf8, 0, 0))
    return _multipart(spec, "mixed", [describe(alternative), file])


def _stamp(seconds: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


def _newsletter(spec: MessageSpec) -> MimePart:
    stock, rng = text_stock(spec.language), spec.rng
    chosen = stock.choose(rng, _length(spec, 17_000), stock.rows)
    charset = charset_of(spec)
    pixel = TextPiece(
        f'<img src="https://t.news.example.com/o/{token(rng, 120)}" width="1" height="1"></body></html>\r\n'
    )
    html = [NEWSLETTER_HEAD, *(stock.rows[n] for n in chosen), pixel]
    if rng.random() < 0.25:
        return _text(spec, "html", html, charset)
    plain = [
        *(stock.plain[n] for n in chosen),
        TextPiece(f"https://news.example.com/u/{token(rng, 60)}\r\n"),
    ]
    return _multipart(
        spec,
        "alternative",
        [describe(_text(spec, "plain", plain, charset)), describe(_text(spec, "html", html, charset))],
    )


def _receipt(spec: MessageSpec) -> MimePart:
    if spec.rng.random() < 0.6:
        return _multipart(spec, "mixed", [describe(_alternative(spec)), _file(spec, kind=0)])
    return _alternative(spec)


def _chat(spec: MessageSpec) -> MimePart:
    rng, language = spec.rng, LANGUAGES[spec.language]
    said = language.sentences[int(rng.random() * len(language.sentences))]
    return TextPart("html", [TextPiece(escape(said))])


_Build = Callable[[MessageSpec], MimePart]
_SHAPES_INSIDE: tuple[tuple[float, _Build], ...] = (
    (0.36, _plain),
    (0.36, _alternative),
    (0.10, _deep),
    (0.18, _forward),
)
_SHAPES: dict[str, tuple[tuple[float, _Build], ...]] = {
    "personal": (
        (0.42, _alternative),
        (0.28, _plain),
        (0.10, _attachments),
        (0.06, _related),
        (0.03, _deep),
        (0.03, _pgp_signed),
        (0.03, _signed),
        (0.03, _forward),
        (0.02, _html),
    ),
    "work": (
        (0.48, _alternative),
        (0.12, _plain),
        (0.18, _attachments),
        (0.07, _deep),
        (0.05, _calendar),
        (0.05, _signed),
        (0.05, _forward),
    ),
    "list": ((0.80, _plain), (0.10, _pgp_signed), (0.10, _alternative)),
    "newsletter": ((1.0, _newsletter),),
    "notification": ((0.50, _alternative), (0.35, _html), (0.15, _plain)),
    "receipt": ((1.0, _receipt),),
    "calendar": ((1.0, _calendar),),
    "bounce": ((1.0, _bounce),),
    "chat": ((1.0, _chat),),
}
