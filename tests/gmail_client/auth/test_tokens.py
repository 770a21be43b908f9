from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from support.examples import examples
from support.fake_gmail import OAUTH, FakeGmail, FakeResponse, ManualClock, message_response

from gmail_client.auth.credentials import Credentials
from gmail_client.auth.endpoints import DIRECTORY_SCOPE, READONLY_SCOPE
from gmail_client.auth.tokens import TokenSource
from gmail_client.errors import (
    ConfigurationError,
    CredentialsError,
    GmailError,
    ResponseError,
    UnavailableError,
)

USER = Credentials.from_refresh_token("client-7", "hush-secret", "1//hush-refresh")


def source(wire: FakeGmail, clock: ManualClock, credentials: Credentials = USER) -> TokenSource:
    session = wire.session()
    return TokenSource(credentials, session=lambda: session, oauth_root=OAUTH, clock=clock)


@pytest.fixture(scope="module")
def service_account() -> Credentials:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    info = {
        "type": "service_account",
        "client_email": "robot@project.test",
        "private_key": key.decode(),
        "private_key_id": "k1",
        "token_uri": "https://elsewhere.test/token",
    }
    return Credentials("service account", service_account=SecretStr(json.dumps(info)), subject="ada@b.test")


def test_the_refresh_token_is_exchanged_according_to_oauth(wire: FakeGmail, clock: ManualClock) -> None:
    assert source(wire, clock).token() == "ya29.token-1"
    assert wire.requests[0].url == f"{OAUTH}/token"
    assert wire.token_requests == [
        {
            "grant_type": "refresh_token",
            "client_id": "client-7",
            "client_secret": "hush-secret",
            "refresh_token": "1//hush-refresh",
        }
    ]


def test_a_token_is_cached_until_shortly_before_it_expires(wire: FakeGmail, clock: ManualClock) -> None:
    tokens = source(wire, clock)
    assert tokens.token() == "ya29.token-1"
    clock.now += 3_400
    assert tokens.token() == "ya29.token-1"
    clock.now += 150
    assert tokens.token() == "ya29.token-2"


def test_a_short_lived_token_is_used_too(wire: FakeGmail, clock: ManualClock) -> None:
    wire.token_handler = lambda _: FakeResponse(json={"access_token": "ya29.x", "expires_in": 10})
    tokens = source(wire, clock)
    tokens.token()
    clock.now += 8
    tokens.token()
    assert len(wire.token_requests) == 1
    clock.now += 1.5
    tokens.token()
    assert len(wire.token_requests) == 2


@pytest.mark.parametrize("life", [{}, {"expires_in": None}, {"expires_in": -1}])
def test_a_token_without_a_valid_lifetime_is_used_for_an_hour(
    wire: FakeGmail, clock: ManualClock, life: dict[str, object]
) -> None:
    wire.token_handler = lambda _: FakeResponse(json={"access_token": "ya29.x", **life})
    tokens = source(wire, clock)
    tokens.token()
    clock.now += 3_400
    tokens.token()
    assert len(wire.token_requests) == 1


def test_threads_share_one_refresh(wire: FakeGmail, clock: ManualClock) -> None:
    def slowly(_: dict[str, str]) -> FakeResponse:
        time.sleep(0.05)
        return FakeResponse(json={"access_token": "ya29.x", "expires_in": 3600})

    wire.token_handler = slowly
    tokens = source(wire, clock)
    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(tokens.token())) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert got == ["ya29.x"] * 10
    assert len(wire.token_requests) == 1


def test_threads_share_one_refusal(wire: FakeGmail, clock: ManualClock) -> None:
    def slowly(_: dict[str, str]) -> FakeResponse:
        time.sleep(0.1)
        return FakeResponse(400, {"error": "invalid_grant"})

    wire.token_handler = slowly
    tokens = source(wire, clock)
    refused: list[GmailError] = []

    def ask() -> None:
        try:
            tokens.token()
        except GmailError as error:
            refused.append(error)

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(refused) == 10
    assert len(set(map(id, refused))) == 10
    assert len(wire.token_requests) <= 3


def test_a_refusal_is_cached_for_a_limited_time(wire: FakeGmail, clock: ManualClock) -> None:
    tokens = source(wire, clock)
    good = wire.token_handler
    wire.token_handler = lambda _: FakeResponse(400, {"error": "invalid_grant"})
    with pytest.raises(CredentialsError):
        tokens.token()
    wire.token_handler = good
    assert tokens.token()


def test_a_refused_token_is_renewed_once_for_all_threads(wire: FakeGmail, clock: ManualClock) -> None:
    tokens = source(wire, clock)
    first = tokens.token()
    assert tokens.renew(first) == "ya29.token-2"
    assert tokens.renew(first) == "ya29.token-2"
    assert tokens.token() == "ya29.token-2"
    assert len(wire.token_requests) == 2


def test_a_plain_access_token_is_used_unchanged(wire: FakeGmail, clock: ManualClock) -> None:
    tokens = source(wire, clock, Credentials.from_access_token("ya29.hush"))
    assert tokens.token() == "ya29.hush"
    with pytest.raises(CredentialsError, match="expired") as caught:
        tokens.renew("ya29.hush")
    assert "GMAIL_ACCESS_TOKEN" in caught.value.fix
    assert "hush" not in str(caught.value)
    assert wire.requests == []


def test_a_service_account_impersonates_a_mailbox(
    wire: FakeGmail, clock: ManualClock, service_account: Credentials
) -> None:
    source(wire, clock, service_account).token()
    form = wire.token_requests[0]
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    claims = jwt.decode(form["assertion"], verify=False)  # type: ignore[no-untyped-call]
    assert claims["iss"] == "robot@project.test"
    assert claims["sub"] == "ada@b.test"
    assert claims["scope"] == READONLY_SCOPE
    assert claims["aud"] == "https://oauth2.googleapis.com/token"
    assert wire.requests[0].url == f"{OAUTH}/token"


def test_each_scope_has_its_own_token(
    wire: FakeGmail, clock: ManualClock, service_account: Credentials
) -> None:
    tokens = source(wire, clock, service_account)
    mail, directory = tokens.token(), tokens.token((DIRECTORY_SCOPE,))
    assert mail != directory
    assert (tokens.token(), tokens.token((DIRECTORY_SCOPE,))) == (mail, directory)


def test_an_unreadable_private_key(wire: FakeGmail, clock: ManualClock) -> None:
    info = {"client_email": "a@b", "private_key": "hush-key", "token_uri": "https://x.test/token"}
    credentials = Credentials("service account", service_account=SecretStr(json.dumps(info)))
    with pytest.raises(ConfigurationError, match="GMAIL_SERVICE_ACCOUNT_FILE") as caught:
        source(wire, clock, credentials).token()
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            {"error": "invalid_grant", "error_description": "Token has been expired or revoked."},
            ["revoked", "Testing"],
        ),
        ({"error": "invalid_grant", "error_subtype": "invalid_rapt"}, ["sign in again"]),
        (
            {"error": "invalid_client", "error_description": "The OAuth client was not found."},
            ["GMAIL_CLIENT_SECRET"],
        ),
        ({"error": "unauthorized_client"}, ["another OAuth client"]),
        ({"error": "admin_policy_enforced"}, ["administrator"]),
        ({"error": "invalid_scope"}, [READONLY_SCOPE]),
        ({"error": "something_new"}, ["something_new", "gmail-assets login"]),
    ],
)
def test_a_refusal_names_the_cause_and_the_fix(
    wire: FakeGmail, clock: ManualClock, answer: dict[str, str], words: list[str]
) -> None:
    wire.token_handler = lambda _: FakeResponse(400, answer)
    with pytest.raises(CredentialsError) as caught:
        source(wire, clock).token()
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert answer.get("error_description", "") in text
    assert len(text.splitlines()) == 2
    assert "hush" not in text
    assert clock.slept == []


@pytest.mark.parametrize(
    ("error", "word"),
    [
        ("unauthorized_client", "Domain-wide delegation"),
        ("invalid_grant", "clock"),
        ("invalid_client", "new key"),
    ],
)
def test_service_account_errors_have_their_own_causes(
    wire: FakeGmail, clock: ManualClock, service_account: Credentials, error: str, word: str
) -> None:
    wire.token_handler = lambda _: FakeResponse(401, {"error": error})
    with pytest.raises(CredentialsError, match=word):
        source(wire, clock, service_account).token()


@pytest.mark.parametrize(
    "trouble",
    [
        FakeResponse(500, {"error": "internal_failure"}),
        FakeResponse(503, raw=b"<html>"),
        FakeResponse(429, {"error": "rate_limit_exceeded"}),
        FakeResponse(400, {"error": "temporarily_unavailable"}),
        FakeResponse(200, raw=b"<html>Sign in</html>"),
        FakeResponse(200, {"token_type": "Bearer"}),
        FakeResponse(200, {"access_token": ""}),
        FakeResponse(200, {"access_token": 7}),
        FakeResponse(200, {"access_token": "ya29.x", "expires_in": "soon"}),
        FakeResponse(302, raw=b""),
    ],
)
def test_transient_errors_are_retried(wire: FakeGmail, clock: ManualClock, trouble: FakeResponse) -> None:
    answers = [trouble, trouble, FakeResponse(json={"access_token": "ya29.x", "expires_in": 3600})]
    wire.token_handler = lambda _: answers.pop(0)
    assert source(wire, clock).token() == "ya29.x"
    assert clock.slept


@pytest.mark.parametrize(
    "trouble",
    [
        requests.ConnectionError("no route"),
        requests.Timeout("late"),
        ConnectionResetError(104, "reset"),
        FakeResponse(500, {}),
    ],
)
def test_lasting_transient_errors_raise_unavailable(
    wire: FakeGmail, clock: ManualClock, trouble: Any
) -> None:
    def fail(_: dict[str, str]) -> FakeResponse:
        if isinstance(trouble, FakeResponse):
            return trouble
        raise trouble

    wire.token_handler = fail
    with pytest.raises(UnavailableError) as caught:
        source(wire, clock).token()
    assert 0 < sum(clock.slept) < 300
    error: BaseException | None = caught.value
    while error is not None:
        assert isinstance(error, GmailError)
        error = error.__cause__ or error.__context__


def test_http_to_another_machine_is_refused(wire: FakeGmail, clock: ManualClock) -> None:
    with pytest.raises(ConfigurationError, match="GMAIL_OAUTH_ROOT"):
        TokenSource(USER, session=wire.session, oauth_root="http://evil.test", clock=clock)


@pytest.mark.parametrize(
    "life", [float("nan"), float("inf"), 10**400, "soon", True, [], {}, "9" * 5_000, 1e300]
)
def test_an_impossible_lifetime_is_an_hour_or_a_gmail_error(
    wire: FakeGmail, clock: ManualClock, life: Any
) -> None:
    wire.token_handler = lambda _: FakeResponse(json={"access_token": "ya29.x", "expires_in": life})
    with contextlib.suppress(GmailError):
        assert source(wire, clock).token() == "ya29.x"
        clock.now += 90_000
        source(wire, clock).token()
        assert len(wire.token_requests) == 2


@pytest.mark.parametrize("token", ["ya29.\u65e5", "ya29.x\r\nX-Evil: 1", "ya29.x y", "ya29.\ud800"])
def test_a_token_that_is_invalid_in_a_header_is_refused(
    wire: FakeGmail, clock: ManualClock, token: str
) -> None:
    wire.token_handler = lambda _: FakeResponse(json={"access_token": token})
    for credentials in (USER, Credentials.from_access_token(token)):
        with pytest.raises(CredentialsError, match="characters that no token has") as caught:
            source(wire, clock, credentials).token()
        assert "ya29" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["access_token", "expires_in", "scope", "token_type", "id_token", "refresh_token", "error"]


@examples(60)
@given(
    status=st.sampled_from([200, 200, 200, 400, 401, 429, 503]),
    document=st.dictionaries(st.sampled_from([*FIELDS, "error_subtype", "error_description"]), JSON) | JSON,
)
def test_any_token_response_is_a_token_or_a_gmail_error(status: int, document: Any) -> None:
    clock = ManualClock()
    wire = FakeGmail(message_response)
    wire.token_handler = lambda _: FakeResponse(status, document)
    with contextlib.suppress(GmailError):
        assert source(wire, clock).token().isprintable()


def test_a_large_token_response_is_not_read(wire: FakeGmail, clock: ManualClock) -> None:
    wire.token_handler = lambda _: FakeResponse(json={"access_token": "x" * (2 << 20)})
    with pytest.raises(ResponseError, match="larger than 1 MB"):
        source(wire, clock).token()
