"""A run without Dagster has the results of a Dagster run."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from support.lake import stored_rows

from gmail_assets.checks import SYNCED
from gmail_assets.delta.lake import Lake
from gmail_assets.operations.direct_run import DirectRunner
from gmail_assets.operations.run_in_process import Runner
from gmail_assets.operations.run_results import RunResult
from gmail_assets.operations.table_selection import TableSelection
from gmail_assets.run_settings import RunSettings
from gmail_assets.spark_engine import SparkEngine, SparkError
from gmail_assets.syncing import snapshot
from gmail_assets.syncing.progress import reporting
from gmail_assets.views import ViewSources, derive
from gmail_client.emulator import Emulator, Fault
from gmail_client.errors import DelegationError, GmailError, RequestError, UnavailableError
from gmail_client.settings import Settings
from gmail_client.spec import Spec, SpecTable

ALL = [entry.source_table for entry in Spec.default().entries]
MAIL_AND_DERIVED = ["labels", "messages", "emails", "message_labels", "attachments"]
DIFFERENT = {"dagster/uri", "bytes_in_lake", "bytes_received", "duration_seconds", "synced_at"}
DIFFERENT |= {"quota_units", "api_calls"}  # the first table includes the request for the profile
"""Metadata that differ from run to run."""


def runner(lake: Lake) -> DirectRunner:
    return DirectRunner(TableSelection(), Settings(), lake, RunSettings())


def sync(lake: Lake, tables: Sequence[str], mailboxes: Sequence[str] = ("me",)) -> list[RunResult]:
    return runner(lake).run_mailboxes(mailboxes, tables)


def figures(run: RunResult) -> dict[str, dict[str, Any]]:
    return {
        table: {name: value for name, value in metadata.items() if name not in DIFFERENT}
        for table, metadata in run.tables.items()
    }


@pytest.mark.usefixtures("environment")
def test_the_results_are_those_of_a_dagster_run(lake_of_test: Lake, monkeypatch):
    (direct,) = sync(lake_of_test, ALL)
    monkeypatch.setenv("GMAIL_LAKE", os.environ["GMAIL_LAKE"] + "2")
    (recorded,) = Runner().run_mailboxes(["me"], ALL)
    assert figures(direct).keys() == set(ALL)
    assert figures(direct) == figures(recorded)
    assert direct.failures == recorded.failures == {}
    assert direct.skipped == recorded.skipped == []
    outcomes, others = (
        sorted((check.table, check.check, check.passed) for check in run.checks) for run in (direct, recorded)
    )
    assert outcomes == others
    assert direct.complete


def test_a_failed_table_is_named_and_the_others_are_synced(environment: Emulator, lake_of_test: Lake):
    environment.faults.add(Fault(method="settings.filters.list", status=400))
    (run,) = sync(lake_of_test, ["labels", "filters", "profile"])
    assert run.tables.keys() == {"labels", "profile"}
    assert list(run.failures) == ["filters"]
    assert "Fix: " in run.failures["filters"].message
    assert run.skipped == []


class Recorder:
    """A `Reporter` that keeps what it is given."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.tables: list[str] = []
        self.mailboxes: list[str] = []

    def progress(self, progress: Any) -> None:
        self.phases.append(progress.phase)

    def finished(self, table: str, result: Any) -> None:
        self.tables.append(table)

    def mailbox_finished(self, mailbox: str, results: Any, error: Exception | None) -> None:
        self.mailboxes.append(mailbox)


def test_progress_is_reported_by_table_for_one_mailbox_and_by_mailbox_for_several(
    environment: Emulator, lake_of_test: Lake
):
    one, several = Recorder(), Recorder()
    with reporting(one):
        sync(lake_of_test, ["labels", "messages"])
    with reporting(several):
        sync(lake_of_test, ["labels"], ["me", environment.addresses[0]])
    assert one.tables == ["labels", "messages"]
    assert "fetching" in one.phases
    assert one.mailboxes == several.tables == []
    assert sorted(several.mailboxes) == sorted(["me", environment.addresses[0]])
    assert "mailboxes" in several.phases


def fails_first(count: int) -> Callable[..., Any]:
    """`snapshot`, which Gmail refuses the first times."""
    refusals = iter(range(count))

    def sometimes(*args: Any, **named: Any) -> Any:
        if next(refusals, None) is not None:
            raise UnavailableError("Not now.")
        return snapshot(*args, **named)

    return sometimes


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("failures", "waits", "failed"), [(3, 3, False), (4, 3, True)])
def test_transient_errors_of_the_only_mailbox_are_retried_after_a_wait(
    lake_of_test: Lake, monkeypatch, failures: int, waits: int, failed: bool
):
    waited: list[GmailError] = []

    def wait(error: GmailError) -> float:
        waited.append(error)
        return 0.0

    monkeypatch.setattr("gmail_assets.mailbox_work.snapshot", fails_first(failures))
    monkeypatch.setattr("gmail_assets.operations.direct_run.retry_wait", wait)
    (run,) = sync(lake_of_test, ["labels"])
    assert len(waited) == waits
    assert ("labels" in run.failures) is failed
    assert ("labels" in run.tables) is not failed


def test_a_mailbox_that_never_answers_is_asked_once_per_attempt(
    environment: Emulator, lake_of_test: Lake, monkeypatch
):
    monkeypatch.setenv("GMAIL_RETRY_SECONDS", "0")
    environment.faults.add(Fault(status=503))
    runs = sync(lake_of_test, ALL, ["me", environment.addresses[0]])
    (fault,) = environment.faults.listed()
    assert fault["done"] == 2 * 2
    assert all(list(run.failures) == ["mailbox"] for run in runs)


def test_an_outage_in_the_middle_is_not_waited_for_by_each_table(
    environment: Emulator, lake_of_test: Lake, monkeypatch
):
    monkeypatch.setenv("GMAIL_RETRY_SECONDS", "0")
    tried: list[str] = []

    def outage(mailbox: Any, lake: Lake, entry: Any, **named: Any) -> Any:
        environment.faults.add(Fault(status=503))
        tried.append(entry.source_table)
        raise UnavailableError("Not now.")

    monkeypatch.setattr("gmail_assets.mailbox_work.snapshot", outage)
    sync(lake_of_test, ["labels", "messages", "profile"], ["me", environment.addresses[0]])
    assert 1 <= tried.count("labels") <= 4
    assert "profile" not in tried
    assert lake_of_test.find("messages") is None


@pytest.mark.usefixtures("environment")
def test_no_other_table_is_tried_after_an_error_of_the_whole_mailbox(lake_of_test: Lake, monkeypatch):
    tried: list[str] = []

    def refused(mailbox: Any, lake: Lake, entry: Any, **named: Any) -> Any:
        tried.append(entry.source_table)
        raise DelegationError("Not this mailbox.")

    monkeypatch.setattr("gmail_assets.mailbox_work.snapshot", refused)
    (run,) = sync(lake_of_test, ["labels", "profile", "messages"])
    assert set(tried) == {"labels"}
    assert list(run.failures) == ["labels"]
    assert run.skipped == ["profile", "messages"]


@pytest.mark.usefixtures("environment")
def test_a_bug_is_reported_as_one_and_the_other_tables_are_synced(lake_of_test: Lake, monkeypatch):
    def broken(mailbox: Any, lake: Lake, spec: SpecTable, **named: Any) -> Any:
        if spec.source_table == "labels":
            raise ZeroDivisionError("division by zero")
        return snapshot(mailbox, lake, spec, **named)

    monkeypatch.setattr("gmail_assets.mailbox_work.snapshot", broken)
    (run,) = sync(lake_of_test, ["labels", "profile"])
    assert list(run.failures) == ["labels"]
    assert run.failures["labels"].error == "ZeroDivisionError"
    assert "please report it" in run.failures["labels"].message
    assert run.tables.keys() == {"profile"}


def test_the_checks_of_other_tables_run_after_a_failed_one(environment: Emulator, lake_of_test: Lake):
    environment.faults.add(Fault(method="settings.filters.list", status=400))
    (run,) = sync(lake_of_test, ["messages", "profile", "filters"])
    checked = {(check.table, check.check) for check in run.checks}
    assert {("messages", "row_count"), ("profile", "matches_gmail")} <= checked
    assert "filters" not in {table for table, _ in checked}
    assert ("messages", SYNCED) not in checked


@pytest.mark.usefixtures("environment")
def test_a_failed_check_does_not_prevent_those_of_other_tables(lake_of_test: Lake, monkeypatch):
    def refused(*args: Any) -> None:
        raise RequestError("Not this one.")

    monkeypatch.setattr("gmail_assets.checks.MailChecks.evaluate", refused)
    (run,) = sync(lake_of_test, ["messages", "labels"])
    assert run.failures["checks"].message == "Not this one."
    assert {check.table for check in run.checks} == {"labels"}


@pytest.mark.parametrize("recorded", [False, True])
def test_nothing_is_derived_after_a_failed_table(environment: Emulator, lake_of_test: Lake, recorded: bool):
    environment.faults.add(Fault(method="labels.list", status=400))
    tables = ["labels", "messages", "emails"]
    if recorded:
        (run,) = Runner().run_mailboxes(["me"], tables)
    else:
        (run,) = sync(lake_of_test, tables)
    assert run.tables.keys() == {"messages"}
    assert "labels" in run.failures
    assert run.skipped == ["emails"]


def test_derived_tables_follow_the_messages_that_a_sync_changed(environment: Emulator, lake_of_test: Lake):
    sync(lake_of_test, MAIL_AND_DERIVED)
    address = environment.addresses[0]
    mailbox = environment.mailbox(address)
    starred, deleted, *_ = [row["id"] for row in environment.truth("messages", address)]
    mailbox.modify(starred, add=["STARRED"], remove=["UNREAD"])
    mailbox.delete(deleted)
    new = mailbox.insert(b"From: ben@example.com\r\nSubject: new\r\n\r\nHello", ["INBOX"])
    (run,) = sync(lake_of_test, MAIL_AND_DERIVED)
    assert run.failures == {}
    emails = {row["message_id"]: row for row in stored_rows(lake_of_test, "emails", address)}
    assert deleted not in emails
    assert emails[new]["subject"] == "new"
    labels = stored_rows(lake_of_test, "message_labels", address)
    assert "STARRED" in {row["label_id"] for row in labels if row["message_id"] == starred}
    # A comparison of all rows finds nothing else to change.
    for result in derive(lake_of_test, address, ViewSources.of(Spec.default())).values():
        assert (result.rows_written, result.rows_updated, result.rows_deleted) == (0, 0, 0)


@pytest.mark.usefixtures("environment")
def test_a_permanent_error_does_not_prevent_the_retry_of_another_table(lake_of_test: Lake, monkeypatch):
    busy = iter([UnavailableError("Not now.")])

    def failing(mailbox: Any, lake: Lake, spec: SpecTable, **named: Any) -> Any:
        if spec.source_table == "labels":
            raise RequestError("Never.")
        for error in busy:
            raise error
        return snapshot(mailbox, lake, spec, **named)

    monkeypatch.setattr("gmail_assets.mailbox_work.snapshot", failing)
    monkeypatch.setattr("gmail_assets.operations.direct_run.retry_wait", lambda error: 0.0)
    (run,) = sync(lake_of_test, ["labels", "profile"])
    assert run.tables.keys() == {"profile"}
    assert list(run.failures) == ["labels"]


@pytest.mark.parametrize("tables", [["labels", "profile", "messages"], ["attachment_contents"]])
def test_a_mailbox_that_does_not_answer_fails_once(environment: Emulator, lake_of_test: Lake, tables):
    environment.faults.add(Fault(method="getProfile", status=400))
    (run,) = sync(lake_of_test, tables)
    assert run.failures.keys() == set(tables[:1])
    assert run.skipped == tables[1:]


@pytest.mark.usefixtures("environment")
def test_a_failure_of_spark_is_a_result(lake_of_test: Lake, monkeypatch):
    engine = SparkEngine({})

    def failing(*args: Any, **named: Any) -> None:
        raise SparkError("Spark failed while starting: no memory")

    monkeypatch.setattr(SparkEngine, "preload", failing)
    monkeypatch.setattr(SparkEngine, "chosen", lambda: engine)
    (run,) = sync(lake_of_test, ["labels", "messages"])
    assert run.failures["mailbox"].error == "SparkError"
    assert run.tables == {}


def test_a_signal_takes_effect_after_the_start_of_spark(monkeypatch):
    started: list[str] = []

    class Slow:
        def __init__(self, **named: Any) -> None:
            signal.raise_signal(signal.SIGINT)

        @property
        def spark_session(self) -> str:
            started.append("session")
            return "session"

    monkeypatch.setattr("dagster_pyspark.LazyPySparkResource", Slow)
    monkeypatch.setattr("lakeflow_entry.datasource.register_lakeflow_source", started.append)
    monkeypatch.setattr("lakeflow_entry.pipelines.session.require_java", lambda: None)
    with pytest.raises(KeyboardInterrupt):
        _ = SparkEngine({}).session
    assert started == ["session", "session"]
