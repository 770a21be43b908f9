"""The OAuth client of a login: from its id and secret, or from the JSON file of Google's console.

The error for a file of another kind (a service account's key, gcloud's credentials) names the kind.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from gmail_client.auth.endpoints import token_root
from gmail_client.errors import ConfigurationError

__all__ = ["OAuthClient"]

Kind = Literal["desktop", "web", "unknown"]

_MAKE_ONE = "Create an OAuth client of type 'Desktop app' in the Cloud console (docs/google-cloud.md)"
_FILE_FIX = f"{_MAKE_ONE}, download its JSON and use that file."

_OTHER_FILES = {
    "service_account": (
        "is the key of a service account, not an OAuth client",
        "A service account needs no login: set GMAIL_SERVICE_ACCOUNT_FILE to this file.",
    ),
    "authorized_user": ("contains the credentials of gcloud, not an OAuth client", _FILE_FIX),
    "external_account": ("describes a workload identity, not an OAuth client", _FILE_FIX),
}


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """An OAuth client.

    Attributes:
        id: The client's id.
        secret: The client's secret.
        kind: The console's application type; `unknown` if only id and secret are known.
        redirect_uris: Registered redirect addresses of a web client; a desktop client needs none.
        token_uri: The token endpoint in its file, empty if it has none. Only compared, never used for a request.
    """

    id: str
    secret: SecretStr
    kind: Kind = "unknown"
    redirect_uris: tuple[str, ...] = ()
    token_uri: str = ""

    @classmethod
    def of(cls, client_id: str | None, client_secret: str | SecretStr | None) -> OAuthClient:
        """A client from its id and secret.

        Raises:
            ConfigurationError: One of them is missing, or they are swapped.
        """
        if isinstance(client_secret, SecretStr):
            client_secret = client_secret.get_secret_value()
        identity, secret = (client_id or "").strip(), (client_secret or "").strip()
        missing = [name for name, value in (("client id", identity), ("client secret", secret)) if not value]
        if missing:
            raise ConfigurationError(
                f"No {' and no '.join(missing)} was given for the login.",
                fix="Use --client-file, or --client-id (in a terminal, the command asks for the secret), or set "
                f"GMAIL_CLIENT_ID and GMAIL_CLIENT_SECRET. {_MAKE_ONE}.",
            )
        if identity.startswith("GOCSPX-") or secret.endswith(".apps.googleusercontent.com"):
            raise ConfigurationError(
                "The client id and the client secret are swapped.",
                fix="The id ends with .apps.googleusercontent.com, the secret starts with GOCSPX-.",
            )
        return cls(identity, SecretStr(secret))

    @classmethod
    def from_file(cls, path: str | Path) -> OAuthClient:
        """A client from the console's JSON file.

        Raises:
            ConfigurationError: The file can't be read, or is not an OAuth client's.
        """
        try:
            document = json.loads(Path(path).expanduser().read_text("utf-8"))
        except OSError as error:
            reason = error.strerror or "it can't be read"
            raise ConfigurationError(f"The client file {str(path)!r}: {reason}.", fix=_FILE_FIX) from None
        except (ValueError, RecursionError):
            raise ConfigurationError(f"The client file {str(path)!r} is not JSON.", fix=_FILE_FIX) from None
        kind, client = _section(document, path)
        identity, secret = client.get("client_id"), client.get("client_secret")
        if not (isinstance(identity, str) and isinstance(secret, str) and identity and secret):
            raise ConfigurationError(
                f"The client file {str(path)!r} lacks client_id or client_secret.", fix=_FILE_FIX
            )
        uris = client.get("redirect_uris")
        redirect_uris = tuple(uri for uri in uris if isinstance(uri, str)) if isinstance(uris, list) else ()
        token_uri = client.get("token_uri")
        return cls(
            identity,
            SecretStr(secret),
            kind,
            redirect_uris,
            token_uri if isinstance(token_uri, str) else "",
        )

    def check_endpoint(self, oauth_root: str) -> None:
        """Refuse a token endpoint that the client's file does not name.

        Raises:
            ConfigurationError: Another one; names both.
        """
        if self.token_uri and token_root(self.token_uri) != oauth_root:
            raise ConfigurationError(
                f"The client file names the token endpoint {self.token_uri}, but GMAIL_OAUTH_ROOT is {oauth_root}.",
                fix="Unset GMAIL_OAUTH_ROOT, or give the file of a client that belongs there.",
            )


def _section(document: object, path: str | Path) -> tuple[Kind, dict[str, Any]]:
    if isinstance(document, dict):
        installed, web = document.get("installed"), document.get("web")
        if isinstance(installed, dict):
            return "desktop", installed
        if isinstance(web, dict):
            return "web", web
        what, fix = _OTHER_FILES.get(str(document.get("type")), ("is not an OAuth client's file", _FILE_FIX))
        raise ConfigurationError(f"The client file {str(path)!r} {what}.", fix=fix)
    raise ConfigurationError(f"The client file {str(path)!r} is not an OAuth client's file.", fix=_FILE_FIX)
