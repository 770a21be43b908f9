"""Matching messages against a search: which match, and the number of pages this takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gmail_client.api import GmailApi
from gmail_client.emulator.mail.content import MessageContent, from_raw
from gmail_client.emulator.mailbox.search import compile_query
from gmail_client.options import TableOptions
from gmail_client.quota import QuotaPlan, preset
from gmail_client.search_matching import SearchMatcher

NOW = 1_700_000_000
UNHURRIED = settings(deadline=None)
PAGE = 3
CONTENT = from_raw(b"Subject: x\r\n\r\nx\r\n")


@dataclass(frozen=True)
class Found:
    id: str
    internal_date_ms: int
    label_ids: tuple[str, ...]
    content: MessageContent = CONTENT


class Listings(GmailApi):
    """Listings of a mailbox in memory; counts pages."""

    def __init__(self, messages: Sequence[Found]) -> None:
        self.messages = messages
        self.pages = 0

    @property
    def plan(self) -> QuotaPlan:
        return preset("current")

    def matching(self, q: str | None, label_ids: Sequence[str] = ()) -> list[Found]:
        test = compile_query(q or "", now=lambda: NOW, labels={})
        return [one for one in self.messages if test(one) and set(label_ids) <= set(one.label_ids)]

    def list_messages(
        self,
        *,
        q: str | None = None,
        label_ids: Sequence[str] = (),
        include_spam_trash: bool = False,
        page_size: int = 500,
    ) -> Iterator[list[dict[str, Any]]]:
        found = sorted(self.matching(q, label_ids), key=lambda one: -one.internal_date_ms)
        for begin in range(0, max(1, len(found)), page_size):
            self.pages += 1
            yield [{"id": one.id, "threadId": one.id} for one in found[begin : begin + page_size]]


MAILBOXES = st.lists(
    st.tuples(st.integers(0, 40 * 86_400), st.sampled_from([(), ("UNREAD",), ("UNREAD", "STARRED")])),
    max_size=30,
).map(
    lambda drawn: [
        Found(f"{place:x}", (NOW - age) * 1000 + place, labels) for place, (age, labels) in enumerate(drawn)
    ]
)
SEARCHES = st.sampled_from(
    [
        ("is:unread", "is:unread"),
        ("is:unread newer_than:9d", "is:unread"),
        ("newer_than:9d", None),
        ("is:starred OR newer_than:5d", "is:starred OR newer_than:5d"),
    ]
)


def pages(rows: int) -> int:
    return max(1, -(-rows // PAGE))


def matcher_of(api: Listings, q: str, stored: Sequence[Found], labels: str = "") -> SearchMatcher:
    dates = sorted(one.internal_date_ms for one in stored)
    options = TableOptions(q=q, labelIds=labels, maxResults=PAGE)
    return SearchMatcher(api, options, len(stored), lambda: dates)


@UNHURRIED
@given(
    mailbox=MAILBOXES,
    search=SEARCHES,
    chosen=st.sets(st.integers(0, 29), max_size=12),
    rows=st.sampled_from([1, 1, 3]),
    labels=st.sampled_from(["", "UNREAD"]),
)
@example(
    [Found(str(n), (NOW - n * 86_400) * 1000, ("UNREAD",)) for n in range(30)],
    ("is:unread",) * 2,
    {0, 29},
    1,
    "",
)
@example([Found(str(n), NOW * 1000, ("UNREAD",)) for n in range(9)], ("is:unread",) * 2, {0, 8}, 3, "")
def test_stored_messages_are_matched_against_the_search_without_dates(
    mailbox: list[Found], search: tuple[str, str | None], chosen: set[int], rows: int, labels: str
) -> None:
    api = Listings(mailbox)
    matching = {one.id for one in api.matching(search[1], tuple(filter(None, [labels])))}
    groups: dict[str, dict[str, int]] = {}
    for place in sorted(chosen):
        if place < len(mailbox):
            groups.setdefault(str(place // rows), {})[mailbox[place].id] = mailbox[place].internal_date_ms
    # The rows that did not change match.
    changed = {m for dates in groups.values() for m in dates}
    stored = [one for one in mailbox if one.id in matching or one.id in changed]
    found = matcher_of(api, search[0], stored, labels).still_matching(groups)
    if search[1] is None:
        assert found == changed
        assert api.pages == 0
        return
    assert found <= matching
    for dates in groups.values():
        assert found.isdisjoint(dates) == matching.isdisjoint(dates)
    seconds = {at // 1000 for dates in groups.values() for at in dates.values()}
    assert api.pages <= pages(len(matching)) + len(seconds)
    if len(seconds) == 1:
        near = [
            one
            for one in mailbox
            if one.id in matching and abs(one.internal_date_ms // 1000 - min(seconds)) <= 1
        ]
        assert api.pages <= pages(len(near))


@UNHURRIED
@given(mailbox=MAILBOXES, search=SEARCHES, chosen=st.sets(st.integers(0, 29), max_size=5))
@example(
    [Found(str(n), (NOW - n * 86_400) * 1000, ("UNREAD",)) for n in range(30)], ("is:unread",) * 2, {0, 1}
)
def test_messages_with_a_date_are_matched_against_the_current_search(
    mailbox: list[Found], search: tuple[str, str | None], chosen: set[int]
) -> None:
    api = Listings(mailbox)
    dates: Mapping[str, int] = {
        mailbox[n].id: mailbox[n].internal_date_ms for n in chosen if n < len(mailbox)
    }
    matching = {one.id for one in api.matching(search[0])}
    assert matcher_of(api, search[0], mailbox).matching_now(dates) == matching & dates.keys()


@UNHURRIED
@given(
    mailbox=MAILBOXES,
    search=SEARCHES,
    arrived=st.sets(st.integers(0, 29), max_size=6),
    others=st.sets(st.integers(0, 29), max_size=3),
    since=st.none() | st.integers(NOW - 3 * 86_400, NOW),
)
@example(
    [Found(str(n), (NOW - n * 86_400) * 1000, ("UNREAD",)) for n in range(30)],
    ("is:unread",) * 2,
    {0},
    set(),
    NOW,
)
@example(
    [Found(str(n), (NOW - n * 86_400) * 1000, ("UNREAD",)) for n in range(30)],
    ("is:unread",) * 2,
    {29},
    set(),
    NOW,
)
@example(
    [Found(str(n), (NOW - n * 86_400) * 1000, ("UNREAD",)) for n in range(30)],
    ("is:unread",) * 2,
    set(),
    {9},
    None,
)
def test_new_messages_are_matched_or_wait_for_their_date(
    mailbox: list[Found],
    search: tuple[str, str | None],
    arrived: set[int],
    others: set[int],
    since: int | None,
) -> None:
    api = Listings(mailbox)
    matching = {one.id for one in api.matching(search[0])}
    stored = [one for one in mailbox if one.id in matching]
    new, seen = (
        {mailbox[n].id for n in places if n < len(mailbox)} for places in (arrived, others - arrived)
    )
    found = matcher_of(api, search[0], stored).match_unstored(new, seen, since)
    assert found.matching <= matching
    assert (new | seen) & matching <= found.matching | found.undecided
    assert found.undecided <= new | seen
    # Fetching costs no more than listing the rest of the search results.
    assert len(found.undecided) * 25 <= pages(len(stored) + 1) * 5
    recent = len(
        [one for one in mailbox if since is not None and one.internal_date_ms >= (since - 3_600) * 1000]
    )
    assert api.pages <= pages(len(matching)) + 2 * pages(recent)


def test_without_a_search_arrivals_match_and_a_start_date_is_listed_for_many() -> None:
    mailbox = [Found(str(n), (NOW - n * 86_400) * 1000, ()) for n in range(30)]
    api = Listings(mailbox)
    assert SearchMatcher(api, TableOptions()).match_unstored({"1"}, {"2"}, None).matching == {"1", "2"}
    matcher = SearchMatcher(api, TableOptions(startDate=NOW - 5 * 86_400), 5)
    assert matcher.match_unstored({"1", "9"}, set(), NOW).matching == {"1", "9"}
    assert api.pages == 0
    everything = {one.id for one in mailbox}
    assert matcher.match_unstored(everything, set(), NOW).matching == {str(n) for n in range(7)}
    assert api.pages == 1
    assert matcher.match_unstored(set(), {"1", "9"}, NOW).matching == {"1"}


def test_a_message_without_a_date_is_not_deleted() -> None:
    api = Listings([])
    assert matcher_of(api, "is:unread", []).still_matching({"1": {"1": 0}}) == {"1"}
    assert api.pages == 0
