"""The JSON file of the OAuth client, and files that look similar."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmail_client.auth.oauth_callback import parse_pasted
from gmail_client.auth.oauth_client import OAuthClient
from gmail_client.errors import ConfigurationError

SECRET = "GOCSPX-not-to-be-shown"
CLIENT = {"client_id": "1.apps.googleusercontent.com", "client_secret": SECRET}


def _file(folder: Path, document: object) -> Path:
    path = folder / "client.json"
    path.write_text(json.dumps(document), "utf-8")
    return path


def test_desktop_and_web_client_files_are_distinguished(tmp_path: Path) -> None:
    desktop = OAuthClient.from_file(_file(tmp_path, {"installed": CLIENT}))
    assert (desktop.kind, desktop.id, desktop.redirect_uris) == ("desktop", CLIENT["client_id"], ())
    web = OAuthClient.from_file(_file(tmp_path, {"web": {**CLIENT, "redirect_uris": ["https://a.test/b"]}}))
    assert (web.kind, web.redirect_uris) == ("web", ("https://a.test/b",))
    assert SECRET not in repr(web)


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ({"type": "service_account", "private_key": SECRET}, "key of a service account"),
        ({"type": "authorized_user", "client_secret": SECRET}, "credentials of gcloud"),
        ({"installed": {"client_id": "x"}}, "lacks client_id or client_secret"),
        ({"installed": SECRET}, "not an OAuth client's file"),
        ([SECRET], "not an OAuth client's file"),
        ({}, "not an OAuth client's file"),
    ],
)
def test_other_files_are_recognized(tmp_path: Path, document: object, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what) as caught:
        OAuthClient.from_file(_file(tmp_path, document))
    assert "client.json" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_missing_file_and_invalid_json_are_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        OAuthClient.from_file(tmp_path / "none.json")
    (tmp_path / "page.html").write_bytes(b"\xff<html>")
    (tmp_path / "nested.json").write_text("[" * 100_000)
    for name in ("page.html", "nested.json"):
        with pytest.raises(ConfigurationError, match="is not JSON"):
            OAuthClient.from_file(tmp_path / name)


@pytest.mark.parametrize(
    ("identity", "secret", "what"),
    [
        (None, None, "No client id and no client secret"),
        ("1.apps.googleusercontent.com", " ", "No client secret"),
        (SECRET, "1.apps.googleusercontent.com", "swapped"),
    ],
)
def test_an_incomplete_client_is_reported(identity: str | None, secret: str | None, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what) as caught:
        OAuthClient.of(identity, secret)
    assert SECRET not in str(caught.value)


@given(st.text(max_size=200))
@settings(deadline=None)
def test_any_pasted_text_is_a_callback_or_a_clear_error(text: str) -> None:
    try:
        answer = parse_pasted(text)
    except ConfigurationError as error:
        assert "address" in str(error)  # noqa: PT017
    else:
        assert answer.get("code") or answer.get("error")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("https://oauth.pstmn.io/v1/callback?code=4/0Af-x_Y&scope=s\n", "4/0Af-x_Y"),
        ("'http://127.0.0.1:8085/?state=s&code=4%2F0Af'", "4/0Af"),
        ("code=4/0Af&scope=s", "4/0Af"),
        ("4%2F0Af", "4/0Af"),
        ("4/0Af", "4/0Af"),
    ],
)
def test_codes_are_found_in_addresses(text: str, code: str) -> None:
    assert parse_pasted(text)["code"] == code


def test_a_client_uses_the_endpoints_of_its_file(tmp_path: Path) -> None:
    google = {**CLIENT, "token_uri": "https://oauth2.googleapis.com/token"}
    client = OAuthClient.from_file(_file(tmp_path, {"installed": google}))
    client.check_endpoint("https://oauth2.googleapis.com")
    with pytest.raises(ConfigurationError, match="token endpoint") as caught:
        client.check_endpoint("https://evil.example")
    assert "https://evil.example" in caught.value.what
    assert google["token_uri"] in caught.value.what
    OAuthClient.from_file(_file(tmp_path, {"installed": CLIENT})).check_endpoint("https://gateway.example")
