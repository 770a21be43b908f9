"""The token and revoke endpoints: `token_response` and `revoke_response`, as Google's OAuth server answers.

Grants: refresh_token, authorization_code (with PKCE) and the JWT bearer of service accounts.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from google.auth import jwt as google_jwt
from google.auth.crypt import RSAVerifier

from gmail_client.emulator.oauth.tokens import ACCESS_SECONDS, RegisteredClient, TokenStore
from gmail_client.http.clock import Clock

__all__ = ["JWT_BEARER", "AccountState", "OAuthResponse", "refusal", "revoke_response", "token_response"]

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_GOOGLE_AUDIENCES = ("https://oauth2.googleapis.com/token", "https://accounts.google.com/o/oauth2/token")
_MOST_SECONDS = 3600
_LEEWAY = 300

AccountState = Callable[[str], str]
"""What an address is in this domain: "active", "suspended" or "" for nobody."""


class OAuthResponse(NamedTuple):
    """Status and JSON body of an answer."""

    status: int
    body: dict[str, Any]


def refusal(error: str, description: str = "", status: int = 400) -> OAuthResponse:
    """An OAuth error."""
    body = {"error": error}
    if description:
        body["error_description"] = description
    return OAuthResponse(status, body)


def token_response(
    form: Mapping[str, str], book: TokenStore, *, url: str, clock: Clock, accounts: AccountState
) -> OAuthResponse:
    """What POST /token answers.

    Args:
        form: The fields of the request.
        book: Clients and tokens.
        url: The emulator's own root: with `/token` an accepted audience of assertions.
        clock: The present.
        accounts: What an address is here.
    """
    grant = form.get("grant_type", "")
    if grant == JWT_BEARER:
        return _assertion(form.get("assertion", ""), book, url, clock, accounts)
    if grant not in ("refresh_token", "authorization_code"):
        return refusal("unsupported_grant_type", f"Invalid grant_type: {grant}")
    client = book.client(form.get("client_id", ""))
    if client is None:
        return refusal("invalid_client", "The OAuth client was not found.", 401)
    if not hmac.compare_digest(client.secret.encode(), form.get("client_secret", "").encode()):
        return refusal("invalid_client", "The provided client secret is invalid.", 401)
    if grant == "refresh_token":
        return _refreshed(form, client, book)
    return _exchanged(form, client, book)


def _refreshed(form: Mapping[str, str], client: RegisteredClient, book: TokenStore) -> OAuthResponse:
    found = book.refresh_grant(form.get("refresh_token", ""))
    if found is None:
        return refusal("invalid_grant", "Token has been expired or revoked.")
    client_id, address, scopes = found
    if client_id != client.id:
        return refusal("unauthorized_client", "Unauthorized", 401)
    wanted = tuple(form.get("scope", "").split()) or scopes
    if not set(wanted) <= set(scopes):
        return refusal("invalid_scope", "Some requested scopes were invalid.")
    token = book.new_access_token(address, wanted)
    return OAuthResponse(200, _token_body(token, wanted))


def _exchanged(form: Mapping[str, str], client: RegisteredClient, book: TokenStore) -> OAuthResponse:
    code = form.get("code", "")
    grant = book.take_code(code)
    if grant is None or grant.client_id != client.id:
        return refusal("invalid_grant", "Malformed auth code.")
    if grant.redirect_uri != form.get("redirect_uri", ""):
        return refusal("redirect_uri_mismatch", "Bad Request")
    if grant.challenge:
        verifier = form.get("code_verifier", "")
        if not verifier:
            return refusal("invalid_grant", "Missing code verifier.")
        if not hmac.compare_digest(_challenge(verifier, grant.challenge_method), grant.challenge):
            return refusal("invalid_grant", "Invalid code verifier.")
    access = book.new_access_token(grant.address, grant.scopes)
    body = _token_body(access, grant.scopes)
    tokens = [access]
    if grant.offline:
        body["refresh_token"] = book.new_refresh_token(client.id, grant.address, grant.scopes)
        tokens.append(body["refresh_token"])
    book.remember_tokens(code, tokens)
    return OAuthResponse(200, body)


def _challenge(verifier: str, method: str) -> str:
    if method == "plain":
        return verifier
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _assertion(
    assertion: str, book: TokenStore, url: str, clock: Clock, accounts: AccountState
) -> OAuthResponse:
    account = book.service_account()
    try:
        header = google_jwt.decode_header(assertion)  # type: ignore[no-untyped-call]
        claims = google_jwt.decode(assertion, verify=False)  # type: ignore[no-untyped-call]
    except ValueError:
        return refusal("invalid_grant", "Bad Request")
    if claims.get("iss") != account.email:
        return refusal("invalid_grant", "Invalid grant: account not found")
    public = book.public_key(str(header.get("kid", "")))
    try:
        if public is None or header.get("alg") != "RS256":
            raise ValueError("no such key")
        _verify_signature(assertion, public)
    except ValueError:
        return refusal("invalid_grant", "Invalid JWT Signature.")
    if claims.get("aud") not in (f"{url}/token", *_GOOGLE_AUDIENCES):
        return refusal("invalid_grant", "Invalid JWT: Failed audience check.")
    # Who signs knows nothing of a scaled clock, so the machine's own time is as good.
    if not any(_timely(claims, now) for now in (clock.time(), time.time())):
        return refusal(
            "invalid_grant",
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
            "Check your iat and exp values in the JWT claim.",
        )
    scopes = tuple(str(claims.get("scope", "")).split())
    if not scopes:
        return refusal("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
    subject = str(claims.get("sub", ""))
    if subject in ("", account.email):
        token = book.new_access_token("", scopes)
        return OAuthResponse(200, _token_body(token, None))
    if accounts(subject.lower()) != "active":
        return refusal("invalid_grant", "Invalid email or User ID")
    if not set(scopes) <= book.delegated_scopes:
        return refusal(
            "unauthorized_client",
            "Client is unauthorized to retrieve access tokens using this method, or client not authorized "
            "for any of the scopes requested.",
            401,
        )
    token = book.new_access_token(subject.lower(), scopes, delegated=True)
    return OAuthResponse(200, _token_body(token, None))


def _timely(claims: Mapping[str, Any], now: float) -> bool:
    issued, expires = claims.get("iat"), claims.get("exp")
    if not isinstance(issued, int | float) or not isinstance(expires, int | float):
        return False
    return issued <= now + _LEEWAY and expires >= now - _LEEWAY and expires - issued <= _MOST_SECONDS


def _verify_signature(assertion: str, public_pem: str) -> None:
    """Raise ValueError unless the key that belongs to `public_pem` signed the assertion."""
    signed, _, signature = assertion.rpartition(".")
    padded = signature + "=" * (-len(signature) % 4)
    verifier = RSAVerifier.from_string(public_pem)  # type: ignore[no-untyped-call]
    if not verifier.verify(signed.encode(), base64.urlsafe_b64decode(padded)):
        raise ValueError("wrong signature")


def _token_body(token: str, scopes: tuple[str, ...] | None) -> dict[str, Any]:
    body: dict[str, Any] = {"access_token": token, "expires_in": ACCESS_SECONDS - 1}
    if scopes is not None:
        body["scope"] = " ".join(scopes)
    body["token_type"] = "Bearer"  # noqa: S105
    return body


def revoke_response(token: str, book: TokenStore) -> OAuthResponse:
    """What POST /revoke answers: nothing, or invalid_token."""
    if not book.revoke(token):
        return refusal("invalid_token", "Token expired or revoked")
    return OAuthResponse(200, {})
