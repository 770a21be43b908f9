"""The login against the emulator's consent page, clicked by an HTTP client that acts as the browser."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from pydantic import SecretStr
from support.consent_page import decide

from gmail_client.auth.credentials import Credentials
from gmail_client.auth.login import Granted, Login, consent, revoke
from gmail_client.auth.oauth_client import OAuthClient
from gmail_client.client import GmailClient
from gmail_client.emulator import Emulator, Fault
from gmail_client.errors import (
    ApiDisabledError,
    ConfigurationError,
    CredentialsError,
    GmailError,
    ScopeError,
    UnavailableError,
)

PSTMN = "https://oauth.pstmn.io/v1/callback"


@pytest.fixture(autouse=True)
def _no_threads_left() -> None:
    """The emulator of this module keeps running between its tests."""


@pytest.fixture(scope="module")
def gmail() -> Iterator[Emulator]:
    with Emulator(mailboxes=2, messages=3, seed=5) as emulator:
        yield emulator


@pytest.fixture
def client(gmail: Emulator) -> OAuthClient:
    environment = gmail.environment()
    return OAuthClient.of(environment["GMAIL_CLIENT_ID"], environment["GMAIL_CLIENT_SECRET"])


@pytest.fixture
def login(gmail: Emulator, client: OAuthClient) -> Login:
    return Login(client, oauth_root=gmail.url, api_root=gmail.url)


def browser(**choice: str) -> Callable[[str, bool], None]:
    """A `show` function that submits the consent page and follows the redirect, as a browser does."""

    def show(url: str, paste: bool) -> None:
        assert not paste
        requests.get(decide(url, **choice), timeout=10).raise_for_status()

    return show


def test_consent_returns_a_refresh_token_that_reads_the_mailbox(gmail: Emulator, login: Login) -> None:
    granted = consent(login, show=browser(), timeout=20)
    assert granted.address == gmail.addresses[0]
    assert granted.scopes == ("https://www.googleapis.com/auth/gmail.readonly",)
    credentials = Credentials.from_refresh_token(
        granted.client.id, granted.client.secret.get_secret_value(), granted.refresh_token.get_secret_value()
    )
    mailbox = GmailClient(credentials, api_root=gmail.url, oauth_root=gmail.url).mailbox()
    assert mailbox.address == gmail.addresses[0]


def test_the_consent_url_has_pkce_state_and_prompt(login: Login) -> None:
    query = parse_qs(urlsplit(login.begin("http://127.0.0.1:1/")).query)
    assert query["code_challenge_method"] == ["S256"]
    assert len(query["code_challenge"][0]) == 43
    assert query["state"] == [login.state]
    assert len(login.state) >= 20
    assert (query["access_type"], query["prompt"]) == (["offline"], ["consent"])
    assert query["scope"] == ["https://www.googleapis.com/auth/gmail.readonly"]


@pytest.mark.parametrize(
    ("scope", "url"),
    [("modify", "https://www.googleapis.com/auth/gmail.modify"), ("full", "https://mail.google.com/")],
)
def test_a_login_can_ask_for_more_access(gmail: Emulator, client: OAuthClient, scope: str, url: str) -> None:
    login = Login(client, oauth_root=gmail.url, api_root=gmail.url, scope=scope)
    assert consent(login, show=browser(), timeout=20).scopes == (url,)


def test_less_access_than_asked_for_is_refused(gmail: Emulator, client: OAuthClient) -> None:
    login = Login(client, oauth_root=gmail.url, api_root=gmail.url, scope="modify")
    login.begin("http://127.0.0.1:1/")
    token = {
        "access_token": "ya29.x",
        "refresh_token": "1//x",
        "scope": "https://www.googleapis.com/auth/gmail.readonly",
    }
    login._ask = lambda **_: token  # type: ignore[method-assign]
    with pytest.raises(ScopeError, match=r"gmail\.modify was not granted, only .*readonly") as caught:
        login.finish({"code": "c", "state": login.state})
    assert "select the checkbox" in caught.value.fix


def test_googles_consent_page_is_the_default(client: OAuthClient) -> None:
    url = Login(client).begin("http://127.0.0.1:1/")
    assert url.startswith("https://accounts.google.com/o/oauth2/v2/auth?")


def test_the_expected_account_is_suggested(gmail: Emulator, client: OAuthClient) -> None:
    meant = gmail.addresses[1]
    login = Login(client, oauth_root=gmail.url, api_root=gmail.url, hint=meant)
    assert consent(login, show=browser(), timeout=20).address == meant


def test_denied_consent_is_reported(login: Login) -> None:
    with pytest.raises(CredentialsError, match="access was denied in the browser") as caught:
        consent(login, show=browser(decision="deny"), timeout=20)
    assert "test users" in caught.value.fix


def test_an_unticked_scope_is_named(login: Login) -> None:
    login.begin("http://127.0.0.1:1/")
    token = {"access_token": "ya29.x", "refresh_token": "1//x", "scope": "openid"}
    login._ask = lambda **_: token  # type: ignore[method-assign]
    with pytest.raises(ScopeError, match=r"gmail\.readonly was not granted, only openid") as caught:
        login.finish({"code": "c", "state": login.state})
    assert "select the checkbox" in caught.value.fix


def test_a_missing_refresh_token_is_explained(login: Login) -> None:
    login.begin("http://127.0.0.1:1/")
    token = {"access_token": "ya29.x", "scope": "https://mail.google.com/"}
    login._ask = lambda **_: token  # type: ignore[method-assign]
    with pytest.raises(CredentialsError, match="no refresh token") as caught:
        login.finish({"code": "c"})
    assert "myaccount.google.com/permissions" in caught.value.fix


def test_a_closed_browser_times_out(login: Login) -> None:
    with pytest.raises(CredentialsError, match="No response from the browser within 0 seconds") as caught:
        consent(login, show=lambda url, paste: None, timeout=0.05)
    assert "redirect_uri_mismatch" in caught.value.fix


def test_a_callback_of_another_login_is_rejected_and_the_wait_continues(login: Login) -> None:
    seen = []

    def show(url: str, paste: bool) -> None:
        back = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        seen.append(requests.get(f"{back}?code=stolen&state=other", timeout=10).status_code)
        seen.append(requests.get(f"{back}favicon.ico", timeout=10).status_code)
        browser()(url, paste)

    assert consent(login, show=show, timeout=20).refresh_token
    assert seen == [400, 404]


def test_a_pasted_callback_of_another_login_is_rejected(login: Login) -> None:
    login.begin("http://127.0.0.1:1/")
    with pytest.raises(CredentialsError, match="belongs to another login"):
        login.finish({"code": "c", "state": "other"})


def test_a_code_works_once(login: Login) -> None:
    landed = decide(login.begin("http://127.0.0.1:1/"))
    answer = {name: values[0] for name, values in parse_qs(urlsplit(landed).query).items()}
    login.finish(answer)
    with pytest.raises(CredentialsError, match="used before"):
        login.finish(answer)


def test_a_port_in_use_is_named(login: Login) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"Can't listen on port {port}") as caught:
            consent(login, port=port, show=browser(), timeout=20)
    assert "--port" in caught.value.fix


@pytest.mark.parametrize(("field", "value"), [("id", "nobody.apps.googleusercontent.com"), ("secret", "x")])
def test_a_wrong_client_is_reported_before_the_browser_opens(
    gmail: Emulator, client: OAuthClient, field: str, value: str
) -> None:
    given = {"id": client.id, "secret": client.secret.get_secret_value(), field: value}
    login = Login(OAuthClient.of(given["id"], given["secret"]), oauth_root=gmail.url, api_root=gmail.url)

    def show(url: str, paste: bool) -> None:
        raise AssertionError("the browser was opened")

    with pytest.raises(CredentialsError, match="unknown, deleted, or its secret is wrong"):
        consent(login, show=show, timeout=20)


@pytest.mark.parametrize("pasted", ["address", "code"])
def test_a_pasted_address_or_code_works_for_a_web_client(gmail: Emulator, pasted: str) -> None:
    login = Login(_web_client(gmail, [PSTMN]), oauth_root=gmail.url, api_root=gmail.url)
    shown: list[tuple[str, bool]] = []
    complaints: list[str] = []
    lines = iter(["\n", "this is no code\n"])

    def read_line() -> str:
        for line in lines:
            return line
        landed = decide(shown[0][0])
        return landed if pasted == "address" else parse_qs(urlsplit(landed).query)["code"][0] + "\n"

    granted = consent(
        login,
        show=lambda url, paste: shown.append((url, paste)),
        read_line=read_line,
        complain=complaints.append,
        timeout=20,
    )
    assert granted.address == gmail.addresses[0]
    assert shown[0][1]
    assert parse_qs(urlsplit(shown[0][0]).query)["redirect_uri"] == [PSTMN]
    assert len(complaints) == 1
    assert "neither the redirect address" in complaints[0]


def test_the_redirect_uri_can_be_given_for_a_client_known_by_id_and_secret(gmail: Emulator) -> None:
    web = _web_client(gmail, [PSTMN])
    plain = OAuthClient.of(web.id, web.secret)
    login = Login(plain, oauth_root=gmail.url, api_root=gmail.url)
    shown: list[str] = []
    granted = consent(
        login,
        redirect_uri=PSTMN,
        show=lambda url, paste: shown.append(url),
        read_line=lambda: decide(shown[0]),
        timeout=20,
    )
    assert granted.address == gmail.addresses[0]


def test_a_web_client_with_a_local_redirect_uri_uses_it(gmail: Emulator) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    web = _web_client(gmail, [PSTMN, f"http://localhost:{port}/oauth2callback"])
    login = Login(web, oauth_root=gmail.url, api_root=gmail.url)
    assert consent(login, show=browser(), timeout=20).address == gmail.addresses[0]


def test_a_web_client_without_a_redirect_uri_is_explained(gmail: Emulator) -> None:
    web = _web_client(gmail, [])
    login = Login(web, oauth_root=gmail.url, api_root=gmail.url)
    with pytest.raises(ConfigurationError, match="'Web application' without a redirect address") as caught:
        consent(login, show=browser(), timeout=20)
    assert "Desktop app" in caught.value.fix


def test_a_web_client_needs_a_pasted_answer(gmail: Emulator) -> None:
    login = Login(_web_client(gmail, [PSTMN]), oauth_root=gmail.url, api_root=gmail.url)
    with pytest.raises(ConfigurationError, match="has to be pasted") as caught:
        consent(login, show=browser(), timeout=20)
    assert "--no-browser" in caught.value.fix


def test_end_of_input_ends_the_wait(gmail: Emulator) -> None:
    login = Login(_web_client(gmail, [PSTMN]), oauth_root=gmail.url, api_root=gmail.url)
    with pytest.raises(ConfigurationError, match="The input ended before an address was pasted"):
        consent(login, show=lambda url, paste: None, read_line=lambda: "", timeout=60)


def test_an_unreachable_server_is_unavailable_and_shows_no_secret(client: OAuthClient) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    login = Login(client, oauth_root=f"http://127.0.0.1:{port}")
    with pytest.raises(UnavailableError, match=f"127.0.0.1:{port}") as caught:
        login.check_client()
    _assert_no_secret(caught.value, client)


def test_a_disabled_api_is_reported_with_its_link(gmail: Emulator, login: Login) -> None:
    gmail.faults.add(Fault(method="getProfile", status=403, reason="accessNotConfigured"))
    try:
        with pytest.raises(ApiDisabledError):
            consent(login, show=browser(), timeout=20)
    finally:
        gmail.faults.clear()


def test_no_secret_is_logged_or_shown(
    gmail: Emulator, login: Login, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        granted = consent(login, show=browser(), timeout=20)
    for text in (caplog.text, repr(granted), repr(granted.client), str(vars(login))):
        assert granted.refresh_token.get_secret_value() not in text
        assert granted.client.secret.get_secret_value() not in text


def test_a_revoked_token_gives_no_access_and_revoking_twice_is_harmless(
    gmail: Emulator, login: Login
) -> None:
    granted = consent(login, show=browser(), timeout=20)
    assert revoke(granted.refresh_token, oauth_root=gmail.url)
    assert not revoke(granted.refresh_token, oauth_root=gmail.url)
    with pytest.raises(CredentialsError):
        _ = _mailbox(gmail, granted).address


def test_an_unknown_token_is_not_revoked(gmail: Emulator) -> None:
    assert not revoke(SecretStr("1//never"), oauth_root=gmail.url)


def _web_client(gmail: Emulator, uris: list[str]) -> OAuthClient:
    web = gmail.add_client("web", uris)["web"]
    return OAuthClient(web["client_id"], SecretStr(web["client_secret"]), "web", tuple(uris))


def _mailbox(gmail: Emulator, granted: Granted):  # type: ignore[no-untyped-def]
    credentials = Credentials.from_refresh_token(
        granted.client.id, granted.client.secret.get_secret_value(), granted.refresh_token.get_secret_value()
    )
    return GmailClient(credentials, api_root=gmail.url, oauth_root=gmail.url).mailbox()


def _assert_no_secret(error: GmailError, client: OAuthClient) -> None:
    secret = client.secret.get_secret_value()
    link: BaseException | None = error
    while link is not None:
        assert secret not in f"{link} {link!r} {json.dumps(str(vars(link)))}"
        link = link.__cause__ or link.__context__
