"""Fictional correspondents on reserved domains: people with names in many languages, companies, mailing lists."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from gmail_client.emulator.generate.languages import LANGUAGES

__all__ = [
    "LISTS",
    "SENDERS",
    "SOCIAL_SENDER",
    "Person",
    "encoded",
    "mailbox_owner",
    "person",
    "pick_language",
]

SOCIAL_SENDER = "notify@chirper.example.com"
SENDERS = (
    ("Harbour Books", "news@harbourbooks.example.com"),
    ("Northwind Rail", "service@northwind-rail.example.com"),
    ("Lantern Bank", "no-reply@lanternbank.example.com"),
    ("Café Größenwahn", "hallo@groessenwahn.example.com"),
    ("Parcel Post", "tracking@parcelpost.example.com"),
    ("Meadow Grocery", "orders@meadowgrocery.example.com"),
    ("Société du Tramway", "info@tramway.example.com"),
    ("Codeyard", "notifications@codeyard.example.com"),
    ("Chirper", SOCIAL_SENDER),
    ("青空書店", "info@aozora-shop.example.com"),
    ("Town Library", "library@town.example.org"),
    ("Stream Hall", "hello@streamhall.example.net"),
)
LISTS = (
    ("Engine builders", "engines.lists.example.org"),
    ("Allotment society", "allotment.lists.example.org"),
    ("Choir", "choir.lists.example.net"),
    ("Data platform", "data-platform.lists.example.com"),
    ("Parents of class 4b", "class-4b.lists.example.org"),
)
_OWNERS = ("ada.ashdown", "grace.birch", "oscar.calder", "priya.marlow", "tessa.quill", "yusuf.thorne")
_DOMAINS = (
    "example.com",
    "example.org",
    "example.net",
    "mail.example.com",
    "work.example.com",
    "uni.example.org",
)
_WEIGHTS = [language.weight for language in LANGUAGES]
_TOTAL = sum(_WEIGHTS)
_WORD_BYTES = 45


@dataclass(frozen=True, slots=True)
class Person:
    """A name, an address, and the number of the person's language."""

    name: str
    address: str
    language: int

    def header(self) -> str:
        """Name and address in a header, quoted or in encoded words where needed."""
        if not self.name:
            return self.address
        if not self.name.isascii():
            return f"{encoded(self.name)} <{self.address}>"
        if any(character in self.name for character in ',.()@"'):
            return f'"{self.name}" <{self.address}>'
        return f"{self.name} <{self.address}>"


@lru_cache(maxsize=4096)
def encoded(text: str, charset: str = "utf-8") -> str:
    """Text as RFC 2047 encoded words, at most 75 characters each, with form feeds as folds; ASCII unchanged."""
    if text.isascii():
        return text
    words: list[str] = []
    start = 0
    while start < len(text):
        end = min(len(text), start + _WORD_BYTES)
        while len(data := text[start:end].encode(charset)) > _WORD_BYTES:
            end -= 1
        words.append(f"=?{charset.upper()}?B?{binascii.b2a_base64(data, newline=False).decode('ascii')}?=")
        start = end
    return "\f ".join(words)


def pick_language(rng: Random) -> int:
    """The number of a random language, by its share of the mail."""
    point = rng.random() * _TOTAL
    for number, weight in enumerate(_WEIGHTS):
        point -= weight
        if point < 0:
            return number
    return 0


@lru_cache(maxsize=4096)
def person(number: int) -> Person:
    """The correspondent with this number (any integer), always the same."""
    rng = Random(number * 2 + 1)  # noqa: S311
    chosen = pick_language(rng)
    language = LANGUAGES[chosen]
    given = language.given[int(rng.random() * len(language.given))]
    family = language.family[int(rng.random() * len(language.family))]
    # Readable where the script allows it, and always distinct.
    local = "".join(
        c for c in f"{given}.{family}".lower() if c.isascii() and (c.isalnum() or c == ".")
    ).strip(".")
    domain = _DOMAINS[int(rng.random() * len(_DOMAINS))]
    shape = rng.random()
    if language.code in ("zh", "ja", "ko"):
        name = f"{family}{given}"
    else:
        name = f"{family}, {given}" if shape < 0.12 else f"{given} {family}"
    return Person("" if shape > 0.95 else name, f"{local or language.code}.{number}@{domain}", chosen)


def mailbox_owner(index: int) -> Person:
    """The owner of the mailbox with this index."""
    local = _OWNERS[index % len(_OWNERS)] + (f"{index // len(_OWNERS)}" if index >= len(_OWNERS) else "")
    name = " ".join(part.capitalize() for part in local.rstrip("0123456789").split("."))
    return Person(name, f"{local}@gmail.test", 0)
