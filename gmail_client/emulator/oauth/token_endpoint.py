"""The token, revoke and tokeninfo endpoints: `token_response`, `revoke_response` and `token_info`.

Grants: refresh_token, authorization_code (with PKCE), and the JWT bearer assertion of service accounts.
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

__all__ = [
    "JWT_BEARER",
    "AccountState",
    "OAuthResponse",
    "oauth_error",
    "revoke_response",
    "token_info",
    "token_response",
]

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_GOOGLE_AUDIENCES = ("https://oauth2.googleapis.com/token", "https://accounts.google.com/o/oauth2/token")
_EMAIL_SCOPES = ("email", "https://www.googleapis.com/auth/userinfo.email")
_LONGEST_ASSERTION_SECONDS = 3600
_CLOCK_SKEW_SECONDS = 300

AccountState = Callable[[str], str]
"""The state of an address in this domain: "active", "suspended", or "" when it does not exist."""


class OAuthResponse(NamedTuple):
    """Status and JSON body of a response."""

    status: int
    body: dict[str, Any]


def oauth_error(error: str, description: str = "", status: int = 400) -> OAuthResponse:
    """An error in OAuth's form."""
    body = {"error": error}
    if description:
        body["error_description"] = description
    return OAuthResponse(status, body)


def token_response(
    form: Mapping[str, str], tokens: TokenStore, *, url: str, clock: Clock, accounts: AccountState
) -> OAuthResponse:
    """The response to POST /token.

    Args:
        form: The fields of the request.
        tokens: Clients and tokens.
        url: The root of the emulator: with `/token` an accepted audience of assertions.
        clock: The current time.
        accounts: The state of an address.
    """
    grant = form.get("grant_type", "")
    if grant == JWT_BEARER:
        return _assertion(form.get("assertion", ""), tokens, url, clock, accounts)
    if grant not in ("refresh_token", "authorization_code"):
        return oauth_error("unsupported_grant_type", f"Invalid grant_type: {grant}")
    client = tokens.client(form.get("client_id", ""))
    if client is None:
        return oauth_error("invalid_client", "The OAuth client was not found.", 401)
    if not hmac.compare_digest(client.secret.encode(), form.get("client_secret", "").encode()):
        return oauth_error("invalid_client", "The provided client secret is invalid.", 401)
    if grant == "refresh_token":
        return _refresh(form, client, tokens)
    return _exchange(form, client, tokens)


def _refresh(form: Mapping[str, str], client: RegisteredClient, tokens: TokenStore) -> OAuthResponse:
    grant = tokens.refresh_grant(form.get("refresh_token", ""))
    if grant is None:
        return oauth_error("invalid_grant", "Token has been expired or revoked.")
    if grant.client_id != client.id:
        return oauth_error("unauthorized_client", "Unauthorized", 401)
    scopes = tuple(form.get("scope", "").split()) or grant.scopes
    if not set(scopes) <= set(grant.scopes):
        return oauth_error("invalid_scope", "Some requested scopes were invalid.")
    token = tokens.new_access_token(grant.address, scopes, client_id=client.id)
    return OAuthResponse(200, _token_body(token, scopes))


def _exchange(form: Mapping[str, str], client: RegisteredClient, tokens: TokenStore) -> OAuthResponse:
    code = form.get("code", "")
    grant = tokens.redeem_code(code)
    if grant is None or grant.client_id != client.id:
        return oauth_error("invalid_grant", "Malformed auth code.")
    if grant.redirect_uri != form.get("redirect_uri", ""):
        return oauth_error("redirect_uri_mismatch", "Bad Request")
    if grant.challenge:
        verifier = form.get("code_verifier", "")
        if not verifier:
            return oauth_error("invalid_grant", "Missing code verifier.")
        if not hmac.compare_digest(_challenge(verifier, grant.challenge_method), grant.challenge):
            return oauth_error("invalid_grant", "Invalid code verifier.")
    access = tokens.new_access_token(grant.address, grant.scopes, client_id=client.id)
    body = _token_body(access, grant.scopes)
    issued = [access]
    if grant.offline:
        body["refresh_token"] = tokens.new_refresh_token(client.id, grant.address, grant.scopes)
        issued.append(body["refresh_token"])
    tokens.record_tokens(code, issued)
    return OAuthResponse(200, body)


def _challenge(verifier: str, method: str) -> str:
    if method == "plain":
        return verifier
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _assertion(
    assertion: str, tokens: TokenStore, url: str, clock: Clock, accounts: AccountState
) -> OAuthResponse:
    account = tokens.service_account()
    try:
        header = google_jwt.decode_header(assertion)  # type: ignore[no-untyped-call]
        claims = google_jwt.decode(assertion, verify=False)  # type: ignore[no-untyped-call]
    except ValueError:
        return oauth_error("invalid_grant", "Bad Request")
    if claims.get("iss") != account.email:
        return oauth_error("invalid_grant", "Invalid grant: account not found")
    key_matches = header.get("kid") == account.key_id and header.get("alg") == "RS256"
    if not key_matches or not _is_signed(assertion, account.public_pem):
        return oauth_error("invalid_grant", "Invalid JWT Signature.")
    if claims.get("aud") not in (f"{url}/token", *_GOOGLE_AUDIENCES):
        return oauth_error("invalid_grant", "Invalid JWT: Failed audience check.")
        # The signer uses the system's time, not a scaled clock, so that time is accepted too.
    if not any(_is_timely(claims, now) for now in (clock.time(), time.time())):
        return oauth_error(
            "invalid_grant",
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
            "Check your iat and exp values in the JWT claim.",
        )
    scopes = tuple(str(claims.get("scope", "")).split())
    if not scopes:
        return oauth_error("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
    subject = str(claims.get("sub", "")).lower()
    if subject in ("", account.email):
        token = tokens.new_access_token("", scopes, client_id=account.client_id)
        return OAuthResponse(200, _token_body(token, None))
    if accounts(subject) != "active":
        return oauth_error("invalid_grant", "Invalid email or User ID")
    if not set(scopes) <= tokens.delegated_scopes:
        return oauth_error(
            "unauthorized_client",
            "Client is unauthorized to retrieve access tokens using this method, or client not authorized "
            "for any of the scopes requested.",
            401,
        )
    token = tokens.new_access_token(subject, scopes, client_id=account.client_id, delegated=True)
    return OAuthResponse(200, _token_body(token, None))


def _is_timely(claims: Mapping[str, Any], now: float) -> bool:
    issued, expires = claims.get("iat"), claims.get("exp")
    if not isinstance(issued, int | float) or not isinstance(expires, int | float):
        return False
    in_time = issued <= now + _CLOCK_SKEW_SECONDS and expires >= now - _CLOCK_SKEW_SECONDS
    return in_time and expires - issued <= _LONGEST_ASSERTION_SECONDS


def _is_signed(assertion: str, public_pem: str) -> bool:
    """Whether the key that belongs to `public_pem` signed the assertion."""
    signed, _, signature = assertion.rpartition(".")
    verifier = RSAVerifier.from_string(public_pem)  # type: ignore[no-untyped-call]
    try:
        decoded = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        return bool(verifier.verify(signed.encode(), decoded))
    except ValueError:
        return False


def _token_body(token: str, scopes: tuple[str, ...] | None) -> dict[str, Any]:
    body: dict[str, Any] = {"access_token": token, "expires_in": ACCESS_SECONDS - 1}
    if scopes is not None:
        body["scope"] = " ".join(scopes)
    body["token_type"] = "Bearer"  # noqa: S105
    return body


def revoke_response(token: str, tokens: TokenStore) -> OAuthResponse:
    """The response to POST /revoke: empty, or invalid_token."""
    if not tokens.revoke(token):
        return oauth_error("invalid_token", "Token expired or revoked")
    return OAuthResponse(200, {})


def token_info(
    token: str, tokens: TokenStore, *, clock: Clock, user_id: Callable[[str], str]
) -> OAuthResponse:
    """The response to GET /tokeninfo: what an access token grants, or invalid_token.

    Args:
        token: The access token.
        tokens: Clients and tokens.
        clock: The current time.
        user_id: Google's numeric id of an address.
    """
    access = tokens.access(token)
    if access is None:
        return oauth_error("invalid_token", "Invalid Value")
    body = {
        "azp": access.client_id,
        "aud": access.client_id,
        "scope": " ".join(sorted(access.scopes)),
        "exp": str(int(access.expires_at)),
        "expires_in": str(max(0, int(access.expires_at - clock.time()))),
        "access_type": "online" if access.delegated or not access.address else "offline",
    }
    if access.address:
        body["sub"] = user_id(access.address)
    if access.address and not access.scopes.isdisjoint(_EMAIL_SCOPES):
        body |= {"email": access.address, "email_verified": "true"}
    return OAuthResponse(200, body)
