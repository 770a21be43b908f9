"""Connections by options and by name."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gmail_client.emulator import Emulator
from gmail_client.errors import ConfigurationError
from lakeflow_entry.connection import Connection


@pytest.fixture(autouse=True)
def _bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLIENT_ID", "CLIENT_SECRET", "REFRESH_TOKEN", "ACCESS_TOKEN", "CONNECTIONS_FILE"):
        monkeypatch.delenv(f"GMAIL_{name}", raising=False)
    monkeypatch.setenv("GMAIL_CREDENTIALS_FILE", str(tmp_path / "login.json"))
    monkeypatch.chdir(tmp_path)


def test_a_connection_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMAIL_CONNECTION_WORK_MAIL_ACCESS_TOKEN", "tok-1")
    monkeypatch.setenv("GMAIL_CONNECTION_WORK_MAIL_USER_ID", "ada@gmail.test")
    mailbox = Connection.of({"connection": "work-mail"}).mailbox()
    assert mailbox.user_id == "ada@gmail.test"
    assert mailbox.client.credentials.access_token.get_secret_value() == "tok-1"


def test_a_connection_is_read_from_the_file_and_options_override_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "connections.json"
    file.write_text(json.dumps({"home": {"access_token": "tok-2", "user_id": "me", "quota": "legacy"}}))
    monkeypatch.setenv("GMAIL_CONNECTIONS_FILE", str(file))
    mailbox = Connection.of({"databricks.connection": "home", "USER_ID": "bo@gmail.test"}).mailbox()
    assert mailbox.user_id == "bo@gmail.test"
    assert mailbox.client.plan.name == "legacy"


def test_an_unknown_name_is_an_error_that_lists_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "connections.json"
    file.write_text(json.dumps({"home": {"access_token": "tok-2"}}))
    monkeypatch.setenv("GMAIL_CONNECTIONS_FILE", str(file))
    monkeypatch.setenv("GMAIL_CONNECTION_WORK_ACCESS_TOKEN", "tok-1")
    with pytest.raises(
        ConfigurationError, match=r"Connection not found: 'wrok'\. Known connections: home, work"
    ):
        Connection.of({"connection": "wrok"}).mailbox()


@pytest.mark.parametrize("text", ["", "[]", '{"home": "token"}'])
def test_a_bad_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    file = tmp_path / "connections.json"
    file.write_text(text)
    monkeypatch.setenv("GMAIL_CONNECTIONS_FILE", str(file))
    with pytest.raises(ConfigurationError, match="GMAIL_CONNECTIONS_FILE"):
        Connection.of({"connection": "home"}).mailbox()


def test_without_a_name_the_usual_variables_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="has incomplete credentials"):
        Connection.of({}).mailbox()
    monkeypatch.setenv("GMAIL_ACCESS_TOKEN", "tok-3")
    assert Connection.of({}).mailbox().user_id == "me"


def test_the_repr_has_only_names() -> None:
    shown = repr(Connection.of({"access_token": "ya29.secret", "connection": "x"}))
    assert "ya29" not in shown
    assert "access_token" in shown


@pytest.mark.parametrize("named", ["connection", "databricks.connection", "CONNECTION"])
@pytest.mark.parametrize("place", ["api_root", "oauth_root", "service_account_file", "Api_Root"])
@pytest.mark.parametrize("with_credentials", [True, False])
def test_with_a_name_options_cannot_change_the_endpoints(
    named: str, place: str, with_credentials: bool
) -> None:
    options = {named: "corp", place: "https://evil.example"}
    if with_credentials:
        options["access_token"] = "ya29.hush"
    with pytest.raises(ConfigurationError, match="together with the connection 'corp'") as caught:
        Connection.of(options)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("root", ["api_root", "oauth_root"])
@pytest.mark.parametrize(
    "credentials", [{}, {"service_account_file": "/home/ada/key.json"}, {"client_id": "id"}]
)
def test_an_endpoint_applies_only_to_credentials_in_the_same_options(
    monkeypatch: pytest.MonkeyPatch, root: str, credentials: dict[str, str]
) -> None:
    monkeypatch.setenv("GMAIL_ACCESS_TOKEN", "ya29.hush")
    with pytest.raises(ConfigurationError, match="in the same options"):
        Connection.of({root: "https://evil.example", **credentials})
    own = Connection.of({root: "https://gateway.example", "access_token": "ya29.own"}).mailbox()
    assert getattr(own.client, root) == "https://gateway.example"
    assert own.client.credentials.access_token.get_secret_value() == "ya29.own"


def test_a_connection_s_own_endpoint_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMAIL_API_ROOT", "https://evil.example")
    monkeypatch.setenv("GMAIL_CONNECTION_CORP_ACCESS_TOKEN", "ya29.corp")
    assert Connection.of({"connection": "corp"}).mailbox().client.api_root == "https://gmail.googleapis.com"
    monkeypatch.setenv("GMAIL_CONNECTION_CORP_API_ROOT", "https://gateway.example")
    assert Connection.of({"connection": "corp"}).mailbox().client.api_root == "https://gateway.example"


STORED = {"client_id": "login-id", "client_secret": "hush-1", "refresh_token": "hush-2"}


def test_without_a_name_and_variables_the_login_file_and_its_endpoints_are_used(tmp_path: Path) -> None:
    stored = {**STORED, "oauth_root": "http://127.0.0.1:9", "user_id": "ada@gmail.test"}
    (tmp_path / "login.json").write_text(json.dumps(stored))
    (tmp_path / "login.json").chmod(0o600)
    mailbox = Connection.of({}).mailbox()
    assert mailbox.user_id == "ada@gmail.test"
    assert mailbox.client.credentials.refresh_token.get_secret_value() == "hush-2"
    assert mailbox.client.oauth_root == "http://127.0.0.1:9"
    (tmp_path / ".env").write_text("GMAIL_OAUTH_ROOT=http://127.0.0.1:10\n")
    with pytest.raises(ConfigurationError, match="not sent elsewhere"):
        Connection.of({}).mailbox()


def test_with_a_name_the_login_file_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "login.json").write_text(json.dumps(STORED))
    (tmp_path / "login.json").chmod(0o600)
    with pytest.raises(ConfigurationError, match="Connection not found"):
        Connection.of({"connection": "home"}).mailbox()


def test_without_pydantic_settings_only_variables_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "login.json").write_text(json.dumps(STORED))
    monkeypatch.setitem(sys.modules, "gmail_client.settings", None)
    with pytest.raises(ConfigurationError, match="has incomplete credentials"):
        Connection.of({}).mailbox()


def test_a_service_account_s_key_as_text(tmp_path: Path) -> None:
    with Emulator(mailboxes=2, messages=5, seed=3) as gmail:
        key = gmail.service_account_file(tmp_path / "key.json").read_text("utf-8")
        roots = {"api_root": gmail.url, "oauth_root": gmail.url}
        for address in gmail.addresses:
            connection = Connection.of({"service_account_json": key, "user_id": address, **roots})
            assert connection.shows_secrets
            assert "PRIVATE" not in repr(connection)
            mailbox = connection.mailbox()
            assert mailbox.address == address
        several = Connection.of({"service_account_json": key, **roots})
        assert several.mailbox(gmail.addresses[1]).address == gmail.addresses[1]
        with pytest.raises(ConfigurationError, match="user_id='me' names no mailbox"):
            several.mailbox()
        with pytest.raises(ConfigurationError, match="oauth_root") as caught:
            Connection.of(
                {"service_account_json": key, "user_id": "a@x.test", "api_root": gmail.url}
            ).mailbox()
        assert "GMAIL_" not in str(caught.value)
        assert "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize("text", ["hush", "[1]", '{"client_email": "hush"}', "[" * 100_000])
def test_an_invalid_key_is_named_by_its_option_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigurationError, match="service_account_json") as caught:
        Connection.of({"service_account_json": text, "user_id": "ada@gmail.test"})
    assert "hush" not in str(caught.value)


def test_errors_name_the_options_of_the_connection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "Missing.json"
    monkeypatch.setenv("GMAIL_CONNECTION_CORP_SERVICE_ACCOUNT_FILE", str(file))
    with pytest.raises(ConfigurationError) as caught:
        Connection.of({"connection": "corp"}).mailbox()
    assert f"service_account_file={str(file)!r}" in caught.value.what
    assert "GMAIL_" not in str(caught.value)
