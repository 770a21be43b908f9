"""Mailboxes from settings, a file and the Workspace directory, against the emulator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gmail_client.discovery import discover, mailboxes_of
from gmail_client.emulator import Emulator, Fault
from gmail_client.errors import (
    AccessError,
    ApiDisabledError,
    ConfigurationError,
    CredentialsError,
    GmailError,
    NotFoundError,
    RequestError,
)
from gmail_client.settings import Settings

USERS, MEMBERS = "directory.users.list", "directory.members.list"
LEFT_OUT = {
    "suspended.example@gmail.test": "suspended",
    "archived.example@gmail.test": "archived",
    "no.mailbox.example@gmail.test": "no Gmail mailbox",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(mailboxes=4, messages=0) as emulator:
        yield emulator


@pytest.fixture
def gmail(server: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """The emulator, and an environment with a service account that may read its directory."""
    for name in [name for name in os.environ if name.startswith("GMAIL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GMAIL_CREDENTIALS_FILE", str(tmp_path / "none.json"))
    monkeypatch.setenv("GMAIL_SERVICE_ACCOUNT_FILE", str(server.service_account_file(tmp_path / "key.json")))
    monkeypatch.setenv("GMAIL_API_ROOT", server.url)
    monkeypatch.setenv("GMAIL_OAUTH_ROOT", server.url)
    monkeypatch.setenv("GMAIL_DIRECTORY_ADMIN", server.addresses[0])
    monkeypatch.chdir(tmp_path)
    before = dict(server._backend.users)
    yield server
    server.faults.clear()
    server._backend.users = before
    server._backend.groups = {}


def test_the_whole_directory(gmail: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMAIL_DIRECTORY", "all")
    found = discover(Settings())
    assert sorted(found.mailboxes) == sorted(gmail.addresses)
    assert found.left_out == LEFT_OUT


def test_org_units_domains_and_groups_are_joined(gmail: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, three, four = gmail.addresses
    gmail.change_user(two, org_unit="/Sales/O'Hare")
    gmail.change_user(three, archived=True)
    gmail.set_group("team@gmail.test", [one, two, "inner@gmail.test", "guest@elsewhere.test"])
    gmail.set_group("inner@gmail.test", [three])
    monkeypatch.setenv("GMAIL_DIRECTORY", "org-unit:/Sales, group:team@gmail.test, domain:elsewhere.test")
    found = discover(Settings())
    assert found.mailboxes == (two, one)
    assert found.left_out == {
        three: "archived",
        "guest@elsewhere.test": "not a user of this Workspace",
        "domain:elsewhere.test": "the directory has no users for it",
    }

    monkeypatch.setenv("GMAIL_DIRECTORY", "group:all@gmail.test")
    gmail.set_group("all@gmail.test", ["*"])
    assert sorted(mailboxes_of(Settings())) == sorted({one, two, four})


def test_a_file_a_setting_and_the_allow_list(
    gmail: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, *_ = gmail.addresses
    (tmp_path / "names").write_text(f"# ours\n{one.upper()}  # again\n\nmore@other.test\n")
    monkeypatch.setenv("GMAIL_MAILBOXES_FILE", str(tmp_path / "names"))
    assert mailboxes_of(Settings()) == (one, "more@other.test")
    monkeypatch.setenv("GMAIL_MAILBOXES", f"set@gmail.test,{one}")
    assert mailboxes_of(Settings()) == ("set@gmail.test", one, "more@other.test")
    monkeypatch.setenv("GMAIL_ALLOWED_MAILBOXES", f"{one},{two}")
    monkeypatch.setenv("GMAIL_DIRECTORY", "all")
    found = discover(Settings())
    # What a person has set stays, and is refused when it is read.
    assert found.mailboxes == ("set@gmail.test", one, two)
    assert found.left_out["more@other.test"] == "not in GMAIL_ALLOWED_MAILBOXES"


def test_many_pages_are_one_list(gmail: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"user{number:04}@gmail.test" for number in range(1_200)]
    for name in names:
        gmail.change_user(name)
    monkeypatch.setenv("GMAIL_DIRECTORY", "all")
    gmail.usage.reset()
    assert set(names) < set(mailboxes_of(Settings()))
    assert gmail.usage.as_json()["calls"][USERS] == 3
    gmail.set_group("all@gmail.test", names)
    monkeypatch.setenv("GMAIL_DIRECTORY", "group:all@gmail.test")
    assert list(mailboxes_of(Settings())) == names
    assert gmail.usage.as_json()["calls"][MEMBERS] == 6


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(USERS, status=403, reason="forbidden", message="Not Authorized"), AccessError),
        (
            Fault(USERS, status=403, reason="accessNotConfigured", message="Admin SDK is disabled"),
            ApiDisabledError,
        ),
        (Fault(USERS, status=400, reason="invalid", message="Invalid Input: INVALID_OU_ID"), RequestError),
        (Fault(USERS, status=404, reason="notFound", message="Domain not found."), NotFoundError),
    ],
)
def test_a_refusal_on_any_page_is_an_error_and_no_shorter_list(
    gmail: Emulator, monkeypatch: pytest.MonkeyPatch, nth: int, fault: Fault, error: type[GmailError]
) -> None:
    for number in range(1_200):
        gmail.change_user(f"user{number:04}@gmail.test")
    monkeypatch.setenv("GMAIL_DIRECTORY", "all")
    gmail.faults.add(replace(fault, nth=nth))
    with pytest.raises(error) as caught:
        discover(Settings())
    assert "GMAIL_DIRECTORY" in caught.value.fix or "Admin SDK API" in caught.value.fix


def test_a_busy_directory_is_asked_again(gmail: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMAIL_DIRECTORY", "all")
    gmail.faults.add(Fault(USERS, status=503, times=2))
    assert len(mailboxes_of(Settings())) == 4


def test_a_scope_that_is_not_delegated_is_named(gmail: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMAIL_DIRECTORY", "group:team@gmail.test")
    gmail.set_group("team@gmail.test", [])
    scopes = gmail._backend.tokens.delegated_scopes
    gmail.allow_delegation([scope for scope in scopes if "group" not in scope])
    try:
        with pytest.raises(CredentialsError, match="no domain-wide delegation") as caught:
            discover(Settings())
    finally:
        gmail.allow_delegation(list(scopes))
    assert "admin.directory.group.member.readonly" in caught.value.fix


def test_who_is_no_administrator(gmail: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMAIL_DIRECTORY", "all")
    monkeypatch.setenv("GMAIL_DIRECTORY_ADMIN", gmail.addresses[1])
    with pytest.raises(AccessError) as caught:
        discover(Settings())
    assert "GMAIL_DIRECTORY_ADMIN has to be an administrator" in caught.value.fix
    monkeypatch.setenv("GMAIL_DIRECTORY_ADMIN", "nobody@gmail.test")
    with pytest.raises(CredentialsError, match="GMAIL_DIRECTORY_ADMIN"):
        discover(Settings())
    monkeypatch.delenv("GMAIL_DIRECTORY_ADMIN")
    with pytest.raises(ConfigurationError, match="without GMAIL_DIRECTORY_ADMIN"):
        discover(Settings())


def test_a_user_s_own_login_reads_no_directory(gmail: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GMAIL_SERVICE_ACCOUNT_FILE")
    monkeypatch.setenv("GMAIL_ACCESS_TOKEN", gmail.access_token())
    monkeypatch.setenv("GMAIL_DIRECTORY", "all")
    with pytest.raises(ConfigurationError, match="can't impersonate"):
        discover(Settings())


def test_nobody_at_all_is_an_error_of_a_command(gmail: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMAIL_DIRECTORY", "domain:elsewhere.test,org-unit:/Sale")
    found = discover(Settings())
    assert found.mailboxes == ()
    assert found.left_out.keys() == {"domain:elsewhere.test", "org-unit:/Sale"}
    with pytest.raises(ConfigurationError, match="No mailbox to read was found; 2 are left out"):
        mailboxes_of(Settings())


def test_an_unknown_group(gmail: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMAIL_DIRECTORY", "group:none@gmail.test")
    with pytest.raises(NotFoundError) as caught:
        discover(Settings())
    assert "GMAIL_DIRECTORY: the directory does not know the group none@gmail.test" in caught.value.fix


@pytest.mark.parametrize("text", ["example.com", "domain:", "org-unit:Sales", "group:team", "all:x", "ALL"])
def test_settings_that_name_nothing(gmail: Emulator, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("GMAIL_DIRECTORY", text)
    with pytest.raises(ConfigurationError, match="GMAIL_DIRECTORY contains"):
        Settings()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "No such file"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"a@b.test\nada\n", "line 2: no address"),
        (b"a@b.test, c@b.test\n", "line 1: no address"),
    ],
)
def test_files_that_can_t_be_read(
    gmail: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, expected: str
) -> None:
    if content is not None:
        (tmp_path / "names").write_bytes(content)
    monkeypatch.setenv("GMAIL_MAILBOXES_FILE", str(tmp_path / "names"))
    with pytest.raises(ConfigurationError, match=expected):
        discover(Settings())
