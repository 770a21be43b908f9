"""The change sensor's decisions, without Dagster."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gmail_assets.sensor_cursor import (
    RECONCILE,
    CursorEntry,
    Observation,
    Request,
    Requested,
    backoff_seconds,
    decide,
    dump_cursor,
    has_work,
    parse_cursor,
)

NOW = 1_000_000.0


def tick(entry: CursorEntry | None, *, now: float = NOW, initial_load: bool = False, **observation):
    return decide(
        entry,
        Observation(**{"observed": 200, "tables": 100, **observation}),
        now=now,
        initial_load=initial_load,
    )


def test_the_first_check_of_a_loaded_mailbox_requests_its_changes():
    decision = tick(None)
    assert decision.request == Request(None, 1)
    assert decision.entry == CursorEntry(100, 200, Requested(100, 200, 1, NOW), 100)
    assert decision.reason == "changes from 100 to 200"


def test_an_up_to_date_mailbox_requests_nothing_and_clears_the_last_request():
    decision = tick(
        CursorEntry(100, 200, Requested(100, 200, 1, NOW - 60), 100), tables=200, last_run="succeeded"
    )
    assert decision.request is None
    assert decision.entry == CursorEntry(200, 200, None, 200)
    assert "up to date at 200" in decision.reason


def test_a_run_in_progress_keeps_the_cursor():
    entry = CursorEntry(50, 200, None, 100)
    decision = tick(entry, unfinished=True)
    assert decision.request is None
    assert decision.entry == entry


def test_a_mailbox_without_tables_is_skipped_by_default():
    assert tick(None, tables=None).request is None
    assert "materialize" in tick(None, tables=None).reason
    assert tick(None, tables=None, initial_load=True).request == Request(None, 1)
    assert tick(None, tables=None, begun=True).request == Request(None, 1)
    assert "resume the first load" in tick(None, tables=None, begun=True).reason


def test_a_table_deleted_by_hand_is_reported():
    decision = tick(CursorEntry(100, 200, None, 100), tables=None)
    assert decision.request is None
    assert "deleted from the tables, whose cursor was 100" in decision.reason


def test_a_failed_run_is_retried_with_backoff():
    entry = tick(None).entry
    assert tick(entry, now=NOW + 59, last_run="failed").request is None
    again = tick(entry, now=NOW + 61, last_run="failed")
    assert again.request == Request(None, 2)
    assert tick(again.entry, now=NOW + 61 + 119, last_run="failed").request is None
    assert tick(again.entry, now=NOW + 61 + 121, last_run="failed").request == Request(None, 3)
    assert "(attempt 3)" in tick(again.entry, now=NOW + 61 + 121, last_run="failed").reason


def test_a_clock_that_was_set_back_does_not_delay_the_next_attempt():
    entry = tick(None, now=NOW + 365 * 86_400).entry
    assert has_work(entry, NOW)
    again = tick(entry, last_run="failed")
    assert again.request == Request(None, 2)
    assert tick(again.entry, now=NOW + 119, last_run="failed").request is None


@pytest.mark.parametrize(
    "cursor",
    ['{"a": {"requested": {"attempt": 1e999}}}', '{"a": {"requested": {"at": "0001-01-01"}}}', "[" * 10_000],
)
def test_a_cursor_with_absurd_values_is_ignored(cursor):
    entries, problems = parse_cursor(cursor)
    assert entries == {}
    assert len(problems) == 1


def test_a_run_that_stopped_with_work_left_is_followed_at_once():
    entry = tick(None, tables=None, initial_load=True).entry
    decision = tick(entry, now=NOW + 1, tables=None, begun=True, last_run="succeeded")
    assert decision.request == Request(None, 1)


def test_backoff_doubles_up_to_an_hour():
    assert [backoff_seconds(attempt) for attempt in (1, 2, 3, 7, 1000)] == [60, 120, 240, 3600, 3600]


def test_a_run_started_elsewhere_is_not_an_edit():
    entry = tick(None).entry
    decision = tick(entry, tables=200, observed=200)
    assert decision.request is None
    assert decision.entry.synced_through == 200


@pytest.mark.parametrize("observed", [100, 200])
def test_a_cursor_set_back_replays_until_a_replay_succeeds(observed):
    edited = replace(tick(None, tables=100, observed=100).entry, synced_through=40)
    decided = tick(edited, observed=observed)
    assert decided.request == Request(40, 1)
    assert "replay the history from 40" in decided.reason
    failed = tick(decided.entry, observed=observed, now=NOW + 61, last_run="failed")
    assert failed.request == Request(40, 2)
    done = tick(failed.entry, observed=observed, tables=observed, now=NOW + 62, last_run="succeeded")
    assert done.request is None
    assert done.entry.synced_through == done.entry.tables == observed


def test_a_cursor_set_back_during_a_run_is_kept():
    edited = replace(tick(None).entry, synced_through=40)
    waiting = tick(edited, unfinished=True)
    assert tick(waiting.entry, tables=200).request == Request(40, 1)


def test_a_cursor_can_be_set_back_with_the_three_documented_fields():
    pasted, problems = parse_cursor(
        '{"me": {"synced_through": "40", "latest_history_id": "200", "requested": null}}'
    )
    assert problems == []
    assert tick(pasted["me"]).request == Request(40, 1)


def test_a_cursor_set_to_null_reconciles_once():
    edited = replace(tick(None, tables=200).entry, synced_through=None)
    decided = tick(edited, tables=200)
    assert decided.request == Request(RECONCILE, 1)
    assert decided.entry.requested is not None
    assert decided.entry.requested.start == RECONCILE
    done = tick(parse_cursor(dump_cursor({"me": decided.entry}))[0]["me"], tables=200, last_run="succeeded")
    assert done.request is None
    assert done.entry.synced_through == 200


def test_a_cursor_set_forward_is_refused_and_reported():
    edited = replace(tick(None).entry, synced_through=150)
    decision = tick(edited, last_run="succeeded")
    assert decision.request == Request(None, 1)
    assert "set to 150, later than the tables' 100: ignored" in decision.reason
    assert decision.entry.synced_through == 100


@pytest.mark.parametrize(
    ("cursor", "complaint"),
    [
        ("{", "not JSON"),
        ("[1]", "a list, not an object"),
        ('{"me": 7}', "entry of me is invalid"),
        ('{"me": {"synced_through": "yesterday"}}', "synced_through is 'yesterday', not a history id"),
        ('{"me": {"synced_through": true}}', "synced_through is True"),
        ('{"me": {"synced_through": "-5"}}', "synced_through is '-5'"),
        ('{"me": {"synced_through": "5", "requested": {"at": "soon"}}}', "entry of me is invalid"),
    ],
)
def test_an_invalid_cursor_counts_as_removed_and_is_reported(cursor, complaint):
    entries, problems = parse_cursor(cursor)
    assert entries == {}
    assert complaint in problems[0]


@pytest.mark.parametrize("cursor", [None, "", "  ", "{}"])
def test_an_empty_cursor_is_valid(cursor):
    assert parse_cursor(cursor) == ({}, [])


def test_the_cursor_has_the_documented_form():
    value = json.loads(dump_cursor({"ada@gmail.test": tick(None).entry}))
    assert value == {
        "ada@gmail.test": {
            "synced_through": "100",
            "latest_history_id": "200",
            "requested": {"from": "100", "to": "200", "attempt": 1, "at": "1970-01-12T13:46:40.000+00:00"},
            "tables_synced_through": "100",
        }
    }


ids = st.none() | st.integers(1, 2**63)
times = st.integers(0, 10**13).map(lambda milliseconds: milliseconds / 1000)
entries = st.builds(
    CursorEntry,
    synced_through=ids,
    observed=ids,
    tables=ids,
    requested=st.none()
    | st.builds(
        Requested,
        start=ids | st.just(RECONCILE),
        to=st.integers(1, 2**63),
        attempt=st.integers(1, 99),
        at=times,
    ),
)


@given(st.dictionaries(st.emails(), entries))
@settings(deadline=None)
def test_the_cursor_round_trips(given_entries):
    assert parse_cursor(dump_cursor(given_entries)) == (given_entries, [])


@given(
    entry=st.none() | entries,
    tables=st.integers(1, 500),
    behind=st.integers(0, 100),
    unfinished=st.booleans(),
)
@example(
    entry=CursorEntry(synced_through=None, observed=2, requested=Requested(100, 200, 1, NOW - 1), tables=100),
    tables=100,
    behind=1,
    unfinished=False,
)
@settings(deadline=None)
def test_no_cursor_starts_a_run_past_the_tables(entry, tables, behind, unfinished):
    decision = tick(entry, tables=tables, observed=tables + behind, unfinished=unfinished)
    if decision.request is not None:
        assert not unfinished
        assert decision.request.start in (None, RECONCILE) or decision.request.start < tables
    elif not unfinished and behind:
        assert "next attempt in" in decision.reason


@given(entry=st.none() | entries, tables=st.integers(1, 500), behind=st.integers(1, 100))
@settings(deadline=None)
def test_with_any_cursor_a_lagging_mailbox_eventually_gets_a_run(entry, tables, behind):
    decision = tick(entry, tables=tables, observed=tables + behind)
    later = NOW + 1e10
    assert (
        decision.request or tick(decision.entry, tables=tables, observed=tables + behind, now=later).request
    )


def test_tables_past_the_head_are_reconciled():
    decision = tick(None, tables=300)
    assert decision.request == Request(None, 1)
    assert "later than Gmail's 200" in decision.reason
