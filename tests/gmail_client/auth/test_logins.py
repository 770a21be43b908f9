"""A login per mailbox: a folder of login files, or variables of the environment."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gmail_client import GmailClient
from gmail_client.auth.credentials import Credentials
from gmail_client.auth.logins import variable_suffix
from gmail_client.emulator import Emulator
from gmail_client.errors import ConfigurationError, GmailError
from gmail_client.settings import Settings


@pytest.fixture(scope="module")
def gmail() -> Iterator[Emulator]:
    with Emulator(mailboxes=3, messages=1) as emulator:
        yield emulator


@pytest.fixture
def place(gmail: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("GMAIL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GMAIL_CREDENTIALS_FILE", str(tmp_path / "none.json"))
    monkeypatch.setenv("GMAIL_API_ROOT", gmail.url)
    monkeypatch.setenv("GMAIL_OAUTH_ROOT", gmail.url)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_login(gmail: Emulator, folder: Path, of: str, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    values = gmail.environment(of)
    document = {
        "client_id": values["GMAIL_CLIENT_ID"],
        "client_secret": values["GMAIL_CLIENT_SECRET"],
        "refresh_token": values["GMAIL_REFRESH_TOKEN"],
        "address": of,
        "api_root": gmail.url,
        "oauth_root": gmail.url,
        **changes,
    }
    path = folder / f"{of.partition('@')[0]}.json"
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return path


def test_a_folder_of_logins_reads_each_mailbox_with_its_own(
    gmail: Emulator, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in gmail.addresses[:2]:
        write_login(gmail, place / "logins", address)
    monkeypatch.setenv("GMAIL_LOGINS", str(place / "logins"))
    settings = Settings()
    assert sorted(settings.mailbox_names) == sorted(gmail.addresses[:2])
    client = pickle.loads(pickle.dumps(GmailClient.from_settings(settings)))
    assert [client.mailbox(name).address for name in settings.mailbox_names] == list(settings.mailbox_names)
    assert client.mailbox(gmail.addresses[0].upper()).address == gmail.addresses[0]
    with pytest.raises(ConfigurationError, match="There is no login for the mailbox"):
        client.mailbox(gmail.addresses[2])
    with pytest.raises(ConfigurationError, match="GMAIL_USER_ID='me' names no mailbox"):
        client.mailbox("me")


def test_tokens_in_the_environment(gmail: Emulator, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = gmail.environment()
    monkeypatch.setenv("GMAIL_CLIENT_ID", values["GMAIL_CLIENT_ID"])
    monkeypatch.setenv("GMAIL_CLIENT_SECRET", values["GMAIL_CLIENT_SECRET"])
    for address in gmail.addresses[:2]:
        token = gmail.environment(address)["GMAIL_REFRESH_TOKEN"]
        monkeypatch.setenv(f"GMAIL_REFRESH_TOKEN_{variable_suffix(address)}", token)
    monkeypatch.setenv(
        "GMAIL_REFRESH_TOKENS", json.dumps({gmail.addresses[2]: gmail.refresh_token(gmail.addresses[2])})
    )
    client = GmailClient.from_settings()
    assert [client.mailbox(address).address for address in gmail.addresses] == gmail.addresses
    assert "1//" not in repr(client.credentials)


def test_the_login_of_another_mailbox_reads_nothing(
    gmail: Emulator, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = gmail.environment(gmail.addresses[1])["GMAIL_REFRESH_TOKEN"]
    write_login(gmail, place / "logins", gmail.addresses[0], refresh_token=other)
    monkeypatch.setenv("GMAIL_LOGINS", str(place / "logins"))
    with pytest.raises(GmailError):
        _ = GmailClient.from_settings().mailbox(gmail.addresses[0]).address


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"api_root": "https://gmail.googleapis.com"}, "it is not sent there"),
        ({"api_root": None, "oauth_root": None}, "it is not sent there"),
        ({"refresh_token": ""}, "lacks refresh_token"),
        ({"address": None}, "lacks address"),
    ],
)
def test_files_that_are_refused(
    gmail: Emulator, place: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    write_login(gmail, place / "logins", gmail.addresses[0], **changes)
    monkeypatch.setenv("GMAIL_LOGINS", str(place / "logins"))
    with pytest.raises(ConfigurationError, match=message) as caught:
        GmailClient.from_settings()
    assert "1//" not in str(caught.value)


def test_folders_that_are_refused(gmail: Emulator, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMAIL_LOGINS", str(place / "logins"))
    with pytest.raises(ConfigurationError, match="No such file"):
        Settings().credentials()
    write_login(gmail, place / "logins", gmail.addresses[0]).rename(place / "logins" / "other.json")
    write_login(gmail, place / "logins", gmail.addresses[0])
    with pytest.raises(ConfigurationError, match="two login files for"):
        Settings().credentials()
    for path in (place / "logins").iterdir():
        path.unlink()
    with pytest.raises(ConfigurationError, match="contains no login file"):
        Settings().credentials()
    (place / "logins" / "ada.json").write_text("[" * 10_000)
    with pytest.raises(ConfigurationError, match="lacks address"):
        Settings().credentials()


def test_one_login_is_me(gmail: Emulator, place: Path) -> None:
    write_login(gmail, place / "logins", gmail.addresses[1])
    credentials = Credentials.from_logins(place / "logins", Settings().endpoints)
    assert (
        credentials.for_mailbox("me").refresh_token
        == credentials.for_mailbox(gmail.addresses[1]).refresh_token
    )


def test_two_ways_contradict_each_other(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMAIL_ACCESS_TOKEN", "ya29.x")
    monkeypatch.setenv("GMAIL_REFRESH_TOKEN_ADA", "1//x")
    with pytest.raises(ConfigurationError, match="contradict each other"):
        Settings().credentials()


@pytest.mark.parametrize("value", ["1//hush", '["1//hush"]', '{"ada@example.com": {"token": "1//hush"}}'])
def test_tokens_that_are_not_json(place: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("GMAIL_REFRESH_TOKENS", value)
    with pytest.raises(ConfigurationError, match="is not a JSON object of refresh tokens") as caught:
        Settings()
    assert "hush" not in str(caught.value)
