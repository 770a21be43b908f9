"""Run the product against a throw-away mailbox at the real Gmail: `run_conformance`.

It creates 31 messages with Gmail's own methods, loads them, changes them, syncs and reconciles, verifies after each
step, runs the probes of `gmail_client.conformance`, and removes what it created. If it is killed, the next call begins
with the removal.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gmail_assets.delta.lake import Lake
from gmail_assets.operations.verify import verify_mailbox
from gmail_assets.syncing.results import SyncResult
from gmail_assets.syncing.run import snapshot, sync
from gmail_client.client import Mailbox
from gmail_client.conformance.examination import Examination, examine
from gmail_client.conformance.seeding import (
    CleanedUp,
    Seeded,
    change,
    clean_up,
    seed,
    wait_until_listed,
)
from gmail_client.errors import ConfigurationError, CredentialsError, GmailError, ScopeError
from gmail_client.spec import Spec
from gmail_client.tables import CHANGE_TABLES

__all__ = ["MAX_MESSAGES", "ConformanceRun", "Step", "run_conformance"]

MAX_MESSAGES = 500
"""A mailbox with more messages is not accepted as a throw-away one."""

_WITHOUT_VIEWS = Spec(tables=Spec.default().tables)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run.

    Attributes:
        name: What was done.
        result: Its result.
        problem: Why it failed, or what is wrong; empty if nothing is.
        fix: How to fix it.
    """

    name: str
    result: str = ""
    problem: str = ""
    fix: str = ""


@dataclass
class ConformanceRun:
    """The result of `run_conformance`.

    Attributes:
        address: The mailbox.
        leftovers: Leftovers of an earlier run that was killed, which this one removed.
        steps: The steps, in order.
        examination: The answers of the probes; None if they did not run.
        cleaned: What was removed at the end.
        interrupted: Whether Ctrl-C ended the run early.
        units: Quota units that were spent; for writes, at the prices of Google's page before May 2026.
    """

    address: str
    leftovers: CleanedUp = field(default_factory=CleanedUp)
    steps: list[Step] = field(default_factory=list)
    examination: Examination | None = None
    cleaned: CleanedUp = field(default_factory=CleanedUp)
    interrupted: bool = False
    units: int = 0

    @property
    def failed(self) -> bool:
        """Whether a step failed."""
        return any(step.problem for step in self.steps)


def run_conformance(
    mailbox: Mailbox, *, force: bool = False, progress: Callable[[str], None] = lambda step: None
) -> ConformanceRun:
    """Run all steps on a mailbox, and remove what they created. The steps after a failed one run too.

    Args:
        mailbox: The mailbox, with a login that may change it.
        force: Run although the mailbox has more than 500 messages.
        progress: Called with the name of each step.

    Raises:
        ConfigurationError: The mailbox has too many messages.
        GmailError: The mailbox can't be read, or the leftovers of an earlier run can't be removed.
    """
    before = mailbox.api.usage.snapshot().total_units
    profile = mailbox.api.profile()
    address, total = str(profile["emailAddress"]), int(profile.get("messagesTotal") or 0)
    if total > MAX_MESSAGES and not force:
        raise ConfigurationError(
            f"The mailbox {address} has {total:,} messages: it is not a throw-away account.",
            fix=f"Use an account with at most {MAX_MESSAGES} messages, or --force.",
        )
    run = ConformanceRun(address)
    exchange = mailbox.api.exchange()
    run.leftovers = clean_up(exchange)
    made = Seeded()
    try:
        with tempfile.TemporaryDirectory(prefix="gmail-conformance-") as folder:
            _Steps(mailbox, Lake(folder), run, made, progress).run()
    except KeyboardInterrupt:
        run.interrupted = True
    progress("cleaning up")
    try:
        run.cleaned = clean_up(exchange, made)
    except GmailError as error:
        fix = "Run `gmail-assets conformance` again: it removes the rest."
        run.steps.append(Step("Clean up", problem=error.what, fix=fix))
    run.units = mailbox.api.usage.snapshot().total_units - before
    return run


class _Steps:
    """The steps of one run."""

    def __init__(
        self,
        mailbox: Mailbox,
        lake: Lake,
        run: ConformanceRun,
        made: Seeded,
        progress: Callable[[str], None],
    ) -> None:
        self._mailbox = mailbox
        self._lake = lake
        self._run = run
        self._progress = progress
        self._exchange = mailbox.api.exchange()
        self._made = made
        self._refused = False

    def run(self) -> None:
        seeded = self._step("Create messages, labels and a draft", self._seed)
        if self._refused:
            return  # every other server continues with the messages that it has
        self._step("Full load", lambda: self._sync("full_load"))
        self._step("Verify", self._verify)
        self._step("Read the other tables", self._snapshots)
        if seeded:
            self._step("Change the mailbox", self._change)
            self._step("Incremental sync", lambda: self._sync("incremental"))
            self._step("Verify after the changes", self._verify)
        self._step("Reconcile", lambda: self._sync("reconcile"))
        self._step("Verify after the reconciliation", self._verify)
        self._step("Run the checks of doctor", self._examine)

    def _step(self, name: str, work: Callable[[], str]) -> bool:
        self._progress(name)
        try:
            self._run.steps.append(Step(name, work()))
        except _Mismatch as mismatch:
            self._run.steps.append(Step(name, problem=str(mismatch), fix="Please report this as a bug."))
        except GmailError as error:
            self._run.steps.append(Step(name, problem=error.what, fix=error.fix))
            self._refused = isinstance(error, ScopeError | CredentialsError)
            return False
        return True

    def _seed(self) -> str:
        seed(self._exchange, self._made)
        return f"{len(self._made.messages)} messages{self._wait()}"

    def _change(self) -> str:
        change(self._exchange, self._made)
        return f"1 reply, 4 label changes, 1 draft replaced{self._wait()}"

    def _wait(self) -> str:
        listed = wait_until_listed(self._exchange, self._made, self._mailbox.client.clock.sleep)
        return "" if listed else "; after a minute, a listing by label still lacks some of them"

    def _sync(self, mode: str) -> str:
        tables = [entry for entry in _WITHOUT_VIEWS.tables if entry.source_table in CHANGE_TABLES]
        results = sync(
            self._mailbox,
            self._lake,
            tables,
            reconcile=mode == "reconcile",
            allow_mass_delete=True,
        )
        wrong = {name: result.mode for name, result in results.items() if result.mode != mode}
        if wrong:
            found = ", ".join(f"{name}: {found}" for name, found in wrong.items())
            raise _Mismatch(f"expected {mode}, not {found}")
        return _counts(results)

    def _snapshots(self) -> str:
        tables = [entry for entry in _WITHOUT_VIEWS.tables if entry.source_table not in CHANGE_TABLES]
        return _counts({entry.source_table: snapshot(self._mailbox, self._lake, entry) for entry in tables})

    def _verify(self) -> str:
        verdict = verify_mailbox(self._mailbox, self._lake, _WITHOUT_VIEWS, sample=10, thorough=True)
        if verdict.unfinished:
            raise _Mismatch("a table is not finished")
        if verdict.unexplained:
            examples = "; ".join(f"{example.table} {example.what}" for example in verdict.examples)
            raise _Mismatch(f"{verdict.unexplained} unexplained differences: {examples or 'in the labels'}")
        return f"{len(verdict.labels)} labels and all ids compared, no differences"

    def _examine(self) -> str:
        self._run.examination = examine(self._mailbox, written=self._made.evidence)
        counts = {status: self._run.examination.count(status) for status in ("agrees", "differs", "unknown")}
        return (
            f"{counts['agrees']} as expected, {counts['differs']} different, {counts['unknown']} not answered"
        )


class _Mismatch(Exception):  # noqa: N818 - becomes the problem of a step
    """The product behaved differently than expected."""


def _counts(results: Mapping[str, SyncResult]) -> str:
    return ", ".join(f"{name}: {result.rows_total}" for name, result in results.items()) + " rows"
