"""The OAuth flow in the browser that obtains a refresh token.

    login = Login(client)
    url = login.begin("http://127.0.0.1:8085/")     # show it to the user, who consents
    granted = login.finish({"code": ..., "state": ...})

`consent` does all of it: it opens the browser, waits for the redirect to this machine or for a pasted address, and
checks which scopes were granted for which mailbox. `revoke` revokes a token.

https://developers.google.com/identity/protocols/oauth2/native-app
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from google_auth_oauthlib.flow import Flow
from pydantic import SecretStr

from gmail_client.auth.credentials import Credentials
from gmail_client.auth.endpoints import (
    API_ROOT,
    FULL_SCOPE,
    GOOGLE,
    MODIFY_SCOPE,
    OAUTH_ROOT,
    READONLY_SCOPE,
    TOKEN_PATH,
    Endpoints,
    checked_root,
)
from gmail_client.auth.oauth_callback import AuthorizationResponse, OAuthCallback
from gmail_client.auth.oauth_client import OAuthClient
from gmail_client.client import GmailClient
from gmail_client.errors import ConfigurationError, CredentialsError, ScopeError, UnavailableError
from gmail_client.http.body import MAX_TOKEN_BODY_BYTES, read_body
from gmail_client.http.error_mapping import as_text, redact
from gmail_client.http.sessions import new_session, route_to

__all__ = ["SCOPES", "TESTING_DAYS", "Granted", "Login", "consent", "revoke"]

TESTING_DAYS = 7
"""Days until a refresh token expires while the OAuth app's publishing status is 'Testing'."""

_AUTH_URI = "https://accounts.google.com/o/oauth2/v2/auth"
_REVOKE_PATH = "/revoke"
_TIMEOUT = (10.0, 30.0)

SCOPES = {"readonly": READONLY_SCOPE, "modify": MODIFY_SCOPE, "full": FULL_SCOPE}
"""Scopes that a login can ask for, each included in the next."""

_REFUSALS = {
    "access_denied": (
        f"access was denied in the browser, so the scope {READONLY_SCOPE} was not granted",
        "Log in again, select the checkbox 'View your email messages and settings' if there is one, and allow access. "
        "While the OAuth app is in 'Testing', the account must be one of its test users (Google Auth Platform > "
        "Audience).",
    ),
    "admin_policy_enforced": (
        "the Workspace administrator does not allow this app or its scopes",
        "Ask the administrator to trust the OAuth client under Security > API controls.",
    ),
    "org_internal": (
        "the OAuth app is 'Internal' and the account belongs to another organization",
        "Log in with an account of the app's organization, or make the app 'External'.",
    ),
    "invalid_client": (
        "the OAuth client is unknown, deleted, or its secret is wrong",
        "Check client id and secret against the console's Clients page, or download its JSON again.",
    ),
    "deleted_client": ("the OAuth client was deleted", "Create a new one (docs/google-cloud.md)."),
    "invalid_grant": (
        "the code was used before, is too old, or belongs to another login",
        "Log in again; a code works once, for a few minutes, and only with the address that it was issued for.",
    ),
    "redirect_uri_mismatch": (
        "the client does not allow this redirect address: it is a 'Web application', not a 'Desktop app'",
        "Use a Desktop client, or set --redirect-uri to an address that is registered with this client.",
    ),
    "unauthorized_client": (
        "the client may not use this flow",
        "Use a client of the type 'Desktop app' (docs/google-cloud.md).",
    ),
}


@dataclass(frozen=True, slots=True)
class Granted:
    """The result of a login.

    Attributes:
        client: The OAuth client that the token was issued to.
        address: The mailbox's address.
        refresh_token: Valid until revoked (for 7 days in 'Testing').
        scopes: The granted scopes.
        endpoints: The servers that granted the token; it may be sent only to them.
    """

    client: OAuthClient
    address: str
    refresh_token: SecretStr
    scopes: tuple[str, ...]
    endpoints: Endpoints = GOOGLE


class Login:
    """One login attempt of a user.

    Args:
        client: The OAuth client.
        oauth_root: URL of the OAuth server; one that is not Google's has the consent page too.
        api_root: URL of the Gmail API.
        hint: Address of the account to suggest on the page.
        scope: A name of `SCOPES`; all but `conformance` needs `readonly` only.
        session: Creates the HTTP session.

    Raises:
        ConfigurationError: A root that secrets must not be sent to.
    """

    def __init__(
        self,
        client: OAuthClient,
        *,
        oauth_root: str = OAUTH_ROOT,
        api_root: str = API_ROOT,
        hint: str | None = None,
        scope: str = "readonly",
        session: Callable[[], requests.Session] = new_session,
    ) -> None:
        self.client = client
        self._scope = SCOPES[scope]
        self._sufficient = set(list(SCOPES.values())[list(SCOPES).index(scope) :])
        self.hint = hint
        self.state = ""
        self._oauth_root = checked_root("GMAIL_OAUTH_ROOT", oauth_root)
        self._api_root = checked_root("GMAIL_API_ROOT", api_root)
        self._session = session
        self._redirect_uri = ""
        self._verifier = ""

    def check_client(self) -> None:
        """Check the OAuth client before the browser opens.

        Sends a code that can't exist: a wrong client is refused as a client, a correct one because of the code.

        Raises:
            CredentialsError: The client is unknown or its secret is wrong.
            UnavailableError: The token endpoint can't be reached.
        """
        answer = self._ask(code="none", redirect_uri="http://127.0.0.1/")
        if answer.get("error") in ("invalid_client", "deleted_client"):
            raise _refused(answer)

    def begin(self, redirect_uri: str) -> str:
        """The address of the consent page.

        Args:
            redirect_uri: The address to which Google redirects the browser.
        """
        flow = Flow.from_client_config(
            {
                "installed": {
                    "client_id": self.client.id,
                    "client_secret": "",
                    "auth_uri": _AUTH_URI,
                    "token_uri": self._oauth_root + TOKEN_PATH,
                }
            },
            scopes=[self._scope],
            redirect_uri=redirect_uri,
        )
        hint = {"login_hint": self.hint} if self.hint else {}
        # With prompt=consent, Google returns a refresh token each time, to web clients too.
        url, self.state = flow.authorization_url(access_type="offline", prompt="consent", **hint)
        self._verifier = flow.code_verifier
        self._redirect_uri = redirect_uri
        if self._oauth_root != OAUTH_ROOT:
            parts = urlsplit(url)
            url = f"{self._oauth_root}{parts.path}?{parts.query}"
        return str(url)

    def finish(self, answer: AuthorizationResponse) -> Granted:
        """Exchange the code for tokens, and check them.

        Args:
            answer: The parameters of the redirect.

        Raises:
            CredentialsError: Consent was refused, or the code is not accepted; the message has the reason.
            ScopeError: The scope's checkbox was not selected.
            GmailError: The mailbox can't be read with it.
        """
        if answer.get("error"):
            raise _refused(answer)
        state = answer.get("state")
        if state is not None and not hmac.compare_digest(state.encode(), self.state.encode()):
            raise CredentialsError(
                "The response belongs to another login (its state differs).",
                fix="Log in again, with the address that is shown then.",
            )
        # Not with the flow's own fetch_token, because it writes secret and tokens to a debug log.
        token = self._ask(
            code=answer.get("code", ""), redirect_uri=self._redirect_uri, code_verifier=self._verifier
        )
        if not as_text(token.get("access_token")):
            raise _refused(token)
        scopes = tuple((as_text(token.get("scope")) or answer.get("scope", "")).split())
        if not self._sufficient.intersection(scopes):
            raise ScopeError(
                f"The scope {self._scope} was not granted, only {' '.join(scopes) or 'nothing'}.",
                fix="Log in again and select the checkbox 'View your email messages and settings'."
                if self._scope == READONLY_SCOPE
                else "Log in again and select the checkbox of that scope.",
            )
        if not as_text(token.get("refresh_token")):
            raise CredentialsError(
                "Google returned no refresh token.",
                fix="Remove the app at https://myaccount.google.com/permissions and log in again.",
            )
        access = Credentials.from_access_token(as_text(token["access_token"]))
        client = GmailClient(
            access, api_root=self._api_root, oauth_root=self._oauth_root, session=self._session
        )
        address = client.mailbox("me").address
        endpoints = Endpoints(self._api_root, self._oauth_root)
        return Granted(self.client, address, SecretStr(as_text(token["refresh_token"])), scopes, endpoints)

    def _ask(self, **fields: str) -> dict[str, Any]:
        """The token endpoint's response to an authorization code; errors contain no secrets."""
        form = {
            "grant_type": "authorization_code",
            "client_id": self.client.id,
            "client_secret": self.client.secret.get_secret_value(),
            **fields,
        }
        return _posted(self._session, self._oauth_root + TOKEN_PATH, form)


def _posted(session: Callable[[], requests.Session], url: str, form: Mapping[str, str]) -> dict[str, Any]:
    problem = ""
    status, content = 0, b""
    try:
        route = route_to(url)
        with session() as connections:
            response = connections.post(
                url,
                data=dict(form),
                timeout=_TIMEOUT,
                allow_redirects=False,
                proxies=route.proxies,
                verify=route.verify,
                stream=True,
            )
            content = read_body(response, "The OAuth server", MAX_TOKEN_BODY_BYTES)
        status = response.status_code
    except (OSError, urllib3.exceptions.HTTPError, UnicodeError) as error:
        # Raised outside of the handler, because the original error contains the request, and so the secret.
        problem = type(error).__name__
    document: Any = None
    if not problem:
        try:
            document = json.loads(content or b"{}")
        except (ValueError, RecursionError):
            problem = f"status {status} without JSON"
    if not problem and (not isinstance(document, dict) or status >= 500 or status == 429):
        problem = f"status {status}"
    if problem:
        raise UnavailableError(
            f"Unexpected response from the OAuth server {urlsplit(url).netloc}: {problem}.",
            fix="Check the network, the proxy and GMAIL_OAUTH_ROOT, then try again.",
        )
    return {**document, "status": status}


def _refused(answer: Mapping[str, Any]) -> CredentialsError:
    reason = as_text(answer.get("error_subtype")) or as_text(answer.get("error")) or "no token"
    what, fix = _REFUSALS.get(reason, ("Google refused", "Log in again."))
    said = redact(as_text(answer.get("error_description")))
    return CredentialsError(
        f"The login failed: {what} ({redact(reason)}{f': {said}' if said else ''}).",
        fix=fix,
        reason=redact(reason),
    )


def consent(
    login: Login,
    *,
    port: int = 0,
    redirect_uri: str | None = None,
    show: Callable[[str, bool], None],
    read_line: Callable[[], str] | None = None,
    complain: Callable[[str], None] = lambda text: None,
    timeout: float = 300.0,
) -> Granted:
    """Ask the user for consent, and wait for it.

    Args:
        login: The login attempt.
        port: Port on this machine for the redirect, 0 for any free port.
        redirect_uri: The redirect address; needed with a web client of which only id and secret are known.
        show: Called with the consent page's address, and whether the response has to be pasted. It opens the browser or
            prints the address.
        read_line: Reads a pasted address or code, for machines without a browser.
        complain: Called with the problem of a pasted line that can't be used.
        timeout: Maximum seconds to wait.

    Raises:
        ConfigurationError: The client has no usable redirect address, or the port is in use.
        CredentialsError: No consent in time, or it was refused.
        ScopeError: The scope's checkbox was not selected.
    """
    login.check_client()
    target = redirect_uri or _registered(login.client)
    local = target is None or _is_local(target)
    if not local and read_line is None:
        raise ConfigurationError(
            f"The client's redirect address {target} is not on this machine: the response has to be pasted.",
            fix="Run it with --no-browser in a terminal, or use a client of type 'Desktop app'.",
        )
    listen = (urlsplit(target).port or 80) if target is not None and local else port
    with OAuthCallback(listen if local else None) as callback:
        target = target or f"http://127.0.0.1:{callback.port}/"
        url = login.begin(target)
        callback.state = login.state
        show(url, not local)
        if read_line is not None:
            callback.listen_to(read_line, complain)
        answer = callback.wait(timeout)
    if answer is None:
        raise CredentialsError(
            f"No response from the browser within {timeout:.0f} seconds.",
            fix="Log in again, and allow access in the page that opens. If that page says "
            "'redirect_uri_mismatch', the client is a 'Web application': use a Desktop client, or give "
            "--redirect-uri. If it says 'Access blocked', add the account under Audience > Test users.",
        )
    return login.finish(answer)


def _registered(client: OAuthClient) -> str | None:
    """The redirect address of a web client; None if any address on this machine is allowed."""
    if client.kind != "web":
        return None
    local = [uri for uri in client.redirect_uris if _is_local(uri)]
    other = [uri for uri in client.redirect_uris if uri.startswith("https://")]
    for uri in [*local, *other]:
        return uri
    raise ConfigurationError(
        "The client is a 'Web application' without a redirect address.",
        fix="Create a client of type 'Desktop app' (docs/google-cloud.md), or add "
        "http://localhost:8085/ to its Authorized redirect URIs and download its JSON again.",
    )


def _is_local(uri: str) -> bool:
    parts = urlsplit(uri)
    return parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")


def revoke(
    token: SecretStr,
    *,
    oauth_root: str = OAUTH_ROOT,
    session: Callable[[], requests.Session] = new_session,
) -> bool:
    """Revoke a token, and with it the user's whole consent for its client.

    Returns:
        False if the token was no longer valid.

    Raises:
        UnavailableError: The endpoint can't be reached, or refuses.
    """
    root = checked_root("GMAIL_OAUTH_ROOT", oauth_root)
    answer = _posted(session, root + _REVOKE_PATH, {"token": token.get_secret_value()})
    if answer["status"] == 200:
        return True
    if answer.get("error") in ("invalid_token", "invalid_grant"):
        return False
    raise UnavailableError(
        f"The token was not revoked: {redact(str(answer.get('error') or answer['status']))}.",
        fix="Try again, or remove the app at https://myaccount.google.com/permissions.",
    )
