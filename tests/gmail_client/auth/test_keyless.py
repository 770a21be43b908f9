"""Access without a key: the machine's identity, signJwt and domain-wide delegation, against the emulator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import google.auth
import google.auth.exceptions
import pytest

from gmail_client import CredentialsError, GmailClient
from gmail_client.auth import keyless
from gmail_client.auth.credentials import Credentials
from gmail_client.emulator import Emulator, Fault
from gmail_client.emulator.oauth.iam import SIGN_JWT
from gmail_client.errors import ConfigurationError
from gmail_client.settings import Settings


@pytest.fixture
def gmail() -> Iterator[Emulator]:
    with Emulator(mailboxes=3, messages=1) as emulator:
        yield emulator


@pytest.fixture
def identity(gmail: Emulator, clean: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workload identity in the environment, that may sign for the emulator's service account."""
    keyless._identity.cache_clear()
    path = clean / "identity.json"
    for name, value in gmail.workload_identity(path).items():
        monkeypatch.setenv(name, value)
    yield path
    keyless._identity.cache_clear()


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("GMAIL_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GMAIL_CREDENTIALS_FILE", str(tmp_path / "none.json"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("identity")
def test_every_mailbox_is_read_and_the_identity_is_confirmed_once(gmail: Emulator) -> None:
    client = GmailClient.from_settings()
    assert [client.mailbox(address).address for address in gmail.addresses] == gmail.addresses
    counts = gmail.usage.as_json()["calls"]
    assert {name: counts[name] for name in ("sts.token", SIGN_JWT, "oauth.token")} == {
        "sts.token": 1,
        SIGN_JWT: 3,
        "oauth.token": 3,
    }


@pytest.mark.usefixtures("identity")
def test_an_identity_without_the_role_is_named_with_the_fix(gmail: Emulator) -> None:
    gmail.revoke_signing()
    with pytest.raises(
        CredentialsError, match=r"signJwt for reader@.* was refused: PERMISSION_DENIED"
    ) as caught:
        GmailClient.from_settings().mailbox(gmail.addresses[0]).history_id()
    assert "Service Account Token Creator" in caught.value.fix
    assert "ya29" not in str(caught.value)


@pytest.mark.usefixtures("identity")
def test_a_busy_iam_api_is_tried_again(gmail: Emulator) -> None:
    gmail.faults.add(Fault(SIGN_JWT, status=503, times=2))
    assert GmailClient.from_settings().mailbox(gmail.addresses[0]).history_id() > 0


@pytest.mark.usefixtures("identity")
def test_a_scope_that_is_not_delegated_is_named(gmail: Emulator) -> None:
    gmail.allow_delegation(["https://www.googleapis.com/auth/gmail.labels"])
    with pytest.raises(CredentialsError, match="no domain-wide delegation") as caught:
        GmailClient.from_settings().mailbox(gmail.addresses[0]).history_id()
    assert "gmail.readonly" in caught.value.fix


def test_an_identity_that_google_refuses(gmail: Emulator, identity: Path) -> None:
    Path(f"{identity}.subject-token").write_text("hush-stolen")
    with pytest.raises(CredentialsError, match="application default credentials of this machine") as caught:
        GmailClient.from_settings().mailbox(gmail.addresses[0]).history_id()
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_key_file_as_identity(gmail: Emulator, identity: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(gmail.service_account_file(identity)))
    assert GmailClient.from_settings().mailbox(gmail.addresses[1]).address == gmail.addresses[1]


@pytest.mark.parametrize("content", [None, '{"type": "unknown"}', "x"])
def test_a_file_that_is_no_identity(gmail: Emulator, identity: Path, content: str | None) -> None:
    identity.unlink()
    if content is not None:
        identity.write_text(content)
    with pytest.raises(CredentialsError, match="GOOGLE_APPLICATION_CREDENTIALS names does not exist"):
        GmailClient.from_settings().mailbox(gmail.addresses[0]).history_id()


def test_no_identity_at_all(gmail: Emulator, identity: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_identity() -> None:
        raise google.auth.exceptions.DefaultCredentialsError

    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setattr(google.auth, "default", no_identity)  # it would ask the machine's metadata server
    with pytest.raises(CredentialsError, match="has no Google identity") as caught:
        GmailClient.from_settings().mailbox(gmail.addresses[0]).history_id()
    assert "GOOGLE_APPLICATION_CREDENTIALS" in caught.value.fix


@pytest.mark.usefixtures("clean")
def test_the_identity_is_not_sent_to_an_endpoint_that_a_folder_names(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text(
        "GMAIL_SERVICE_ACCOUNT_EMAIL=reader@p.iam.gserviceaccount.com\nGMAIL_OAUTH_ROOT=https://evil.example\n"
    )
    with pytest.raises(
        ConfigurationError, match="names GMAIL_SERVICE_ACCOUNT_EMAIL together with an endpoint"
    ):
        Settings()


@pytest.mark.parametrize(
    "email", ["reader", "ada@example.com", "a/b@p.iam.gserviceaccount.com", "x@y.gserviceaccount.com?"]
)
def test_what_is_not_a_service_account(email: str) -> None:
    with pytest.raises(ConfigurationError, match="is not the address of a service account"):
        Credentials.of(service_account_email=email)


def test_another_oauth_server_serves_iam_too() -> None:
    assert keyless.iam_root("https://oauth2.googleapis.com") == "https://iamcredentials.googleapis.com"
    assert keyless.iam_root("http://127.0.0.1:9") == "http://127.0.0.1:9"


@pytest.mark.usefixtures("identity")
def test_a_token_endpoint_that_is_down_is_tried_again(gmail: Emulator) -> None:
    gmail.faults.add(Fault("oauth.token", status=503, times=1))
    assert GmailClient.from_settings().mailbox(gmail.addresses[0]).history_id() > 0
