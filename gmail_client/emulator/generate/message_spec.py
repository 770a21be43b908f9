"""Letters: what is known of a message before it is written, and the headers that it then gets."""

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


def write_head(root: MimePart, letter: MessageSpec) -> None:
    """Write all headers of the message itself: transit first, then the author's."""
    rng = letter.rng
    if letter.style == "chat":
        root.write(f"From: {letter.author.header()}\n")
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
        lines.append("References: " + "\f ".join(letter.references))
        lines.append(f"In-Reply-To: {letter.references[-1]}")
    prefix = "Re: " if letter.references else ""
    lines += [
        f"From: {letter.author.header()}",
        f"Date: {date_text(letter.seconds, (int(unusual * 25) - 12) * 60)}",
        f"{'Message-Id' if unusual > 0.7 else 'Message-ID'}: {letter.message_id}",
        f"Subject: {_subject(prefix + letter.subject, letter)}",
    ]
    if letter.to:
        lines.append("To: " + ",\f\t".join([person.header() for person in letter.to]))
    if letter.cc:
        lines.append("Cc: " + ",\f\t".join([person.header() for person in letter.cc]))
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
            f"List-Unsubscribe: <https://{domain}/u/{token(rng, 90)}>,\f <mailto:u-{token(rng, 12)}@{domain}>",
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
            f"Feedback-ID: {token(rng, 8)}:{token(rng, 6)}:{domain}",
            f"X-Mailer-Job: {token(rng, 120)}",
        ]
    elif rng.random() < 0.4:
        lines.append(f"X-Mailer: {_MAILERS[int(rng.random() * len(_MAILERS))]}")
    root.write("\n".join(lines) + "\n")


def _subject(subject: str, letter: MessageSpec) -> str:
    charset = charset_of(letter) if letter.rng.random() < 0.3 else "utf-8"
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
    """Add the content headers that say what a part is."""
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
    """The parameters that name a file, for Content-Type and for Content-Disposition."""
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


def charset_of(letter: MessageSpec) -> str:
    """A charset that the mailers of the letter's language use: mostly the first of them."""
    charsets = LANGUAGES[letter.language].charsets
    return charsets[0] if letter.rng.random() < 0.7 else charsets[int(letter.rng.random() * len(charsets))]
