"""The login file: private, written atomically, and read by the settings."""

from __future__ import annotations

import json
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from gmail_client.auth.endpoints import GOOGLE, Endpoints
from gmail_client.auth.login import Granted
from gmail_client.auth.login_file import env_lines, read_login, remove_login, store_login
from gmail_client.auth.oauth_client import OAuthClient
from gmail_client.errors import ConfigurationError
from gmail_client.settings import Settings, credentials_file

GRANTED = Granted(
    OAuthClient("1.apps.googleusercontent.com", SecretStr("GOCSPX-s")),
    "ada@gmail.test",
    SecretStr("1//r"),
    ("https://www.googleapis.com/auth/gmail.readonly",),
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GMAIL_CLIENT_ID", "GMAIL_CLIENT_SECRET", "GMAIL_REFRESH_TOKEN", "GMAIL_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GMAIL_CREDENTIALS_FILE", str(tmp_path / "deep" / "er" / "credentials.json"))
    return credentials_file()


def test_the_settings_read_what_a_login_stored(place: Path) -> None:
    store_login(place, GRANTED)
    credentials = Settings().credentials()
    assert credentials.kind == "refresh token"
    assert credentials.client_id == GRANTED.client.id
    assert credentials.refresh_token.get_secret_value() == "1//r"
    assert Settings().user_id == "me"


def test_the_file_stores_endpoints_and_other_keys_are_ignored(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = replace(GRANTED, endpoints=Endpoints("http://127.0.0.1:1", "http://127.0.0.1:2"))
    store_login(place, moved)
    assert Settings().endpoints == moved.endpoints
    for where in ("environment", ".env"):
        if where == ".env":
            monkeypatch.delenv("GMAIL_OAUTH_ROOT")
            Path(".env").write_text("GMAIL_OAUTH_ROOT=https://evil.example\n", "utf-8")
        else:
            monkeypatch.setenv("GMAIL_OAUTH_ROOT", "https://evil.example")
        with pytest.raises(ConfigurationError, match=where) as caught:
            Settings()
        assert "https://evil.example" in caught.value.what
        assert "http://127.0.0.1:2" in caught.value.what
        assert str(place) in caught.value.what


def test_a_file_of_an_earlier_version_uses_googles_endpoints(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_login(place, GRANTED)
    document = {name: value for name, value in read_login(place).items() if not name.endswith("_root")}
    place.write_text(json.dumps(document), "utf-8")
    assert Settings().endpoints == GOOGLE
    monkeypatch.setenv("GMAIL_API_ROOT", "http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match=r"http://127\.0\.0\.1:9"):
        Settings()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_only_the_user_can_read_it_even_if_it_replaces_a_readable_file(place: Path) -> None:
    store_login(place, GRANTED)
    place.chmod(0o644)
    store_login(place, GRANTED)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700


def test_no_temporary_file_is_left_and_a_failed_write_keeps_the_old_file(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_login(place, GRANTED)
    before = place.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(ConfigurationError, match="can't be written: No space left") as caught:
        store_login(place, GRANTED)
    assert "GOCSPX" not in str(caught.value)
    assert place.read_bytes() == before
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_an_unwritable_path_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(ConfigurationError, match="can't be written") as caught:
        store_login(tmp_path / "file" / "credentials.json", GRANTED)
    assert "GMAIL_CREDENTIALS_FILE" in caught.value.fix


def test_remove_returns_whether_a_file_existed(place: Path) -> None:
    store_login(place, GRANTED)
    assert remove_login(place)
    assert not remove_login(place)
    assert read_login(place) == {}


def test_an_invalid_file_reads_as_none(place: Path) -> None:
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(["1//r"]), "utf-8")
    assert read_login(place) == {}
    place.write_bytes(b"\xff")
    assert read_login(place) == {}
    place.write_bytes(b"[" * 100_000)
    assert read_login(place) == {}


def test_the_lines_for_env_are_read_by_the_settings(place: Path) -> None:
    Path(".env").write_text(env_lines(replace(GRANTED, endpoints=Endpoints("http://[::1]:1"))), "utf-8")
    assert Settings().endpoints == Endpoints("http://[::1]:1")
    assert "ROOT" not in env_lines(GRANTED)
    Path(".env").write_text(env_lines(GRANTED), "utf-8")
    assert Settings().credentials().refresh_token.get_secret_value() == "1//r"
