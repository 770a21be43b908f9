"""`gmail-assets sync` on the command line."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deltalake import DeltaTable
from support.lake import assert_lake_equals_mailbox

from gmail_assets.cli.exit_codes import ExitCode
from gmail_assets.delta.lake import Lake
from gmail_assets.syncing import snapshot
from gmail_client.emulator import Emulator, Fault
from gmail_client.spec import Spec
from gmail_client.tables import CATALOGUE, CHANGE_TABLES
from gmail_client.views import VIEWS

MAIL = [entry for entry in Spec.default().tables if entry.source_table in CHANGE_TABLES]


def test_all_ten_tables(run, place: Path, gmail: Emulator):
    outcome = run("sync")
    assert outcome.code == ExitCode.SUCCESS
    assert outcome.out == ""
    for table in CATALOGUE:
        assert table in outcome.err
    tables = [entry for entry in Spec.default().tables if entry.source_table != "delegates"]
    assert_lake_equals_mailbox(Lake(str(place / "lake")), gmail, tables, gmail.addresses[0], history=True)


def test_json_for_machines(run, gmail: Emulator):
    outcome = run("sync", "labels", "messages", "--json", "--quiet")
    assert outcome.code == 0
    assert outcome.err == ""
    assert outcome.json["exit_code"] == 0
    (mailbox,) = outcome.json["mailboxes"]
    assert mailbox["mailbox"] == "me"
    assert mailbox["complete"] is True
    assert mailbox["tables"].keys() == {"labels", "messages"}
    assert mailbox["tables"]["messages"]["mailbox"] == gmail.addresses[0]
    assert mailbox["tables"]["messages"]["rows_written"] == len(gmail.truth("messages"))
    assert {check["check"] for check in mailbox["checks"]} >= {"primary_key_unique", "row_count"}
    assert mailbox["failures"] == {}


def test_the_second_sync_brings_only_changes(run, gmail: Emulator, place: Path):
    run("sync", "messages", "threads")
    mailbox = gmail.mailbox()
    mailbox.insert(mailbox.random_mail(), ["INBOX"])
    outcome = run("sync", "messages", "threads", "--json")
    assert outcome.json["mailboxes"][0]["tables"]["messages"]["rows_written"] == 1
    assert_lake_equals_mailbox(Lake(str(place / "lake")), gmail, MAIL, gmail.addresses[0])


def test_checks_list_nothing_that_the_run_has_just_read(run, gmail: Emulator):
    run("sync")
    gmail.mailbox().insert(b"Subject: new\r\n\r\nText", ["INBOX"])
    gmail.usage.reset()
    outcome = run("sync", "--json")
    assert {check["check"] for check in outcome.json["mailboxes"][0]["checks"]} >= {
        "matches_gmail",
        "labels_known",
    }
    assert all(
        check["passed"] for check in outcome.json["mailboxes"][0]["checks"] if check["table"] != "delegates"
    )
    listings = {method: units for method, units in gmail.usage.units.items() if method.endswith(".list")}
    assert listings == {
        "history.list": 2,
        "labels.list": 1,
        "drafts.list": 5,
        "settings.filters.list": 1,
        "settings.forwardingAddresses.list": 1,
        "settings.sendAs.list": 1,
        "settings.delegates.list": 1,
    }


def test_a_quick_try_needs_no_spec(run, gmail: Emulator, place: Path):
    outcome = run("sync", "messages", "labels", "--q", "is:unread", "--label", "INBOX", "--json")
    assert outcome.code == ExitCode.SUCCESS
    rows = Lake(str(place / "lake")).table("messages").delta.to_pyarrow_table().to_pylist()
    expected = {m["id"] for m in gmail.truth("messages") if {"UNREAD", "INBOX"} <= set(m["labelIds"])}
    assert {row["id"] for row in rows} == expected != set()
    assert outcome.json["mailboxes"][0]["tables"]["labels"]["rows_written"] > 0

    outcome = run("sync", "messages", "--json")
    said = outcome.json["mailboxes"][0]["tables"]["messages"]
    assert said["sync_mode"] == "reconcile"
    assert said["rows_written"] == len(gmail.truth("messages")) - len(expected)


def test_a_quick_try_keeps_the_other_options_of_the_spec(run, gmail: Emulator, place: Path, monkeypatch):
    (place / "spec.yaml").write_text(
        "objects: [{table: {source_table: messages, destination_table: mail,"
        " table_configuration: {labelIds: SENT, includeSpamTrash: true}}}]"
    )
    monkeypatch.setenv("GMAIL_SPEC", "spec.yaml")
    assert run("sync", "--label", "TRASH").code == ExitCode.SUCCESS
    rows = DeltaTable(place / "lake" / "mail").to_pyarrow_table().to_pylist()
    assert rows
    assert all("TRASH" in row["labelIds"] for row in rows)


def test_filters_for_snapshots_are_a_mistake(run):
    outcome = run("sync", "labels", "--q", "is:unread")
    assert outcome.code == ExitCode.INVALID_INPUT
    assert "messages and threads only" in outcome.err


@pytest.mark.usefixtures("place")
def test_verbose_logs_each_request_and_no_secret(gmail: Emulator):
    command = [sys.executable, "-m", "gmail_assets.cli", "sync", "messages", "labels", "--verbose"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "gmail_client.http.transport: messages.list: HTTP 200" in done.stderr
    assert re.search(r"transport: batch of \d+ \w+\.get", done.stderr)
    assert gmail.environment()["GMAIL_REFRESH_TOKEN"] not in done.stderr
    assert "Bearer" not in done.stderr


def test_full_refresh(run):
    run("sync", "messages")
    outcome = run("sync", "messages", "--full-refresh", "--json")
    said = outcome.json["mailboxes"][0]["tables"]["messages"]
    assert said["sync_mode"] == "full_load"
    assert said["rows_written"] == said["dagster/partition_row_count"]


def test_mass_deletion_stops_and_can_be_allowed(run, place: Path, monkeypatch):
    with Emulator(messages=180, seed=3) as gmail:
        for name, value in gmail.environment().items():
            monkeypatch.setenv(name, value)
        run("sync", "messages", "threads")
        gmail.mailbox().batch_delete(gmail.mailbox().message_ids()[:140])
        gmail.expire_history()
        outcome = run("sync", "messages", "threads")
        assert outcome.code == ExitCode.FAILURE
        assert "--allow-mass-delete" in outcome.err
        assert run("sync", "messages", "threads", "--allow-mass-delete").code == 0
        assert_lake_equals_mailbox(Lake(str(place / "lake")), gmail, MAIL)


def test_many_mailboxes_and_one_in_trouble(run, gmail: Emulator):
    outcome = run(
        "sync", "labels", "--mailbox", gmail.addresses[1], "--mailbox", gmail.addresses[0], "--json"
    )
    assert outcome.code == ExitCode.NO_ACCESS
    refused, read = outcome.json["mailboxes"]
    assert refused["failures"]["mailbox"]["error"] == "DelegationError"
    assert refused["complete"] is False
    assert read["tables"]["labels"]["rows_written"] > 0
    assert gmail.addresses[1] in outcome.err


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "complaint"),
    [
        (["mesages"], {}, ExitCode.INVALID_INPUT, "'mesages' is not one of 'messages'"),
        (["labels"], {"GMAIL_REFRESH_TOKEN": ""}, ExitCode.INVALID_INPUT, "GMAIL_REFRESH_TOKEN"),
        (["labels"], {"GMAIL_REFRESH_TOKEN": "1//gone"}, ExitCode.NO_ACCESS, "invalid_grant"),
        (["labels"], {"GMAIL_CLIENT_SECRET": "wrong"}, ExitCode.NO_ACCESS, "invalid_client"),
        (["labels"], {"GMAIL_QUOTA": "plenty"}, ExitCode.INVALID_INPUT, "GMAIL_QUOTA"),
        (["labels"], {"GMAIL_SPEC": "missing.yaml"}, ExitCode.INVALID_INPUT, "missing.yaml"),
        (["labels"], {"GMAIL_LAKE": "/proc/nothing/here"}, ExitCode.FAILURE, "/proc/nothing/here"),
        (["labels"], {"DAGSTER_HOME": "/nowhere"}, ExitCode.INVALID_INPUT, "DAGSTER_HOME='/nowhere'"),
        (["--mailbox"], {}, ExitCode.INVALID_INPUT, "--mailbox"),
        (["--faster"], {}, ExitCode.INVALID_INPUT, "--faster"),
    ],
)
def test_a_mistake_is_two_lines_and_no_traceback(run, monkeypatch, arguments, variables, code, complaint):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    outcome = run("sync", *arguments)
    assert outcome.code == code
    assert complaint in outcome.err
    assert "Fix: " in outcome.err or "Error: " in outcome.err
    assert "Traceback" not in outcome.err


def test_a_failure_that_hits_every_table_is_said_once(run, gmail: Emulator):
    gmail.revoke_tokens()
    outcome = run("sync", "--json")
    assert outcome.code == ExitCode.NO_ACCESS
    assert outcome.err.count("invalid_grant") == 1
    assert "me: No access token" in outcome.err
    (mailbox,) = outcome.json["mailboxes"]
    assert len(mailbox["failures"]) == 1
    assert len(mailbox["skipped"]) == len(CATALOGUE) + len(VIEWS) - 1


def test_the_daily_quota_leaves_work_for_later(run, gmail: Emulator):
    gmail.faults.add(Fault(method="messages.get", status=403, reason="dailyLimitExceeded"))
    gmail.faults.add(Fault(method="threads.get", status=403, reason="dailyLimitExceeded"))
    outcome = run("sync", "messages", "labels")
    assert outcome.code == ExitCode.INCOMPLETE
    assert "Run the same command again" in outcome.err
    gmail.faults.clear()
    assert run("sync", "messages").code == ExitCode.SUCCESS


def test_runs_are_kept_where_dagster_home_says(run, place: Path, monkeypatch):
    import dagster as dg

    home = place / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    outcome = run("sync", "labels", "--json")
    with dg.DagsterInstance.get() as instance:
        (kept,) = instance.get_runs()
    assert kept.run_id == outcome.json["mailboxes"][0]["run_id"]


@pytest.mark.slow
def test_ctrl_c_stops_at_once_and_the_next_sync_goes_on(gmail: Emulator, place: Path):
    gmail.faults.add(Fault(method="batch", kind="delay", seconds=1.0, share=1.0))
    command = [sys.executable, "-m", "gmail_assets.cli", "sync", "messages", "threads"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=dict(os.environ), start_new_session=True)
    alarm = threading.Timer(60, process.kill)
    alarm.start()
    try:
        while not gmail.usage.batches:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    finally:
        alarm.cancel()
    assert process.returncode == ExitCode.INTERRUPTED
    assert b"Stopping" in said  # at once, before what was fetched is written
    assert b"Interrupted" in said
    assert b"Traceback" not in said
    gmail.faults.clear()
    again = subprocess.run(command, env=dict(os.environ), capture_output=True, check=False, timeout=120)
    assert again.returncode == 0
    assert_lake_equals_mailbox(Lake(str(place / "lake")), gmail, MAIL, gmail.addresses[0])


@pytest.fixture
def usual_signals() -> Iterator[None]:
    """The handlers of a command in a terminal: a process in the background inherits SIG_IGN for Ctrl-C."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("usual_signals")
@pytest.mark.parametrize(
    ("recorded", "number"), [(False, signal.SIGINT), (False, signal.SIGTERM), (True, signal.SIGINT)]
)
def test_an_interruption_that_a_library_swallows_is_told_all_the_same(
    run, place: Path, monkeypatch, recorded: bool, number: signal.Signals
):
    def swallowing(*args, **named):
        with contextlib.suppress(BaseException):
            signal.raise_signal(number)
        return snapshot(*args, **named)

    if recorded:
        monkeypatch.setenv("DAGSTER_HOME", str(place))
    module = "assets" if recorded else "mailbox_work"
    monkeypatch.setattr(f"gmail_assets.{module}.snapshot", swallowing)
    outcome = run("sync", "labels")
    assert outcome.code == ExitCode.INTERRUPTED
    assert "Interrupted; committed data is kept." in outcome.err


def test_lost_rows_have_an_exit_code_and_are_brought_back(run, gmail: Emulator, place: Path):
    assert run("sync", "messages", "threads", "--quiet").code == 0
    messages = DeltaTable(place / "lake" / "messages")
    lost = sorted(messages.to_pyarrow_table(columns=["id"])["id"].to_pylist())[:2]
    messages.delete(f"id IN ('{lost[0]}', '{lost[1]}')")
    mailbox = gmail.mailbox()  # without a change in the mailbox, there is no run and no check
    mailbox.insert(mailbox.random_mail(), ["INBOX"])
    outcome = run("sync", "messages", "threads")
    assert outcome.code == ExitCode.DIFFERENCES
    assert "-2 unexplained" in outcome.err
    assert "next sync reconciles" in outcome.err
    assert "-2 unexplained" in run("status").out
    outcome = run("sync", "messages", "threads", "--json")
    assert outcome.json["mailboxes"][0]["tables"]["messages"]["sync_mode"] == "reconcile"
    assert outcome.code == ExitCode.SUCCESS
    assert_lake_equals_mailbox(Lake(str(place / "lake")), gmail, MAIL, gmail.addresses[0])
    assert "unexplained" not in run("status").out


def test_a_start_date_is_a_filter_of_one_run(run, place: Path):
    outcome = run("sync", "messages", "--start-date", "2024-06-01", "--quiet")
    assert outcome.code == ExitCode.SUCCESS
    dates = DeltaTable(str(place / "lake" / "messages")).to_pyarrow_table()["internalDate"].to_pylist()
    assert dates
    assert min(map(int, dates)) >= 1_717_200_000_000
    outcome = run("sync", "messages", "--start-date", "June")
    assert outcome.code == ExitCode.INVALID_INPUT
    assert "Option 'startDate' is 'June', which is not valid" in outcome.err
    outcome = run("sync", "messages", "--q", "(is:unread")
    assert outcome.code == ExitCode.INVALID_INPUT
    assert "a parenthesis is not closed" in outcome.err


@pytest.fixture
def domain(gmail: Emulator, place: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The emulator's two mailboxes, read by a service account."""
    for name in ("GMAIL_CLIENT_ID", "GMAIL_CLIENT_SECRET", "GMAIL_REFRESH_TOKEN"):
        monkeypatch.delenv(name)
    gmail.service_account_file(place / "key.json")
    monkeypatch.setenv("GMAIL_SERVICE_ACCOUNT_FILE", str(place / "key.json"))
    monkeypatch.setenv("GMAIL_MAILBOXES", ",".join(gmail.addresses))
    monkeypatch.setenv("GMAIL_RETRY_SECONDS", "0")
    return gmail.addresses


def test_several_mailboxes_in_one_run_and_a_sick_one_is_named(run, gmail: Emulator, place: Path, domain):
    ill, well = domain
    gmail.faults.add(Fault(kind="mail-not-enabled", mailbox=ill))
    outcome = run("sync", "messages", "--jobs", "2", "--json")
    assert outcome.code == ExitCode.NO_ACCESS
    first, second = outcome.json["mailboxes"]
    assert (first["mailbox"], second["mailbox"]) == (ill, well)
    assert first["run_id"] == second["run_id"]
    assert first["failures"]["mailbox"]["error"] == "NoMailboxError"
    assert (first["tables"], second["failures"]) == ({}, {})
    assert second["tables"]["messages"]["rows_written"] == len(gmail.truth("messages", well))
    assert {check["check"] for check in second["checks"]} >= {"row_count"}
    assert f"{ill}: " in outcome.err
    assert "Fix: " in outcome.err
    assert_lake_equals_mailbox(Lake(str(place / "lake")), gmail, MAIL[:1], well)


@pytest.mark.usefixtures("usual_signals")
def test_an_interruption_of_several_mailboxes_is_told_once(run, domain, monkeypatch):
    def interrupted(*args, **named):
        signal.raise_signal(signal.SIGINT)
        return snapshot(*args, **named)

    monkeypatch.setattr("gmail_assets.mailbox_work.snapshot", interrupted)
    outcome = run("sync", "labels", "--jobs", "1", "--json")
    assert outcome.code == ExitCode.INTERRUPTED
    assert outcome.err.count("Interrupted; committed data is kept.") == 1
    assert [mailbox["complete"] for mailbox in outcome.json["mailboxes"]] == [True, False]
