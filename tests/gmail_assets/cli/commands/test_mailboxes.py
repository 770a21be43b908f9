"""`gmail-assets mailboxes` lists and registers."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from gmail_client.emulator import Emulator, Fault


@pytest.fixture
def directory(gmail: Emulator, place: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    for name in ("GMAIL_CLIENT_ID", "GMAIL_CLIENT_SECRET", "GMAIL_REFRESH_TOKEN", "GMAIL_USER_ID"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("GMAIL_SERVICE_ACCOUNT_FILE", str(gmail.service_account_file(place / "key.json")))
    monkeypatch.setenv("GMAIL_DIRECTORY", "all")
    monkeypatch.setenv("GMAIL_DIRECTORY_ADMIN", gmail.addresses[0])
    return gmail


def test_the_mailboxes_of_the_settings(gmail: Emulator, run) -> None:  # type: ignore[no-untyped-def]
    result = run("mailboxes")
    assert (result.code, result.out) == (0, "me\n")
    result = run("mailboxes", "--register")
    assert result.code == 2
    assert "fixed by GMAIL_MAILBOXES" in result.err


def test_me_is_no_mailbox_of_a_service_account(directory: Emulator, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.delenv("GMAIL_DIRECTORY")
    result = run("mailboxes")
    assert result.code == 2
    assert "GMAIL_DIRECTORY" in result.err


def test_me_is_none_of_several_logins(gmail: Emulator, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.delenv("GMAIL_REFRESH_TOKEN")
    for number in range(2):
        monkeypatch.setenv(f"GMAIL_REFRESH_TOKEN_ADA{number}_GMAIL_TEST", "1//token")
    result = run("mailboxes")
    assert result.code == 2
    assert "GMAIL_MAILBOXES" in result.err


def test_found_and_left_out(directory: Emulator, run) -> None:  # type: ignore[no-untyped-def]
    directory.usage.reset()
    result = run("mailboxes")
    assert result.code == 0, result.err
    assert sorted(result.out.split()) == sorted(directory.addresses)
    assert "Left out: no.mailbox.example@gmail.test: no Gmail mailbox." in result.err
    assert "2 mailboxes, 3 left out." in result.err
    assert sum(directory.usage.units.values()) == 0
    assert run("mailboxes", "--register").code == 2


def test_register_and_unregister(directory: Emulator, place: Path, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (place / "home").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(place / "home"))
    one, two = directory.addresses
    assert run("mailboxes", "--json").json["registered"] == []
    assert sorted(run("mailboxes", "--register", "--json").json["registered"]) == sorted((one, two))
    directory.remove_user(two)
    result = run("mailboxes")
    assert f"{two}: not found any more. Its rows are kept." in result.err
    assert run("mailboxes", "--unregister", two, "--json").json["missing"] == {}
    assert run("mailboxes", "--unregister", two).code == 2
    with dg.DagsterInstance.get() as instance:
        assert instance.get_dynamic_partitions("gmail_mailboxes") == [one]


def test_a_renamed_mailbox(directory: Emulator, place: Path, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (place / "home").mkdir()
    one, old = directory.addresses
    assert run("sync", "messages", "threads").code == 0
    monkeypatch.setenv("DAGSTER_HOME", str(place / "home"))
    run("mailboxes", "--register")
    directory.rename_user(old, "new@gmail.test")
    directory.usage.reset()
    result = run("mailboxes", "--register")
    assert f"new@gmail.test  (renamed, was {old}, registered now)" in result.out.splitlines()
    assert "not found any more" not in result.err
    assert directory.usage.total_units == 0  # the directory's id of the user tells
    with dg.DagsterInstance.get() as instance:
        assert sorted(instance.get_dynamic_partitions("gmail_mailboxes")) == sorted((one, "new@gmail.test"))
    directory.usage.reset()
    assert run("sync", "messages", "threads").code == 0
    assert directory.usage.total_units == 2
    status = run("status", "--json").json["mailboxes"]
    assert {entry["address"]: entry["stored_as"] for entry in status} == {one: one, "new@gmail.test": old}


def test_a_refusal_is_an_error(directory: Emulator, run) -> None:  # type: ignore[no-untyped-def]
    directory.faults.add(Fault("directory.users.list", status=403, reason="forbidden"))
    result = run("mailboxes", "--json")
    assert result.code == 3
    assert "GMAIL_DIRECTORY_ADMIN has to be an administrator" in result.err


def test_other_commands_take_the_found_mailboxes(directory: Emulator, run) -> None:  # type: ignore[no-untyped-def]
    checked = run("check", "--json").json["mailboxes"]
    assert sorted(mailbox["address"] for mailbox in checked) == sorted(directory.addresses)
    assert run("status", "--offline").code == 2
