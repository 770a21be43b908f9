"""The parameters of a generated message (`MessageSpec`), and its headers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random
from urllib.parse import quote

from gmail_client.emulator.generate.languages import LANGUAGES
from gmail_client.emulator.generate.mime_parts import EmbeddedMessagePart, MimePart, MultipartPart, TextPart
from gmail_client.emulator.generate.people import Person, encoded
from gmail_client.emulator.generate.text_stock import token
from gmail_client.emulator.generate.trace_headers import date_text, received, submitted

__all__ = ["STYLES", "MessageSpec", "charset_of", "describe", "write_head"]

STYLES = ("personal", "work", "list", "newsletter", "notification", "receipt", "calendar", "bounce", "chat")

_BULK = ("newsletter", "notification", "receipt")
_MAILERS = ("Quill 7.2", "Postbox Pro 16.4", "Pinewood/4.1")
_ESCAPED = re.compile(r"(?:%..|[^%]){1,20}")
_CHARSET_MARK = "UTF-8''"


@dataclass(slots=True)
class MessageSpec:
    """The parameters of a generated message.

    Args:
        style: One of `STYLES`.
        rng: Determines everything else.
        owner: The owner of the mailbox.
        author: The author.
        to: Recipients, possibly none for a draft.
        cc: More recipients.
        subject: Without "Re:".
        language: Number of its language.
        message_id: With angle brackets.
        references: Message ids of the thread so far, oldest first; empty for a first message.
        seconds: Date, epoch seconds.
        incoming: Whether it arrived by SMTP; otherwise it was sent (or drafted) from this account.
        draft: Whether it is a draft.
        scale: Factor of the length of texts.
        mailing_list: Name and id of its mailing list.
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


def write_head(root: MimePart, spec: MessageSpec) -> None:
    """Write all headers of the message: first those of its transit, then the author's."""
    rng = spec.rng
    if spec.style == "chat":
        root.write(f"From: {spec.author.header()}\n")
        return
    listed = spec.mailing_list is not None or spec.style in _BULK
    if spec.incoming:
        root.write(
            received(rng, spec.seconds, to=spec.owner.address, sender=spec.author.address, listed=listed)
        )
    elif not spec.draft and rng.random() < 0.3:
        root.write(submitted(rng, spec.seconds))
    unusual = rng.random()
    lines = ["Mime-Version: 1.0" if unusual < 0.2 else "MIME-Version: 1.0"]
    if spec.references:
        lines.append("References: " + "\f ".join(spec.references))
        lines.append(f"In-Reply-To: {spec.references[-1]}")
    prefix = "Re: " if spec.references else ""
    lines += [
        f"From: {spec.author.header()}",
        f"Date: {date_text(spec.seconds, (int(unusual * 25) - 12) * 60)}",
        f"{'Message-Id' if unusual > 0.7 else 'Message-ID'}: {spec.message_id}",
        f"Subject: {_subject(prefix + spec.subject, spec)}",
    ]
    if spec.to:
        lines.append("To: " + ",\f\t".join([person.header() for person in spec.to]))
    if spec.cc:
        lines.append("Cc: " + ",\f\t".join([person.header() for person in spec.cc]))
    domain = spec.author.address.rpartition("@")[2]
    if spec.mailing_list:
        name, list_id = spec.mailing_list
        lines += [
            f"List-Id: {name} <{list_id}>",
            f"List-Post: <mailto:{list_id.replace('.', '@', 1)}>",
            f"List-Unsubscribe: <https://{list_id.partition('.')[2]}/unsubscribe/{token(rng, 24)}>",
            "Precedence: list",
        ]
    elif listed:
        lines += [
            f"List-Unsubscribe: <https://{domain}/u/{token(rng, 90)}>,\f <mailto:u-{token(rng, 12)}@{domain}>",
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
            f"Feedback-ID: {token(rng, 8)}:{token(rng, 6)}:{domain}",
            f"X-Mailer-Job: {token(rng, 120)}",
        ]
    elif rng.random() < 0.4:
        lines.append(f"X-Mailer: {_MAILERS[int(rng.random() * len(_MAILERS))]}")
    root.write("\n".join(lines) + "\n")


def _subject(subject: str, spec: MessageSpec) -> str:
    charset = charset_of(spec) if spec.rng.random() < 0.3 else "utf-8"
    try:
        return encoded(subject, charset)
    except UnicodeEncodeError:
        return encoded(subject)


def describe(
    part: MimePart,
    *,
    disposition: str = "",
    content_id: str = "",
    options: str = "",
) -> MimePart:
    """Write the content headers of a part; returns the part."""
    if isinstance(part, MultipartPart):
        part.write(f"Content-Type: {part.content_type}\n")
        return part
    name, shown_in = _named(part.filename)
    kind = f'{part.mime_type}; charset="{part.charset}"' if isinstance(part, TextPart) else part.mime_type
    lines = [f"Content-Type: {kind}{options}{name}\n"]
    if not isinstance(part, EmbeddedMessagePart):
        encoding = part.encoding if isinstance(part, TextPart) else "base64"
        lines.append(f"Content-Transfer-Encoding: {encoding}\n")
    if part.filename or disposition:
        lines.append(f"Content-Disposition: {disposition or 'attachment'}{shown_in}\n")
    if content_id:
        lines.append(f"Content-ID: <{content_id}>\nX-Attachment-Id: {content_id}\n")
    part.write("".join(lines))
    return part


def _named(filename: str) -> tuple[str, str]:
    """The parameters with the file name, for Content-Type and for Content-Disposition."""
    if not filename:
        return "", ""
    if filename.isascii():
        return f'; name="{filename}"', f'; filename="{filename}"'
    escaped = quote(filename, safe="")
    if len(escaped) < 60:
        return f';\f name="{encoded(filename)}"', f";\f filename*={_CHARSET_MARK}{escaped}"
    continued = "".join(
        f";\f filename*{number}*={'' if number else _CHARSET_MARK}{piece}"
        for number, piece in enumerate(_ESCAPED.findall(escaped))
    )
    return f';\f name="{encoded(filename)}"', continued


def charset_of(spec: MessageSpec) -> str:
    """A charset of the message's language, in most cases the first."""
    charsets = LANGUAGES[spec.language].charsets
    return charsets[0] if spec.rng.random() < 0.7 else charsets[int(spec.rng.random() * len(charsets))]
