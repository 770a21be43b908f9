"""`gmail-assets check` finds problems and prints their fixes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gmail_client import private_files
from gmail_client.emulator import Emulator, Fault
from gmail_client.tables import CATALOGUE

METADATA_ONLY = ["https://www.googleapis.com/auth/gmail.metadata"]


def test_a_user_can_read_all_but_delegates_for_few_units(gmail: Emulator, place: Path, run) -> None:  # type: ignore[no-untyped-def]
    gmail.usage.reset()
    result = run("check", "--json")
    assert result.code == 0, result.err
    (mailbox,) = result.json["mailboxes"]
    assert mailbox["address"] == gmail.addresses[0]
    assert list(mailbox["tables"]) == list(CATALOGUE)
    unreadable = [table for table, finding in mailbox["tables"].items() if not finding["readable"]]
    assert unreadable == ["delegates"]
    assert mailbox["tables"]["delegates"]["expected"]
    assert mailbox["units"] == sum(gmail.usage.units.values()) <= 40
    assert result.json["lake"]["writable"]
    assert not (place / "lake").exists()
    assert set(result.json["versions"]) >= {"python", "gmail-assets", "dagster", "deltalake", "pyarrow"}


def test_a_service_account_reads_all_ten(gmail: Emulator, place: Path, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    for name in ("GMAIL_CLIENT_ID", "GMAIL_CLIENT_SECRET", "GMAIL_REFRESH_TOKEN", "GMAIL_USER_ID"):
        monkeypatch.delenv(name)
    key = gmail.service_account_file(place / "key.json")
    monkeypatch.setenv("GMAIL_SERVICE_ACCOUNT_FILE", str(key))
    monkeypatch.setenv("GMAIL_MAILBOXES", ",".join(gmail.addresses))
    result = run("check", "--json")
    assert result.code == 0, result.err
    assert [mailbox["address"] for mailbox in result.json["mailboxes"]] == gmail.addresses
    assert all(
        finding["readable"] for mailbox in result.json["mailboxes"] for finding in mailbox["tables"].values()
    )

    monkeypatch.setenv("GMAIL_MAILBOXES", f"nobody@gmail.test,{gmail.addresses[0]}")
    result = run("check", "--json")
    assert result.code == 3
    nobody, somebody = result.json["mailboxes"]
    assert not any(finding["readable"] for finding in nobody["tables"].values())
    assert "does not exist in this domain" in nobody["tables"]["labels"]["message"]
    assert all(finding["readable"] for finding in somebody["tables"].values())

    gmail.allow_delegation(["https://www.googleapis.com/auth/gmail.labels"])
    monkeypatch.setenv("GMAIL_MAILBOXES", gmail.addresses[1])
    result = run("check")
    assert result.code == 3
    assert "No table can be read" in result.out
    assert "no domain-wide delegation" in result.out


def test_a_token_of_the_metadata_scope_is_detected(gmail: Emulator, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("GMAIL_REFRESH_TOKEN", gmail.refresh_token(scopes=METADATA_ONLY))
    result = run("check", "--json")
    assert result.code == 3
    tables = result.json["mailboxes"][0]["tables"]
    assert tables["labels"]["readable"]
    for name in ("messages", "threads", "drafts", "settings"):
        assert not tables[name]["readable"], name


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(method="*", status=403, reason="accessNotConfigured"), "Enable the Gmail API"),
        (Fault(method="*", status=403, reason="insufficientPermissions"), "gmail-assets login"),
    ],
)
def test_an_error_of_all_tables_is_reported_once(gmail: Emulator, run, fault: Fault, message: str) -> None:  # type: ignore[no-untyped-def]
    gmail.faults.add(fault)
    result = run("check")
    assert result.code == 3
    assert result.out.count("No table can be read") == 1
    assert message in result.out


def test_an_error_of_all_mailboxes_is_reported_once(gmail: Emulator, place: Path, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    for name in ("GMAIL_CLIENT_ID", "GMAIL_CLIENT_SECRET", "GMAIL_REFRESH_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("GMAIL_SERVICE_ACCOUNT_FILE", str(gmail.service_account_file(place / "key.json")))
    monkeypatch.setenv("GMAIL_MAILBOXES", ",".join(gmail.addresses))
    monkeypatch.setenv("GMAIL_ALLOWED_MAILBOXES", "@example.com")
    for command in ("check", "plan", "verify", "status", "sync"):
        result = run(command)
        shown = result.out + result.err
        assert result.code == 2, command
        assert shown.count("Fix: ") == 1, shown
        assert all(shown.count(f"The mailbox '{address}' is not in") == 1 for address in gmail.addresses)


def test_a_forbidden_table_fails_only_if_it_is_selected(  # type: ignore[no-untyped-def]
    gmail: Emulator, place: Path, run, monkeypatch
) -> None:
    gmail.faults.add(Fault(method="settings.filters.list", status=403, reason="domainPolicy"))
    result = run("check")
    assert result.code == 3
    assert "administrator" in result.out
    (place / "spec.yaml").write_text("objects: [{table: {source_table: labels}}]", "utf-8")
    monkeypatch.setenv("GMAIL_SPEC", "spec.yaml")
    assert run("check", "--quiet").code == 0


def test_a_revoked_token_is_explained_with_its_causes(gmail: Emulator, run) -> None:  # type: ignore[no-untyped-def]
    gmail.revoke_tokens()
    result = run("check")
    assert result.code == 3
    for cause in ("revoked by its user", "6 months", "'Testing'"):
        assert cause in result.out


def test_no_credentials_still_check_the_lake(run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.delenv("GMAIL_REFRESH_TOKEN")
    result = run("check", "--json")
    assert result.code == 2
    assert result.json["problem"]["error"] == "ConfigurationError"
    assert result.json["lake"]["writable"]


def test_an_unwritable_lake_is_reported(place: Path, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (place / "file").write_text("", "utf-8")
    monkeypatch.setenv("GMAIL_LAKE", str(place / "file" / "lake"))
    result = run("check", "--json")
    assert result.code == 1
    assert not result.json["lake"]["writable"]
    assert "GMAIL_LAKE" in result.json["lake"]["problem"]["fix"]


def test_a_lake_of_another_account_is_reported(gmail: Emulator, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    assert run("sync", "labels", "--quiet").code == 0
    monkeypatch.setenv("GMAIL_REFRESH_TOKEN", gmail.refresh_token(gmail.addresses[1]))
    result = run("check")
    assert result.code == 2
    assert f"in this lake it was {gmail.addresses[0]}" in result.out


def test_filters_that_match_nothing_are_a_warning(place: Path, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (place / "spec.yaml").write_text(
        "objects: [{table: {source_table: messages, table_configuration: {q: 'from:nobody-at-all'}}}]",
        "utf-8",
    )
    monkeypatch.setenv("GMAIL_SPEC", "spec.yaml")
    result = run("check")
    assert result.code == 0
    assert "nothing matches its filters" in result.out


def test_quiet_prints_nothing(run) -> None:  # type: ignore[no-untyped-def]
    result = run("check", "--quiet")
    assert (result.code, result.out, result.err) == (0, "", "")


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
def test_readable_files_are_named_with_the_chmod_command(place: Path, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(private_files, "_reachable", lambda path: True)
    assert run("sync", "labels", "--quiet").code == 0
    assert run("check", "--json").json["open_to_others"] == {}
    home = place / "dagster home"
    home.mkdir()
    (place / ".env").write_text("GMAIL_QUOTA=1200000\n")
    connections = place / "connections.json"
    connections.write_text("{}")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("GMAIL_CONNECTIONS_FILE", str(connections))
    for path, mode in ((place / "lake", 0o755), (home, 0o770), (place / ".env", 0o604), (connections, 0o640)):
        path.chmod(mode)
    expected = {str(place / "lake"): "0755", str(home): "0770", ".env": "0604", str(connections): "0640"}
    assert run("check", "--json").json["open_to_others"] == expected
    result = run("check")
    assert result.code == 0
    assert f"Other users have access to {home} (mode 0770). Fix: chmod go-rwx '{home}'" in result.out
    for line in result.out.splitlines():
        if line.startswith("Other users have access"):
            subprocess.run(["sh", "-c", line.partition("Fix: ")[2]], check=True, cwd=place)
    assert run("check", "--json").json["open_to_others"] == {}
