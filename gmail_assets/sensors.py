"""The change sensor: one cheap call for each mailbox and tick, and a run where something changed.

It asks Gmail for each mailbox's history head (getProfile, one unit), compares it with what the tables have committed,
and asks for a run of messages and threads where they differ. What it decides, and how a person steers it by editing
its cursor, is in `gmail_assets.sensor_cursor`.
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
from gmail_assets.resources import ResourceKeys
from gmail_assets.sensor_cursor import (
    COMPARE,
    Decision,
    Entry,
    LastRun,
    Request,
    Sight,
    decide,
    dump_cursor,
    parse_cursor,
)
from gmail_client.client import GmailClient
from gmail_client.errors import GmailError
from gmail_client.spec import SpecTable

__all__ = ["REQUEST_TAG", "change_sensor"]

REQUEST_TAG = "gmail/request"
"""Tag of the runs that the sensor asks for: with the partition it names one request, so that its end can be found."""

_PARTITION_TAG = "dagster/partition"
_LOOKS_AT_ONCE = 8
_TICK_SECONDS = 40.0
"""A tick has 60 seconds; mailboxes that were not looked at by then come first at the next one."""
_MOST_REASONS = 20
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True, slots=True)
class _Look:
    """What one mailbox showed: its head, and where its tables stand; or the error that hid it."""

    head: int = 0
    statuses: Mapping[str, PartitionStatus] | None = None
    error: GmailError | None = None


def change_sensor(
    name: str,
    job_name: str,
    mail_step: str,
    tables: Sequence[SpecTable],
    keys: Mapping[str, dg.AssetKey],
    mailboxes: Sequence[str],
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
        tables: Messages and threads as far as they are in the spec, with their options.
        keys: Their asset keys, by Gmail name.
        mailboxes: Partition keys.
        interval_seconds: Least time between ticks.
        mailboxes_per_tick: Most mailboxes looked at in one tick; the others follow in the next.
        running: Whether it is on without having been switched on in the UI.
        initial_load: Whether it asks for a mailbox's first load too.
        resources: Names of the resources.
    """
    resources = resources or ResourceKeys()

    @dg.sensor(
        name=name,
        job_name=job_name,
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        description="Asks each mailbox for its history head and brings messages and threads up to date where it "
        "moved. Its cursor may be edited: set committed back to replay from there, to null to compare with a "
        "listing.",
        required_resource_keys=resources.required,
    )
    def gmail_changes(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        gmail, gmail_lake = resources.of_run(context.resources)
        entries, remarks = parse_cursor(context.cursor)
        # Mailboxes that are no longer configured keep nothing.
        entries = {mailbox: entry for mailbox, entry in entries.items() if mailbox in mailboxes}
        longest_unseen_first = sorted(mailboxes, key=lambda mailbox: entries.get(mailbox, Entry()).seen)
        chosen = longest_unseen_first[:mailboxes_per_tick]
        unfinished = _unfinished(context.instance)
        requests: list[dg.RunRequest] = []
        failed: list[str] = []
        for mailbox, look in _looks(gmail.client(), gmail_lake.lake(), tables, chosen):
            if look.error is not None or look.statuses is None:
                failed.append(f"{mailbox}: {look.error}")
                entries[mailbox] = replace(entries.get(mailbox, Entry()), seen=round(time.time(), 3))
                continue
            entry = entries.get(mailbox)
            decision = decide(
                entry,
                _sight(look, mailbox in unfinished, _last_run(context.instance, mailbox, entry)),
                now=round(time.time(), 3),
                initial_load=initial_load,
            )
            entries[mailbox] = decision.entry
            remarks.append(f"{mailbox}: {decision.reason}.")
            if decision.request is not None:
                used = list(look.statuses) or [spec.source_table for spec in tables]
                requests.append(_run_request(mailbox, decision, [keys[table] for table in used], mail_step))
        for text in failed:
            context.log.error(text)
        if failed and len(failed) == len(chosen):
            raise dg.Failure("No mailbox could be looked at. " + _joined(failed), allow_retries=False)
        reason = _joined([*failed, *remarks])
        if requests:
            context.log.info(reason)
        return dg.SensorResult(
            run_requests=requests, skip_reason=None if requests else reason, cursor=dump_cursor(entries)
        )

    return gmail_changes


def _looks(
    client: GmailClient, lake: Lake, tables: Sequence[SpecTable], mailboxes: Sequence[str]
) -> Iterator[tuple[str, _Look]]:
    """Look at mailboxes side by side until the tick's time is up."""
    until = time.monotonic() + _TICK_SECONDS
    opened = OpenTables(lake, tables)

    def look(name: str) -> _Look | None:
        if time.monotonic() > until:
            return None
        try:
            profile = client.mailbox(name).api.profile()
            return _Look(int(profile["historyId"]), opened.partition_statuses(str(profile["emailAddress"])))
        except GmailError as error:
            return _Look(error=error)

    with ThreadPoolExecutor(_LOOKS_AT_ONCE, thread_name_prefix="gmail-look") as pool:
        for name, seen in zip(mailboxes, pool.map(look, mailboxes), strict=True):
            if seen is not None:
                yield name, seen


def _sight(look: _Look, unfinished: bool, last_run: LastRun) -> Sight:
    statuses = (look.statuses or {}).values()
    cursors = [status.cursor for status in statuses]
    known = [cursor for cursor in cursors if cursor is not None]
    return Sight(
        observed=look.head,
        tables=min(known) if known and len(known) == len(cursors) else None,
        begun=bool(cursors),
        unfinished=unfinished,
        last_run=last_run,
    )


def _unfinished(instance: dg.DagsterInstance) -> set[str]:
    """Partitions with a run that is queued or under way, whoever asked for it."""
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED))
    return {run.tags[_PARTITION_TAG] for run in runs if _PARTITION_TAG in run.tags}


def _last_run(instance: dg.DagsterInstance, mailbox: str, entry: Entry | None) -> LastRun:
    """How the run that the cursor says was asked for has ended."""
    if entry is None or entry.requested is None:
        return "none"
    tags = {_PARTITION_TAG: mailbox, REQUEST_TAG: _request_name(entry.requested.at)}
    runs = instance.get_runs(filters=dg.RunsFilter(tags=tags), limit=1)
    if not runs:
        return "none"
    return "succeeded" if runs[0].status == dg.DagsterRunStatus.SUCCESS else "failed"


def _request_name(at: float) -> str:
    return f"{at:.3f}"


def _run_request(
    mailbox: str, decision: Decision, keys: Sequence[dg.AssetKey], mail_step: str
) -> dg.RunRequest:
    """A run without a run key: keys are remembered for ever, those of failed runs too."""
    requested = decision.entry.requested
    request: Request | None = decision.request
    config: dict[str, Any] = {}
    if request is not None and request.start == COMPARE:
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
    more = f" ... and {len(lines) - _MOST_REASONS} more mailboxes." if len(lines) > _MOST_REASONS else ""
    return " ".join(lines[:_MOST_REASONS]) + more or "No mailboxes are configured."
