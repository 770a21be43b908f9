from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from gmail_client.auth.credentials import Credentials
from gmail_client.auth.endpoints import Endpoints
from gmail_client.errors import ConfigurationError

CLIENT = {"client_id": "id", "client_secret": "hush-client"}
KEY = {"client_email": "a@b", "private_key": "hush-key", "token_uri": "https://oauth2.googleapis.com/token"}


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(KEY))
    return path


def test_a_refresh_token_with_its_client() -> None:
    credentials = Credentials.of(**CLIENT, refresh_token="1//hush")
    assert credentials.kind == "refresh token"
    assert credentials.refresh_token.get_secret_value() == "1//hush"


def test_an_access_token_alone() -> None:
    credentials = Credentials.of(access_token=SecretStr(" ya29.hush\n"))
    assert credentials.kind == "access token"
    assert credentials.access_token.get_secret_value() == "ya29.hush"


def test_an_access_token_needs_no_client() -> None:
    assert Credentials.of(**CLIENT, access_token="ya29.hush").kind == "access token"


def test_a_service_account_with_and_without_subject(key_file: Path) -> None:
    credentials = Credentials.of(service_account_file=key_file)
    assert (credentials.kind, credentials.subject) == ("service account", None)
    assert credentials.with_subject("ada@b.test").subject == "ada@b.test"
    assert credentials.subject is None


def test_empty_strings_count_as_unset() -> None:
    credentials = Credentials.of(**CLIENT, refresh_token="1//hush", access_token="", service_account_file="")
    assert credentials.kind == "refresh token"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (
            {},
            ["GMAIL_REFRESH_TOKEN", "GMAIL_ACCESS_TOKEN", "GMAIL_SERVICE_ACCOUNT_FILE", "gmail-assets login"],
        ),
        (CLIENT, ["only GMAIL_CLIENT_ID and GMAIL_CLIENT_SECRET"]),
        ({"client_id": "id"}, ["only GMAIL_CLIENT_ID"]),
        ({"refresh_token": "hush"}, ["without GMAIL_CLIENT_ID and GMAIL_CLIENT_SECRET"]),
        ({"refresh_token": "hush", "client_id": "id"}, ["without GMAIL_CLIENT_SECRET"]),
        ({"refresh_token": "hush", "access_token": "hush"}, ["GMAIL_REFRESH_TOKEN and GMAIL_ACCESS_TOKEN"]),
        (
            {"refresh_token": "hush", "access_token": "hush", "service_account_file": "/hush"},
            ["GMAIL_REFRESH_TOKEN, GMAIL_ACCESS_TOKEN and GMAIL_SERVICE_ACCOUNT_FILE contradict"],
        ),
    ],
)
def test_incomplete_credentials_are_named(given: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Credentials.of(**given)
    for name in named:
        assert name in str(caught.value)
    assert "hush" not in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file"),
        ("{", "not JSON"),
        ("[]", "lacks client_email"),
        ('{"client_email": "x"}', "private_key"),
    ],
)
def test_an_unusable_key_file(tmp_path: Path, content: str | None, complaint: str) -> None:
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        Credentials.from_service_account_file(path)
    assert str(path) in str(caught.value)


def test_only_service_accounts_impersonate() -> None:
    with pytest.raises(ConfigurationError, match=r"ada@b\.test"):
        Credentials.from_access_token("hush").with_subject("ada@b.test")


def test_secrets_are_not_shown(key_file: Path) -> None:
    for credentials in (
        Credentials.of(**CLIENT, refresh_token="1//hush"),
        Credentials.of(access_token="ya29.hush"),
        Credentials.of(service_account_file=key_file),
    ):
        assert "hush" not in f"{credentials!r} {credentials}"


def test_pickling_keeps_all_fields(key_file: Path) -> None:
    for credentials in (
        Credentials.of(**CLIENT, refresh_token="1//hush"),
        Credentials.of(service_account_file=key_file, subject="ada@b.test"),
    ):
        assert pickle.loads(pickle.dumps(credentials)) == credentials


@pytest.mark.parametrize(
    ("token_uri", "oauth_root"),
    [
        ("https://oauth2.googleapis.com/token", "https://oauth2.googleapis.com"),
        ("https://accounts.google.com/o/oauth2/token", "https://oauth2.googleapis.com"),
        ("https://www.googleapis.com/oauth2/v4/token", "https://oauth2.googleapis.com"),
        ("http://127.0.0.1:8080/token", "http://127.0.0.1:8080"),
    ],
)
def test_a_key_uses_its_own_token_uri(token_uri: str, oauth_root: str) -> None:
    key = json.dumps({**KEY, "token_uri": token_uri})
    credentials = Credentials("service account", service_account=SecretStr(key))
    credentials.check_endpoints(Endpoints(oauth_root=oauth_root))
    for other in ("https://evil.example", "https://oauth2.googleapis.com.evil.example"):
        with pytest.raises(ConfigurationError, match="belongs to") as caught:
            credentials.check_endpoints(Endpoints(oauth_root=other))
        assert other in caught.value.what
        assert token_uri in caught.value.what
        assert "hush" not in str(caught.value)


def test_other_credentials_have_no_own_endpoint() -> None:
    Credentials.from_access_token("ya29.hush").check_endpoints(
        Endpoints(oauth_root="https://gateway.example")
    )
