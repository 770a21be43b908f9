"""The work of a run for one mailbox: `MailboxWork`, with a `WorkPlan` that is common to all. It needs no Dagster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zlib import crc32

from gmail_assets.check_outcomes import CheckKey, CheckSubject, MailboxChecks, Outcome
from gmail_assets.checks import ASKS_GMAIL, SYNCED
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.maintenance import Upkeep
from gmail_assets.delta.partition_status import is_loading
from gmail_assets.delta.registry import MailboxRegistry
from gmail_assets.error_policy import concerns_whole_mailbox
from gmail_assets.spark_engine import Preloaded, SparkEngine
from gmail_assets.syncing.identity import stored_address
from gmail_assets.syncing.results import Progress, SyncResult
from gmail_assets.syncing.run import read_here, snapshot, sync
from gmail_assets.syncing.stopping import RunGroup
from gmail_assets.views import ContentSources, ViewSources, derive, fetch_contents
from gmail_client.client import Mailbox
from gmail_client.errors import GmailError, UnavailableError
from gmail_client.spec import Spec, SpecTable, SpecView
from gmail_client.tables import CATALOGUE
from gmail_client.views import CONTENTS, VIEWS

__all__ = [
    "TIME_BUDGET_MINUTES",
    "MailboxWork",
    "OutOfTimeError",
    "SyncChoices",
    "WorkPlan",
    "in_same_hour",
    "units_of",
]

TIME_BUDGET_MINUTES = 210.0
"""Time after which a run stops cleanly, by default."""

_MAILBOXES_PER_JOB = 64
"""Mailboxes that Spark reads in one job: between two jobs, the run checks its time budget."""


class OutOfTimeError(GmailError):
    """The run ended before the mailbox."""


@dataclass(frozen=True, slots=True)
class SyncChoices:
    """How messages and threads are synced, and until when.

    Attributes:
        arguments: Further arguments of `gmail_assets.syncing.sync`.
        deadline: `time.monotonic()` at which to stop cleanly.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    deadline: float | None = None


@dataclass
class WorkPlan:
    """The work of a run for each of its mailboxes.

    Attributes:
        spec: All tables of the definitions.
        entries: The tables of the run, by source table.
        checks: The checks of the run.
        choices: How messages and threads are synced.
        lake: The lake.
        upkeep: When small files are compacted and old ones removed.
        engine: If given, it reads first loads and snapshots.
        open_mailbox: Opens a mailbox by its partition key.
        last_read: Returns the time of a table's last materialization for a mailbox; None if there is none.
        group: The work on all mailboxes: it stops together, and shares memory.
        progress: Progress of the mailboxes in progress.
        on_progress: Called with each progress, in the thread of the mailbox.
        on_table: Called with the name and the result of each finished table, in the thread of the mailbox.
        seldom_compared: Of the incremental syncs of a mailbox, only the first of each hour is compared with Gmail by
            the checks that cost quota.
        record_every: See `gmail_assets.syncing.snapshot`.
        undecided: Mailboxes that may be stored under an earlier address, which could not be found out, with the error.
    """

    spec: Spec
    entries: Mapping[str, SpecTable | SpecView]
    checks: Sequence[tuple[MailboxChecks, Sequence[CheckKey]]]
    choices: SyncChoices
    lake: Lake
    upkeep: Upkeep
    engine: SparkEngine | None
    open_mailbox: Callable[[str], Mailbox]
    last_read: Callable[[str, str], datetime | None]
    group: RunGroup = field(default_factory=RunGroup)
    progress: dict[str, Progress] = field(default_factory=dict)
    on_progress: Callable[[Progress], None] = lambda progress: None
    on_table: Callable[[str, SyncResult], None] = lambda table, result: None
    seldom_compared: bool = False
    record_every: float = 0
    undecided: Mapping[str, GmailError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        read = [entry for entry in self.entries.values() if isinstance(entry, SpecTable)]
        self.mail = [entry for entry in read if CATALOGUE[entry.source_table].cursor]
        self.snapshots = [entry for entry in read if not CATALOGUE[entry.source_table].cursor]
        self.views = [entry for entry in self.entries.values() if entry.source_table in VIEWS]
        self.contents = ContentSources.of(self.spec) if CONTENTS in self.entries else None
        self.pipeline = [entry for entry in self.spec.tables if CATALOGUE[entry.source_table].cursor]
        self.sources = ViewSources.of(self.spec)
        self._spark = threading.Lock()
        self._brought = Preloaded()

    @property
    def time_is_up(self) -> bool:
        """Whether no further mailbox should be started."""
        deadline = self.choices.deadline
        return deadline is not None and time.monotonic() >= deadline

    def preload(self, names: Sequence[str]) -> Preloaded:
        """Let Spark load the mailboxes that are new, many in one job; their syncs then find most of their rows.

        Mailboxes that can't be read are left to their syncs, which report the error.

        Raises:
            GmailError: Spark can't be used.
        """
        done = self._brought
        if self.engine is None or not self.mail or self.choices.arguments.get("full_refresh"):
            return done
        for begin in range(0, len(names), _MAILBOXES_PER_JOB):
            if self.time_is_up or self.group.is_set():
                break
            opened = []
            for name in names[begin : begin + _MAILBOXES_PER_JOB]:
                with suppress(GmailError):
                    mailbox = self.open_mailbox(name)
                    _ = mailbox.address
                    opened.append(mailbox)
            brought = self.engine.preload(self.lake, self.mail, opened, keep_going=True)
            done.mailboxes |= brought.mailboxes
            done.errors += brought.errors
            done.units += brought.units
        return done

    def brought(self, mailbox: Mailbox) -> Preloaded:
        """What `preload` loaded of a mailbox."""
        return self._brought.mailboxes.get(mailbox.address, Preloaded())

    @contextmanager
    def one_spark_job(self) -> Iterator[None]:
        """Within the block, no other mailbox uses Spark."""
        with self._spark if self.engine is not None else nullcontext():
            yield


class MailboxWork:
    """The work of a run for one mailbox. A second attempt does only what the first one has not finished.

    Attributes:
        results: The results of the finished tables.
        outcomes: The results of the checks.
        failures: The errors of the last attempt, by the names of the tables that were not finished, or `checks`.
    """

    def __init__(self, plan: WorkPlan, name: str) -> None:
        self._plan = plan
        self._name = name
        self.results: dict[str, SyncResult] = {}
        self.outcomes: dict[CheckKey, Outcome] = {}
        self.failures: dict[str, Exception] = {}
        self._attempts = 0
        self._lake = plan.lake

    def run(self) -> None:
        """Do the work, in this thread.

        Raises:
            Exception: Why it is not complete; mostly a `GmailError`.
        """
        plan = self._plan
        if plan.time_is_up:
            raise OutOfTimeError(
                "The time budget of the run ended before this mailbox.",
                fix="Run it again; or raise time_budget_minutes, or lower GMAIL_MAILBOXES_PER_RUN.",
            )
        if (error := plan.undecided.get(self._name)) is not None:
            raise error
        self._attempts += 1
        self._lake = plan.lake.latest().session()
        self.failures = {}
        mailbox = self._opened() if plan.mail or plan.snapshots or plan.contents else None
        if mailbox is not None:
            for entry in plan.snapshots:
                with self._collected(entry):
                    self._snapshot(mailbox, entry)
                if isinstance(self.failures.get(entry.source_table), UnavailableError):
                    mailbox.api.profile()  # if that fails too, each further table would take as long to fail
            with self._collected(*plan.mail):
                self._sync(mailbox)
        # Derived tables contain names of labels: as in Dagster, nothing is derived from a table that failed.
        if (not plan.mail or plan.mail[0].source_table in self.results) and "labels" not in self.failures:
            with self._collected(*plan.views):
                self._derive()
            derived = all(entry.source_table in self.results for entry in plan.views)
            if mailbox is not None and plan.contents is not None and derived:
                with self._collected(plan.contents.contents):
                    self._fetch_contents(mailbox)
        self._check()
        if self.failures:
            raise next(iter(self.failures.values()))

    def _opened(self) -> Mailbox:
        """The mailbox; if it can't be read, nothing else is tried."""
        plan = self._plan
        try:
            mailbox = plan.open_mailbox(self._name)
            _ = mailbox.address
        except GmailError as error:
            self.failures[_named(plan.snapshots[:1] or plan.mail) or CONTENTS] = error
            raise
        return mailbox

    @contextmanager
    def _collected(self, *entries: SpecTable | SpecView) -> Iterator[None]:
        """Keep an error of these tables, or of the checks; raise it if it concerns the whole mailbox."""
        try:
            yield
        except Exception as error:  # a bug also affects these tables only
            self.failures[_named(entries) or "checks"] = error
            if isinstance(error, GmailError) and concerns_whole_mailbox(error):
                raise

    def _finish(self, table: str, result: SyncResult) -> None:
        self.results[table] = result
        self._plan.on_table(table, result)

    def _note(self, progress: Progress) -> None:
        self._plan.progress[self._name] = progress
        self._plan.on_progress(progress)

    def _snapshot(self, mailbox: Mailbox, entry: SpecTable) -> None:
        plan = self._plan
        if entry.source_table in self.results or plan.group.is_set():
            return
        with plan.one_spark_job():
            result = snapshot(
                mailbox,
                self._lake,
                entry,
                read=read_here if plan.engine is None else plan.engine.read,
                upkeep=plan.upkeep,
                record_every=plan.record_every,
            )
        self._finish(entry.source_table, result)

    def _sync(self, mailbox: Mailbox) -> None:
        plan = self._plan
        if not plan.mail or plan.mail[0].source_table in self.results or plan.group.is_set():
            return
        brought = plan.brought(mailbox)
        arguments = dict(plan.choices.arguments)
        if self._attempts > 1 and is_loading(self._lake, stored_address(mailbox, self._lake), plan.mail):
            arguments["full_refresh"] = False  # the first attempt began it
        results = sync(
            mailbox,
            self._lake,
            plan.mail,
            pipeline=plan.pipeline,
            deadline=plan.choices.deadline,
            progress=self._note,
            upkeep=plan.upkeep,
            group=plan.group,
            **arguments,
        )
        for result in results.values():
            brought.add_to(result)
        for table, result in results.items():
            self._finish(table, result)

    def _derive(self) -> None:
        plan = self._plan
        if not plan.views or plan.views[0].source_table in self.results or plan.group.is_set():
            return
        results = derive(
            self._lake,
            MailboxRegistry(self._lake).address_of(self._name) or self._name,
            plan.sources,
            [entry.source_table for entry in plan.views],
            changes=self.results["messages"].changes if "messages" in self.results else None,
            deadline=plan.choices.deadline,
            progress=self._note,
            upkeep=plan.upkeep,
        )
        for table, result in results.items():
            self._finish(table, result)

    def _fetch_contents(self, mailbox: Mailbox) -> None:
        plan = self._plan
        if plan.contents is None or CONTENTS in self.results or plan.group.is_set():
            return
        result = fetch_contents(
            mailbox,
            self._lake,
            plan.contents,
            deadline=plan.choices.deadline,
            progress=self._note,
            upkeep=plan.upkeep,
            stopped=plan.group.is_set,
            memory=plan.group.memory,
        )
        self._finish(CONTENTS, result)

    def _check(self) -> None:
        plan = self._plan
        if plan.group.is_set():
            return
        snapshots = {entry.source_table for entry in plan.snapshots}
        read = {table: result.keys for table, result in self.results.items() if table in snapshots}
        subject = CheckSubject(self._name, self._lake, plan.open_mailbox, self._last_read, read)
        left_out = ASKS_GMAIL if plan.seldom_compared and self._was_compared else frozenset()
        for checks, keys in plan.checks:
            missing = [key for key in keys if key.name not in left_out and self._is_due(key)]
            if missing:
                with self._collected():
                    self.outcomes |= checks.evaluate(subject, missing)

    def _is_due(self, key: CheckKey) -> bool:
        """Whether a check is to be run: once, and not for a table of this run that has failed."""
        if key in self.outcomes or (key.name == SYNCED and self.failures):
            return False
        return key.table in self.results or key.table not in self._plan.entries

    @property
    def _was_compared(self) -> bool:
        """Whether an earlier sync of this hour was compared with Gmail."""
        found = [self.results[entry.source_table] for entry in self._plan.mail]
        return bool(found) and all(
            result.mode == "incremental"
            and result.complete
            and result.synced_before is not None
            and in_same_hour(self._name, result.synced_before, time.time())
            for result in found
        )

    def _last_read(self, table: str) -> datetime | None:
        """Time of a table's last materialization for this mailbox: in this run, or as Dagster knows it."""
        return datetime.now(UTC) if table in self.results else self._plan.last_read(table, self._name)


def _named(entries: Sequence[SpecTable | SpecView]) -> str:
    return ", ".join(entry.source_table for entry in entries)


def in_same_hour(mailbox: str, before: float, now: float) -> bool:
    """Whether two times, in epoch seconds, are in one hour of a mailbox; its hours begin at a minute of its own."""
    begin = crc32(mailbox.encode()) % 3600
    return (before + begin) // 3600 == (now + begin) // 3600


def units_of(results: Mapping[str, SyncResult]) -> int:
    """Units of one mailbox: messages and threads are read together, and each result has the units of both."""
    results = dict(results)  # a copy, because the thread of the mailbox may add to it
    shared = {"messages", "threads"} & results.keys()
    units = sum(result.units for table, result in results.items() if table not in shared)
    return units + max((results[table].units for table in shared), default=0)
