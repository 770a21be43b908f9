"""GMAIL_ALLOWED_MAILBOXES: of a mailbox that is not in the list, only the address is read."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from gmail_client import GmailClient
from gmail_client.auth.credentials import Credentials
from gmail_client.emulator import Emulator
from gmail_client.errors import ConfigurationError
from gmail_client.quota import preset
from gmail_client.settings import Settings
from lakeflow_entry.connection import Connection


@pytest.fixture(scope="module")
def gmail() -> Iterator[Emulator]:
    with Emulator(mailboxes=2, messages=5) as emulator:
        yield emulator


def client(gmail: Emulator, *allowed: str) -> GmailClient:
    return GmailClient(
        Credentials.from_access_token(gmail.access_token()),
        quota=preset("1200000"),
        api_root=gmail.url,
        oauth_root=gmail.url,
        allowed_mailboxes=allowed,
    )


def test_addresses_and_domains_are_allowed_in_any_case(gmail: Emulator) -> None:
    own = gmail.addresses[0]
    domain = "@" + own.partition("@")[2]
    for allowed in ((own,), (own.upper(),), ("@other.example", domain), (f" {domain} ",), ()):
        for name in ("me", own):
            assert len(list(client(gmail, *allowed).mailbox(name).rows("messages", {"format": "minimal"})))


def test_other_mailboxes_are_refused_before_they_are_read(gmail: Emulator) -> None:
    own, other = gmail.addresses
    gmail.usage.reset()
    with pytest.raises(ConfigurationError, match="GMAIL_ALLOWED_MAILBOXES"):
        client(gmail, other).mailbox(own)
    with pytest.raises(ConfigurationError):
        client(gmail, f"@sub.{own.partition('@')[2]}").mailbox(own)
    assert not gmail.usage.units
    refusing = client(gmail, other)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="is not read"):
            refusing.mailbox("me")
    assert set(gmail.usage.units) == {"getProfile"}
    with pytest.raises(ConfigurationError):
        pickle.loads(pickle.dumps(refusing)).mailbox("me")


def test_the_variable_applies_to_settings_and_spark(gmail: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in gmail.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GMAIL_QUOTA", "1200000")
    monkeypatch.setenv("GMAIL_ALLOWED_MAILBOXES", "@other.example, bob@example.com")
    settings = Settings()
    assert settings.allowed_mailboxes == ("@other.example", "bob@example.com")
    with pytest.raises(ConfigurationError, match="GMAIL_ALLOWED_MAILBOXES"):
        GmailClient.from_settings(settings).mailbox("me")
    options = {
        "access_token": gmail.access_token(),
        "api_root": gmail.url,
        "oauth_root": gmail.url,
        "allowed_mailboxes": "@gmail.test",
        "gmail_allowed_mailboxes": "@gmail.test",
    }
    with pytest.raises(ConfigurationError, match="GMAIL_ALLOWED_MAILBOXES"):
        Connection.of(options).mailbox()
