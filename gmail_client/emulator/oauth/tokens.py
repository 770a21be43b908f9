"""OAuth clients, refresh tokens, access tokens, authorization codes and the service account: `TokenStore`.

Clients, their secrets and the first refresh tokens are derived from the seed, so that they are still valid after a
restart. They are not valid anywhere else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gmail_client.emulator.api.methods import SCOPES
from gmail_client.http.clock import Clock

__all__ = [
    "ACCESS_SECONDS",
    "AccessGrant",
    "AuthorizationCode",
    "ClientKind",
    "RefreshGrant",
    "RegisteredClient",
    "ServiceAccount",
    "TokenStore",
]

ACCESS_SECONDS = 3600
_CODE_SECONDS = 600
_PROJECT = "gmail-emulator"

ClientKind = Literal["installed", "web"]


@dataclass(frozen=True)
class RegisteredClient:
    """An OAuth client.

    Attributes:
        id: client_id.
        secret: client_secret.
        kind: "installed" clients may use any loopback address as redirect URI, "web" clients only their own.
        redirect_uris: For "web".
    """

    id: str
    secret: str = field(repr=False)
    kind: ClientKind = "installed"
    redirect_uris: tuple[str, ...] = ()


class RefreshGrant(NamedTuple):
    """What a refresh token grants."""

    client_id: str
    address: str
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class AccessGrant:
    """What an access token grants.

    Attributes:
        address: The mailbox; "" for a service account without a subject.
        scopes: Granted scopes.
        expires_at: Epoch seconds.
        delegated: Issued to a service account with domain-wide delegation.
        client_id: The OAuth client or service account it was issued to.
    """

    address: str
    scopes: frozenset[str]
    expires_at: float
    delegated: bool = False
    client_id: str = ""


@dataclass(frozen=True)
class AuthorizationCode:
    """What an authorization code grants until it is exchanged."""

    client_id: str
    redirect_uri: str
    address: str
    scopes: tuple[str, ...]
    challenge: str
    challenge_method: str
    offline: bool


@dataclass(frozen=True)
class ServiceAccount:
    """A service account: its e-mail address, client id, key id and key pair."""

    email: str
    client_id: str
    key_id: str
    private_pem: str = field(repr=False)
    public_pem: str = field(repr=False)


class TokenStore:
    """The clients and tokens of the emulator's only Google Cloud project. Every method may be called from any thread.

    Args:
        seed: Determines clients and refresh tokens.
        clock: Measures the lifetime of tokens.
    """

    def __init__(self, seed: int, clock: Clock) -> None:
        self._seed = seed
        self._clock = clock
        self._lock = threading.RLock()
        self._clients: dict[str, RegisteredClient] = {}
        self._refresh: dict[str, RefreshGrant] = {}
        self._access: dict[str, AccessGrant] = {}
        self._codes: dict[str, tuple[AuthorizationCode, float]] = {}
        self._exchanged: dict[str, list[str]] = {}
        self._service_account: ServiceAccount | None = None
        self.delegated_scopes: frozenset[str] = SCOPES
        self.subject_token = f"workload-{self._derived('workload')}"
        self.signers: frozenset[str] = frozenset()
        self._primary: dict[str, str] = {}
        self.default_client = self.add_client("installed")

    def _derived(self, *words: str) -> str:
        text = "\x00".join((str(self._seed), *words)).encode()
        return base64.urlsafe_b64encode(hashlib.sha256(text).digest()).decode().rstrip("=")

    def add_client(self, kind: ClientKind, redirect_uris: tuple[str, ...] = ()) -> RegisteredClient:
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
        """The client in the format of Google's downloadable JSON file, its endpoints at `url`."""
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

    def primary(self, address: str) -> str:
        """The primary address of the user that an address belongs to."""
        return self._primary.get(address, address)

    def rename(self, old: str, new: str) -> None:
        """Let all tokens of a mailbox be those of its new primary address, and the old one be an alias of it."""
        with self._lock:
            self._primary.pop(new, None)
            self._primary = {alias: new if to == old else to for alias, to in self._primary.items()}
            self._primary[old] = new
            self._refresh = {
                token: grant._replace(address=new) if grant.address == old else grant
                for token, grant in self._refresh.items()
            }
            self._access = {
                token: replace(grant, address=new) if grant.address == old else grant
                for token, grant in self._access.items()
            }

    def default_refresh_token(self, address: str, scopes: tuple[str, ...]) -> str:
        """The refresh token of the default client for a mailbox, the same after every restart."""
        token = f"1//0{self._derived('refresh', address)}{self._derived('refresh', '2', address)}"
        with self._lock:
            self._refresh[token] = RefreshGrant(self.default_client.id, address, scopes)
        return token

    def new_refresh_token(self, client_id: str, address: str, scopes: tuple[str, ...]) -> str:
        """A new refresh token."""
        token = f"1//0{secrets.token_urlsafe(48)}"
        with self._lock:
            self._refresh[token] = RefreshGrant(client_id, address, scopes)
        return token

    def refresh_grant(self, token: str) -> RefreshGrant | None:
        """What a refresh token grants; None when it is unknown or revoked."""
        return self._refresh.get(token)

    def new_access_token(
        self,
        address: str,
        scopes: tuple[str, ...] | frozenset[str],
        *,
        client_id: str = "",
        expires_in: float = ACCESS_SECONDS,
        delegated: bool = False,
    ) -> str:
        """A new access token; `client_id` is the default client's unless given, `expires_in` seconds of the clock."""
        token = f"ya29.{secrets.token_urlsafe(60)}"
        expires_at = self._clock.time() + expires_in
        client_id = client_id or self.default_client.id
        address = self.primary(address)
        with self._lock:
            self._access[token] = AccessGrant(address, frozenset(scopes), expires_at, delegated, client_id)
        return token

    def access(self, token: str) -> AccessGrant | None:
        """What an access token grants; None when it is unknown, revoked or expired."""
        access = self._access.get(token)
        if access is None or access.expires_at <= self._clock.time():
            return None
        return access

    def new_code(self, grant: AuthorizationCode) -> str:
        """A new authorization code, valid for ten minutes."""
        code = f"4/0A{secrets.token_urlsafe(48)}"
        with self._lock:
            self._codes[code] = (grant, self._clock.time() + _CODE_SECONDS)
        return code

    def redeem_code(self, code: str) -> AuthorizationCode | None:
        """Redeem a code once and return what it grants. A second use revokes the tokens that it was exchanged for."""
        with self._lock:
            for token in self._exchanged.get(code, ()):
                self.revoke(token)
            grant, expires_at = self._codes.pop(code, (None, 0.0))
            if grant is None or expires_at <= self._clock.time():
                return None
            self._exchanged[code] = []
            return grant

    def record_tokens(self, code: str, tokens: list[str]) -> None:
        """Record the tokens that a code was exchanged for."""
        with self._lock:
            self._exchanged[code] = tokens

    def revoke(self, token: str) -> bool:
        """Revoke a grant by its refresh token or one of its access tokens; False when the token is unknown."""
        with self._lock:
            if token in self._refresh:
                self._drop_access(self._refresh.pop(token).address)
                return True
            access = self._access.get(token)
            if access is None:
                return False
            self.revoke_mailbox(access.address)
            return True

    def revoke_mailbox(self, address: str) -> None:
        """Revoke every refresh and access token of a mailbox."""
        with self._lock:
            self._refresh = {
                token: grant for token, grant in self._refresh.items() if grant.address != address
            }
            self._drop_access(address)

    def _drop_access(self, address: str) -> None:
        self._access = {token: grant for token, grant in self._access.items() if grant.address != address}

    def service_account(self) -> ServiceAccount:
        """The project's service account; its key pair (RSA, 2,048 bits) is created at the first call."""
        with self._lock:
            if self._service_account is None:
                self._service_account = _new_service_account()
            return self._service_account

    def write_workload_identity(self, path: Path, url: str, audience: str) -> None:
        """Write a workload identity configuration and its subject token, and allow the identity to sign."""
        subject = path.with_name(f"{path.name}.subject-token")
        content = {
            "type": "external_account",
            "audience": audience,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{url}/v1/token",
            "credential_source": {"file": str(subject)},
        }
        for target, text in ((subject, self.subject_token), (path, json.dumps(content, indent=2) + "\n")):
            target.touch(mode=0o600)
            target.write_text(text)
        self.signers = frozenset((audience, self.service_account().client_id))

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


def _new_service_account() -> ServiceAccount:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return ServiceAccount(
        email=f"reader@{_PROJECT}.iam.gserviceaccount.com",
        client_id="100000000000000000001",
        key_id=hashlib.sha1(public).hexdigest(),  # noqa: S324
        private_pem=private.decode(),
        public_pem=public.decode(),
    )
