"""`gmail-assets forget` leaves nothing of a mailbox or message, keeps the others, and refuses invalid requests."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pytest
from support.lake import stored_rows
from support.traces import files_naming

from gmail_assets.cli.exit_codes import ExitCode
from gmail_assets.delta.lake import Lake
from gmail_client.emulator import Emulator
from gmail_client.tables import CATALOGUE
from gmail_client.views import VIEWS


@pytest.fixture
def two(run, gmail: Emulator, place: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:  # type: ignore[no-untyped-def]
    """Two mailboxes in one lake, each with an old version of its messages; the first is also `me`."""
    home = place / "home"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    ada, bob = gmail.addresses
    for address in (bob, ada):
        monkeypatch.setenv("GMAIL_REFRESH_TOKEN", gmail.environment(address)["GMAIL_REFRESH_TOKEN"])
        name = "me" if address == ada else address
        assert run("sync", "--mailbox", name, "--quiet").code == 0
        gmail.mailbox(address).modify(gmail.truth("messages", address)[0]["id"], add=["STARRED"])
        assert run("sync", "--mailbox", name, "messages", "threads", "--quiet").code == 0
    return ada, bob


@pytest.mark.slow
def test_nothing_of_a_forgotten_mailbox_is_left_and_others_are_kept(  # type: ignore[no-untyped-def]
    run, gmail: Emulator, place: Path, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob = two
    lake = Lake(str(place / "lake"))
    before = {name: stored_rows(lake, name, bob) for name in (*CATALOGUE, *VIEWS)}
    assert {*files_naming(place / "lake", ada)} >= {f"messages/mailbox={ada.replace('@', '%40')}"}

    result = run("forget", "me", "--yes", "--json")
    assert result.code == ExitCode.SUCCESS
    assert result.json["mailbox"] == ada
    assert result.json["rows"]["messages"] == len(gmail.truth("messages", ada))
    assert result.json["files"] > 0
    assert result.json["dagster"]["runs"] == 2
    assert "GMAIL_USER_ID" not in result.json["remaining"][0]
    # Until the log is cleaned, only the log still contains the address.
    assert all("/_delta_log/" in name for name in files_naming(place / "lake", ada))
    assert any("--clean-log" in text for text in result.json["remaining"])
    messages = lake.find("messages")
    assert messages is not None
    messages.load_as_version(messages.version() - 2)
    own = messages.to_pyarrow_dataset().to_table(filter=pc.field("mailbox") == bob)
    assert own.num_rows == len(before["messages"])

    again = run("forget", ada, "--clean-log", "--yes", "--json")
    assert again.code == ExitCode.SUCCESS
    assert again.json["log_files"] > 0
    assert files_naming(place / "lake", ada) == []
    assert not any("--clean-log" in text for text in again.json["remaining"])

    assert {name: stored_rows(lake, name, bob) for name in before} == before
    monkeypatch.setenv("GMAIL_REFRESH_TOKEN", gmail.environment(bob)["GMAIL_REFRESH_TOKEN"])
    gmail.mailbox(bob).insert(b"Subject: new\r\n\r\nText", ["INBOX"])
    gmail.usage.reset()
    synced = run("sync", "messages", "threads", "--mailbox", bob, "--json")
    tables = synced.json["mailboxes"][0]["tables"]
    assert {table["sync_mode"] for table in tables.values()} == {"incremental"}
    assert "messages.list" not in gmail.usage.units


@pytest.mark.slow
def test_it_is_not_loaded_again_until_it_is_allowed(
    run, gmail: Emulator, place: Path, two: tuple[str, str]
) -> None:  # type: ignore[no-untyped-def]
    ada, _ = two
    assert run("forget", ada, "--yes", "--quiet").code == 0
    for command in (
        ("sync",),
        ("sync", "labels"),
        ("sync", "emails", "--mailbox", ada),
        ("plan",),
        ("verify",),
    ):
        result = run(*command)
        assert result.code == ExitCode.INVALID_INPUT, (command, result)
        assert "forget --undo" in result.err
    assert run("sync", "--mailbox", ada, "messages").code == ExitCode.INVALID_INPUT
    assert all("/_delta_log/" in name for name in files_naming(place / "lake", ada))

    result = run("forget", "--undo", ada)
    assert (result.code, result.out) == (0, f"{ada} may be loaded again.\n")
    assert "was not forgotten" in run("forget", "--undo", ada).out
    assert run("sync", "--quiet").code == 0
    assert len(stored_rows(Lake(str(place / "lake")), "messages", ada)) == len(gmail.truth("messages", ada))
    assert run("verify", "--quiet").code == 0


@pytest.mark.slow
def test_one_message_is_erased_with_its_old_versions_once_gmail_has_none(  # type: ignore[no-untyped-def]
    run, gmail: Emulator, place: Path, two: tuple[str, str]
) -> None:
    ada, bob = two
    lake = Lake(str(place / "lake"))
    mail = next(
        row for row in gmail.truth("messages", ada) if len(gmail.truth("threads", ada)) and row["snippet"]
    )
    message_id = mail["id"]
    others = {name: stored_rows(lake, name, bob) for name in (*CATALOGUE, *VIEWS)}
    result = run("forget", "me", "--message", message_id, "--yes")
    assert result.code == ExitCode.INVALID_INPUT
    assert "Gmail still has 1 of the messages" in result.err
    assert files_naming(place / "lake", message_id)

    gmail.mailbox(ada).delete(message_id)
    result = run("forget", "me", "--message", message_id, "--yes", "--json")
    assert result.code == 0
    assert (
        result.json["rows"]["messages"]
        == result.json["rows"]["threads"]
        == result.json["rows"]["emails"]
        == 1
    )
    assert all("/_delta_log/" in name for name in files_naming(place / "lake", message_id))
    assert run("forget", ada, "--message", message_id, "--clean-log", "--yes", "--quiet").code == 0
    assert files_naming(place / "lake", message_id) == []
    assert {name: stored_rows(lake, name, bob) for name in others} == others
    synced = run("sync", "messages", "threads", "--json")
    assert {t["sync_mode"] for t in synced.json["mailboxes"][0]["tables"].values()} == {"incremental"}
    assert run("verify", "--quiet").code == 0
    assert files_naming(place / "lake", message_id) == []


@pytest.mark.slow
def test_invalid_arguments_are_refused(run, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    ada, bob = two
    assert "add --yes" in run("forget", ada).err
    assert run("forget", ada, "--undo", "--clean-log").code == ExitCode.INVALID_INPUT
    assert run("forget", ada, "--deleted-in-gmail", "--yes").code == ExitCode.INVALID_INPUT
    assert "has no mailbox" in run("forget", "nobody", "--yes").err
    assert "unknown whether" in run("forget", bob, "--message", "1", "--yes").err
    monkeypatch.setenv("GMAIL_REFRESH_TOKEN", "no")
    assert "unknown whether" in run("forget", ada, "--message", "1", "--yes").err
    assert run("status", "--offline", "--json").json["mailboxes"][0]["tables"]["messages"]["rows"]


def test_a_mistyped_address_is_noticed(run, gmail: Emulator) -> None:  # type: ignore[no-untyped-def]
    assert run("sync", "labels", "--quiet").code == ExitCode.SUCCESS
    mistyped = gmail.addresses[0].replace("gmail", "gmial")
    result = run("forget", mistyped, "--yes")
    assert result.code == ExitCode.SUCCESS
    assert f"The lake had no rows of {mistyped}." in result.err
    assert f"forget --undo {mistyped}" in result.err
    assert "The lake had no rows" not in run("forget", gmail.addresses[0], "--yes").err
