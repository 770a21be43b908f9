"""Redirects to another server, and a proxy in the environment: neither gets a request."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from support.fake_gmail import ManualClock
from support.trap import Trap

from gmail_client import Credentials, GmailClient
from gmail_client.auth.login import Login, revoke
from gmail_client.auth.oauth_client import OAuthClient
from gmail_client.emulator import Emulator
from gmail_client.errors import GmailError


def redirecting(status: int, target: str) -> Trap:
    head = f"HTTP/1.1 {status} Moved\r\nLocation: {target}/token\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    return Trap(head.encode())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.usefixtures("bare")
def test_no_redirect_is_followed(trap: Trap, status: int) -> None:
    with redirecting(status, trap.url) as moved:
        user = Credentials.from_refresh_token("id", "hush-client", "1//hush")
        token = Credentials.from_access_token("ya29.hush")
        clock = ManualClock()
        with pytest.raises(GmailError):
            GmailClient(user, oauth_root=moved.url, clock=clock).mailbox().api.profile()
        mailbox = GmailClient(token, api_root=moved.url, clock=clock).mailbox()
        with pytest.raises(GmailError):
            mailbox.api.profile()
        calls = [mailbox.api.message_call(f"{number:016x}", "full") for number in range(3)]
        assert all(result.error is not None for result in mailbox.api.get_many(calls))
        with pytest.raises(GmailError):
            Login(OAuthClient.of("id", "hush-client"), oauth_root=moved.url).finish({"code": "hush-code"})
        with pytest.raises(GmailError):
            revoke(SecretStr("1//hush"), oauth_root=moved.url)
        seen = b"".join(moved.received)
    assert all(secret in seen for secret in (b"hush-client", b"ya29.hush", b"hush-code"))
    assert b"/batch/gmail/v1" in seen
    assert trap.received == []


def test_a_loopback_server_is_not_reached_through_a_proxy(
    bare: Path, trap: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, trap.url)
    with Emulator(messages=25, seed=2, mean_json_kb=2.0) as gmail:
        monkeypatch.setenv("GMAIL_CREDENTIALS_FILE", str(bare / "none"))
        for name, value in gmail.environment().items():
            monkeypatch.setenv(name, value)
        mailbox = GmailClient.from_settings().mailbox()
        assert len(list(mailbox.rows("messages"))) > 20
        assert revoke(SecretStr(gmail.environment()["GMAIL_REFRESH_TOKEN"]), oauth_root=gmail.url)
    assert trap.received == []
