"""Addresses from headers: standard forms, forms that mailers send, and arbitrary text."""

from __future__ import annotations

import re
from email.headerregistry import Address as ParserAddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmail_client.views.addresses import domain_of, parse_addresses

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def pairs(*values: str) -> list[tuple[str | None, str | None]]:
    return [tuple(one) for one in parse_addresses(values)]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a@example.com", [(None, "a@example.com")]),
        (" <A@Example.COM> ", [(None, "a@example.com")]),
        ("Ann Lee <ann@example.com>", [("Ann Lee", "ann@example.com")]),
        (
            '"Lee, Ann" <ann@example.com>, b@example.com',
            [("Lee, Ann", "ann@example.com"), (None, "b@example.com")],
        ),
        ('"a \\"b\\" c" <x@y.z>', [('a "b" c', "x@y.z")]),
        ("John X. Doe <j@example.com>", [("John X. Doe", "j@example.com")]),
        ("j@example.com (John Doe)", [("John Doe", "j@example.com")]),
        ("Pete(A nice \\) chap) <pete(his account)@silly.test>", [("Pete", "pete@silly.test")]),
        ("=?utf-8?q?M=C3=BCller=2C_J=C3=B6rg?= <j@example.com>", [("Müller, Jörg", "j@example.com")]),
        ("Müller, Jörg <j@example.com>", [("Müller, Jörg", "j@example.com")]),
        ("root, John <j@example.com>", [(None, "root"), ("John", "j@example.com")]),
        (
            "Friends: a@example.com, Bo <b@example.com>; c@example.com",
            [(None, "a@example.com"), ("Bo", "b@example.com"), (None, "c@example.com")],
        ),
        ("undisclosed-recipients:;", []),
        ("A:;, B: x@example.com;", [(None, "x@example.com")]),
        ("MAILER-DAEMON", [(None, "mailer-daemon")]),
        ("Mail Delivery <MAILER-DAEMON>", [("Mail Delivery", "mailer-daemon")]),
        ("Mailer <>", [("Mailer", None)]),
        ("undisclosed recipients", [("undisclosed recipients", None)]),
        ("Ann ann@example.com", [("Ann", "ann@example.com")]),
        ("<@a.example,@b.example:c@example.com>", [(None, "c@example.com")]),
        ("mailto:x@example.com", [(None, "x@example.com")]),
        ("a@example.com b@example.com", [("a@example.com", "b@example.com")]),
        ("a@x.com <b@x.com>", [("a@x.com", "b@x.com")]),
        ("Ann <ann@x.com> Bo <bo@x.com>", [("Ann", "ann@x.com"), ("Bo", "bo@x.com")]),
        ("Ann <ann@x.com", [("Ann", "ann@x.com")]),
        ("ann@x.com; bo@x.com", [(None, "ann@x.com"), (None, "bo@x.com")]),
        ("j@[192.0.2.1]", [(None, "j@[192.0.2.1]")]),
        ("ä\x1b[2J <a@x.com>", [("ä[2J", "a@x.com")]),
        (",,", []),
        ("", []),
        ("()", []),
        ("<", []),
    ],
)
def test_addresses(value: str, expected: list[tuple[str | None, str | None]]) -> None:
    assert pairs(value) == expected


def test_several_headers_follow_each_other() -> None:
    assert pairs("a@x.com", "b@x.com, c@x.com") == [(None, f"{name}@x.com") for name in "abc"]


def test_five_thousand_recipients() -> None:
    value = ",\r\n\t".join(f'"Person, {n}" <p{n}@example.com>' for n in range(5_000))
    assert pairs(value) == [(f"Person, {n}", f"p{n}@example.com") for n in range(5_000)]
    assert pairs(", ".join(f"user{n}" for n in range(5_000))) == [(None, f"user{n}") for n in range(5_000)]


NAME = st.text(st.characters(categories=("L", "N", "Zs"), include_characters=",;:<>()@.\"\\'")).map(
    lambda name: " ".join(name.split())
)
EMAIL = st.from_regex(
    r"[a-z0-9]([a-z0-9._+-]{0,10}[a-z0-9])?@[a-z0-9]{1,10}(\.[a-z]{2,5}){0,2}", fullmatch=True
)
EMAIL = EMAIL.filter(lambda email: ".." not in email)


@settings(deadline=None)
@given(st.lists(st.tuples(NAME, EMAIL), max_size=6))
def test_addresses_written_by_pythons_email_package_are_parsed(people: list[tuple[str, str]]) -> None:
    value = ", ".join(str(ParserAddress(name, addr_spec=email)) for name, email in people)
    assert pairs(value) == [(name or None, email) for name, email in people]


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=())), max_size=3))
def test_anything_gives_clean_addresses(values: list[str]) -> None:
    for one in parse_addresses(values):
        assert one.name or one.email
        for text in one:
            assert text is None or (text and not CONTROL.search(text))
            (text or "").encode()


@settings(deadline=None)
@given(st.text(st.sampled_from('ab@<>"\\(),;:. =?ü')))
def test_punctuation_gives_clean_addresses(value: str) -> None:
    for one in parse_addresses([value]):
        assert one.name or one.email
        assert not one.email or one.email == one.email.lower()


@pytest.mark.parametrize(
    ("email", "domain"),
    [
        ("a@X.com", "x.com"),
        ("root", None),
        (None, None),
        ("a@", None),
        ("a@b@c.d", "c.d"),
        ("j@[192.0.2.1]", "192.0.2.1"),
    ],
)
def test_domains(email: str | None, domain: str | None) -> None:
    assert domain_of(email) == domain
