"""The cursor of the change sensor and the decision that follows from it: pure functions without Dagster or network.

The cursor is JSON, with one object per mailbox:

- `synced_through`: the history id that the tables are synced through. It can be edited: an earlier id replays the
  history from there; null reconciles the mailbox; a later id is ignored. Removing the object, or the whole cursor, is
  safe: the cursors in the Delta tables are authoritative.
- `latest_history_id`: Gmail's current history id at the last tick.
- `requested`: the last requested run, `{from, to, attempt, at}`; `attempt` counts the attempts since the last success.
- `tables_synced_through`: the cursor of the tables at the last tick. The sensor detects an edit by comparing
  `synced_through` with it.

History ids are strings, as in Gmail's API; times are ISO 8601 in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

__all__ = [
    "RECONCILE",
    "CursorEntry",
    "Decision",
    "Observation",
    "Request",
    "Requested",
    "RunOutcome",
    "Start",
    "backoff_seconds",
    "decide",
    "dump_cursor",
    "has_work",
    "iso_time",
    "parse_cursor",
]

RECONCILE: Literal["reconcile"] = "reconcile"
"""Instead of a start history id: reconcile with a listing."""

Start = int | Literal["reconcile"] | None
RunOutcome = Literal["none", "succeeded", "failed"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_BACKOFF_SECONDS = 60.0
_LONGEST_BACKOFF_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Requested:
    """A requested run.

    Attributes:
        start: History id that the run starts from; `reconcile`; None for a first load.
        to: Gmail's history id at the time of the request.
        attempt: 1 for the first attempt.
        at: Epoch seconds.
    """

    start: Start
    to: int
    attempt: int
    at: float


@dataclass(frozen=True, slots=True)
class CursorEntry:
    """One mailbox in the cursor; the module docstring explains the fields. Times are epoch seconds."""

    synced_through: int | None = None
    observed: int | None = None
    requested: Requested | None = None
    tables: int | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """State of one mailbox at this tick.

    Attributes:
        observed: Gmail's current history id.
        tables: The lowest cursor of the tables in use; None if one of them has no cursor.
        begun: A first load was started, so there is a load to resume.
        unfinished: A run of this mailbox is queued or running.
        last_run: Outcome of the run that the sensor requested last; `none` if there is none or it is unknown.
        incomplete: A check found rows missing or too many, so the tables have to be reconciled.
    """

    observed: int
    tables: int | None
    begun: bool = False
    unfinished: bool = False
    last_run: RunOutcome = "none"
    incomplete: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A run to request: from a history id, by `reconcile`, or (None) from the cursor of the tables."""

    start: Start
    attempt: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The updated cursor entry, the run to request (if any), and the reason as text."""

    entry: CursorEntry
    request: Request | None
    reason: str


def backoff_seconds(attempt: int) -> float:
    """Delay before the next attempt: one minute after the first failure, doubled each time, at most an hour."""
    return min(_FIRST_BACKOFF_SECONDS * 2.0 ** min(max(attempt - 1, 0), 16), _LONGEST_BACKOFF_SECONDS)


def decide(
    entry: CursorEntry | None, observation: Observation, *, now: float, initial_load: bool = False
) -> Decision:
    """Decide whether a mailbox needs a run.

    Args:
        entry: Cursor entry of the mailbox; None at the first tick or after a person removed it.
        observation: Current state of the mailbox.
        now: Epoch seconds.
        initial_load: Also request the first load of a mailbox without rows.
    """
    entry = entry or CursorEntry()
    edited, note = _edited_start(entry, observation)
    updated = replace(entry, observed=observation.observed)
    if observation.unfinished:
        # An edited cursor must not be overwritten while a run is in progress.
        return Decision(updated, None, f"{note}a run is queued or in progress")
    tables = observation.tables
    updated = replace(updated, tables=tables)
    if edited is None:
        updated = replace(updated, synced_through=tables)
    if tables is None and not observation.begun and not initial_load:
        return Decision(replace(updated, requested=None), None, _not_loaded(entry))
    current = tables is not None and tables == observation.observed and not observation.incomplete
    if current and edited is None:
        return Decision(replace(updated, requested=None), None, f"{note}up to date at {tables}")

    start = edited if edited is not None else tables
    last = entry.requested
    attempt = 1
    if last is not None and last.start == start and observation.last_run != "succeeded":
        due = _next_attempt(last, now)
        if now < due:
            waiting = f"attempt {last.attempt} did not reach {last.to}; next attempt in {due - now:.0f} s"
            return Decision(updated, None, note + waiting)
        attempt = last.attempt + 1
    request = Request(edited, attempt)
    updated = replace(updated, requested=Requested(start, observation.observed, attempt, now))
    return Decision(updated, request, note + _reason(request, observation))


def has_work(entry: CursorEntry, now: float) -> bool:
    """Whether an entry asks for a decision before its mailbox is due: it was edited, or a run should have ended."""
    requested = entry.requested
    if requested is not None:
        return now >= _next_attempt(requested, now)
    return entry.synced_through != entry.tables


def _next_attempt(last: Requested, now: float) -> float:
    """Epoch seconds; now if the clock was set back since the last attempt."""
    return now if last.at > now else last.at + backoff_seconds(last.attempt)


def _edited_start(entry: CursorEntry, observation: Observation) -> tuple[Start, str]:
    """The start that a person set by editing the cursor, unless a run has already done it; and a note."""
    tables = observation.tables
    if tables is None or entry.synced_through == entry.tables:
        return None, ""
    edited: Start = RECONCILE if entry.synced_through is None else entry.synced_through
    if isinstance(edited, int):
        if edited > tables:
            return None, f"synced_through was set to {edited}, later than the tables' {tables}: ignored; "
        if edited == tables:
            return None, ""
    last = entry.requested
    done = last is not None and last.start == edited and observation.last_run == "succeeded"
    return (None, "") if done else (edited, "")


def _not_loaded(entry: CursorEntry) -> str:
    fix = "materialize messages and threads once for this mailbox, or set GMAIL_SENSOR_INITIAL_LOAD=true"
    if entry.tables is not None:
        return f"its rows were deleted from the tables, whose cursor was {entry.tables}: {fix}"
    return f"not loaded yet: {fix}"


def _reason(request: Request, observation: Observation) -> str:
    tables, observed = observation.tables, observation.observed
    if request.start == RECONCILE:
        reason = "synced_through was set to null: reconcile with a listing"
    elif request.start is not None:
        reason = f"synced_through was set to an earlier id: replay the history from {request.start}"
    elif observation.incomplete:
        reason = "a check found missing or extra rows: reconcile"
    elif tables is None:
        reason = "resume the first load" if observation.begun else "start the first load"
    elif tables > observed:
        reason = f"the cursor of the tables, {tables}, is later than Gmail's {observed}: reconcile"
    else:
        reason = f"changes from {tables} to {observed}"
    return f"{reason} (attempt {request.attempt})" if request.attempt > 1 else reason


def parse_cursor(cursor: str | None) -> tuple[dict[str, CursorEntry], list[str]]:
    """Parse the cursor, which a person may have edited.

    Returns:
        The valid entries, and a message for each invalid one (which counts as removed).
    """
    if not cursor or not cursor.strip():
        return {}, []
    try:
        value = json.loads(cursor)
    except (ValueError, RecursionError) as error:
        return {}, [f"The cursor is not JSON ({error}); it is ignored and rebuilt."]
    if not isinstance(value, dict):
        return {}, [f"The cursor is a {type(value).__name__}, not an object; it is ignored and rebuilt."]
    entries: dict[str, CursorEntry] = {}
    problems: list[str] = []
    for mailbox, given in value.items():
        try:
            entries[mailbox] = _entry(given)
        except (ValueError, TypeError, OverflowError) as error:
            problems.append(f"The cursor entry of {mailbox} is invalid ({error}); it is ignored and rebuilt.")
    return entries, problems


def dump_cursor(entries: Mapping[str, CursorEntry]) -> str:
    """Serialize the cursor, sorted by mailbox; history ids are strings, as in Gmail's API."""
    # Compact: Dagster stores the whole cursor with each tick.
    values = {mailbox: _as_json(entries[mailbox]) for mailbox in sorted(entries)}
    return json.dumps(values, separators=(",", ":"))


def _as_json(entry: CursorEntry) -> dict[str, Any]:
    requested = entry.requested
    return {
        "synced_through": _text(entry.synced_through),
        "latest_history_id": _text(entry.observed),
        "requested": requested
        and {
            "from": _text(requested.start),
            "to": _text(requested.to),
            "attempt": requested.attempt,
            "at": iso_time(requested.at),
        },
        "tables_synced_through": _text(entry.tables),
    }


def iso_time(epoch: float) -> str | None:
    """Epoch seconds as ISO 8601 in UTC with milliseconds; None for 0."""
    if not epoch:
        return None
    moment = _EPOCH + timedelta(milliseconds=round(epoch * 1000))
    return moment.isoformat(timespec="milliseconds")


def _epoch(value: object) -> float:
    if value is None:
        return 0.0
    return round(datetime.fromisoformat(str(value)).timestamp(), 3)


def _text(value: Start) -> str | None:
    return None if value is None else str(value)


def _entry(value: object) -> CursorEntry:
    given = _object(value)
    requested = given.get("requested")
    return CursorEntry(
        synced_through=_history_id(given, "synced_through"),
        observed=_history_id(given, "latest_history_id"),
        requested=None if requested is None else _requested(_object(requested)),
        tables=_history_id(given, "tables_synced_through"),
    )


def _requested(given: Mapping[str, Any]) -> Requested:
    return Requested(
        start=RECONCILE if given.get("from") == RECONCILE else _history_id(given, "from"),
        to=_history_id(given, "to") or 0,
        attempt=int(given.get("attempt", 1)),
        at=_epoch(given.get("at")),
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
