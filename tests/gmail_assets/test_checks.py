"""The asset checks: they pass after a sync, and each fails on the problem that it detects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from gmail_assets import gmail_definitions
from gmail_assets.check_outcomes import CheckSubject, Severity
from gmail_assets.checks import (
    CheckContext,
    labels_known,
    primary_key_unique,
    row_count,
    threads_and_messages_agree,
    up_to_date,
)
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition_status import partition_statuses
from gmail_assets.resources import GmailResource
from gmail_assets.syncing import sync
from gmail_assets.views import ViewSources, derive
from gmail_client.emulator import Behavior, Emulator
from gmail_client.spec import Spec, SpecTable
from gmail_client.tables import CHANGE_TABLES
from gmail_client.views import VIEWS

MAIL = [entry for entry in Spec.default().tables if entry.source_table in CHANGE_TABLES]


def load(lake: Lake, tables: list[SpecTable] = MAIL) -> None:
    sync(GmailResource().mailbox("me"), lake, tables)


def check_context(
    lake: Lake, tables: list[SpecTable] = MAIL, *, later: timedelta = timedelta(0)
) -> CheckContext:
    mailbox = GmailResource().mailbox("me")
    statuses = partition_statuses(lake, mailbox.address, tables)
    subject = CheckSubject("me", lake, lambda name: mailbox, lambda table: None)
    return CheckContext(subject, statuses, timedelta(hours=1), datetime.now(UTC) + later)


def test_labels_are_listed_only_if_this_run_has_not_read_all_that_are_in_use(
    environment: Emulator, lake_of_test: Lake
) -> None:
    load(lake_of_test)
    mailbox = GmailResource().mailbox("me")
    statuses = partition_statuses(lake_of_test, mailbox.address, MAIL)
    ids = frozenset(label["id"] for label in mailbox.api.labels())
    for read, units in (
        ({"labels": ids}, 0),
        ({"labels": ids - {"INBOX"}}, 1),
        ({"labels": None}, 1),
        ({}, 1),
    ):
        subject = CheckSubject("me", lake_of_test, lambda name: mailbox, lambda table: None, read)
        environment.usage.reset()
        outcome = labels_known(
            CheckContext(subject, statuses, timedelta(hours=1), datetime.now(UTC)), "messages"
        )
        assert (outcome.passed, environment.usage.total_units) == (True, units)


def rows_of(lake: Lake, table: str) -> pa.Table:
    return DeltaTable(lake.location(table)).to_pyarrow_table()


def write_rows(lake: Lake, table: str, rows: pa.Table, mode: str = "overwrite") -> None:
    """Write to the table directly, as another program could."""
    write_deltalake(lake.location(table), rows.take(list(range(rows.num_rows))), mode=mode)  # type: ignore[call-overload]


def test_checks_pass_after_a_run(environment: Emulator):
    definitions = gmail_definitions()
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_job_def("gmail_sync")
        result = job.execute_in_process(partition_key=environment.addresses[0], instance=instance)
        evaluations = result.get_asset_check_evaluations()
    assert len(evaluations) == 9 + 2 * len(VIEWS)
    assert all(evaluation.passed for evaluation in evaluations), evaluations
    assert {evaluation.partition for evaluation in evaluations} == {environment.addresses[0]}


def test_checks_cost_little_and_read_no_content(environment: Emulator, lake_of_test: Lake):
    load(lake_of_test)
    environment.usage.reset()
    view = check_context(lake_of_test)
    for table in CHANGE_TABLES:
        for check in (primary_key_unique, row_count, up_to_date):
            assert check(view, table).passed
    assert labels_known(view, "messages").passed
    assert threads_and_messages_agree(view, "messages").passed
    assert sum(environment.usage.units.values()) <= 8
    assert "messages.get" not in environment.usage.units


@pytest.mark.usefixtures("environment")
def test_a_duplicate_row_is_found(lake_of_test: Lake):
    load(lake_of_test)
    write_rows(lake_of_test, "messages", rows_of(lake_of_test, "messages").slice(0, 2), "append")
    outcome = primary_key_unique(check_context(lake_of_test), "messages")
    assert not outcome.passed
    assert outcome.numbers == {"duplicates": 2}


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("table", CHANGE_TABLES)
def test_a_lost_row_is_found(lake_of_test: Lake, table: str):
    load(lake_of_test)
    rows = rows_of(lake_of_test, table)
    keep = rows.num_rows - 1 if table == "messages" else 3
    write_rows(lake_of_test, table, rows.slice(0, keep))
    outcome = row_count(check_context(lake_of_test), table)
    assert not outcome.passed
    assert "unexplained" in outcome.message
    assert not threads_and_messages_agree(check_context(lake_of_test), "messages").passed


def test_mail_since_the_last_sync_explains_a_difference(environment: Emulator, lake_of_test: Lake):
    load(lake_of_test)
    mailbox = environment.mailbox()
    for _ in range(3):
        mailbox.insert(mailbox.random_mail(), ["INBOX"])
    outcome = row_count(check_context(lake_of_test), "messages")
    assert outcome.passed
    assert outcome.numbers["pending_changes"] == 3


@pytest.mark.usefixtures("environment")
def test_filters_leave_nothing_to_compare(lake_of_test: Lake):
    filtered = [
        SpecTable.parse({"source_table": "messages", "table_configuration": {"labelIds": "INBOX"}}),
        SpecTable.parse({"source_table": "threads"}),
    ]
    load(lake_of_test, filtered)
    assert row_count(check_context(lake_of_test, filtered), "messages").passed
    assert threads_and_messages_agree(check_context(lake_of_test, filtered), "messages").passed


@pytest.mark.usefixtures("environment")
def test_spam_and_trash_count_where_they_are_included(lake_of_test: Lake):
    whole = [
        SpecTable.parse({"source_table": table, "table_configuration": {"includeSpamTrash": "true"}})
        for table in CHANGE_TABLES
    ]
    load(lake_of_test, whole)
    for table in CHANGE_TABLES:
        outcome = row_count(check_context(lake_of_test, whole), table)
        assert outcome.passed
        assert outcome.numbers["rows"] == outcome.numbers["gmail_total"]


def test_a_label_that_gmail_does_not_name_is_a_warning(clean_environment, monkeypatch, lake_of_test: Lake):
    with Emulator(messages=40, seed=7, behavior=Behavior(ghost_label=True)) as gmail:
        for name, value in gmail.environment().items():
            monkeypatch.setenv(name, value)
        load(lake_of_test)
        outcome = labels_known(check_context(lake_of_test), "messages")
    assert not outcome.passed
    assert outcome.severity is Severity.WARN


def test_new_mail_is_fresh_for_an_hour(environment: Emulator, lake_of_test: Lake):
    load(lake_of_test)
    mailbox = environment.mailbox()
    mailbox.insert(mailbox.random_mail(), ["INBOX"])
    assert up_to_date(check_context(lake_of_test), "messages").passed
    outcome = up_to_date(check_context(lake_of_test, later=timedelta(hours=2)), "messages")
    assert not outcome.passed
    assert outcome.numbers["lag_minutes"] >= 119


def test_changes_without_a_time_are_not_a_failure(environment: Emulator, lake_of_test: Lake):
    load(lake_of_test)
    environment.mailbox().modify(environment.mailbox().message_ids()[0], ["STARRED"])
    outcome = up_to_date(check_context(lake_of_test, later=timedelta(days=2)), "messages")
    assert outcome.passed
    assert outcome.numbers["pending_changes"] == 1


def test_an_expired_history_fails(environment: Emulator, lake_of_test: Lake):
    load(lake_of_test)
    mailbox = environment.mailbox()
    mailbox.insert(mailbox.random_mail(), ["INBOX"])
    environment.expire_history()
    outcome = up_to_date(check_context(lake_of_test), "messages")
    assert not outcome.passed
    assert "reconciles" in outcome.message


def on_demand(tags: dict[str, str]) -> dg.ExecuteInProcessResult:
    """The job of the checks alone, with the mailbox in a tag: Dagster's UI can't choose a partition for checks."""
    with dg.DagsterInstance.ephemeral() as instance:
        job = gmail_definitions().resolve_job_def("gmail_checks")
        return job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)


def test_checks_run_on_demand(environment: Emulator, lake_of_test: Lake):
    load(lake_of_test)
    derive(lake_of_test, environment.addresses[0], ViewSources.of(Spec.default()))
    found = on_demand({"dagster/partition": environment.addresses[0]}).get_asset_check_evaluations()
    evaluations = [e for e in found if e.asset_key.path[-1] in (*CHANGE_TABLES, *VIEWS)]
    assert len(evaluations) == 9 + 2 * len(VIEWS)
    assert all(evaluation.passed for evaluation in evaluations)


def test_nothing_loaded_is_a_warning(environment: Emulator):
    evaluations = on_demand({"dagster/partition": environment.addresses[0]}).get_asset_check_evaluations()
    assert {(evaluation.passed, evaluation.severity) for evaluation in evaluations} == {
        (False, dg.AssetCheckSeverity.WARN)
    }


@pytest.mark.usefixtures("environment")
def test_without_a_mailbox_checks_name_the_fix():
    result = on_demand({})
    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert len(failures) == 3
    for failure in failures:
        assert "dagster/partition" in failure.user_failure_data.description
