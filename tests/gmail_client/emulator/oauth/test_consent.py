"""The login flow: the consent page, the redirect, codes and PKCE."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from support.gmail_api import Caller

from gmail_client.emulator import Emulator
from gmail_client.http.clock import ScaledClock

Start = Callable[..., Emulator]
Call = Callable[..., Caller]
SCOPES = "https://www.googleapis.com/auth/gmail.readonly https://www.googleapis.com/auth/gmail.labels"
BACK = "http://127.0.0.1:54321/"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


@pytest.fixture
def gmail(start: Start) -> Emulator:
    return start(messages=1, mailboxes=2)


def ask(gmail: Emulator, **changes: Any) -> requests.Response:
    query = {
        "client_id": gmail.environment()["GMAIL_CLIENT_ID"],
        "redirect_uri": BACK,
        "response_type": "code",
        "scope": SCOPES,
        "state": "s t&te",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "access_type": "offline",
        **changes,
    }
    query = {name: value for name, value in query.items() if value is not None}
    return requests.get(f"{gmail.url}/o/oauth2/v2/auth", params=query, timeout=10)


def answer_page(gmail: Emulator, page: str, decision: str = "approve", **changes: Any) -> requests.Response:
    """Submit the page with a button, by default with unchanged checkboxes."""
    request = re.search(r'name="request" value="([^"]+)"', page)
    account = re.search(r'name="account" value="([^"]+)" checked', page)
    action = re.search(r'action="([^"]+)"', page)
    assert request
    assert account
    assert action
    form = {
        "request": request[1],
        "account": account[1],
        "scope": re.findall(r'name="scope" value="([^"]+)" checked', page),
        "decision": decision,
        **changes,
    }
    return requests.post(f"{gmail.url}{action[1]}", data=form, timeout=10, allow_redirects=False)


def came_back(answer: requests.Response) -> dict[str, str]:
    assert answer.status_code == 302
    location = answer.headers["Location"]
    assert location.startswith(BACK)
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def exchange(gmail: Emulator, code: str, **changes: str) -> requests.Response:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "client_id": gmail.environment()["GMAIL_CLIENT_ID"],
        "client_secret": gmail.environment()["GMAIL_CLIENT_SECRET"],
        "redirect_uri": BACK,
        "code_verifier": VERIFIER,
        **changes,
    }
    return requests.post(f"{gmail.url}/token", data=form, timeout=10)


def test_approve(gmail: Emulator, call: Call) -> None:
    page = ask(gmail)
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    back = came_back(answer_page(gmail, page.text))
    assert back["state"] == "s t&te"
    assert back["scope"] == SCOPES
    tokens = exchange(gmail, back["code"]).json()
    assert tokens["scope"] == SCOPES
    caller = call(gmail, tokens["access_token"])
    assert caller.me("profile")["emailAddress"] == gmail.addresses[0]
    environment = {**gmail.environment(), "GMAIL_REFRESH_TOKEN": tokens["refresh_token"]}
    form = {
        "grant_type": "refresh_token",
        "client_id": environment["GMAIL_CLIENT_ID"],
        "client_secret": environment["GMAIL_CLIENT_SECRET"],
        "refresh_token": environment["GMAIL_REFRESH_TOKEN"],
    }
    assert requests.post(f"{gmail.url}/token", data=form, timeout=10).status_code == 200


def test_another_account_and_fewer_scopes(gmail: Emulator, call: Call) -> None:
    page = ask(gmail, login_hint=gmail.addresses[1]).text
    back = came_back(answer_page(gmail, page, scope=[SCOPES.split()[1]]))
    assert back["scope"] == SCOPES.split()[1]
    caller = call(gmail, exchange(gmail, back["code"]).json()["access_token"])
    assert caller.get("messages").status_code == 403
    assert caller.send("GET", f"/gmail/v1/users/{gmail.addresses[1]}/labels").status_code == 200


@pytest.mark.parametrize("changes", [{"decision": "deny"}, {"scope": []}, {"account": "x@y"}])
def test_deny(gmail: Emulator, changes: dict[str, Any]) -> None:
    back = came_back(answer_page(gmail, ask(gmail).text, **changes))
    assert back == {"error": "access_denied", "state": "s t&te"}


def test_a_page_can_be_used_once(gmail: Emulator) -> None:
    page = ask(gmail).text
    assert answer_page(gmail, page).status_code == 302
    assert answer_page(gmail, page).status_code == 400


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"redirect_uri": "https://evil.example/"}, 400, "redirect_uri_mismatch"),
        ({"redirect_uri": None}, 400, "redirect_uri_mismatch"),
        ({"response_type": "token"}, 400, "invalid_request"),
        ({"scope": "https://www.googleapis.com/auth/drive"}, 400, "invalid_scope"),
        ({"scope": None}, 400, "invalid_scope"),
        ({"code_challenge_method": "S512"}, 400, "invalid_request"),
    ],
)
def test_wrong_requests_get_a_page(gmail: Emulator, changes: dict[str, Any], status: int, error: str) -> None:
    answer = ask(gmail, **changes)
    assert answer.status_code == status
    assert f"Error {status}: {error}" in answer.text


def test_nothing_of_the_request_reaches_the_page_as_html(gmail: Emulator) -> None:
    assert "<script>" not in ask(gmail, redirect_uri="<script>alert(1)</script>").text
    assert "<script>" not in ask(gmail, scope="<script>").text


@pytest.mark.parametrize("uri", ["http://localhost:1/", "http://127.0.0.1:80/x", "http://[::1]:9/"])
def test_a_desktop_client_may_redirect_to_any_loopback_address(gmail: Emulator, uri: str) -> None:
    assert ask(gmail, redirect_uri=uri).status_code == 200


def test_a_web_client_only_to_its_own_redirect_uris(gmail: Emulator) -> None:
    client = gmail.add_client("web", ["https://app.example/callback"])["web"]
    ask_web = {"client_id": client["client_id"]}
    assert ask(gmail, **ask_web).status_code == 400
    page = ask(gmail, **ask_web, redirect_uri="https://app.example/callback", access_type="online").text
    location = answer_page(gmail, page).headers["Location"]
    code = parse_qs(urlsplit(location).query)["code"][0]
    tokens = exchange(
        gmail,
        code,
        client_id=client["client_id"],
        client_secret=client["client_secret"],
        redirect_uri="https://app.example/callback",
    ).json()
    assert "access_token" in tokens
    assert "refresh_token" not in tokens


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code": "4/0wrong"}, "invalid_grant"),
        ({"code_verifier": "w" * 64}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:1/"}, "redirect_uri_mismatch"),
        ({"client_secret": "wrong"}, "invalid_client"),
    ],
)
def test_invalid_codes(gmail: Emulator, changes: dict[str, str], error: str) -> None:
    code = came_back(answer_page(gmail, ask(gmail).text))["code"]
    assert exchange(gmail, **{"code": code, **changes}).json()["error"] == error


def test_plain_challenge_and_none(gmail: Emulator) -> None:
    plain = came_back(
        answer_page(gmail, ask(gmail, code_challenge=VERIFIER, code_challenge_method="plain").text)
    )
    assert exchange(gmail, plain["code"]).status_code == 200
    none = came_back(answer_page(gmail, ask(gmail, code_challenge=None, code_challenge_method=None).text))
    assert exchange(gmail, none["code"]).status_code == 200


def test_a_code_used_twice_revokes_its_tokens(gmail: Emulator, call: Call) -> None:
    code = came_back(answer_page(gmail, ask(gmail).text))["code"]
    access = exchange(gmail, code).json()["access_token"]
    assert exchange(gmail, code).json()["error"] == "invalid_grant"
    assert call(gmail, access).get("profile").status_code == 401


def test_a_code_expires(start: Start) -> None:
    gmail = start(messages=0, clock=ScaledClock(3000))
    code = came_back(answer_page(gmail, ask(gmail).text))["code"]
    gmail.clock.sleep(601)
    assert exchange(gmail, code).json()["error"] == "invalid_grant"
