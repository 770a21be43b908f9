"""`gmail-assets status` prints the state of the tables."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from gmail_assets.cli.exit_codes import ExitCode
from gmail_client.emulator import Emulator, Fault
from gmail_client.tables import CATALOGUE
from gmail_client.views import VIEWS

NEW = b"Subject: new\r\n\r\nText"


def test_status_before_and_after_a_sync_and_behind(gmail: Emulator, place: Path, run) -> None:  # type: ignore[no-untyped-def]
    result = run("status", "--json")
    assert result.code == 0
    (before,) = result.json["mailboxes"]
    assert before["address"] == gmail.addresses[0]
    assert list(before["tables"]) == [*CATALOGUE, *VIEWS]
    assert not any(before["tables"].values())
    assert before["last_run"] is None
    assert not (place / "lake").exists()

    assert run("sync", "--quiet").code == 0
    gmail.usage.reset()
    result = run("status", "--json")
    assert sum(gmail.usage.units.values()) == 1
    (after,) = result.json["mailboxes"]
    assert after["tables"]["messages"]["state"] == "up to date"
    assert after["tables"]["messages"]["cursor"] == after["head"]
    assert after["tables"]["messages"]["rows"] == len(gmail.truth("messages"))
    assert after["tables"]["labels"]["state"] == "snapshot"
    assert after["tables"]["emails"]["state"] == "derived"
    assert after["tables"]["emails"]["rows"] == after["tables"]["messages"]["rows"]
    assert after["tables"]["messages"]["changed"]

    gmail.mailbox().insert(NEW)
    (behind,) = run("status", "--json").json["mailboxes"]
    lag = behind["tables"]["threads"]["behind"]
    assert lag == int(behind["head"]) - int(after["head"]) > 0
    assert f"{lag:,} behind" in run("status").out


@pytest.mark.slow
def test_the_last_run_comes_from_dagster(gmail: Emulator, place: Path, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    home = place / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", "utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    assert run("sync", "labels", "--quiet").code == 0
    (status,) = run("status", "--json").json["mailboxes"]
    assert status["last_run"]["status"] == "success"
    assert status["last_run"]["ended"]
    assert status["tables"]["labels"]["materialized"]
    assert status["tables"]["messages"] is None
    assert "Last run" in run("status").out
    both = ("--mailbox", "me", "--mailbox", gmail.addresses[0])
    assert run("sync", "labels", "--quiet", *both).code == 0
    one, other = (mailbox["last_run"] for mailbox in run("status", "--json", *both).json["mailboxes"])
    assert one == other != status["last_run"]
    assert one["several_mailboxes"]
    assert not status["last_run"]["several_mailboxes"]


def test_without_credentials_the_lake_is_still_shown(gmail: Emulator, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    assert run("sync", "labels", "messages", "--quiet").code == 0
    gmail.usage.reset()
    offline = run("status", "--offline", "--json")
    assert offline.code == 0
    assert not gmail.usage.calls
    assert offline.json["mailboxes"][0]["address"] == gmail.addresses[0]
    assert offline.json["mailboxes"][0]["tables"]["messages"]["state"] == "lag unknown"
    gmail.revoke_tokens()
    result = run("status")
    assert result.code == 3
    assert "no longer works" in result.err
    assert "labels" in result.out
    monkeypatch.delenv("GMAIL_REFRESH_TOKEN")
    assert run("status", "--quiet").code == 2


def test_an_unknown_mailbox_is_an_error(run) -> None:  # type: ignore[no-untyped-def]
    result = run("status", "--mailbox", "nobody@gmail.test")
    assert result.code == 3
    assert "GMAIL_USER_ID" in result.err


def test_failing_mailboxes_are_listed_at_the_end(run, gmail: Emulator, place, monkeypatch):
    for name in ("GMAIL_CLIENT_ID", "GMAIL_CLIENT_SECRET", "GMAIL_REFRESH_TOKEN"):
        monkeypatch.delenv(name)
    gmail.service_account_file(place / "key.json")
    monkeypatch.setenv("GMAIL_SERVICE_ACCOUNT_FILE", str(place / "key.json"))
    monkeypatch.setenv("GMAIL_MAILBOXES", ",".join(gmail.addresses))
    monkeypatch.setenv("GMAIL_RETRY_SECONDS", "0")
    well, ill = gmail.addresses
    gmail.faults.add(Fault(status=503, mailbox=ill))
    outcome = run("status", "--json", "--quiet")
    assert outcome.code == ExitCode.FAILURE
    assert [mailbox["mailbox"] for mailbox in outcome.json["mailboxes"]] == [well, ill]
    assert outcome.json["mailboxes"][0]["problem"] is None
    assert outcome.json["mailboxes"][1]["problem"]["fix"]
    assert "1 of 2 mailboxes can't be read:" in outcome.err
    assert f"{ill}: " in outcome.err
    assert gmail.usage.total_units == 1  # the other one was asked once, and not charged


def test_other_options_are_to_be_reconciled_and_no_unfinished_load(gmail: Emulator, run) -> None:  # type: ignore[no-untyped-def]
    assert run("sync", "messages", "--quiet").code == 0
    assert run("sync", "messages", "--q", "is:unread", "--quiet").code == 0
    (status,) = run("status", "--offline", "--json").json["mailboxes"]
    assert status["tables"]["messages"]["state"] == "to be reconciled"

    assert run("sync", "messages", "--quiet").code == 0
    gmail.faults.add(Fault("messages.get", status=403, reason="dailyLimitExceeded"))
    assert run("sync", "messages", "--full-refresh", "--quiet").code == ExitCode.INCOMPLETE
    (status,) = run("status", "--offline", "--json").json["mailboxes"]
    assert status["tables"]["messages"]["state"] == "load unfinished"


def test_many_mailboxes_are_one_line_each(place: Path, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    with Emulator(mailboxes=6, messages=5, mean_json_kb=2) as gmail:
        for name, value in gmail.environment().items():
            monkeypatch.setenv(name, value)
        for name in ("GMAIL_CLIENT_ID", "GMAIL_CLIENT_SECRET", "GMAIL_REFRESH_TOKEN", "GMAIL_USER_ID"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("GMAIL_SERVICE_ACCOUNT_FILE", str(gmail.service_account_file(place / "key.json")))
        monkeypatch.setenv("GMAIL_MAILBOXES", ",".join(gmail.addresses))
        monkeypatch.setenv("GMAIL_RETRY_SECONDS", "0")
        loaded, moved, ill, *others = gmail.addresses
        named = [word for address in (loaded, moved) for word in ("--mailbox", address)]
        assert run("sync", "messages", "threads", "--quiet", *named).code == 0
        gmail.mailbox(moved).insert(NEW)
        gmail.faults.add(Fault(status=403, reason="forbidden", mailbox=ill))
        result = run("status")
        lines = {line.split()[0]: " ".join(line.split()[1:]) for line in result.out.splitlines() if line}
        assert lines[loaded].startswith("up to date ")
        assert " behind " in lines[moved]
        assert lines[ill].startswith("can't be read")
        assert all(lines[address].startswith("no rows") for address in others)
        assert "1 of 6 mailboxes can't be read:" in result.err
        assert "message_labels" not in result.out
        assert run("status", "--verbose").out.count("message_labels") == len(gmail.addresses)


def test_dagster_is_read_once_for_all_mailboxes(gmail: Emulator, place: Path, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    home = place / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", "utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    both = ("--mailbox", "me", "--mailbox", gmail.addresses[0])
    assert run("sync", "labels", "--quiet", *both).code == 0
    assert run("sync", "profile", "--quiet").code == 0
    queries = []
    fetch = dg.DagsterInstance.fetch_materializations
    monkeypatch.setattr(
        dg.DagsterInstance,
        "fetch_materializations",
        lambda *arguments, **options: queries.append(arguments) or fetch(*arguments, **options),
    )
    me, address = run("status", "--offline", "--json", *both).json["mailboxes"]
    assert len(queries) == 2  # labels and profile; no other table was materialized
    assert me["tables"]["labels"]["materialized"]
    assert address["tables"]["labels"]["materialized"]
    assert me["tables"]["profile"]["materialized"]
    assert address["tables"]["profile"]["materialized"] is None
    assert me["last_run"]["run_id"] != address["last_run"]["run_id"]
