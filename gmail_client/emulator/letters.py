"""Letters: from a few facts about a message to its tree of parts, in the shapes that real mail has.

`compose` draws everything that the facts leave open (length, charset, transfer encoding, attachments, signatures)
from the letter's own random numbers, so the same letter always gives the same bytes.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from urllib.parse import quote

from gmail_client.emulator.languages import LANGUAGES
from gmail_client.emulator.parts import Data, Multipart, Opened, Part, Piece, Text
from gmail_client.emulator.people import Person, encoded
from gmail_client.emulator.text import escape
from gmail_client.emulator.transit import date_text, received, submitted, token
from gmail_client.emulator.writing import NEWSLETTER_HEAD, writing

__all__ = ["STYLES", "Letter", "compose"]

STYLES = ("personal", "work", "list", "newsletter", "notification", "receipt", "calendar", "bounce", "chat")


@dataclass(slots=True)
class Letter:
    """What is known of a message before it is written.

    Args:
        style: One of `STYLES`.
        rng: Decides all the rest.
        owner: Whose mailbox it lies in.
        author: Who wrote it.
        to: Recipients, maybe none for a draft.
        cc: More recipients.
        subject: Without "Re:".
        language: Number of the language it is written in.
        message_id: With angle brackets.
        references: Message ids of the thread so far, oldest first; empty for a first message.
        seconds: Date, epoch seconds.
        incoming: Whether it came by SMTP, else it was sent (or drafted) from this account.
        draft: Whether it is not sent yet.
        scale: Factor on the length of texts.
        mailing_list: Name and id of the list it came through.
    """

    style: str
    rng: Random
    owner: Person
    author: Person
    to: tuple[Person, ...]
    cc: tuple[Person, ...]
    subject: str
    language: int
    message_id: str
    references: tuple[str, ...]
    seconds: int
    incoming: bool
    draft: bool = False
    scale: float = 1.0
    mailing_list: tuple[str, str] | None = None


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
_BULK = ("newsletter", "notification", "receipt")
_MAILERS = ("Quill 7.2", "Postbox Pro 16.4", "Pinewood/4.1")
_BREAK = "\r\n"
_HTML_BREAK = "<br>\r\n"
_ESCAPED = re.compile(r"(?:%..|[^%]){1,20}")
_CHARSET_MARK = "UTF-8''"
_LARGEST_FILE = 12_000_000
_HTML_HEAD = Piece(
    '<html><head><meta http-equiv="Content-Type" content="text/html"></head>\r\n<body><div dir="auto">\r\n'
)
_HTML_TAIL = Piece("</div></body></html>\r\n")
_QUOTE_HEAD = '<blockquote class="quote" style="margin:0 0 0 .8ex;border-left:1px solid #ccc">\r\n'


def compose(letter: Letter) -> Part:
    """The root part of a letter, all headers in place."""
    build = _choose(letter.rng, _SHAPES[letter.style])
    root = build(letter)
    _head(root, letter)
    _describe(root)
    return root


def _choose(rng: Random, shares: tuple[tuple[float, _Build], ...]) -> _Build:
    point = rng.random()
    for share, build in shares:
        point -= share
        if point < 0:
            return build
    return shares[0][1]


def _head(root: Part, letter: Letter) -> None:
    """Write all headers of the message itself: transit first, then the author's."""
    rng = letter.rng
    if letter.style == "chat":
        root.write(f"From: {letter.author.header()}\r\n")
        return
    listed = letter.mailing_list is not None or letter.style in _BULK
    if letter.incoming:
        root.write(
            received(
                rng, letter.seconds, to=letter.owner.address, sender=letter.author.address, listed=listed
            )
        )
    elif not letter.draft and rng.random() < 0.3:
        root.write(submitted(rng, letter.seconds))
    unusual = rng.random()
    lines = ["Mime-Version: 1.0" if unusual < 0.2 else "MIME-Version: 1.0"]
    if letter.references:
        lines.append("References: " + "\r\n ".join(letter.references))
        lines.append(f"In-Reply-To: {letter.references[-1]}")
    prefix = "Re: " if letter.references else ""
    lines += [
        f"From: {letter.author.header()}",
        f"Date: {date_text(letter.seconds, (int(unusual * 25) - 12) * 60)}",
        f"{'Message-Id' if unusual > 0.7 else 'Message-ID'}: {letter.message_id}",
        f"Subject: {_subject(prefix + letter.subject, letter)}",
    ]
    if letter.to:
        lines.append("To: " + ",\r\n\t".join([person.header() for person in letter.to]))
    if letter.cc:
        lines.append("Cc: " + ",\r\n\t".join([person.header() for person in letter.cc]))
    domain = letter.author.address.rpartition("@")[2]
    if letter.mailing_list:
        name, list_id = letter.mailing_list
        lines += [
            f"List-Id: {name} <{list_id}>",
            f"List-Post: <mailto:{list_id.replace('.', '@', 1)}>",
            f"List-Unsubscribe: <https://{list_id.partition('.')[2]}/unsubscribe/{token(rng, 24)}>",
            "Precedence: list",
        ]
    elif listed:
        lines += [
            f"List-Unsubscribe: <https://{domain}/u/{token(rng, 90)}>,\r\n <mailto:u-{token(rng, 12)}@{domain}>",
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
            f"Feedback-ID: {token(rng, 8)}:{token(rng, 6)}:{domain}",
            f"X-Mailer-Job: {token(rng, 120)}",
        ]
    elif rng.random() < 0.4:
        lines.append(f"X-Mailer: {_MAILERS[int(rng.random() * len(_MAILERS))]}")
    root.write("\r\n".join(lines) + "\r\n")


def _subject(subject: str, letter: Letter) -> str:
    charset = _charset(letter) if letter.rng.random() < 0.3 else "utf-8"
    try:
        return encoded(subject, charset)
    except UnicodeEncodeError:
        return encoded(subject)


def _describe(
    part: Part,
    *,
    disposition: str = "",
    content_id: str = "",
    options: str = "",
) -> Part:
    """Add the content headers that say what a part is."""
    if isinstance(part, Multipart):
        part.write(f"Content-Type: {part.content_type}\r\n")
        return part
    name, shown_in = _named(part.filename)
    kind = f'{part.mime_type}; charset="{part.charset}"' if isinstance(part, Text) else part.mime_type
    lines = [f"Content-Type: {kind}{options}{name}\r\n"]
    if not isinstance(part, Opened):
        encoding = part.encoding if isinstance(part, Text) else "base64"
        lines.append(f"Content-Transfer-Encoding: {encoding}\r\n")
    if part.filename or disposition:
        lines.append(f"Content-Disposition: {disposition or 'attachment'}{shown_in}\r\n")
    if content_id:
        lines.append(f"Content-ID: <{content_id}>\r\nX-Attachment-Id: {content_id}\r\n")
    part.write("".join(lines))
    return part


def _named(filename: str) -> tuple[str, str]:
    """The parameters that name a file, for Content-Type and for Content-Disposition."""
    if not filename:
        return "", ""
    if filename.isascii():
        return f'; name="{filename}"', f'; filename="{filename}"'
    escaped = quote(filename, safe="")
    if len(escaped) < 60:
        return f';\r\n name="{encoded(filename)}"', f";\r\n filename*={_CHARSET_MARK}{escaped}"
    continued = "".join(
        f";\r\n filename*{number}*={'' if number else _CHARSET_MARK}{piece}"
        for number, piece in enumerate(_ESCAPED.findall(escaped))
    )
    return f';\r\n name="{encoded(filename)}"', continued


def _boundary(letter: Letter) -> str:
    return f"=_{token(letter.rng, 26)}"


def _length(letter: Letter, mean: float) -> int:
    """A text length in bytes: log-normal around `mean`, times the letter's scale."""
    spread = 1.0
    return int(
        letter.scale * mean * min(20.0, math.exp(letter.rng.normalvariate(-spread * spread / 2, spread)))
    )


def _charset(letter: Letter) -> str:
    charsets = LANGUAGES[letter.language].charsets
    return charsets[0] if letter.rng.random() < 0.7 else charsets[int(letter.rng.random() * len(charsets))]


def _encoding(letter: Letter, charset: str) -> str:
    point = letter.rng.random()
    if charset in ("us-ascii", "iso-2022-jp"):
        return "7bit"
    if letter.language == 0:
        return "quoted-printable" if point < 0.6 else "8bit" if point < 0.9 else "base64"
    return "base64" if point < 0.35 else "quoted-printable" if point < 0.85 else "8bit"


def _text(letter: Letter, subtype: str, pieces: list[Piece], charset: str) -> Text:
    return Text(subtype, pieces, charset=charset, encoding=_encoding(letter, charset))


@dataclass(slots=True)
class _Prose:
    plain: list[Piece]
    html: list[Piece]
    charset: str


def _prose(letter: Letter, mean: float) -> _Prose:
    """What the author says, as plain text and as HTML."""
    rng, stock = letter.rng, writing(letter.language)
    language = stock.language
    if letter.draft and rng.random() < 0.2:
        return _Prose([], [], "utf-8")
    chosen = stock.choose(rng, _length(letter, mean), stock.plain)
    first = letter.to[0].name.split(",")[0] if letter.to else ""
    hello = f"{language.hello} {first}".strip() + ","
    bye = f"{language.bye}\r\n{letter.author.name}"
    plain = [Piece(f"{hello}\r\n\r\n"), *(stock.plain[n] for n in chosen), Piece(f"{bye}\r\n")]
    html = [
        _HTML_HEAD,
        Piece(f"<p>{escape(hello)}</p>\r\n"),
        *(stock.html[n] for n in chosen),
        Piece(f"<p>{escape(bye).replace(_BREAK, '<br>' + _BREAK)}</p>\r\n"),
    ]
    if letter.references:
        quoted = stock.choose(rng, _length(letter, mean * 0.6), stock.quoted)
        other = letter.to[0].name if letter.to else letter.owner.name
        line = f"{date_text(letter.seconds - 7200)[:16]}, {other} {language.wrote}:"
        plain += [Piece(f"\r\n{line}\r\n"), *(stock.quoted[n] for n in quoted)]
        html += [Piece(f"<div>{escape(line)}</div>\r\n{_QUOTE_HEAD}"), *(stock.html[n] for n in quoted)]
        html.append(Piece("</blockquote>\r\n"))
    html.append(_HTML_TAIL)
    return _Prose(plain, html, _charset(letter))


def _multipart(letter: Letter, subtype: str, children: list[Part], options: str = "") -> Multipart:
    return Multipart(subtype, children, _boundary(letter), options)


def _plain(letter: Letter) -> Part:
    prose = _prose(letter, 2600)
    return _text(letter, "plain", prose.plain, prose.charset)


def _html(letter: Letter) -> Part:
    prose = _prose(letter, 2600)
    return _text(letter, "html", prose.html, prose.charset)


def _alternative(letter: Letter) -> Part:
    prose = _prose(letter, 1900)
    return _multipart(
        letter,
        "alternative",
        [
            _describe(_text(letter, "plain", prose.plain, prose.charset)),
            _describe(_text(letter, "html", prose.html, prose.charset)),
        ],
    )


def _file(letter: Letter, *, kind: int | None = None) -> Part:
    rng = letter.rng
    number = int(rng.random() * 9000) + 1000
    if kind is None and rng.random() < 0.1:
        rows = [
            Piece("id;name;amount\r\n"),
            *(Piece(f"{n};position {n};{n * 13}.50\r\n") for n in range(number % 40)),
        ]
        return _describe(Text("csv", rows, filename=f"export-{number}.csv", encoding="base64"))
    mime_type, extension, magic, median = _FILES[int(rng.random() * len(_FILES)) if kind is None else kind]
    size = min(_LARGEST_FILE, int(rng.lognormvariate(math.log(median), 1.1)))
    stem = "".join(
        character for character in letter.subject if character.isalnum() or character in " -_"
    ).strip()
    return _describe(Data(mime_type, f"{stem} {number}.{extension}", magic, size, number * 7))


def _image(letter: Letter, content_id: str, *, named: bool) -> Part:
    size = 2_000 + int(letter.rng.random() * 60_000)
    image = Data("image/png", "image001.png" if named else "", b"\x89PNG\r\n\x1a\n", size, size)
    return _describe(image, disposition="inline", content_id=content_id)


def _attachments(letter: Letter) -> Part:
    body = _describe(_alternative(letter) if letter.rng.random() < 0.7 else _plain(letter))
    count = 1 + int(letter.rng.random() ** 3 * 4)
    return _multipart(letter, "mixed", [body, *(_file(letter) for _ in range(count))])


def _related(letter: Letter) -> Part:
    body = _describe(_alternative(letter))
    named = letter.rng.random() < 0.7
    image = _image(letter, f"ii_{token(letter.rng, 16)}", named=named)
    return _multipart(letter, "related", [body, image], 'type="multipart/alternative";\r\n\t')


def _deep(letter: Letter) -> Part:
    prose = _prose(letter, 1900)
    html = _describe(_text(letter, "html", prose.html, prose.charset))
    image = _image(letter, f"part1.{token(letter.rng, 16)}@example.com", named=True)
    related = _describe(_multipart(letter, "related", [html, image]))
    plain = _describe(_text(letter, "plain", prose.plain, prose.charset))
    alternative = _describe(_multipart(letter, "alternative", [plain, related]))
    return _multipart(letter, "mixed", [alternative, _file(letter)])


def _signed(letter: Letter) -> Part:
    body = _describe(_plain(letter) if letter.rng.random() < 0.5 else _attachments(letter))
    signature = _describe(
        Data(
            "application/pkcs7-signature", "smime.p7s", b"0\x80\x06\x09*\x86H\x86\xf7\r\x01\x07\x02", 5200, 3
        )
    )
    options = 'protocol="application/pkcs7-signature"; micalg=sha-256;\r\n\t'
    return _multipart(letter, "signed", [body, signature], options)


def _pgp_signed(letter: Letter) -> Part:
    body = _describe(_plain(letter))
    armour = (
        f"-----BEGIN PGP SIGNATURE-----\r\n\r\n{token(letter.rng, 300)}\r\n-----END PGP SIGNATURE-----\r\n"
    )
    name = "signature.asc" if letter.rng.random() < 0.5 else ""
    signature = _describe(Data("application/pgp-signature", name, armour.encode("ascii"), 0, 0))
    options = 'micalg=pgp-sha512; protocol="application/pgp-signature";\r\n\t'
    return _multipart(letter, "signed", [body, signature], options)


def _inner(letter: Letter, author: Person, to: tuple[Person, ...]) -> Part:
    """An older message that travels inside this one."""
    older = replace(
        letter,
        style="personal",
        author=author,
        to=to,
        cc=(),
        references=(),
        message_id=f"<{token(letter.rng, 22)}@mail.example.com>",
        seconds=letter.seconds - 86_400,
        incoming=False,
        draft=False,
        mailing_list=None,
    )
    root = _plain(older) if letter.rng.random() < 0.4 else _alternative(older)
    _head(root, older)
    return _describe(root)


def _forward(letter: Letter) -> Part:
    note = _describe(_plain(replace(letter, scale=letter.scale * 0.3)))
    count = 1 if letter.rng.random() < 0.9 else 2
    attached: list[Part] = []
    for _ in range(count):
        inner = _inner(letter, letter.to[0] if letter.to else letter.author, (letter.author,))
        name = "Forwarded message.eml" if letter.rng.random() < 0.5 else ""
        attached.append(_describe(Opened("message/rfc822", inner, name), disposition="attachment"))
    return _multipart(letter, "mixed", [note, *attached])


def _bounce(letter: Letter) -> Part:
    rng = letter.rng
    lost = f"nobody.{int(rng.random() * 999)}@example.org"
    say = Piece(f"Your message to {lost} could not be delivered.\r\n\r\nThe mailbox does not exist.\r\n")
    explanation = _describe(Text("plain", [say], charset="us-ascii", encoding="7bit"))
    status = Text(
        "plain",
        [
            Piece(
                f"Final-Recipient: rfc822; {lost}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
                "Remote-MTA: dns; mx.example.org\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
            )
        ],
        charset="us-ascii",
        encoding="7bit",
    )
    arrived = date_text(letter.seconds - 5, -480)
    status.write(f"Reporting-MTA: dns; mx.gmail.test\r\nArrival-Date: {arrived}\r\n")
    report = _describe(Opened("message/delivery-status", status))
    returned = _inner(letter, letter.owner, (Person("", lost, 0),))
    last: Part
    if rng.random() < 0.6:
        last = _describe(Opened("message/rfc822", returned))
    else:
        lines = [Piece(f"{name}: {value}\r\n") for name, value in returned.headers if value.isascii()]
        last = _describe(Text("rfc822-headers", lines, charset="us-ascii", encoding="7bit"))
    return _multipart(letter, "report", [explanation, report, last], "report-type=delivery-status;\r\n\t")


def _calendar(letter: Letter) -> Part:
    prose = _prose(letter, 900)
    start = letter.seconds + 172_800
    lines = "\r\n".join(
        (
            "BEGIN:VCALENDAR",
            "PRODID:-//Example//Calendar//EN",
            "VERSION:2.0",
            "METHOD:REQUEST",
            "BEGIN:VEVENT",
            f"DTSTART:{_stamp(start)}",
            f"DTEND:{_stamp(start + 3600)}",
            f"UID:{token(letter.rng, 26)}@example.com",
            f"ORGANIZER;CN={letter.author.name}:mailto:{letter.author.address}",
            f"SUMMARY:{letter.subject}",
            "STATUS:CONFIRMED",
            "END:VEVENT",
            "END:VCALENDAR",
            "",
        )
    )
    event = Piece(lines)
    alternative = _multipart(
        letter,
        "alternative",
        [
            _describe(_text(letter, "plain", prose.plain, prose.charset)),
            _describe(_text(letter, "html", prose.html, prose.charset)),
            _describe(Text("calendar", [event], encoding="base64"), options="; method=REQUEST"),
        ],
    )
    file = _describe(Data("application/ics", "invite.ics", event.utf8, 0, 0))
    return _multipart(letter, "mixed", [_describe(alternative), file])


def _stamp(seconds: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


def _newsletter(letter: Letter) -> Part:
    stock, rng = writing(letter.language), letter.rng
    chosen = stock.choose(rng, _length(letter, 17_000), stock.rows)
    charset = _charset(letter)
    pixel = Piece(
        f'<img src="https://t.news.example.com/o/{token(rng, 120)}" width="1" height="1"></body></html>\r\n'
    )
    html = [NEWSLETTER_HEAD, *(stock.rows[n] for n in chosen), pixel]
    if rng.random() < 0.25:
        return _text(letter, "html", html, charset)
    plain = [*(stock.plain[n] for n in chosen), Piece(f"https://news.example.com/u/{token(rng, 60)}\r\n")]
    return _multipart(
        letter,
        "alternative",
        [_describe(_text(letter, "plain", plain, charset)), _describe(_text(letter, "html", html, charset))],
    )


def _receipt(letter: Letter) -> Part:
    if letter.rng.random() < 0.6:
        return _multipart(letter, "mixed", [_describe(_alternative(letter)), _file(letter, kind=0)])
    return _alternative(letter)


def _chat(letter: Letter) -> Part:
    rng, language = letter.rng, LANGUAGES[letter.language]
    said = language.sentences[int(rng.random() * len(language.sentences))]
    return Text("html", [Piece(escape(said))])


_Build = Callable[[Letter], Part]
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
