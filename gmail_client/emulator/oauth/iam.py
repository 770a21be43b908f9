"""Signing without a key, and workload identity: `sign_jwt` and `exchange_identity`.

`sign_jwt` is the method signJwt of the IAM credentials API. `exchange_identity` is Google's Security Token Service: it
exchanges an identity from outside Google for an access token.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any

from google.auth import jwt as google_jwt
from google.auth.crypt import RSASigner

from gmail_client.emulator.api.errors import (
    ApiError,
    bad_argument,
    insufficient_scope,
    missing_token,
    rejected_token,
)
from gmail_client.emulator.oauth.token_endpoint import OAuthResponse, oauth_error
from gmail_client.emulator.oauth.tokens import ACCESS_SECONDS, TokenStore

__all__ = ["IDENTITY_AUDIENCE", "SIGN_JWT", "exchange_identity", "sign_jwt"]

SIGN_JWT = "iam.serviceAccounts.signJwt"
IDENTITY_AUDIENCE = (
    "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/emulator/providers/file"
)

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/iam")
_TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - the name of a grant
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a type
_DENIED = (
    "Permission 'iam.serviceAccounts.signJwt' denied on resource (or it may not exist). This command is "
    "authenticated as an identity that needs the role Service Account Token Creator."
)


def sign_jwt(tokens: TokenStore, email: str, authorization: str | None, body: bytes) -> dict[str, Any]:
    """The response to signJwt: the payload, signed with the service account's key.

    Args:
        tokens: Service account and access tokens.
        email: The service account that is to sign.
        authorization: The header of the request.
        body: The request: `{"payload": "<claims as JSON>"}`.

    Raises:
        ApiError: No or a wrong token, an identity without the permission, or an invalid request.
    """
    if not authorization:
        raise missing_token(SIGN_JWT)
    access = tokens.access(authorization.removeprefix("Bearer ").strip())
    if access is None:
        raise rejected_token(SIGN_JWT)
    if access.scopes.isdisjoint(_SCOPES):
        raise insufficient_scope(SIGN_JWT, _SCOPES)
    account = tokens.service_account()
    if email != account.email or access.client_id not in tokens.signers:
        raise ApiError(403, "forbidden", _DENIED, status="PERMISSION_DENIED")
    try:
        claims = json.loads(json.loads(body)["payload"])
    except (ValueError, KeyError, TypeError):
        claims = None
    if not isinstance(claims, dict):
        raise bad_argument("Invalid value at 'payload'")
    signer = RSASigner.from_string(account.private_pem, account.key_id)  # type: ignore[no-untyped-call]
    signed = google_jwt.encode(signer, claims)  # type: ignore[no-untyped-call]
    return {"keyId": account.key_id, "signedJwt": signed.decode()}


def exchange_identity(form: Mapping[str, str], tokens: TokenStore) -> OAuthResponse:
    """The response to POST /v1/token: an access token for the identity that the subject token proves."""
    if form.get("grant_type") != _TOKEN_EXCHANGE:
        return oauth_error("unsupported_grant_type", "Invalid grant_type")
    if form.get("audience") != IDENTITY_AUDIENCE:
        return oauth_error("invalid_target", "The target service indicated by the audience is invalid.")
    if not hmac.compare_digest(form.get("subject_token", "").encode(), tokens.subject_token.encode()):
        return oauth_error("invalid_grant", "The subject token is invalid.")
    token = tokens.new_access_token("", tuple(form.get("scope", "").split()), client_id=IDENTITY_AUDIENCE)
    return OAuthResponse(
        200,
        {
            "access_token": token,
            "issued_token_type": _ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": ACCESS_SECONDS - 1,
        },
    )
