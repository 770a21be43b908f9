"""Searches as text: a search without its date terms, evaluated with the emulator's search."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gmail_client.emulator.mail.content import MessageContent, from_raw
from gmail_client.emulator.mailbox.search import compile_query
from gmail_client.search import (
    as_of,
    date_terms,
    has_dates,
    search_within,
    unbalanced,
    waits_for_age,
    without_dates,
)

NOW = 1_700_000_000
UNHURRIED = settings(deadline=None)


@dataclass
class Found:
    content: MessageContent
    label_ids: tuple[str, ...]
    internal_date_ms: int


MAILS = [
    Found(from_raw(f"Subject: {subject}\r\n\r\nx\r\n".encode()), labels, (NOW - age) * 1000)
    for subject in ("one", "two", "one two")
    for labels in ((), ("UNREAD",), ("STARRED", "INBOX"))
    for age in (10, 86_400 * 3, 86_400 * 20, 86_400 * 400)
]


def matches(q: str | None) -> list[int]:
    test = compile_query(q or "", now=lambda: NOW, labels={})
    return [place for place, mail in enumerate(MAILS) if test(mail)]


DATES = st.sampled_from(
    [
        "newer_than:7d",
        "OLDER_THAN:2d",
        f"after:{NOW - 86_400}",
        "before:2023/01/02",
        'newer:"2023/11/01"',
        "older:1",
    ]
)
WORDS = st.sampled_from(
    ["one", "two", "is:unread", "is:starred", '"one two"', "subject:two", "-is:unread", "in:inbox"]
)


def joined(terms: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(terms, min_size=1, max_size=4)
    return st.one_of(
        st.tuples(st.sampled_from(["({})", "{{{}}}", "-({})", "subject:({})"]), several).map(
            lambda pair: pair[0].format(" ".join(pair[1]))
        ),
        several.map(" ".join),
        several.map(" OR ".join),
        several.map("|".join),
        several.map(" AND ".join),
        st.tuples(terms, terms).map("OR".join),
    )


SEARCHES = st.recursive(DATES | WORDS, joined, max_leaves=8)


@UNHURRIED
@given(q=SEARCHES)
@example("is:unread newer_than:7d")
@example("(newer_than:7d (older:1 one)) two")
@example("one OR newer_than:7d")
@example("one AND newer_than:7d AND two")
@example("one AND older:1")
@example("newer_than:7d AND (older:1) AND newer_than:7d")
@example("- newer_than:7d")
@example('"x"OR newer_than:7d')
def test_a_search_is_its_rest_and_its_date_terms(q: str) -> None:
    assert unbalanced(q) is None
    rest, dates = without_dates(q), date_terms(q)
    assert matches(q) == sorted(set(matches(rest)).intersection(*map(matches, dates)))
    assert date_terms(rest) == []
    assert unbalanced(rest or "") is None
    assert bool(dates) or rest == q


@pytest.mark.parametrize(
    ("q", "rest"),
    [
        ("newer_than:7d", None),
        ("(newer_than:7d)", None),
        ("newer_than:7d is:unread", "is:unread"),
        ("is:unread after:2024/01/01 before:2025/01/01", "is:unread"),
        ("(newer_than:7d from:a) is:unread", "( from:a) is:unread"),
        ("from:a OR from:b newer_than:7d", "from:a OR from:b"),
        ("is:unread OR newer_than:7d", "is:unread OR newer_than:7d"),
        ("is:unread|newer_than:7d", "is:unread|newer_than:7d"),
        ("{is:unread newer_than:7d}", "{is:unread newer_than:7d}"),
        ("-newer_than:7d", "-newer_than:7d"),
        ("-(is:unread newer_than:7d)", "-(is:unread newer_than:7d)"),
        ('"newer_than:7d"', '"newer_than:7d"'),
    ],
)
def test_date_terms_count_only_at_the_top(q: str, rest: str | None) -> None:
    assert without_dates(q) == rest


@UNHURRIED
@given(
    q=SEARCHES,
    after=st.none() | st.integers(NOW - 10**6, NOW),
    before=st.none() | st.integers(NOW - 10**6, NOW),
)
@example("one OR two", NOW - 10, None)
def test_a_window_narrows_the_whole_search(q: str, after: int | None, before: int | None) -> None:
    inside = {
        place
        for place, mail in enumerate(MAILS)
        if (after is None or mail.internal_date_ms >= after * 1000)
        and (before is None or mail.internal_date_ms < before * 1000)
    }
    assert set(matches(search_within(q, after, before))) == inside.intersection(matches(q))


@pytest.mark.parametrize(
    ("q", "problem"),
    [
        ("(a", "a parenthesis is not closed"),
        ("a)", "a parenthesis is closed that is not open"),
        ("{a)", "a parenthesis is closed that is not open"),
        ("{(a}", "a brace is closed that is not open"),
        ('subject:"a', "a quote is not closed"),
        ('"', "a quote is not closed"),
        ("(" * 60 + ")" * 60, "brackets are nested more than 50 deep"),
        ('{(a "b)" c)} subject:("x y" z)', None),
        ('"" ()', None),
    ],
)
def test_quotes_and_brackets_must_be_balanced(q: str, problem: str | None) -> None:
    assert unbalanced(q) == problem


@UNHURRIED
@given(q=st.text('ab "(){}|-:OR', max_size=30))
@example("()()")
@example('a"b"(c)')
def test_any_text_is_parsed(q: str) -> None:
    if unbalanced(q) is None:
        assert without_dates(q) == (q or None)


@UNHURRIED
@given(q=SEARCHES, ago=st.integers(0, 10**6))
@example("newer_than:7d is:unread", 86_400)
@example("(one newer_than:7d) older:1", 86_400)
def test_a_search_as_of_an_earlier_time_reaches_further_back(q: str, ago: int) -> None:
    assert set(matches(q)) <= set(matches(as_of(q, NOW - ago)))
    assert without_dates(as_of(q, NOW - ago)) in (without_dates(q), f"({without_dates(q)})")


def test_only_relative_dates_count_back_from_a_time() -> None:
    assert as_of("newer_than:7d is:unread", 10**9) == f"(is:unread) after:{10**9 - 7 * 86_400}"
    assert as_of("newer_than:1m", 10**9) == f"after:{10**9 - 31 * 86_400}"
    for q in (None, "after:2024/01/01 is:unread", "older_than:7d", "is:unread OR newer_than:7d"):
        assert as_of(q, 10**9) == q


def test_dates_are_found_outside_of_quotes() -> None:
    assert has_dates("is:unread OR newer_than:7d")
    assert not has_dates('subject:"after:noon" from:before@example.com')
    assert not has_dates(None)
    assert waits_for_age("is:unread older_than:2d")
    assert not waits_for_age("-older_than:2d")
    assert not waits_for_age("newer_than:2d")
