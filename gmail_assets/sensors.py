"""The change sensor: one cheap call per mailbox and tick, and a run for each mailbox that changed.

It reads the current history id of each mailbox (getProfile, one unit), compares it with the cursor of the tables, and
requests a run of messages and threads if they differ. `gmail_assets.sensor_cursor` contains the decision, and how a
person controls it by editing the cursor.
"""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition_status import OpenTables, PartitionStatus
from gmail_assets.delta.registry import ForgottenMailboxes
from gmail_assets.mailbox_partitions import MailboxPartitions
from gmail_assets.resources import ResourceKeys
from gmail_assets.sensor_cursor import (
    RECONCILE,
    CursorEntry,
    Decision,
    Observation,
    Request,
    RunOutcome,
    decide,
    dump_cursor,
    iso_time,
    parse_cursor,
)
from gmail_client.client import GmailClient
from gmail_client.errors import GmailError
from gmail_client.printable import printable, printable_line
from gmail_client.spec import SpecTable

__all__ = ["REQUEST_TAG", "change_sensor"]

REQUEST_TAG = "gmail/request"
"""Tag of the runs that the sensor requests: with the partition, it identifies one request and so its outcome."""

_PARTITION_TAG = "dagster/partition"
_CONCURRENT_PROFILES = 8
_TICK_SECONDS = 40.0
"""Dagster allows a tick 60 seconds. Mailboxes that this tick does not reach come first at the next one."""
_MAX_LINES = 20
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True, slots=True)
class _MailboxState:
    """A mailbox's current history id and table statuses, or the error of the request; or it is forgotten."""

    head: int = 0
    statuses: Mapping[str, PartitionStatus] | None = None
    error: GmailError | None = None
    forgotten: bool = False


def change_sensor(
    name: str,
    job_name: str,
    mail_step: str,
    tables: Sequence[SpecTable],
    keys: Mapping[str, dg.AssetKey],
    partitions: MailboxPartitions,
    *,
    interval_seconds: int = 30,
    mailboxes_per_tick: int = 200,
    running: bool = False,
    initial_load: bool = False,
    resources: ResourceKeys | None = None,
) -> dg.SensorDefinition:
    """The sensor for messages and threads.

    Args:
        name: Name of the sensor.
        job_name: The job of messages and threads.
        mail_step: Name of its step in run config.
        tables: `messages` and `threads`, if they are in the spec, with their options.
        keys: Their asset keys, by Gmail name.
        partitions: The mailboxes.
        interval_seconds: Minimum interval between ticks.
        mailboxes_per_tick: Maximum number of mailboxes per tick; the others follow at the next one.
        running: Start switched on; otherwise it has to be switched on in the UI.
        initial_load: Also request the first load of a mailbox.
        resources: Names of the resources.
    """
    resources = resources or ResourceKeys()

    @dg.sensor(
        name=name,
        job_name=job_name,
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        description="Reads the current history id of each mailbox and syncs messages and threads if it changed. "
        "The cursor can be edited: set synced_through to an earlier id to replay the history from there, or to null "
        "to reconcile the mailbox.",
        required_resource_keys=resources.required,
    )
    def gmail_changes(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        gmail, gmail_lake = resources.of_run(context.resources)
        mailboxes = partitions.names(context)
        entries, notes = parse_cursor(context.cursor)
        # Drop mailboxes that are no longer configured.
        entries = {mailbox: entry for mailbox, entry in entries.items() if mailbox in mailboxes}
        longest_unseen_first = sorted(
            mailboxes, key=lambda mailbox: entries.get(mailbox, CursorEntry()).checked_at
        )
        chosen = longest_unseen_first[:mailboxes_per_tick]
        unfinished = _unfinished(context.instance)
        requests: list[dg.RunRequest] = []
        failed: list[str] = []
        for mailbox, state in _mailbox_states(gmail.client(), gmail_lake.lake(), tables, chosen):
            if state.forgotten:
                entries.pop(mailbox, None)
                notes.append(f"{mailbox}: erased with `gmail-assets forget`, not loaded again.")
                continue
            if state.error is not None or state.statuses is None:
                failed.append(printable(f"{mailbox}: {state.error}"))
                entries[mailbox] = replace(
                    entries.get(mailbox, CursorEntry()), checked_at=round(time.time(), 3)
                )
                continue
            entry = entries.get(mailbox)
            decision = decide(
                entry,
                _observation(state, mailbox in unfinished, _last_run(context.instance, mailbox, entry)),
                now=round(time.time(), 3),
                initial_load=initial_load,
            )
            entries[mailbox] = decision.entry
            notes.append(printable_line(f"{mailbox}: {decision.reason}."))
            if decision.request is not None:
                used = list(state.statuses) or [spec.source_table for spec in tables]
                requests.append(_run_request(mailbox, decision, [keys[table] for table in used], mail_step))
        for text in failed:
            context.log.error(text)
        if failed and len(failed) == len(chosen):
            raise dg.Failure("No mailbox could be read. " + _joined(failed), allow_retries=False)
        reason = _joined([*failed, *notes])
        if requests:
            context.log.info(reason)
        return dg.SensorResult(
            run_requests=requests, skip_reason=None if requests else reason, cursor=dump_cursor(entries)
        )

    return gmail_changes


def _mailbox_states(
    client: GmailClient, lake: Lake, tables: Sequence[SpecTable], mailboxes: Sequence[str]
) -> Iterator[tuple[str, _MailboxState]]:
    """Read the state of mailboxes concurrently until the time of the tick is up."""
    until = time.monotonic() + _TICK_SECONDS
    opened = OpenTables(lake, tables)
    forgotten = ForgottenMailboxes(lake)

    def read(name: str) -> _MailboxState | None:
        if time.monotonic() > until:
            return None
        try:
            if forgotten.includes(name):
                return _MailboxState(forgotten=True)
            profile = client.mailbox(name).api.profile()
            address = str(profile["emailAddress"])
            if forgotten.includes(address):
                return _MailboxState(forgotten=True)
            return _MailboxState(int(profile["historyId"]), opened.statuses_of(address))
        except GmailError as error:
            return _MailboxState(error=error)

    with ThreadPoolExecutor(_CONCURRENT_PROFILES, thread_name_prefix="gmail-state") as pool:
        for name, state in zip(mailboxes, pool.map(read, mailboxes), strict=True):
            if state is not None:
                yield name, state


def _observation(state: _MailboxState, unfinished: bool, last_run: RunOutcome) -> Observation:
    statuses = (state.statuses or {}).values()
    cursors = [status.cursor for status in statuses]
    known = [cursor for cursor in cursors if cursor is not None]
    return Observation(
        observed=state.head,
        tables=min(known) if known and len(known) == len(cursors) else None,
        begun=bool(cursors),
        unfinished=unfinished,
        last_run=last_run,
        incomplete=any(status.unexplained for status in statuses),
    )


def _unfinished(instance: dg.DagsterInstance) -> set[str]:
    """Partitions with a queued or running run, including runs that the sensor did not request."""
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED))
    return {run.tags[_PARTITION_TAG] for run in runs if _PARTITION_TAG in run.tags}


def _last_run(instance: dg.DagsterInstance, mailbox: str, entry: CursorEntry | None) -> RunOutcome:
    """Outcome of the run that the cursor entry says was requested."""
    if entry is None or entry.requested is None:
        return "none"
    tags = {_PARTITION_TAG: mailbox, REQUEST_TAG: _request_name(entry.requested.at)}
    runs = instance.get_runs(filters=dg.RunsFilter(tags=tags), limit=1)
    if not runs:
        return "none"
    return "succeeded" if runs[0].status == dg.DagsterRunStatus.SUCCESS else "failed"


def _request_name(at: float) -> str:
    return str(iso_time(at))


def _run_request(
    mailbox: str, decision: Decision, keys: Sequence[dg.AssetKey], mail_step: str
) -> dg.RunRequest:
    """A run request without a run key, because Dagster never accepts a run key twice, not even after a failure."""
    requested = decision.entry.requested
    request: Request | None = decision.request
    config: dict[str, Any] = {}
    if request is not None and request.start == RECONCILE:
        config["reconcile"] = True
    elif request is not None and request.start is not None:
        config["replay_from"] = str(request.start)
    return dg.RunRequest(
        partition_key=mailbox,
        asset_selection=list(keys),
        run_config={"ops": {mail_step: {"config": config}}} if config else None,
        tags={REQUEST_TAG: _request_name(requested.at)} if requested else None,
    )


def _joined(lines: Sequence[str]) -> str:
    more = f" ... and {len(lines) - _MAX_LINES} more mailboxes." if len(lines) > _MAX_LINES else ""
    return " ".join(lines[:_MAX_LINES]) + more or "No mailboxes are configured."
