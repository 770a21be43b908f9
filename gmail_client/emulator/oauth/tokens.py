"""Who may ask: `TokenStore` with OAuth clients, refresh tokens, access tokens, codes and service accounts.

Clients, their secrets and the refresh tokens follow from the seed, so that they hold after a restart. All
are worthless elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gmail_client.emulator.api.methods import SCOPES
from gmail_client.http.clock import Clock

__all__ = [
    "ACCESS_SECONDS",
    "AccessGrant",
    "AuthorizationCode",
    "RegisteredClient",
    "ServiceAccount",
    "TokenStore",
]

ACCESS_SECONDS = 3600
_CODE_SECONDS = 600
_PROJECT = "gmail-emulator"


@dataclass(frozen=True)
class RegisteredClient:
    """An OAuth client.

    Attributes:
        id: client_id.
        secret: client_secret.
        kind: "installed" may come back to any loopback address, "web" only to its redirect URIs.
        redirect_uris: For "web".
    """

    id: str
    secret: str = field(repr=False)
    kind: Literal["installed", "web"] = "installed"
    redirect_uris: tuple[str, ...] = ()


@dataclass(frozen=True)
class AccessGrant:
    """What an access token stands for.

    Attributes:
        address: The mailbox; "" for a service account without subject.
        scopes: Granted scopes.
        expires_at: Epoch seconds.
        delegated: Got by a service account with domain-wide delegation.
    """

    address: str
    scopes: frozenset[str]
    expires_at: float
    delegated: bool = False


@dataclass(frozen=True)
class AuthorizationCode:
    """What an authorization code stands for until it is exchanged."""

    client_id: str
    redirect_uri: str
    address: str
    scopes: tuple[str, ...]
    challenge: str
    challenge_method: str
    offline: bool
    expires_at: float


@dataclass(frozen=True)
class ServiceAccount:
    """A service account: its e-mail address, client id, key id and key pair."""

    email: str
    client_id: str
    key_id: str
    private_pem: str = field(repr=False)
    public_pem: str = field(repr=False)


class TokenStore:
    """Grants and tokens of the emulator's one Google Cloud project. Safe to use from any thread.

    Args:
        seed: What clients and refresh tokens follow from.
        clock: Measures how long tokens live.
    """

    def __init__(self, seed: int, clock: Clock) -> None:
        self._seed = seed
        self._clock = clock
        self._lock = threading.RLock()
        self._clients: dict[str, RegisteredClient] = {}
        self._refresh: dict[str, tuple[str, str, tuple[str, ...]]] = {}
        self._access: dict[str, AccessGrant] = {}
        self._codes: dict[str, AuthorizationCode] = {}
        self._spent_codes: dict[str, list[str]] = {}
        self._service_account: ServiceAccount | None = None
        self._public_keys: dict[str, str] = {}
        self.delegated_scopes: frozenset[str] = SCOPES
        self.default_client = self.add_client("installed")

    def _derived(self, *words: str) -> str:
        text = "\x00".join((str(self._seed), *words)).encode()
        return base64.urlsafe_b64encode(hashlib.sha256(text).digest()).decode().rstrip("=")

    def add_client(
        self, kind: Literal["installed", "web"], redirect_uris: tuple[str, ...] = ()
    ) -> RegisteredClient:
        """Register an OAuth client."""
        with self._lock:
            number = f"{100_000_000_000 + len(self._clients)}"
            name = self._derived("client", number)[:32].lower().replace("-", "a").replace("_", "b")
            client = RegisteredClient(
                f"{number}-{name}.apps.googleusercontent.com",
                f"GOCSPX-{self._derived('secret', number)[:28]}",
                kind,
                redirect_uris,
            )
            self._clients[client.id] = client
            return client

    def client(self, client_id: str) -> RegisteredClient | None:
        """The client with this id."""
        return self._clients.get(client_id)

    def client_json(self, client: RegisteredClient, url: str) -> dict[str, Any]:
        """The client as the file that Google's console lets one download, its endpoints at `url`."""
        return {
            client.kind: {
                "client_id": client.id,
                "project_id": _PROJECT,
                "auth_uri": f"{url}/o/oauth2/v2/auth",
                "token_uri": f"{url}/token",
                "client_secret": client.secret,
                "redirect_uris": list(client.redirect_uris) or ["http://localhost"],
            }
        }

    def standing_refresh_token(self, address: str, scopes: tuple[str, ...]) -> str:
        """The refresh token that the default client has for a mailbox; the same after every restart."""
        token = f"1//0{self._derived('refresh', address)}{self._derived('refresh', '2', address)}"
        with self._lock:
            self._refresh[token] = (self.default_client.id, address, scopes)
        return token

    def new_refresh_token(self, client_id: str, address: str, scopes: tuple[str, ...]) -> str:
        """A refresh token for a grant just made."""
        token = f"1//0{secrets.token_urlsafe(48)}"
        with self._lock:
            self._refresh[token] = (client_id, address, scopes)
        return token

    def refresh_grant(self, token: str) -> tuple[str, str, tuple[str, ...]] | None:
        """(client id, mailbox, scopes) of a refresh token that is valid."""
        return self._refresh.get(token)

    def new_access_token(
        self,
        address: str,
        scopes: tuple[str, ...] | frozenset[str],
        *,
        expires_in: float = ACCESS_SECONDS,
        delegated: bool = False,
    ) -> str:
        """An access token; `expires_in` is in seconds of the clock."""
        token = f"ya29.{secrets.token_urlsafe(60)}"
        access = AccessGrant(address, frozenset(scopes), self._clock.time() + expires_in, delegated)
        with self._lock:
            self._access[token] = access
        return token

    def access(self, token: str) -> AccessGrant | None:
        """What a token stands for; None when it is unknown, revoked or expired."""
        access = self._access.get(token)
        if access is None or access.expires_at <= self._clock.time():
            return None
        return access

    def new_code(self, grant: AuthorizationCode) -> str:
        """An authorization code."""
        code = f"4/0A{secrets.token_urlsafe(48)}"
        with self._lock:
            self._codes[code] = grant
        return code

    def code_expiry(self) -> float:
        """When a code made now is too old."""
        return self._clock.time() + _CODE_SECONDS

    def take_code(self, code: str) -> AuthorizationCode | None:
        """What a code stands for, once; a code that comes twice takes its tokens back."""
        with self._lock:
            for token in self._spent_codes.get(code, ()):
                self.revoke(token)
            grant = self._codes.pop(code, None)
            if grant is None or grant.expires_at <= self._clock.time():
                return None
            self._spent_codes[code] = []
            return grant

    def remember_tokens(self, code: str, tokens: list[str]) -> None:
        """Note the tokens that a code was exchanged for."""
        with self._lock:
            self._spent_codes[code] = tokens

    def revoke(self, token: str) -> bool:
        """Take a grant back, by its refresh or by an access token; False when the token is unknown."""
        with self._lock:
            if token in self._refresh:
                _, address, _ = self._refresh.pop(token)
                self._drop_access(address)
                return True
            access = self._access.get(token)
            if access is None:
                return False
            self.revoke_mailbox(access.address)
            return True

    def revoke_mailbox(self, address: str) -> None:
        """Take back every refresh and access token of a mailbox."""
        with self._lock:
            for token, (_, owner, _) in list(self._refresh.items()):
                if owner == address:
                    del self._refresh[token]
            self._drop_access(address)

    def _drop_access(self, address: str) -> None:
        for token, access in list(self._access.items()):
            if access.address == address:
                del self._access[token]

    def service_account(self) -> ServiceAccount:
        """The project's service account; its key pair is made when first asked for (RSA, 2,048 bits)."""
        with self._lock:
            if self._service_account is None:
                key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
                private = key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                ).decode()
                public = (
                    key.public_key()
                    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
                    .decode()
                )
                key_id = hashlib.sha1(public.encode()).hexdigest()  # noqa: S324
                self._service_account = ServiceAccount(
                    f"reader@{_PROJECT}.iam.gserviceaccount.com",
                    "100000000000000000001",
                    key_id,
                    private,
                    public,
                )
                self._public_keys[key_id] = public
            return self._service_account

    def public_key(self, key_id: str) -> str | None:
        """The public key (PEM) with this id."""
        return self._public_keys.get(key_id)

    def public_keys(self) -> dict[str, str]:
        """All public keys by id."""
        return dict(self._public_keys)

    def write_service_account(self, path: Path, url: str) -> None:
        """Write the service account's key file, readable by its owner only, its token endpoint at `url`."""
        account = self.service_account()
        content = {
            "type": "service_account",
            "project_id": _PROJECT,
            "private_key_id": account.key_id,
            "private_key": account.private_pem,
            "client_email": account.email,
            "client_id": account.client_id,
            "auth_uri": f"{url}/o/oauth2/auth",
            "token_uri": f"{url}/token",
            "universe_domain": "googleapis.com",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(content, indent=2) + "\n")
