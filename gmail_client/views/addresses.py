"""Addresses from header values: names and addresses of any number of recipients, groups and comments included.

`parse_addresses` never raises and takes time proportional to its input.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from gmail_client.views.headers import decode_words
from gmail_client.views.text import clean_line

__all__ = ["Address", "domain_of", "parse_addresses"]


class Address(NamedTuple):
    """One mailbox of an address header.

    Attributes:
        name: The display name, None if there is none.
        email: The address in lower case, None if only a name is given.
    """

    name: str | None
    email: str | None


_SHORT = 200
"""Characters of a value that is worth remembering."""
_SIMPLE = re.compile(r'\s*(?:"([^"\\]*)"|([^"<>,;:()\[\]\\@]*))\s*<([^<>\s,;:()"\[\]\\]+)>\s*')
_BARE = re.compile(r'\s*([^<>\s,;:()"\[\]\\@]+@[^<>\s,;:()"\[\]\\@]+)\s*')
_TOKEN = re.compile(
    r'"(?P<quoted>(?:[^"\\]|\\.)*)"?'
    r"|<(?P<angle>[^<>]*)>?"
    r"|(?P<mark>[,;:()>])"
    r'|(?P<word>(?:[^\s"<>,;:()\\]|\\.)+|\\)'
    r"|(?P<space>\s+)",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_SPACE = re.compile(r"\s+")
_COMMENT = re.compile(r"\([^()]*\)")


def domain_of(email: str | None) -> str | None:
    """The part of an address after its last `@`, in lower case; None if there is none."""
    if not email or "@" not in email:
        return None
    return email.rpartition("@")[2].strip("[].").lower() or None


def parse_addresses(values: Iterable[str]) -> list[Address]:
    """The mailboxes in the values of an address header, in order.

    A group gives its members; what holds neither a name nor an address is left out.
    """
    found: list[Address] = []
    for value in values:
        found += _repeated(value) if len(value) <= _SHORT else _parsed(value)
    return found


def _parsed(value: str) -> list[Address]:
    if bare := _BARE.fullmatch(value):
        return [Address(None, clean_line(bare[1]).lower())]
    if simple := _SIMPLE.fullmatch(value):
        return _address(simple[1] or simple[2] or "", simple[3])
    return _Scanner(value).addresses()


@lru_cache(maxsize=4096)
def _repeated(value: str) -> tuple[Address, ...]:
    """Few addresses are on most mails of a mailbox."""
    return tuple(_parsed(value))


class _Scanner:
    """Takes one header value apart, token by token."""

    def __init__(self, value: str) -> None:
        self._value = value
        self._has_groups = ";" in value
        self._found: list[Address] = []
        self._waiting: list[str] = []
        self._reset()

    def _reset(self) -> None:
        self._words: list[str] = []
        self._angle: str | None = None
        self._words_before = 0
        self._comment: list[str] = []
        self._quoted = False

    def addresses(self) -> list[Address]:
        depth = 0
        for token in _TOKEN.finditer(self._value):
            kind, text = token.lastgroup, token.group()
            if depth:
                depth += {"(": 1, ")": -1}.get(text, 0)
                if depth:
                    self._comment.append(text)
            elif kind == "mark":
                if text == "(":
                    depth = 1
                elif text == ":" and self._has_groups and self._angle is None and not self._holds_at():
                    self._reset()  # the name of a group
                elif text == ":":
                    self._words.append(text)
                elif text in ",;":
                    self._close(joins=text == ",")
            elif kind == "angle":
                self._open_angle(token["angle"])
            elif kind == "quoted":
                self._quoted = True
                self._words.append(_ESCAPE.sub(r"\1", token["quoted"]))
            else:
                self._words.append(text if kind == "word" else " ")
        self._close(joins=False)
        return self._found

    def _holds_at(self) -> bool:
        return any("@" in word for word in self._words)

    def _open_angle(self, address: str) -> None:
        """An address in angle brackets; a second one belongs to another entry, whose comma is missing."""
        if self._angle is not None:
            rest = self._words[self._words_before :]
            del self._words[self._words_before :]
            self._close(joins=False)
            self._words = rest
        self._angle, self._words_before = address, len(self._words)

    def _close(self, *, joins: bool) -> None:
        """End an entry; `joins` is true where a comma ends it.

        A decoded name may contain a comma (`Müller, Jörg <j@example.com>`; sent, it was one encoded word): an
        entry without an address waits for the one behind the comma, which may be the rest of it.
        """
        name = _SPACE.sub(" ", "".join(self._words)).strip()
        angle, comment, quoted = self._angle, "".join(self._comment), self._quoted
        self._reset()
        if angle is None and name and "@" not in name and not quoted and joins:
            self._waiting.append(name)
            return
        if self._waiting:
            together = ", ".join([*self._waiting, name])
            if angle is not None and not together.isascii():
                name = together
            else:
                for waiting in self._waiting:
                    self._found += _address_alone(waiting, "", quoted=False)
            self._waiting = []
        if angle is not None:
            self._found += _address(name or comment, angle)
        elif name:
            self._found += _address_alone(name, comment, quoted=quoted)


def _address_alone(text: str, comment: str, *, quoted: bool) -> list[Address]:
    """An entry without angle brackets: an address, a local part alone, or only a name."""
    if "@" in text:
        if quoted or " " not in text:
            return _address(comment, text.replace(" ", ""))
        words = text.split(" ")
        email = next(word for word in reversed(words) if "@" in word)
        if email == "@" or email.startswith("@") or email.endswith("@"):
            return _address(comment, text.replace(" ", ""))
        words.remove(email)
        return _address(" ".join(words) or comment, email)
    if text and " " not in text and not quoted and text.isascii():
        return _address(comment, text)
    return _address(text or comment, "")


def _address(name: str, email: str) -> list[Address]:
    shown = clean_line(decode_words(name)) or None
    address = clean_line(email)
    if address.startswith("@") and ":" in address:
        address = address.partition(":")[2]  # an obsolete route
    address = _SPACE.sub("", _COMMENT.sub("", address)).removeprefix("mailto:").strip("<>,;").lower()
    if shown is None and not address:
        return []
    return [Address(shown, address or None)]
