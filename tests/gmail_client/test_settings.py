from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gmail_client.auth.endpoints import GOOGLE, Endpoints
from gmail_client.auth.oauth_client import OAuthClient
from gmail_client.client import GmailClient
from gmail_client.errors import ConfigurationError
from gmail_client.quota_shares import ProjectLimits
from gmail_client.settings import Settings, credentials_file, login_target


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and an empty configuration folder."""
    for name in [name for name in os.environ if name.startswith("GMAIL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def write_login(home: Path, mode: int = 0o600, **values: str) -> Path:
    path = home / "config" / "gmail-assets" / "credentials.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(values))
    path.chmod(mode)
    return path


LOGIN = {"client_id": "login-id", "client_secret": "hush-login", "refresh_token": "1//hush-login"}


def test_defaults() -> None:
    settings = Settings()
    assert (settings.user_id, settings.quota, settings.mailbox_names) == ("me", "current", ("me",))
    assert settings.api_root == "https://gmail.googleapis.com"
    assert settings.oauth_root == "https://oauth2.googleapis.com"


def test_the_environment_beats_dotenv_beats_the_login_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_login(home, **LOGIN, user_id="login@b.test", quota="7000", lake="/login")
    Path(".env").write_text("GMAIL_USER_ID=dotenv@b.test\nGMAIL_QUOTA=8000\nOTHER=1\n")
    monkeypatch.setenv("GMAIL_USER_ID", "env@b.test")
    settings = Settings()
    assert (settings.user_id, settings.quota, settings.lake) == ("env@b.test", "8000", "/login")
    assert settings.credentials().client_id == "login-id"


def test_the_login_file_alone_is_enough(home: Path) -> None:
    write_login(home, **LOGIN)
    credentials = Settings().credentials()
    assert credentials.kind == "refresh token"
    assert credentials.refresh_token.get_secret_value() == "1//hush-login"


@pytest.mark.parametrize("name", ["GMAIL_ACCESS_TOKEN", "GMAIL_REFRESH_TOKEN"])
def test_credentials_of_a_higher_layer_replace_the_login_file(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_login(home, **LOGIN)
    monkeypatch.setenv(name, "hush-env")
    monkeypatch.setenv("GMAIL_CLIENT_ID", "env-id")
    monkeypatch.setenv("GMAIL_CLIENT_SECRET", "hush-secret")
    credentials = Settings().credentials()
    assert credentials.kind == name.removeprefix("GMAIL_").replace("_", " ").lower()
    assert credentials.client_id in ("", "env-id")


def test_credentials_in_the_environment_replace_those_in_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("GMAIL_ACCESS_TOKEN=hush-dotenv\nGMAIL_CLIENT_ID=id\nGMAIL_CLIENT_SECRET=hush\n")
    monkeypatch.setenv("GMAIL_REFRESH_TOKEN", "hush-env")
    credentials = Settings().credentials()
    assert (credentials.kind, credentials.client_id) == ("refresh token", "id")


def test_the_stored_token_of_another_client_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_login(home, **LOGIN)
    monkeypatch.setenv("GMAIL_CLIENT_ID", "other-id")
    with pytest.raises(ConfigurationError, match="GMAIL_CLIENT_ID"):
        Settings()
    monkeypatch.setenv("GMAIL_CLIENT_ID", "login-id")
    assert Settings().credentials().client_id == "login-id"


def test_empty_means_unset(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_login(home, **LOGIN, lake="/login")
    Path(".env").write_text("GMAIL_ACCESS_TOKEN=\nGMAIL_USER_ID=\n")
    monkeypatch.setenv("GMAIL_REFRESH_TOKEN", "")
    monkeypatch.setenv("GMAIL_LAKE", "")
    settings = Settings()
    assert (settings.user_id, settings.lake) == ("me", "/login")
    assert settings.credentials().kind == "refresh token"


def test_many_mailboxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMAIL_MAILBOXES", " ada@b.test, bob@b.test,,ada@b.test ")
    assert Settings().mailbox_names == ("ada@b.test", "bob@b.test")


def test_the_units_of_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().project_limits == ProjectLimits()
    monkeypatch.setenv("GMAIL_UNITS_PER_MINUTE", "60000")
    monkeypatch.setenv("GMAIL_UNITS_PER_DAY", "1000000")
    assert Settings().project_limits == ProjectLimits(60_000, 1_000_000)
    monkeypatch.setenv("GMAIL_CHANGES_RESERVE", "0.1")
    assert Settings().project_limits.reserve == 6_000
    monkeypatch.setenv("GMAIL_ACCESS_TOKEN", "t")
    assert GmailClient.from_settings().project.limit == 60_000
    monkeypatch.setenv("GMAIL_UNITS_PER_MINUTE", "599")
    with pytest.raises(ConfigurationError, match="GMAIL_UNITS_PER_MINUTE"):
        Settings()


def test_one_mailbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMAIL_USER_ID", "ada@b.test")
    assert Settings().mailbox_names == ("ada@b.test",)


def test_a_service_account_acts_for_the_user(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = home / "key.json"
    key.write_text(json.dumps({"client_email": "a", "private_key": "b", "token_uri": "c"}))
    monkeypatch.setenv("GMAIL_SERVICE_ACCOUNT_FILE", str(key))
    assert Settings().credentials().subject is None
    monkeypatch.setenv("GMAIL_USER_ID", "ada@b.test")
    assert Settings().credentials().subject == "ada@b.test"


def test_credentials_are_resolved_only_when_asked_for() -> None:
    settings = Settings()
    with pytest.raises(ConfigurationError, match="gmail-assets login"):
        settings.credentials()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GMAIL_QUOTA", "fast"),
        ("GMAIL_API_ROOT", "http://gmail.test"),
        ("GMAIL_OAUTH_ROOT", "gmail"),
    ],
)
def test_a_bad_value_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        Settings()
    assert name in caught.value.what
    assert repr(value) in caught.value.what
    assert caught.value.fix


@pytest.mark.parametrize("content", ["{", "[1]", '"x"'])
def test_an_invalid_login_file(home: Path, content: str) -> None:
    path = write_login(home)
    path.write_text(content)
    with pytest.raises(ConfigurationError, match="login file") as caught:
        Settings()
    assert str(path) in str(caught.value)


def test_a_login_file_with_values_of_the_wrong_kind(home: Path) -> None:
    path = write_login(home)
    path.write_text(json.dumps({"client_id": ["hush"], "refresh_token": {"hush": 1}}))
    with pytest.raises(ConfigurationError, match="GMAIL_CLIENT_ID") as caught:
        Settings()
    assert "hush" not in str(caught.value)


def test_a_login_file_that_is_a_folder(home: Path) -> None:
    credentials_file().mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="login file"):
        Settings()


@pytest.mark.skipif(sys.platform == "win32", reason="no modes")
@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_a_login_file_that_others_can_read_is_warned_about(home: Path, mode: int) -> None:
    write_login(home, mode, **LOGIN)
    with pytest.warns(UserWarning, match="chmod 600"):
        assert Settings().credentials().client_id == "login-id"


def test_the_login_file_can_be_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_login(home, **LOGIN).rename(home / "mine.json")
    assert credentials_file() == home / "config" / "gmail-assets" / "credentials.json"
    monkeypatch.setenv("GMAIL_CREDENTIALS_FILE", str(path))
    assert credentials_file() == path
    assert Settings().client_id == "login-id"


def test_secrets_are_not_shown(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_login(home, **LOGIN)
    monkeypatch.setenv("GMAIL_CLIENT_SECRET", "hush-login")
    settings = Settings()
    assert "hush" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_the_client_does_not_import_pydantic_settings() -> None:
    code = "import sys, gmail_client.client; assert 'pydantic_settings' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


GOOGLE_CLIENT = {"client_id": "typed-id", "client_secret": "hush-typed"}


def test_login_with_a_client_of_the_command_line_and_endpoints_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GMAIL_CLIENT_ID", "env-id")
    monkeypatch.setenv("GMAIL_CLIENT_SECRET", "hush-env")
    monkeypatch.setenv("GMAIL_OAUTH_ROOT", "http://127.0.0.1:9/")
    client, endpoints = login_target()
    assert (client.id, endpoints) == ("env-id", Endpoints(oauth_root="http://127.0.0.1:9"))
    client, endpoints = login_target(**GOOGLE_CLIENT)
    assert (client.id, endpoints.oauth_root) == ("typed-id", "http://127.0.0.1:9")


@pytest.mark.parametrize("source", ["command line", "client file", "environment", "login file"])
def test_login_sends_no_client_to_the_endpoints_of_a_dotenv(
    home: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    Path(".env").write_text("GMAIL_OAUTH_ROOT=https://evil.example\n", "utf-8")
    given: dict[str, Any] = {}
    if source == "command line":
        given = GOOGLE_CLIENT
    elif source == "client file":
        given = {"client": OAuthClient.of("typed-id", "hush-typed")}
    elif source == "environment":
        monkeypatch.setenv("GMAIL_CLIENT_ID", "env-id")
        monkeypatch.setenv("GMAIL_CLIENT_SECRET", "hush-env")
    else:
        write_login(home, **LOGIN)
    with pytest.raises(ConfigurationError, match="evil") as caught:
        login_target(**given)
    assert "hush" not in str(caught.value)
    Path(".env").unlink()
    assert login_target(**given)[1] == GOOGLE


def test_login_with_a_client_and_an_endpoint_in_dotenv() -> None:
    Path(".env").write_text(
        "GMAIL_CLIENT_ID=id\nGMAIL_CLIENT_SECRET=hush\nGMAIL_OAUTH_ROOT=http://127.0.0.1:9\n", "utf-8"
    )
    client, endpoints = login_target()
    assert (client.id, endpoints.oauth_root) == ("id", "http://127.0.0.1:9")


def test_login_again_uses_the_last_login_s_client_and_endpoints(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_login(home, **LOGIN, oauth_root="http://127.0.0.1:9")
    client, endpoints = login_target()
    assert (client.id, endpoints.oauth_root) == ("login-id", "http://127.0.0.1:9")
    monkeypatch.setenv("GMAIL_OAUTH_ROOT", "https://gateway.example")
    with pytest.raises(ConfigurationError, match="gateway"):
        login_target()


def test_login_without_a_client() -> None:
    with pytest.raises(ConfigurationError, match="No client id and no client secret"):
        login_target()


@pytest.mark.parametrize(
    ("name", "value"), [("UNITS_PER_DAY", "many"), ("UNITS_PER_DAY", "1"), ("LOADS_SHARE", "2")]
)
def test_a_number_out_of_range_is_an_error_with_variable_value_and_fix(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"GMAIL_{name}", value)
    with pytest.raises(ConfigurationError, match=f"^GMAIL_{name} is '{value}': Input should be") as caught:
        Settings()
    assert caught.value.fix
