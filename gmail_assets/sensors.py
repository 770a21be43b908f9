"""The change sensor: it polls each mailbox that is due, and requests a few runs for those that changed.

A poll is one getProfile (one unit) for the mailbox's current history id. `gmail_assets.scheduling` decides what a tick
does, and `gmail_assets.sensor_cursor` how a person controls it by editing the cursor; this module connects them to
Gmail, the lake and Dagster, within the time of a tick. No run is requested for a mailbox that can't be read, so the
sensor itself lets its check `synced` fail.
"""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from gmail_assets.check_outcomes import Outcome
from gmail_assets.checks import SYNCED
from gmail_assets.delta.forgotten import ForgottenMailboxes
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition_status import OpenTables, PartitionStatus
from gmail_assets.delta.quota_ledger import share_quota
from gmail_assets.delta.registry import MailboxRegistry
from gmail_assets.failures import ERROR_KEY
from gmail_assets.mailbox_partitions import MailboxPartitions
from gmail_assets.mailbox_runs import outcome_arguments
from gmail_assets.poll_schedule import QUIET_MINUTES
from gmail_assets.resources import ResourceKeys
from gmail_assets.runs_in_progress import LOAD_TAG, REQUEST_TAG, RequestedRuns, RunsInProgress, request_name
from gmail_assets.scheduling import PlannedRun, PollResult, Scheduler, TableState
from gmail_assets.sensor_cursor import RECONCILE, Requested, RunOutcome, dump_cursor, parse_cursor
from gmail_client.client import GmailClient
from gmail_client.errors import GmailError
from gmail_client.spec import SpecTable

__all__ = ["REQUEST_TAG", "change_sensor"]

_CONCURRENT_POLLS = 16
_LAKE_SECONDS = 8.0
_TICK_SECONDS = 14.0
"""When a tick stops to wait for Gmail. With the requests of runs, it stays below 20 seconds; Dagster allows it 60."""
_MAX_LINES = 20


def change_sensor(
    name: str,
    job_name: str,
    mail_step: str,
    tables: Sequence[SpecTable],
    keys: Mapping[str, dg.AssetKey],
    partitions: MailboxPartitions,
    *,
    interval_seconds: int = 30,
    polls_per_tick: int = 2_000,
    quiet_minutes: float = QUIET_MINUTES,
    runs_per_tick: int = 3,
    mailboxes_per_run: int = 100,
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
        polls_per_tick: Maximum number of mailboxes that a tick polls; the others follow at the next one.
        quiet_minutes: Maximum minutes between two polls of a mailbox.
        runs_per_tick: Maximum number of runs that a tick requests.
        mailboxes_per_run: Maximum number of mailboxes of a run.
        running: Start switched on; otherwise it has to be switched on in the UI.
        initial_load: Also request the first load of a mailbox.
        resources: Names of the resources.
    """
    resources = resources or ResourceKeys()
    scheduler = Scheduler(
        initial_load=initial_load,
        quiet_minutes=quiet_minutes,
        polls_per_tick=polls_per_tick,
        runs_per_tick=runs_per_tick,
        mailboxes_per_run=mailboxes_per_run,
    )
    watch = _Watch(tables)
    mail_keys = {spec.source_table: keys[spec.source_table] for spec in tables}
    checked = keys[tables[0].source_table]

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
    def gmail_changes(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        until = time.monotonic() + _TICK_SECONDS
        gmail, gmail_lake = resources.of_run(context.resources)
        client, lake = gmail.client(), gmail_lake.lake()
        share_quota(client, lake)
        watched = watch.refreshed(lake)
        if watched is None:
            return dg.SkipReason(f"The lake did not answer within {_LAKE_SECONDS:.0f} seconds.")
        mailboxes = partitions.names(context)
        entries, problems = parse_cursor(context.cursor)
        runs = RunsInProgress.of(context.instance, mailboxes)
        backend = _SchedulerBackend(
            gmail.client(),
            watch,
            watched,
            RequestedRuns(context.instance, keys[tables[0].source_table]),
            until,
        )
        now = round(time.time(), 3)
        tick = scheduler.tick(entries, mailboxes, runs.mailboxes, backend, now=now, loads=runs.loads)
        for text in tick.failed:
            context.log.error(text)
        if tick.failed and tick.all_failing:
            raise dg.Failure("No mailbox could be read. " + _joined(tick.failed), allow_retries=False)
        reason = _joined([*tick.failed, *problems, *tick.notes])
        if tick.runs:
            context.log.info(reason)
        return dg.SensorResult(
            run_requests=[_run_request(run, mail_keys, mail_step) for run in tick.runs],
            skip_reason=None if tick.runs else reason,
            cursor=dump_cursor(tick.entries),
            asset_events=[
                *(_synced(checked, mailbox, error) for mailbox, error in tick.newly_failing.items()),
                *(_synced(checked, mailbox, None) for mailbox in tick.recovered),
            ],
        )

    return gmail_changes


def _synced(asset: dg.AssetKey, mailbox: str, error: GmailError | None) -> dg.AssetCheckEvaluation:
    """The result of the check `synced` for a mailbox that can't be read, or that can be read again."""
    outcome = Outcome(True, "Gmail answers again.") if error is None else Outcome(False, str(error))
    arguments = outcome_arguments(outcome)
    if error is not None:
        arguments["metadata"] |= {ERROR_KEY: type(error).__name__}
    return dg.AssetCheckEvaluation(asset_key=asset, check_name=SYNCED, partition=mailbox, **arguments)


@dataclass(slots=True)
class _Watched:
    """The lake's tables, and the mailboxes that were erased from it."""

    lake: Lake
    tables: OpenTables
    forgotten: ForgottenMailboxes
    _names: dict[str, str] = field(default_factory=dict)
    _names_read: bool = False

    def refresh(self) -> None:
        """Move on to the present state of the lake."""
        self.tables.refresh()
        self.forgotten.refresh()
        self._names_read = False

    def statuses_of(self, address: str, name: str) -> dict[str, PartitionStatus]:
        """Status of a mailbox's tables, which may be stored under an earlier address of it.

        Args:
            address: Its present address.
            name: Its partition key, which may still be an earlier address.
        """
        statuses = self.tables.statuses_of(address)
        if statuses:
            return statuses
        if address not in self._names and not self._names_read:
            # At most once per tick, and only if there is a mailbox without rows.
            self._names = MailboxRegistry(self.lake).addresses()
            self._names_read = True
        stored_as = self._names.get(address) or (self._names.get(name) if "@" in name else None)
        return statuses if stored_as is None else self.tables.statuses_of(stored_as)


class _Watch:
    """What a sensor keeps from tick to tick: open tables, and requests that had no answer when a tick ended."""

    def __init__(self, tables: Sequence[SpecTable]) -> None:
        self._tables = tables
        self._watched: _Watched | None = None
        self._opening: Future[_Watched] | None = None
        self._pending: dict[str, Future[PollResult]] = {}
        self._pool: ThreadPoolExecutor | None = None

    @property
    def pool(self) -> ThreadPoolExecutor:
        """The threads that wait for Gmail and the lake."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_CONCURRENT_POLLS + 1, thread_name_prefix="sensor-poll")
        return self._pool

    def refreshed(self, lake: Lake) -> _Watched | None:
        """The lake as it is now; None if it does not answer in time.

        Raises:
            LakeError: It can't be read.
        """
        if self._opening is None:
            self._opening = self.pool.submit(self._refresh, lake)
        wait([self._opening], timeout=_LAKE_SECONDS)
        if not self._opening.done():
            return None
        opening, self._opening = self._opening, None
        return opening.result()

    def _refresh(self, lake: Lake) -> _Watched:
        known, self._watched = self._watched, None
        if known is None or known.lake != lake:
            known = _Watched(lake, OpenTables(lake, self._tables), ForgottenMailboxes(lake))
        else:
            known.refresh()
        self._watched = known
        return known

    def poll(
        self, client: GmailClient, mailboxes: Sequence[str], until: float
    ) -> Iterator[tuple[str, PollResult]]:
        """Poll mailboxes concurrently, in order, until the time is up; later answers are ignored."""
        # An answer from the time before the tables were read may be older than they are.
        self._pending = {mailbox: future for mailbox, future in self._pending.items() if not future.done()}
        futures = {
            mailbox: self.pool.submit(_poll, client, mailbox)
            for mailbox in mailboxes
            if mailbox not in self._pending
        }
        self._pending |= futures
        wait(futures.values(), timeout=max(until - time.monotonic(), 0))
        for mailbox, future in futures.items():
            if future.done() or future.cancel():
                del self._pending[mailbox]
            if future.done() and not future.cancelled():
                yield mailbox, future.result()


def _poll(client: GmailClient, mailbox: str) -> PollResult:
    try:
        profile = client.mailbox(mailbox).api.profile()
    except GmailError as error:
        return PollResult(error=error)
    return PollResult(str(profile["emailAddress"]), int(profile["historyId"]))


@dataclass(frozen=True, slots=True)
class _SchedulerBackend:
    """What the scheduler reads from Gmail, the lake and Dagster in one tick."""

    client: GmailClient
    watch: _Watch
    watched: _Watched
    requested: RequestedRuns
    until: float
    _names: dict[str, str] = field(default_factory=dict)

    def poll(self, mailboxes: Sequence[str]) -> Iterator[tuple[str, PollResult]]:
        for mailbox, result in self.watch.poll(self.client, mailboxes, self.until):
            self._names[result.address] = mailbox
            yield mailbox, result

    def is_forgotten(self, mailbox: str) -> bool:
        return self.watched.forgotten.includes(mailbox)

    def state(self, address: str) -> TableState:
        statuses = self.watched.statuses_of(address, self._names.get(address, address))
        cursors = [status.cursor for status in statuses.values()]
        known = [cursor for cursor in cursors if cursor is not None]
        return TableState(
            cursor=min(known) if known and len(known) == len(cursors) else None,
            used=tuple(statuses),
            incomplete=any(status.unexplained for status in statuses.values()),
        )

    def outcome(self, mailbox: str, requested: Requested) -> RunOutcome:
        return self.requested.outcome(mailbox, requested)


def _run_request(run: PlannedRun, keys: Mapping[str, dg.AssetKey], mail_step: str) -> dg.RunRequest:
    """A run request without a run key, because Dagster never accepts a run key twice, not even after a failure."""
    config: dict[str, Any] = {}
    if run.start == RECONCILE:
        config["reconcile"] = True
    elif run.start is not None:
        config["replay_from"] = str(run.start)
    one = run.mailboxes[0] if len(run.mailboxes) == 1 else None
    if one is None:
        config["mailboxes"] = list(run.mailboxes)
    tags = {REQUEST_TAG: request_name(run.at)}
    if run.first_load:
        # In the queue, changes go before first loads, which may take hours.
        tags |= {LOAD_TAG: "true", "dagster/priority": "-1"}
    return dg.RunRequest(
        partition_key=one,
        asset_selection=[keys[table] for table in run.tables or keys],
        run_config={"ops": {mail_step: {"config": config}}} if config else None,
        tags=tags,
    )


def _joined(lines: Sequence[str]) -> str:
    more = f" ... and {len(lines) - _MAX_LINES} more." if len(lines) > _MAX_LINES else ""
    return " ".join(lines[:_MAX_LINES]) + more or "No mailboxes are configured."
