"""Delegation without a key file: the service account's requests are signed through the machine's Google identity.

The identity is that of Google's application default credentials: an attached service account, workload identity, or
`gcloud auth application-default login`. The IAM credentials API signs with a key that never leaves Google (`signJwt`),
and the token endpoint exchanges the signed request for an access token of the mailbox.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from functools import lru_cache
from typing import Any

import google.auth
from google.auth import credentials as google_credentials
from google.auth import exceptions as google_errors
from google.auth import impersonated_credentials
from google.auth.transport.requests import Request

from gmail_client.auth.endpoints import OAUTH_ROOT
from gmail_client.errors import CredentialsError, UnavailableError

__all__ = ["IAM_ROOT", "delegated_credentials", "iam_root", "refresh_identity"]

IAM_ROOT = "https://iamcredentials.googleapis.com"

_CLOUD_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LOGIN_FIX = (
    "Run where a service account is attached, set GOOGLE_APPLICATION_CREDENTIALS to a workload identity "
    "configuration, or run `gcloud auth application-default login`."
)


class _Identity(google_credentials.Credentials):
    """Application default credentials with one token for all mailboxes of this process."""

    def __init__(self, source: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._source = source
        self._refresh_lock = threading.Lock()

    def refresh(self, request: object) -> None:
        """Obtain a token with Google's transport, because it does not belong to the configured endpoints."""
        with self._refresh_lock:
            if not self._source.valid:
                self._source.refresh(Request())
            self.token, self.expiry = self._source.token, self._source.expiry


@lru_cache(maxsize=1)
def _identity() -> _Identity:
    # Without scopes, because google-auth would look up the name of the identity's project with them. Nobody needs it,
    # nor the warnings that there is none.
    logger = logging.getLogger("google.auth._default")
    logger.addFilter(_drop)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            source, _ = google.auth.default()
    finally:
        logger.removeFilter(_drop)
    return _Identity(google_credentials.with_scopes_if_required(source, [_CLOUD_SCOPE]))  # type: ignore[no-untyped-call]


def _drop(record: logging.LogRecord) -> bool:
    return False


def refresh_identity() -> None:
    """Make sure that the machine's identity has a valid token.

    Raises:
        CredentialsError: There are no application default credentials, or they no longer work.
        UnavailableError: Their token endpoint can't be reached.
    """
    failure: CredentialsError | UnavailableError | None = None
    try:
        identity = _identity()
        if not identity.valid:
            identity.refresh(None)
    except google_errors.DefaultCredentialsError:
        named = bool(os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"))
        failure = CredentialsError(
            "GMAIL_SERVICE_ACCOUNT_EMAIL is set, but "
            + (
                "the file that GOOGLE_APPLICATION_CREDENTIALS names does not exist or is not one of Google's."
                if named
                else "this machine has no Google identity (application default credentials)."
            ),
            fix="Correct or unset GOOGLE_APPLICATION_CREDENTIALS." if named else _LOGIN_FIX,
        )
    except google_errors.TransportError as error:
        failure = UnavailableError(
            f"The machine's Google identity could not be confirmed: {type(error).__name__}.",
            fix="Check the network, the proxy and the metadata server.",
        )
    except (google_errors.GoogleAuthError, OSError, ValueError) as error:
        failure = CredentialsError(
            f"The application default credentials of this machine don't work: {type(error).__name__}.",
            fix=_LOGIN_FIX,
        )
    if failure is not None:
        # Outside of the handler: an exception of google-auth can quote a response.
        raise failure


def delegated_credentials(email: str, subject: str | None, scopes: tuple[str, ...]) -> Any:
    """google-auth's credentials of a mailbox, signed by the IAM credentials API; call `refresh_identity` before."""
    return impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]
        _identity(), target_principal=email, target_scopes=list(scopes), subject=subject
    )


def iam_root(oauth_root: str) -> str:
    """The root of the IAM credentials API: Google's, or that of another OAuth server, which has to serve both."""
    return IAM_ROOT if oauth_root == OAUTH_ROOT else oauth_root
