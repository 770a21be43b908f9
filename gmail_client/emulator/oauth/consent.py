"""The consent page of a login: `Consent` checks the request, shows the page and redirects the browser.

GET /o/oauth2/v2/auth shows the accounts and the scopes, each with a checkbox; POST .../decision submits the choice.
The form has the fields `request`, `account`, `scope` (repeated) and `decision` (`approve` or `deny`).
"""

from __future__ import annotations

import html
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from starlette.responses import HTMLResponse, RedirectResponse, Response

from gmail_client.emulator.api.methods import SCOPES
from gmail_client.emulator.backend import Backend
from gmail_client.emulator.oauth.tokens import AuthorizationCode, RegisteredClient

__all__ = ["AUTH_PATH", "DECISION_PATH", "Consent"]

AUTH_PATH = "/o/oauth2/v2/auth"
DECISION_PATH = "/o/oauth2/v2/auth/decision"

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")
_MOST_PENDING = 100

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem}}
fieldset{{margin:1rem 0}}button{{font:inherit;padding:.4rem 1.2rem;margin-right:.6rem}}</style></head>
<body>{body}</body></html>
"""


@dataclass(frozen=True)
class _AuthorizationRequest:
    client: RegisteredClient
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str | None
    challenge: str
    challenge_method: str
    offline: bool
    hint: str


class Consent:
    """The pending logins.

    Args:
        backend: Clients, accounts and tokens.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._pending: OrderedDict[str, _AuthorizationRequest] = OrderedDict()

    def show(self, query: Mapping[str, str]) -> Response:
        """The page for an authorization request, or a page that says what is wrong with the request."""
        client = self._backend.tokens.client(query.get("client_id", ""))
        if client is None:
            return _error(401, "invalid_client", "The OAuth client was not found.")
        redirect_uri = query.get("redirect_uri", "")
        if not _redirect_allowed(client, redirect_uri):
            return _error(
                400, "redirect_uri_mismatch", f"The redirect URI does not match: {redirect_uri or '(none)'}"
            )
        if query.get("response_type") != "code":
            return _error(400, "invalid_request", "response_type must be code")
        scopes = tuple(dict.fromkeys(query.get("scope", "").split()))
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if not scopes or unknown:
            named = " ".join(unknown) or "(none)"
            return _error(400, "invalid_scope", f"Some requested scopes were invalid: {named}")
        method = query.get("code_challenge_method", "plain" if "code_challenge" in query else "")
        if method not in ("", "plain", "S256"):
            return _error(400, "invalid_request", f"Invalid code_challenge_method: {method}")
        authorization = _AuthorizationRequest(
            client,
            redirect_uri,
            scopes,
            query.get("state"),
            query.get("code_challenge", ""),
            method,
            query.get("access_type") == "offline",
            query.get("login_hint", ""),
        )
        request_id = secrets.token_urlsafe(24)
        self._pending[request_id] = authorization
        while len(self._pending) > _MOST_PENDING:
            self._pending.popitem(last=False)
        return _page(200, "Consent", self._form(request_id, authorization))

    def _form(self, request_id: str, authorization: _AuthorizationRequest) -> str:
        def box(kind: str, name: str, value: str, checked: bool) -> str:
            mark = " checked" if checked else ""
            text = html.escape(value)
            return f'<label><input type="{kind}" name="{name}" value="{text}"{mark}> {text}</label><br>'

        first = (
            authorization.hint
            if authorization.hint in self._backend.addresses
            else self._backend.addresses[0]
        )
        accounts = "".join(
            box("radio", "account", address, address == first) for address in self._backend.addresses[:50]
        )
        scopes = "".join(box("checkbox", "scope", scope, True) for scope in authorization.scopes)
        return (
            "<h1>Gmail emulator</h1>"
            f"<p>Client <code>{html.escape(authorization.client.id)}</code> asks for access.</p>"
            f'<form method="post" action="{DECISION_PATH}">'
            f'<input type="hidden" name="request" value="{request_id}">'
            f"<fieldset><legend>Account</legend>{accounts}</fieldset>"
            f"<fieldset><legend>Access</legend>{scopes}</fieldset>"
            '<button name="decision" value="approve">Allow</button>'
            '<button name="decision" value="deny">Cancel</button></form>'
        )

    def decide(self, form: Mapping[str, str], scopes: Sequence[str]) -> Response:
        """Redirect to the client with a code or with `access_denied`; each page can be used once.

        Args:
            form: The fields `request`, `account` and `decision`.
            scopes: The checked scopes.
        """
        authorization = self._pending.pop(form.get("request", ""), None)
        if authorization is None:
            return _error(400, "invalid_request", "This page was used before or is unknown. Start again.")
        account = form.get("account", "")
        if form.get("decision") != "approve" or account not in self._backend.mailboxes:
            return _redirect(authorization, {"error": "access_denied"})
        granted = tuple(scope for scope in authorization.scopes if scope in scopes)
        if not granted:
            return _redirect(authorization, {"error": "access_denied"})
        tokens = self._backend.tokens
        # A desktop client always gets a refresh token, a web client when it asks for offline access.
        offline = authorization.client.kind == "installed" or authorization.offline
        code = tokens.new_code(
            AuthorizationCode(
                authorization.client.id,
                authorization.redirect_uri,
                account,
                granted,
                authorization.challenge,
                authorization.challenge_method,
                offline,
            )
        )
        return _redirect(authorization, {"code": code, "scope": " ".join(granted)})


def _redirect_allowed(client: RegisteredClient, uri: str) -> bool:
    if client.kind == "web":
        return uri in client.redirect_uris
    parts = urlsplit(uri)
    return parts.scheme == "http" and parts.hostname in _LOOPBACK


def _redirect(authorization: _AuthorizationRequest, answer: dict[str, str]) -> Response:
    if authorization.state is not None:
        answer = {"state": authorization.state, **answer}
    joint = "&" if "?" in authorization.redirect_uri else "?"
    return RedirectResponse(f"{authorization.redirect_uri}{joint}{urlencode(answer)}", status_code=302)


def _error(status: int, error: str, text: str) -> Response:
    body = f"<h1>Access blocked</h1><p>{html.escape(text)}</p><p>Error {status}: {error}</p>"
    return _page(status, f"Error {status}: {error}", body)


def _page(status: int, title: str, body: str) -> Response:
    page = _PAGE.format(title=title, body=body)
    return HTMLResponse(page, status_code=status, headers={"Cache-Control": "no-store"})
