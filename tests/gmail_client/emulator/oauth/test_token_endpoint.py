"""The token, revoke and tokeninfo endpoints: refresh, service accounts, and every error."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from google.auth import crypt, jwt
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials
from support.gmail_api import Caller

from gmail_client.emulator import Emulator
from gmail_client.emulator.oauth.token_endpoint import JWT_BEARER

Start = Callable[..., Emulator]
Call = Callable[..., Caller]
READONLY = "https://www.googleapis.com/auth/gmail.readonly"


@pytest.fixture
def gmail(start: Start) -> Emulator:
    return start(messages=2, mailboxes=3)


def refresh_form(gmail: Emulator, **changes: str) -> dict[str, str]:
    environment = gmail.environment()
    return {
        "grant_type": "refresh_token",
        "client_id": environment["GMAIL_CLIENT_ID"],
        "client_secret": environment["GMAIL_CLIENT_SECRET"],
        "refresh_token": environment["GMAIL_REFRESH_TOKEN"],
        **changes,
    }


def token(gmail: Emulator, form: dict[str, str]) -> requests.Response:
    return requests.post(f"{gmail.url}/token", data=form, timeout=10)


def test_refresh(gmail: Emulator, call: Call) -> None:
    answer = token(gmail, refresh_form(gmail))
    body = answer.json()
    assert answer.status_code == 200
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 3599)
    assert "refresh_token" not in body
    assert call(gmail, body["access_token"]).me("profile")["emailAddress"] == gmail.addresses[0]


def test_refresh_narrows_scopes(gmail: Emulator) -> None:
    standing = gmail.refresh_token(scopes=[READONLY])
    form = refresh_form(gmail, refresh_token=standing)
    assert token(gmail, form).json()["scope"] == READONLY
    wider = token(gmail, {**form, "scope": "https://mail.google.com/"})
    assert (wider.status_code, wider.json()["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"refresh_token": "1//0nonsense"}, 400, "invalid_grant"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
def test_token_endpoint_errors(gmail: Emulator, changes: dict[str, str], status: int, error: str) -> None:
    answer = token(gmail, refresh_form(gmail, **changes))
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_a_refresh_token_belongs_to_its_client(gmail: Emulator) -> None:
    other = gmail.add_client("web", ["http://localhost:1/back"])["web"]
    form = refresh_form(gmail, client_id=other["client_id"], client_secret=other["client_secret"])
    assert token(gmail, form).json()["error"] == "unauthorized_client"


@pytest.mark.parametrize("kind", ["refresh", "access"])
def test_revoke(gmail: Emulator, call: Call, kind: str) -> None:
    access = token(gmail, refresh_form(gmail)).json()["access_token"]
    revoked = gmail.environment()["GMAIL_REFRESH_TOKEN"] if kind == "refresh" else access
    done = requests.post(f"{gmail.url}/revoke", data={"token": revoked}, timeout=10)
    assert (done.status_code, done.json()) == (200, {})
    assert token(gmail, refresh_form(gmail)).json()["error"] == "invalid_grant"
    assert call(gmail, access).get("profile").status_code == 401
    again = requests.post(f"{gmail.url}/revoke", data={"token": revoked}, timeout=10)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_token")


def test_googles_library_refreshes(gmail: Emulator) -> None:
    environment = gmail.environment(gmail.addresses[1])
    credentials = Credentials(
        None,
        refresh_token=environment["GMAIL_REFRESH_TOKEN"],
        client_id=environment["GMAIL_CLIENT_ID"],
        client_secret=environment["GMAIL_CLIENT_SECRET"],
        token_uri=f"{environment['GMAIL_OAUTH_ROOT']}/token",
    )
    with requests.Session() as session:
        credentials.refresh(Request(session))
        assert credentials.valid
        gmail.revoke_tokens(gmail.addresses[1])
        with pytest.raises(RefreshError, match="invalid_grant"):
            credentials.refresh(Request(session))


@pytest.fixture
def key_file(gmail: Emulator, tmp_path: Path) -> Path:
    path = gmail.service_account_file(tmp_path / "key.json")
    assert path.stat().st_mode & 0o077 == 0
    return path


def test_googles_library_impersonates(gmail: Emulator, call: Call, key_file: Path) -> None:
    account = service_account.Credentials.from_service_account_file(str(key_file), scopes=[READONLY])
    with requests.Session() as session:
        for address in gmail.addresses:
            credentials = account.with_subject(address)
            credentials.refresh(Request(session))
            caller = call(gmail, credentials.token)
            assert caller.me("profile")["emailAddress"] == address
            assert caller.get("settings/delegates").status_code == 200
        account.refresh(Request(session))
        alone = call(gmail, account.token).get("profile")
        assert (alone.status_code, alone.json()["error"]["status"]) == (400, "FAILED_PRECONDITION")


def assertion(key_file: Path, **changes: Any) -> str:
    key = json.loads(key_file.read_text())
    now = int(time.time())
    claims = {
        "iss": key["client_email"],
        "sub": "ada.ashdown@gmail.test",
        "scope": READONLY,
        "aud": key["token_uri"],
        "iat": now,
        "exp": now + 3600,
        **{name: value(now) if callable(value) else value for name, value in changes.items()},
    }
    signer = crypt.RSASigner.from_service_account_info(key)
    return str(jwt.encode(signer, claims).decode())


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"sub": "nobody@gmail.test"}, "invalid_grant", "Invalid email or User ID"),
        ({"sub": "suspended.example@gmail.test"}, "invalid_grant", "Invalid email"),
        ({"iss": "someone@else.iam"}, "invalid_grant", "account not found"),
        ({"aud": "https://example.com/token"}, "invalid_grant", "audience"),
        ({"exp": lambda now: now + 7200}, "invalid_grant", "short-lived"),
        ({"iat": lambda now: now - 9000, "exp": lambda now: now - 5400}, "invalid_grant", "short-lived"),
        ({"iat": "soon"}, "invalid_grant", "short-lived"),
        ({"scope": ""}, "invalid_scope", "Invalid OAuth scope"),
        ({"scope": "https://www.googleapis.com/auth/drive"}, "unauthorized_client", "not authorized"),
    ],
)
def test_invalid_assertions(
    gmail: Emulator, key_file: Path, changes: dict[str, Any], error: str, says: str
) -> None:
    assert gmail.addresses[0] == "ada.ashdown@gmail.test"
    form = {"grant_type": JWT_BEARER, "assertion": assertion(key_file, **changes)}
    body = token(gmail, form).json()
    assert body["error"] == error
    assert says in body["error_description"]


def test_signatures_are_verified(gmail: Emulator, start: Start, key_file: Path, tmp_path: Path) -> None:
    good = assertion(key_file)
    assert token(gmail, {"grant_type": JWT_BEARER, "assertion": good}).status_code == 200
    head, claims, signature = good.split(".")
    other = start(messages=0).service_account_file(tmp_path / "other.json")
    foreign = assertion(other, aud=f"{gmail.url}/token")
    tampered = f"{head}.{claims}.{signature[:20]}{'A' if signature[20] != 'A' else 'B'}{signature[21:]}"
    for wrong in (tampered, foreign, "a.b.c", "", f"{head}.{claims}."):
        answer = token(gmail, {"grant_type": JWT_BEARER, "assertion": wrong})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_delegation_may_be_limited(gmail: Emulator, key_file: Path) -> None:
    gmail.allow_delegation(["https://www.googleapis.com/auth/gmail.labels"])
    answer = token(gmail, {"grant_type": JWT_BEARER, "assertion": assertion(key_file)})
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized_client")


@pytest.mark.parametrize("path", ["/tokeninfo", "/oauth2/v3/tokeninfo"])
def test_tokeninfo_of_a_user(gmail: Emulator, path: str) -> None:
    scopes = ["openid", "https://www.googleapis.com/auth/userinfo.email", READONLY]
    access = gmail.access_token(gmail.addresses[1], scopes, expires_in=600)
    for answer in (
        requests.get(gmail.url + path, params={"access_token": access}, timeout=10),
        requests.post(gmail.url + path, data={"access_token": access}, timeout=10),
    ):
        body = answer.json()
        client_id = gmail.environment()["GMAIL_CLIENT_ID"]
        assert (body["azp"], body["aud"], body["access_type"]) == (client_id, client_id, "offline")
        assert (body["email"], body["email_verified"]) == (gmail.addresses[1], "true")
        assert body["scope"].split() == sorted(scopes)
        assert 590 < int(body["expires_in"]) <= 600
        assert abs(int(body["exp"]) - gmail.clock.time() - 600) < 10
        assert body["sub"].isdecimal()


def test_tokeninfo_of_a_service_account(gmail: Emulator, key_file: Path) -> None:
    answer = token(gmail, {"grant_type": JWT_BEARER, "assertion": assertion(key_file)})
    access = answer.json()["access_token"]
    body = requests.get(f"{gmail.url}/tokeninfo", params={"access_token": access}, timeout=10).json()
    assert body["azp"] == json.loads(key_file.read_text())["client_id"]
    assert body["access_type"] == "online"
    assert "email" not in body


def test_tokeninfo_of_no_token(gmail: Emulator) -> None:
    for query in ({}, {"access_token": "ya29.nonsense"}):
        answer = requests.get(f"{gmail.url}/tokeninfo", params=query, timeout=10)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_token")


def test_revoking_one_mailbox_keeps_the_others(gmail: Emulator, call: Call) -> None:
    first, second = (gmail.access_token(address) for address in gmail.addresses[:2])
    gmail.revoke_tokens(gmail.addresses[1])
    assert call(gmail, first).get("profile").status_code == 200
    assert call(gmail, second).get("profile").status_code == 401
    assert token(gmail, refresh_form(gmail)).status_code == 200
    revoked = refresh_form(gmail, refresh_token=gmail.environment(gmail.addresses[1])["GMAIL_REFRESH_TOKEN"])
    assert token(gmail, revoked).json()["error"] == "invalid_grant"


def test_no_secret_in_a_repr(gmail: Emulator) -> None:
    tokens = gmail._backend.tokens
    shown = repr(tokens.default_client) + repr(tokens.service_account()) + repr(gmail)
    assert tokens.default_client.secret not in shown
    assert "PRIVATE KEY" not in shown
