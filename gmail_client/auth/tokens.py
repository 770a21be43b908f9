"""Access tokens, obtained with google-auth and cached until shortly before they expire: `TokenSource`.

All threads share one refresh. Every refusal of the token endpoint becomes an error with its reason and a fix.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import requests
import urllib3
from google.auth import exceptions as google_errors
from google.auth import transport as google_transport

from gmail_client.auth.credentials import Credentials
from gmail_client.auth.endpoints import OAUTH_ROOT, READONLY_SCOPE, TOKEN_PATH, checked_root
from gmail_client.errors import ConfigurationError, CredentialsError, GmailError, UnavailableError
from gmail_client.http.body import MAX_TOKEN_BODY_BYTES, read_body
from gmail_client.http.clock import SYSTEM_CLOCK, Clock
from gmail_client.http.error_mapping import as_text, redact
from gmail_client.http.retry import LONGEST, RetryPolicy
from gmail_client.http.sessions import route_to

__all__ = ["TokenSource"]

TIMEOUT = (10.0, 30.0)
"""Seconds to connect, and to wait for a response."""

_EARLY = 120.0
"""Seconds before its expiry at which a token is no longer used: longer than a request and its retries take."""

_LIFE = 3600.0
"""Lifetime of a token in seconds when the endpoint does not state it."""

_LONGEST_LIFE = 86_400.0
"""Seconds: a longer lifetime is not Google's."""

_RELOGIN = "Run `gmail-assets login` again."

_CAUSES: Mapping[str, tuple[str, str]] = {
    "invalid_grant": (
        "the refresh token no longer works: revoked by its user, unused for 6 months, password changed, more "
        "than 100 tokens for this account and client, or 7 days old while the OAuth app is in 'Testing'",
        f"{_RELOGIN} If it expires every 7 days, publish the OAuth app or make it Internal.",
    ),
    "invalid_client": (
        "the OAuth client is unknown, deleted, or its secret is wrong",
        "Check GMAIL_CLIENT_ID and GMAIL_CLIENT_SECRET against the Cloud console's Credentials page.",
    ),
    "unauthorized_client": (
        "the refresh token was issued to another OAuth client",
        f"Set GMAIL_CLIENT_ID to the client that the token was issued to, or: {_RELOGIN}",
    ),
    "invalid_rapt": (
        "the Workspace domain requires its users to sign in again periodically",
        f"{_RELOGIN} To avoid it, have the administrator trust this app under Google Cloud session control.",
    ),
    "admin_policy_enforced": (
        "the Workspace administrator does not allow this app or its scopes",
        "Ask the administrator to trust the OAuth client under Security > API controls.",
    ),
    "invalid_scope": (
        "the scope was never granted",
        f"Grant {READONLY_SCOPE}. {_RELOGIN}",
    ),
    "access_denied": ("access was denied", _RELOGIN),
}

_SERVICE_CAUSES: Mapping[str, tuple[str, str]] = {
    "invalid_grant": (
        "the mailbox does not exist in this domain, the key was deleted, or this machine's clock is wrong",
        "Check the mailbox's address, the key in GMAIL_SERVICE_ACCOUNT_FILE (if one is used), and the clock.",
    ),
    "invalid_client": (
        "the service account no longer exists",
        "Create a new key and set GMAIL_SERVICE_ACCOUNT_FILE to it.",
    ),
    "unauthorized_client": (
        "the service account has no domain-wide delegation for this scope",
        "Have the Workspace administrator add its client id with {scopes} under Security > API controls > "
        "Domain-wide delegation.",
    ),
}

_GOOGLE_TOKEN_URI = OAUTH_ROOT + TOKEN_PATH

_BUSY = {"temporarily_unavailable", "server_error", "internal_failure", "rate_limit_exceeded"}


class TokenSource:
    """Access tokens for one `Credentials` value; thread-safe.

    Args:
        credentials: The credentials.
        session: Returns the session to send with.
        oauth_root: URL of the OAuth server.
        clock: Measures the lifetime of tokens, and the waits between attempts.
        retry_seconds: Seconds after which a request is not retried.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        session: Callable[[], requests.Session],
        oauth_root: str = OAUTH_ROOT,
        clock: Clock = SYSTEM_CLOCK,
        retry_seconds: float = LONGEST,
    ) -> None:
        self._credentials = credentials
        self._retry_seconds = retry_seconds
        self._token_uri = checked_root("GMAIL_OAUTH_ROOT", oauth_root) + TOKEN_PATH
        self._session = session
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, ...], tuple[str, float]] = {}
        self._tries = 0
        self._failure: GmailError | None = None

    def token(self, scopes: tuple[str, ...] = (READONLY_SCOPE,)) -> str:
        """A token that is valid for at least the next two minutes.

        Args:
            scopes: Scopes that a service account requests; other credentials have the scopes that were granted.

        Raises:
            CredentialsError: The token endpoint refuses; the message has the reason and the fix.
            UnavailableError: The token endpoint can't be reached.
        """
        if self._credentials.kind == "access token":
            return _sendable(self._credentials.access_token.get_secret_value())
        kept = self._kept.get(scopes)
        if kept is not None and self._clock.time() < kept[1]:
            return kept[0]
        return self._shared_refresh(scopes, rejected=None)

    def renew(self, rejected: str, scopes: tuple[str, ...] = (READONLY_SCOPE,)) -> str:
        """A replacement for a token that Gmail refused: another thread's newer token, or a new one.

        Raises:
            CredentialsError: The token endpoint refuses.
            UnavailableError: The token endpoint can't be reached.
        """
        if self._credentials.kind == "access token":
            raise CredentialsError(
                "Gmail refused the access token: it has expired (after an hour) or was revoked.",
                fix="Set a new GMAIL_ACCESS_TOKEN, or run `gmail-assets login`: its refresh token renews access tokens "
                "automatically.",
                status=401,
            )
        return self._shared_refresh(scopes, rejected=rejected)

    def _shared_refresh(self, scopes: tuple[str, ...], rejected: str | None) -> str:
        tries = self._tries
        with self._lock:
            kept = self._kept.get(scopes)
            if kept is not None and kept[0] != rejected and self._clock.time() < kept[1]:
                return kept[0]
            if self._tries != tries and self._failure is not None:
                raise copy.copy(self._failure)
            try:
                token, life = self._refresh_patiently(scopes)
                self._failure = None
            except GmailError as error:
                self._failure = error
                raise
            finally:
                self._tries += 1
            self._kept[scopes] = (token, self._clock.time() + life - min(_EARLY, life / 10))
            return token

    def _refresh_patiently(self, scopes: tuple[str, ...]) -> tuple[str, float]:
        retry_policy = RetryPolicy(self._clock, longest=self._retry_seconds)
        while True:
            try:
                return self._refresh(scopes)
            except UnavailableError as error:
                self._clock.sleep(retry_policy.delay(error))

    def _refresh(self, scopes: tuple[str, ...]) -> tuple[str, float]:
        moved = None
        if self._credentials.service_account_email:
            from gmail_client.auth import keyless

            keyless.refresh_identity()
            moved = {
                _GOOGLE_TOKEN_URI: self._token_uri,
                keyless.IAM_ROOT: keyless.iam_root(self._token_uri.removesuffix(TOKEN_PATH)),
            }
        exchange = _Exchange(self._session(), moved)
        failure: GmailError | None = None
        maker = self._maker(scopes)
        try:
            maker.refresh(exchange)
        except google_errors.GoogleAuthError:
            failure = self._explained(exchange, scopes)
        except (OSError, urllib3.exceptions.HTTPError) as error:
            failure = UnavailableError(
                f"The token endpoint did not respond: {type(error).__name__}.",
                fix="Check the network, the proxy and GMAIL_OAUTH_ROOT.",
            )
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError):
            # google-auth converts some fields of the response without checking them.
            failure = self._explained(exchange, scopes)
        if failure is not None:
            raise failure
        if not isinstance(maker.token, str) or not maker.token:
            raise self._explained(exchange, scopes)
        life = exchange.document.get("expires_in")
        stated = float(life) if isinstance(life, int | float) and 0 < life <= _LONGEST_LIFE else _LIFE
        return _sendable(maker.token), stated

    def _maker(self, scopes: tuple[str, ...]) -> Any:
        credentials = self._credentials
        if credentials.service_account_email:
            from gmail_client.auth import keyless

            return keyless.delegated_credentials(
                credentials.service_account_email, credentials.subject, scopes
            )
        if credentials.kind == "service account":
            key = credentials.service_account.get_secret_value()
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                account = _service_account(key, self._token_uri)
                return account.with_scopes(list(scopes)).with_subject(credentials.subject)
            raise ConfigurationError(
                "The private key in GMAIL_SERVICE_ACCOUNT_FILE can't be read.",
                fix="Download the service account's JSON key again.",
            )
        from google.oauth2 import credentials as user

        return user.Credentials(  # type: ignore[no-untyped-call]
            None,
            refresh_token=credentials.refresh_token.get_secret_value(),
            token_uri=self._token_uri,
            client_id=credentials.client_id,
            client_secret=credentials.client_secret.get_secret_value(),
        )

    def _explained(self, exchange: _Exchange, scopes: tuple[str, ...]) -> GmailError:
        status, document = exchange.status, exchange.document
        if isinstance(document.get("error"), dict):
            return self._not_signed(status, document["error"])
        reason = redact(as_text(document.get("error_subtype")) or as_text(document.get("error")))
        described = redact(as_text(document.get("error_description")))
        service = self._credentials.kind == "service account"
        cause = (_SERVICE_CAUSES.get(reason) if service else None) or _CAUSES.get(reason)
        said = f"{reason}{f' ({described})' if described else ''}"
        if cause is None and (status in (0, 200, 408, 429) or status >= 500 or reason in _BUSY or not reason):
            return UnavailableError(
                f"The token endpoint issued no token: {f'status {status}' if status else 'no response'}"
                f"{f', {said}' if said else ''}.",
                fix="Try again later; check the proxy and GMAIL_OAUTH_ROOT.",
                status=status or None,
                reason=reason or None,
            )
        what, fix = cause or ("the token endpoint refused", _RELOGIN)
        fix = fix.replace("{scopes}", " and ".join(scopes))
        return CredentialsError(f"No access token: {said}: {what}.", fix=fix, status=status, reason=reason)

    def _not_signed(self, status: int, error: Mapping[str, Any]) -> GmailError:
        """The error for a response of Google's APIs, which differ from OAuth's: signJwt was refused."""
        reason, said = redact(as_text(error.get("status"))), redact(as_text(error.get("message")))
        email = self._credentials.service_account_email
        if status in (408, 429) or status >= 500:
            return UnavailableError(
                f"signJwt for {email} failed: status {status}.", fix="Try again later.", status=status
            )
        return CredentialsError(
            f"signJwt for {email} was refused: {reason or f'status {status}'}{f' ({said})' if said else ''}.",
            fix=_SIGNER_FIX,
            status=status,
            reason=reason or None,
        )


_SIGNER_FIX = (
    "Enable the IAM Service Account Credentials API, and give the machine's Google identity the role Service Account "
    "Token Creator on the service account."
)


_accounts: dict[bytes, Any] = {}
_accounts_lock = threading.Lock()


def _service_account(key: str, token_uri: str) -> Any:
    """The credentials of a service account, without a subject. Reading its private key takes 25 ms of CPU time, so all
    mailboxes share them.

    Raises:
        ValueError: The key can't be read.
    """
    from google.oauth2 import service_account

    digest = hashlib.sha256(f"{token_uri}\n{key}".encode()).digest()
    with _accounts_lock:
        if digest not in _accounts:
            info = {**json.loads(key), "token_uri": token_uri}
            _accounts.clear()  # one at a time is usual
            _accounts[digest] = service_account.Credentials.from_service_account_info(info)  # type: ignore[no-untyped-call]
        return _accounts[digest]


def _sendable(token: str) -> str:
    """`token`, if it is valid in an HTTP header."""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise CredentialsError(
            "The access token contains characters that no token has.",
            fix="Set GMAIL_ACCESS_TOKEN to a token without blanks and quotes, or check GMAIL_OAUTH_ROOT.",
        )
    return token


class _Refused(google_errors.TransportError):
    """A response other than 200: ends google-auth's own retries, which would sleep in real time."""


class _Exchange(google_transport.Request):
    """A transport for google-auth that uses our session and keeps the endpoint's last response.

    Args:
        session: Sends the requests.
        moved: Replacements for prefixes of URLs that can't be configured in google-auth.
    """

    def __init__(self, session: requests.Session, moved: Mapping[str, str] | None = None) -> None:
        self._session = session
        self._moved = moved or {}
        self.status = 0
        self.document: dict[str, Any] = {}

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> _Reply:
        for beginning, replacement in self._moved.items():
            if url.startswith(beginning):
                url = replacement + url.removeprefix(beginning)
                break
        route = route_to(url)
        response = self._session.request(
            method,
            url,
            data=body,
            headers=dict(headers or {}),
            timeout=TIMEOUT,
            allow_redirects=False,
            proxies=route.proxies,
            verify=route.verify,
            stream=True,
        )
        self.status = response.status_code
        content = read_body(response, "The token endpoint", MAX_TOKEN_BODY_BYTES)
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        self.document = document if isinstance(document, dict) else {}
        if self.status != 200:
            raise _Refused
        return _Reply(self.status, response.headers, content)


class _Reply(google_transport.Response):
    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self._parts = status, headers, data

    @property
    def status(self) -> int:
        return self._parts[0]

    @property
    def headers(self) -> Mapping[str, str]:
        return self._parts[1]

    @property
    def data(self) -> bytes:
        return self._parts[2]
