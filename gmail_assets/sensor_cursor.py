"""What the change sensor knows of each mailbox, and what it decides from that: no Dagster, no network.

The sensor's cursor is JSON: `{mailbox: {committed, observed, requested: {from, to, attempt, at}, tables,
seen}}`.

- `committed`: history id up to which the tables are true. A person may edit it: set back, the mailbox is
  replayed from there; set to null, it is compared with a listing; set forward, it is refused. Removing the
  entry, or the whole cursor, is harmless: the tables know where they stand.
- `observed`: Gmail's head when the sensor last looked.
- `requested`: the last run asked for; `attempt` counts the tries since one succeeded, `at` is epoch seconds.
- `tables`: what the tables themselves said then. The sensor writes it beside `committed`, and tells an edit
  by the difference.
- `seen`: epoch seconds of the last look; the longest unseen come first where there are too many for one tick.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

__all__ = [
    "COMPARE",
    "Decision",
    "Entry",
    "LastRun",
    "Request",
    "Requested",
    "Sight",
    "Start",
    "backoff_seconds",
    "decide",
    "dump_cursor",
    "parse_cursor",
]

COMPARE: Literal["compare"] = "compare"
"""In place of a start: compare with a listing."""

Start = int | Literal["compare"] | None
LastRun = Literal["none", "succeeded", "failed"]

_FIRST_BACKOFF_SECONDS = 60.0
_LONGEST_BACKOFF_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Requested:
    """A run that was asked for.

    Attributes:
        start: History id from which on; `compare`; None for a first load.
        to: Gmail's head when it was asked for.
        attempt: 1 for the first try.
        at: Epoch seconds.
    """

    start: Start
    to: int
    attempt: int
    at: float


@dataclass(frozen=True, slots=True)
class Entry:
    """One mailbox in the cursor; see the module for the fields."""

    committed: int | None = None
    observed: int | None = None
    requested: Requested | None = None
    tables: int | None = None
    seen: float = 0.0


@dataclass(frozen=True, slots=True)
class Sight:
    """What the sensor saw of one mailbox at this tick.

    Attributes:
        observed: Gmail's head.
        tables: The lowest history id committed in the tables in use; None when one of them has none.
        begun: A first load was begun, so there is something to go on with.
        unfinished: A run of this mailbox is queued or under way.
        last_run: How the run that the sensor asked for last ended; `none` when unknown or not asked for.
    """

    observed: int
    tables: int | None
    begun: bool = False
    unfinished: bool = False
    last_run: LastRun = "none"


@dataclass(frozen=True, slots=True)
class Request:
    """A run to ask for, from a history id, by `compare`, or (None) from the tables' own cursor."""

    start: Start
    attempt: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of the entry, which run to ask for (if any), and why, in words."""

    entry: Entry
    request: Request | None
    reason: str


def backoff_seconds(attempt: int) -> float:
    """How long the next try waits after that many failed: a minute, doubled each time, an hour at most."""
    return min(_FIRST_BACKOFF_SECONDS * 2.0 ** min(max(attempt - 1, 0), 16), _LONGEST_BACKOFF_SECONDS)


def decide(entry: Entry | None, sight: Sight, *, now: float, initial_load: bool = False) -> Decision:
    """Whether a mailbox needs a run.

    Args:
        entry: What the cursor says of it; None when it says nothing (first look, or cleared by a person).
        sight: What is the case now.
        now: Epoch seconds.
        initial_load: Ask for the first load too, where no table holds the mailbox.
    """
    entry = entry or Entry()
    asked, remark = _asked_for(entry, sight)
    kept = replace(entry, observed=sight.observed, seen=now)
    if sight.unfinished:
        # Nothing that a person asked for may be forgotten while a run is under way.
        return Decision(kept, None, f"{remark}a run of it is queued or under way")
    kept = replace(kept, tables=sight.tables)
    if asked is None:
        kept = replace(kept, committed=sight.tables)
    if sight.tables is None and not sight.begun and not initial_load:
        return Decision(replace(kept, requested=None), None, _not_loaded(entry))
    if sight.tables is not None and sight.tables == sight.observed and asked is None:
        return Decision(replace(kept, requested=None), None, f"{remark}up to date at {sight.tables}")

    start = asked if asked is not None else sight.tables
    last = entry.requested
    attempt = 1
    if last is not None and last.start == start and sight.last_run != "succeeded":
        due = last.at + backoff_seconds(last.attempt)
        if now < due:
            waiting = f"attempt {last.attempt} did not reach {last.to}; next try in {due - now:.0f} s"
            return Decision(kept, None, remark + waiting)
        attempt = last.attempt + 1
    request = Request(asked, attempt)
    kept = replace(kept, requested=Requested(start, sight.observed, attempt, now))
    return Decision(kept, request, remark + _words(request, sight))


def _asked_for(entry: Entry, sight: Sight) -> tuple[Start, str]:
    """Where a person wants the next run to start, as far as that is still to be done, and a remark."""
    if sight.tables is None or entry.committed == entry.tables:
        return None, ""
    asked: Start = COMPARE if entry.committed is None else entry.committed
    if isinstance(asked, int):
        if asked > sight.tables:
            return None, f"set forward to {asked}, past the tables' {sight.tables}: refused; "
        if asked == sight.tables:
            return None, ""
    done = entry.requested is not None and entry.requested.start == asked and sight.last_run == "succeeded"
    return (None, "") if done else (asked, "")


def _not_loaded(entry: Entry) -> str:
    mend = "materialize messages and threads for it once, or set GMAIL_SENSOR_INITIAL_LOAD=true"
    if entry.tables is not None:
        return f"its rows are gone from the tables, which stood at {entry.tables}: {mend}"
    return f"not loaded yet: {mend}"


def _words(request: Request, sight: Sight) -> str:
    if request.start == COMPARE:
        what = "its cursor was cleared: compare it with a listing"
    elif request.start is not None:
        what = f"its cursor was set back: replay from {request.start}"
    elif sight.tables is None:
        what = "go on with its first load" if sight.begun else "load it for the first time"
    elif sight.tables > sight.observed:
        what = f"its tables stand at {sight.tables}, past the mailbox's head {sight.observed}: compare it"
    else:
        what = f"changes from {sight.tables} to {sight.observed}"
    return f"{what} (attempt {request.attempt})" if request.attempt > 1 else what


def parse_cursor(cursor: str | None) -> tuple[dict[str, Entry], list[str]]:
    """Read the sensor's cursor, however a person left it.

    Returns:
        The entries that make sense, and a sentence for each that does not (it counts as removed).
    """
    if not cursor or not cursor.strip():
        return {}, []
    try:
        value = json.loads(cursor)
    except ValueError as error:
        return {}, [f"The cursor is not JSON ({error}) and counts as removed."]
    if not isinstance(value, dict):
        return {}, [f"The cursor is a {type(value).__name__}, not an object, and counts as removed."]
    entries: dict[str, Entry] = {}
    problems: list[str] = []
    for mailbox, given in value.items():
        try:
            entries[mailbox] = _entry(given)
        except (ValueError, TypeError) as error:
            problems.append(f"The cursor of {mailbox} makes no sense ({error}) and counts as removed.")
    return entries, problems


def dump_cursor(entries: Mapping[str, Entry]) -> str:
    """The cursor to store, mailboxes in order; history ids are strings, as Gmail writes them."""
    return json.dumps({mailbox: _as_json(entries[mailbox]) for mailbox in sorted(entries)})


def _as_json(entry: Entry) -> dict[str, Any]:
    requested = entry.requested
    return {
        "committed": _text(entry.committed),
        "observed": _text(entry.observed),
        "requested": requested
        and {
            "from": _text(requested.start),
            "to": _text(requested.to),
            "attempt": requested.attempt,
            "at": requested.at,
        },
        "tables": _text(entry.tables),
        "seen": entry.seen,
    }


def _text(value: Start) -> str | None:
    return None if value is None else str(value)


def _entry(value: object) -> Entry:
    given = _object(value)
    requested = given.get("requested")
    return Entry(
        committed=_history_id(given, "committed"),
        observed=_history_id(given, "observed"),
        requested=None if requested is None else _requested(_object(requested)),
        tables=_history_id(given, "tables"),
        seen=float(given.get("seen", 0.0)),
    )


def _requested(given: Mapping[str, Any]) -> Requested:
    return Requested(
        start=COMPARE if given.get("from") == COMPARE else _history_id(given, "from"),
        to=_history_id(given, "to") or 0,
        attempt=int(given.get("attempt", 1)),
        at=float(given.get("at", 0.0)),
    )


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is not an object")
    return value


def _history_id(given: Mapping[str, Any], key: str) -> int | None:
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not str(value).isdecimal():
        raise ValueError(f"{key} is {value!r}, not a history id")
    return int(value)
