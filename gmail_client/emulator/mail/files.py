"""Mail from files: the messages of an mbox file, of a Maildir, of a folder of .eml files.

At first only the positions of the messages and a few of their headers are read; contents are read on demand. So a
mailbox of many gigabytes needs little memory. The files must not change while the emulator runs.

A Google Takeout export has Gmail's thread ids and labels in two headers, X-GM-THRID and X-Gmail-Labels. They are
removed from the messages.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from mmap import ACCESS_READ, mmap
from pathlib import Path

from gmail_client.emulator.mail.content import ParsedContent
from gmail_client.emulator.mail.headers import date_ms, decode_words, message_ids
from gmail_client.emulator.mail.mime import MimeEntity, parse, read_headers
from gmail_client.emulator.mail.payload import MessageSummary, summary_of
from gmail_client.errors import ConfigurationError

__all__ = ["SYSTEM_LABEL_IDS", "FileContent", "ImportedMessage", "read_eml", "read_maildir", "read_mbox"]

_FROM_LINE = re.compile(rb"From [^\r\n]*\d\d:\d\d[^\r\n]*\r?\n")
_FROM_DATE = re.compile(
    rb"(?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2}) (?P<time>\d\d:\d\d:\d\d)"
    rb"(?: (?P<zone>[+-]\d{4}|[A-Z]{3,4}))? (?P<year>\d{4})"
)
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
_TAKEOUT_HEADER = re.compile(
    rb"^(?:X-GM-THRID|X-Gmail-Labels):[^\n]*\n(?:[ \t][^\n]*\n)*", re.MULTILINE | re.IGNORECASE
)
_HEAD_BYTES = 1 << 18
_PARSED = 16
_SUMMARIES = 2048

_SYSTEM = {
    "inbox": "INBOX",
    "sent": "SENT",
    "sent mail": "SENT",
    "draft": "DRAFT",
    "drafts": "DRAFT",
    "spam": "SPAM",
    "junk": "SPAM",
    "trash": "TRASH",
    "deleted": "TRASH",
    "unread": "UNREAD",
    "starred": "STARRED",
    "important": "IMPORTANT",
    "chat": "CHAT",
    "chats": "CHAT",
    "category personal": "CATEGORY_PERSONAL",
    "category social": "CATEGORY_SOCIAL",
    "category promotions": "CATEGORY_PROMOTIONS",
    "category updates": "CATEGORY_UPDATES",
    "category forums": "CATEGORY_FORUMS",
}
SYSTEM_LABEL_IDS = frozenset(_SYSTEM.values())
"""The system labels that `ImportedMessage.labels` can hold; other entries are names of user labels."""

# States that an export writes as labels, although Gmail has no such labels.
_NO_LABELS = {"opened", "archived", "all mail", "muted"}


class FileContent(ParsedContent):
    """A message in a file, from `start` to `end`; `exported` if it can have the headers of an export."""

    __slots__ = ("_end", "_exported", "_path", "_start")

    def __init__(self, path: Path, start: int = 0, end: int = -1, *, exported: bool = False) -> None:
        self._path = path
        self._start = start
        self._end = end
        self._exported = exported

    def raw(self) -> bytes:
        """The RFC 822 bytes, read from the file; b"" when the file no longer exists."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._start)
                data = file.read(self._end - self._start if self._end >= 0 else -1)
        except OSError:
            return b""
        return _without_export_headers(data) if self._exported else data

    def node(self) -> MimeEntity:
        """The parsed message; the last few are cached."""
        return _parsed(self)

    def summary(self) -> MessageSummary:
        """The summary; those of the last messages are cached."""
        return _summary(self)


@lru_cache(maxsize=_PARSED)
def _parsed(content: FileContent) -> MimeEntity:
    return parse(content.raw())


@lru_cache(maxsize=_SUMMARIES)
def _summary(content: FileContent) -> MessageSummary:
    raw = content.raw()
    return summary_of(parse(raw), len(raw))


def _without_export_headers(data: bytes) -> bytes:
    """A message of an mbox file without the headers of the export and the quoting of "From " lines."""
    ends = [found for found in (data.find(b"\n\n"), data.find(b"\n\r\n")) if found >= 0]
    end = min(ends) + 1 if ends else len(data)
    return _TAKEOUT_HEADER.sub(b"", data[:end]) + _QUOTED_FROM.sub(rb"\1", data[end:])


@dataclass(frozen=True, slots=True)
class ImportedMessage:
    """One message of a file.

    Args:
        content: The content.
        thread: Gmail's thread id, "" when the file has none.
        labels: Ids of system labels, and names of user labels.
        internal_date_ms: When it arrived, according to the file, epoch milliseconds.
        message_id: Its Message-ID; "" when it is absent, or `thread` is known.
        references: Message-IDs it refers to; empty when `thread` is known.
        subject: Its Subject; "" when `thread` is known.
    """

    content: FileContent
    thread: str
    labels: tuple[str, ...]
    internal_date_ms: int
    message_id: str = ""
    references: tuple[str, ...] = ()
    subject: str = ""


def read_mbox(path: Path) -> Iterator[ImportedMessage]:
    """The messages of an mbox file, in file order.

    Raises:
        ConfigurationError: There is no such file, or it is not an mbox file.
    """
    path = _existing(path, "mbox", folder=False)
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        if data[:5] != b"From ":
            raise ConfigurationError(
                f"mbox: {path} does not begin with a 'From ' line",
                fix="give a file in mbox form, or use --eml",
            )
        start = 0
        while start < len(data):
            end = _next_message(data, start + 5)
            begin = data.find(b"\n", start, end) + 1 or end
            yield _imported_from_mbox(path, bytes(data[start:begin]), data, begin, _trimmed(data, begin, end))
            start = end


def _next_message(data: mmap, position: int) -> int:
    """The position of the next "From " line: after an empty line, with a time of day in it."""
    while (found := data.find(b"\nFrom ", position)) >= 0:
        after_empty_line = (
            data[max(0, found - 1) : found] == b"\n" or data[max(0, found - 2) : found] == b"\n\r"
        )
        if after_empty_line and _FROM_LINE.match(data, found + 1):
            return found + 1
        position = found + 1
    return len(data)


def _trimmed(data: mmap, start: int, end: int) -> int:
    """The end of a message without the empty line before the next one."""
    for mark in (b"\r\n\r\n", b"\n\n"):
        if data[max(start, end - len(mark)) : end] == mark:
            return end - len(mark) // 2
    return end


def _imported_from_mbox(path: Path, from_line: bytes, data: mmap, start: int, end: int) -> ImportedMessage:
    headers = _first_headers(data[start : min(end, start + _HEAD_BYTES)])
    marks = headers.get("x-gmail-labels", "")
    return _imported(
        FileContent(path, start, end, exported=True),
        headers,
        _labels(next(csv.reader([marks], skipinitialspace=True), [])) if marks else ("INBOX",),
        _from_line_ms(from_line) or date_ms(headers.get("date", "")),
    )


def _imported(
    content: FileContent, headers: dict[str, str], labels: tuple[str, ...], arrived_ms: int
) -> ImportedMessage:
    thread = headers.get("x-gm-thrid", "")
    if thread:
        return ImportedMessage(content, thread, labels, arrived_ms)
    return ImportedMessage(
        content,
        thread,
        labels,
        arrived_ms,
        message_id=next(iter(message_ids(headers.get("message-id", ""))), ""),
        references=message_ids(headers.get("references", ""), headers.get("in-reply-to", "")),
        subject=headers.get("subject", ""),
    )


def _from_line_ms(line: bytes) -> int:
    """The date in a "From " line, epoch milliseconds; 0 when it is invalid."""
    match = _FROM_DATE.search(line)
    if not match:
        return 0
    day, month, year, time, zone = (
        (match[name] or b"+0000").decode("ascii") for name in ("day", "month", "year", "time", "zone")
    )
    return date_ms(f"{day} {month} {year} {time} {zone}")


def _first_headers(head: bytes) -> dict[str, str]:
    """The first header of each name (lower-case), decoded."""
    found: dict[str, str] = {}
    for name, value in read_headers(head)[0]:
        found.setdefault(name.lower(), decode_words(value))
    return found


def _labels(names: Iterable[str]) -> tuple[str, ...]:
    labels: list[str] = []
    for name in (name.strip() for name in names):
        key = name.casefold().replace("_", " ")
        if name and key not in _NO_LABELS:
            labels.append(_SYSTEM.get(key, name))
    return tuple(dict.fromkeys(labels))


def read_maildir(folder: Path) -> Iterator[ImportedMessage]:
    """The messages of a Maildir with its subfolders (`.Work.Clients` becomes the label Work/Clients).

    Raises:
        ConfigurationError: The folder does not exist, or it is not a Maildir.
    """
    folder = _existing(folder, "maildir", folder=True)
    if not any((folder / name).is_dir() for name in ("cur", "new")):
        raise ConfigurationError(
            f"maildir: {folder} has neither cur nor new", fix="give the folder that contains cur and new"
        )
    subfolders = sorted(path for path in folder.iterdir() if path.name.startswith(".") and path.is_dir())
    for place in (folder, *subfolders):
        name = _folder_name(place.name[1:]).replace(".", "/") if place is not folder else "Inbox"
        for kind in ("cur", "new"):
            for path in sorted((place / kind).iterdir()) if (place / kind).is_dir() else ():
                if path.is_file() and not path.name.startswith("."):
                    flags = path.name.rpartition(":2,")[2] if ":2," in path.name else ""
                    yield _imported_file(path, _labels([name, *_flag_labels(flags)]))


def _flag_labels(flags: str) -> Iterator[str]:
    if "S" not in flags:
        yield "UNREAD"
    for flag, label in (("F", "STARRED"), ("D", "DRAFT"), ("T", "TRASH")):
        if flag in flags:
            yield label


def _folder_name(name: str) -> str:
    """The name of a folder, decoded from IMAP's modified UTF-7."""
    pieces = re.split(r"&([^-]*)-", name)
    for number in range(1, len(pieces), 2):
        coded = pieces[number].replace(",", "/")
        pieces[number] = f"+{coded}-".encode("ascii", "replace").decode("utf-7", "replace") if coded else "&"
    return "".join(pieces)


def read_eml(folder: Path) -> Iterator[ImportedMessage]:
    """The messages in the .eml files below a folder, all in the inbox.

    Raises:
        ConfigurationError: There is no such folder.
    """
    for path in sorted(_existing(folder, "eml", folder=True).rglob("*.eml")):
        if path.is_file():
            yield _imported_file(path, ("INBOX",))


def _imported_file(path: Path, labels: tuple[str, ...]) -> ImportedMessage:
    with path.open("rb") as file:
        headers = _first_headers(file.read(_HEAD_BYTES))
    arrived_ms = date_ms(headers.get("date", "")) or int(path.stat().st_mtime * 1000)
    return _imported(FileContent(path), headers, labels, arrived_ms)


def _existing(path: Path, kind: str, *, folder: bool) -> Path:
    if not (path.is_dir() if folder else path.is_file()):
        raise ConfigurationError(
            f"{kind}: there is no {'folder' if folder else 'file'} {path}", fix="give a path that exists"
        )
    return path.resolve()
