"""The work for one mailbox of a run over several: `MailboxWork`, with a `WorkPlan` that is common to all."""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from gmail_assets.check_outcomes import CheckSubject, MailboxChecks, Outcome
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.maintenance import Upkeep
from gmail_assets.delta.partition_status import is_loading
from gmail_assets.delta.registry import MailboxRegistry
from gmail_assets.failures import concerns_whole_mailbox
from gmail_assets.spark_engine import Preloaded, SparkEngine
from gmail_assets.syncing.results import Progress, SyncResult
from gmail_assets.syncing.run import read_here, snapshot, sync
from gmail_assets.syncing.stopping import RunGroup
from gmail_assets.views import ContentSources, ViewSources, derive, fetch_contents
from gmail_client.client import Mailbox
from gmail_client.errors import GmailError
from gmail_client.spec import Spec, SpecTable, SpecView
from gmail_client.tables import CATALOGUE
from gmail_client.views import CONTENTS, VIEWS

__all__ = ["MailboxWork", "OutOfTimeError", "SyncChoices", "WorkPlan"]


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
        keys: Their asset keys, by source table.
        entries: The tables of the run, by source table.
        checks: The checks of the run.
        choices: How messages and threads are synced.
        lake: The lake.
        upkeep: When small files are compacted and old ones removed.
        engine: If given, it reads first loads and snapshots.
        open_mailbox: Opens a mailbox by its partition key.
        last_read: Returns the time of an asset's last materialization for a mailbox.
        group: The work on all mailboxes: it stops together, and shares memory.
        progress: Progress of the mailboxes in progress.
    """

    spec: Spec
    keys: Mapping[str, dg.AssetKey]
    entries: Mapping[str, SpecTable | SpecView]
    checks: Sequence[tuple[MailboxChecks, Sequence[dg.AssetCheckKey]]]
    choices: SyncChoices
    lake: Lake
    upkeep: Upkeep
    engine: SparkEngine | None
    open_mailbox: Callable[[str], Mailbox]
    last_read: Callable[[dg.AssetKey, str], datetime | None]
    group: RunGroup = field(default_factory=RunGroup)
    progress: dict[str, Progress] = field(default_factory=dict)

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
    """The work of a run for one mailbox. A second attempt does only what the first one has not finished."""

    def __init__(self, plan: WorkPlan, name: str) -> None:
        self._plan = plan
        self._name = name
        self.results: dict[str, SyncResult] = {}
        self.outcomes: dict[dg.AssetCheckKey, Outcome] = {}
        self._attempts = 0

    def run(self) -> None:
        """Do the work, in this thread.

        Raises:
            GmailError: Why it is not complete.
        """
        plan = self._plan
        if plan.time_is_up:
            raise OutOfTimeError(
                "The time budget of the run ended before this mailbox.",
                fix="Run it again; or raise time_budget_minutes, or lower GMAIL_MAILBOXES_PER_RUN.",
            )
        self._attempts += 1
        errors: list[GmailError] = []
        mailbox: Mailbox | None = None
        if plan.mail or plan.snapshots or plan.contents:
            mailbox = plan.open_mailbox(self._name)
            _ = mailbox.address  # if it can't be read, nothing else is tried
            for entry in plan.snapshots:
                with _collected(errors):
                    self._snapshot(mailbox, entry)
            with _collected(errors):
                self._sync(mailbox)
        if not plan.mail or plan.mail[0].source_table in self.results:
            with _collected(errors):
                self._derive()
            if mailbox is not None:
                with _collected(errors):
                    self._fetch_contents(mailbox)
        if errors:
            raise errors[0]
        self._check()

    def _snapshot(self, mailbox: Mailbox, entry: SpecTable) -> None:
        plan = self._plan
        if entry.source_table in self.results or plan.group.is_set():
            return
        with plan.one_spark_job():
            self.results[entry.source_table] = snapshot(
                mailbox,
                plan.lake,
                entry,
                read=read_here if plan.engine is None else plan.engine.read,
                upkeep=plan.upkeep,
            )

    def _sync(self, mailbox: Mailbox) -> None:
        plan = self._plan
        if not plan.mail or plan.mail[0].source_table in self.results or plan.group.is_set():
            return
        brought = plan.brought(mailbox)

        def note(progress: Progress) -> None:
            plan.progress[self._name] = progress

        arguments = dict(plan.choices.arguments)
        if self._attempts > 1 and is_loading(plan.lake, mailbox.address, plan.mail):
            arguments["full_refresh"] = False  # the first attempt began it
        results = sync(
            mailbox,
            plan.lake,
            plan.mail,
            pipeline=plan.pipeline,
            deadline=plan.choices.deadline,
            progress=note,
            upkeep=plan.upkeep,
            group=plan.group,
            **arguments,
        )
        for result in results.values():
            brought.add_to(result)
        self.results |= results

    def _derive(self) -> None:
        plan = self._plan
        if not plan.views or plan.views[0].source_table in self.results or plan.group.is_set():
            return
        self.results |= derive(
            plan.lake,
            MailboxRegistry(plan.lake).address_of(self._name) or self._name,
            plan.sources,
            [entry.source_table for entry in plan.views],
            deadline=plan.choices.deadline,
            upkeep=plan.upkeep,
        )

    def _fetch_contents(self, mailbox: Mailbox) -> None:
        plan = self._plan
        if plan.contents is None or CONTENTS in self.results or plan.group.is_set():
            return
        self.results[CONTENTS] = fetch_contents(
            mailbox,
            plan.lake,
            plan.contents,
            deadline=plan.choices.deadline,
            upkeep=plan.upkeep,
            stopped=plan.group.is_set,
            memory=plan.group.memory,
        )

    def _check(self) -> None:
        plan = self._plan
        if plan.group.is_set():
            return
        subject = CheckSubject(self._name, plan.lake, plan.open_mailbox, self._last_read)
        for checks, keys in plan.checks:
            missing = [key for key in keys if key not in self.outcomes]
            if missing:
                self.outcomes |= checks.evaluate(subject, missing)

    def _last_read(self, key: dg.AssetKey) -> datetime | None:
        """Time of an asset's last materialization for this mailbox: in this run, or as Dagster knows it."""
        if any(self._plan.keys[table] == key for table in self.results):
            return datetime.now(UTC)
        return self._plan.last_read(key, self._name)


@contextmanager
def _collected(errors: list[GmailError]) -> Iterator[None]:
    """Keep an error for later, unless it concerns the whole mailbox."""
    try:
        yield
    except GmailError as error:
        if concerns_whole_mailbox(error):
            raise
        errors.append(error)
