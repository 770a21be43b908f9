"""Encoded words, dates, message ids and parameters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.header import Header
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmail_client.views.headers import (
    collect,
    decode_words,
    from_milliseconds,
    message_ids,
    parameter,
    parse_date,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@settings(deadline=None)
@given(
    st.datetimes(datetime(1901, 1, 1), datetime(2261, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
)
def test_formatted_dates_are_parsed(naive: datetime, minutes: int) -> None:
    moment = naive.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    assert parse_date(format_datetime(moment)) == moment


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Tue, 1 Jul 2003 10:52:37 +0200 (CEST)", datetime(2003, 7, 1, 8, 52, 37, tzinfo=UTC)),
        ("1 Jul 03 10:52 -0000", datetime(2003, 7, 1, 10, 52, tzinfo=UTC)),
        ("Tue, 01 Jul 2003 10:52:37 GMT", datetime(2003, 7, 1, 10, 52, 37, tzinfo=UTC)),
        ("Tue, 31 Feb 2003 10:52:37 +0000", None),
        ("Tue, 1 Jul 3003 10:52:37 +0000", None),
        ("yesterday", None),
        ("", None),
        ("Date: " * 100_000, None),
    ],
)
def test_dates(value: str, expected: datetime | None) -> None:
    assert parse_date(value) == expected


@settings(deadline=None)
@given(ANY_TEXT | st.text(st.sampled_from("0123456789:+- JanMonGMT,")))
def test_any_date_is_a_timestamp_or_null(value: str) -> None:
    moment = parse_date(value)
    assert moment is None or (moment.tzinfo is UTC and 1900 <= moment.year <= 2261)


@settings(deadline=None)
@given(st.one_of(st.none(), st.integers(), ANY_TEXT))
def test_any_internal_date_is_a_timestamp_or_null(value: str | int | None) -> None:
    moment = from_milliseconds(value)
    assert moment is None or 1900 <= moment.year <= 2261


def test_internal_dates_keep_milliseconds() -> None:
    assert from_milliseconds("1606313768977") == datetime(2020, 11, 25, 14, 16, 8, 977_000, tzinfo=UTC)
    assert from_milliseconds("-1") == datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)


@settings(deadline=None)
@given(st.text(st.characters(categories=("L", "N", "P")), min_size=1))
def test_encoded_words_round_trip(text: str) -> None:
    encoded = str(Header(text, "utf-8").encode(maxlinelen=60, linesep="")).replace("\n", "")
    assert decode_words(encoded) == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("=?utf-8?B?R3LDvMOfZQ==?= an alle", "Grüße an alle"),
        ("=?iso-8859-1?q?caf=E9?=", "café"),
        ("=?x-nothing?q?caf=E9?=", "café"),
        ("=?utf-8?B?R3LD?= =?utf-8?B?vMOfZQ==?=", "Grüße"),
        ("=?utf-8?b?!!!?=", ""),
        ("=?utf-8?b?A?=", "=?utf-8?b?A?="),
        ("1 =? 2", "1 =? 2"),
    ],
)
def test_encoded_words(value: str, expected: str) -> None:
    assert decode_words(value) == expected


@settings(deadline=None)
@given(ANY_TEXT | st.text(st.sampled_from("=?utf-8bq_ ")))
def test_any_value_can_be_decoded(value: str) -> None:
    assert isinstance(decode_words(value), str)


def test_message_ids() -> None:
    assert message_ids(["<a@x> <b@x>\t<a@x>", "(junk) <c@x>"]) == ["a@x", "b@x", "c@x"]
    assert message_ids(["a@x b@x"]) == ["a@x", "b@x"]
    assert message_ids(["<no-at-sign>"]) == ["no-at-sign"]
    assert message_ids(["nothing", "", "<>"]) == []


def test_headers_are_collected_in_any_case_and_order() -> None:
    headers = [
        {"name": "TO", "value": "a"},
        {"name": "Cc", "value": "b"},
        {"name": "To", "value": "c"},
        {"name": None, "value": "d"},
        {"name": "to"},
    ]
    assert collect(headers, frozenset({"to"})) == {"to": ["a", "c", ""]}
    assert collect(None, frozenset({"to"})) == {}


def test_parameters() -> None:
    value = 'text/plain; Charset="utf-8"; name=a b'
    assert parameter(value, "charset") == "utf-8"
    assert parameter(value, "name") == "a"
    assert parameter(value, "format") == ""
