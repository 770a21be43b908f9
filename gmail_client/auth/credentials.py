"""Credentials: a refresh token, an access token, a service account that impersonates mailboxes, or a login per mailbox.

`Credentials` is an immutable value that can be pickled and never shows its secrets in a repr. `tokens.TokenSource`
obtains access tokens with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from gmail_client.auth.endpoints import GOOGLE, Endpoints, token_root
from gmail_client.auth.logins import TOKEN_PREFIX, read_logins, variable_suffix
from gmail_client.errors import ConfigurationError
from gmail_client.printable import short_repr

__all__ = ["WAYS", "Credentials"]

Kind = Literal["refresh token", "access token", "service account", "logins"]
Secret = str | SecretStr | None

_NONE = SecretStr("")

_SERVICE_ACCOUNT_FIX = "Set GMAIL_SERVICE_ACCOUNT_FILE to the JSON key of the service account."

_EMAIL = re.compile(r"[a-z0-9][a-z0-9._-]*@[a-z0-9.-]+\.gserviceaccount\.com")

_VARIABLES = {
    "client_id": "GMAIL_CLIENT_ID",
    "client_secret": "GMAIL_CLIENT_SECRET",
    "refresh_token": "GMAIL_REFRESH_TOKEN",
    "access_token": "GMAIL_ACCESS_TOKEN",
    "service_account_file": "GMAIL_SERVICE_ACCOUNT_FILE",
    "service_account_email": "GMAIL_SERVICE_ACCOUNT_EMAIL",
    "logins": "GMAIL_LOGINS",
    "refresh_tokens": f"{TOKEN_PREFIX}<MAILBOX>",
}

WAYS = (
    "refresh_token",
    "access_token",
    "service_account_file",
    "service_account_email",
    "logins",
    "refresh_tokens",
)
"""The kinds of credentials, of which a mailbox needs one: names of `Credentials.of` and of the settings."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of one user or service account. Create them with `of`, or with one of the `from_` methods.

    Attributes:
        kind: Which of the four kinds.
        client_id: The OAuth client's id, with a refresh token.
        client_secret: The OAuth client's secret.
        refresh_token: The refresh token that `gmail-assets login` obtained.
        access_token: A token that another program renews; it is used until Gmail refuses it.
        service_account: The service account's JSON key.
        service_account_email: The address of a service account without a key file: its requests are signed through the
            machine's Google identity.
        subject: The mailbox that the service account impersonates.
        logins: The credentials of each mailbox, by address or by the end of a variable's name.
    """

    kind: Kind
    client_id: str = ""
    client_secret: SecretStr = _NONE
    refresh_token: SecretStr = _NONE
    access_token: SecretStr = _NONE
    service_account: SecretStr = _NONE
    service_account_email: str = ""
    subject: str | None = None
    logins: Mapping[str, Credentials] = field(default_factory=dict, hash=False)

    @classmethod
    def of(
        cls,
        *,
        client_id: str | None = None,
        client_secret: Secret = None,
        refresh_token: Secret = None,
        access_token: Secret = None,
        service_account_file: str | Path | None = None,
        service_account_email: str | None = None,
        logins: str | Path | None = None,
        refresh_tokens: Mapping[str, Secret] | None = None,
        subject: str | None = None,
        endpoints: Endpoints = GOOGLE,
    ) -> Credentials:
        """Credentials of the kind that the arguments describe; empty strings count as not given.

        Args:
            client_id: The OAuth client's id, with refresh tokens.
            client_secret: Its secret.
            refresh_token: The refresh token of one mailbox.
            access_token: A token that another program renews.
            service_account_file: Path of a service account's key.
            service_account_email: A service account that the machine's Google identity signs for.
            logins: Folder of login files, one per mailbox.
            refresh_tokens: Refresh tokens by address, or by the end of their variable's name.
            subject: The mailbox that a service account impersonates.
            endpoints: The servers that get the credentials; login files have to belong to them.

        Raises:
            ConfigurationError: No kind, more than one, or an incomplete one.
        """
        given = {
            "client_id": bool(client_id),
            "client_secret": bool(_plain(client_secret)),
            "refresh_token": bool(_plain(refresh_token)),
            "access_token": bool(_plain(access_token)),
            "service_account_file": bool(service_account_file),
            "service_account_email": bool(service_account_email),
            "logins": bool(logins),
            "refresh_tokens": bool(refresh_tokens),
        }
        ways = [way for way in WAYS if given[way]]
        if len(ways) > 1:
            raise ConfigurationError(
                f"{_named(ways)} contradict each other: only one kind of credentials can be set.",
                fix="Keep one of them and unset the others.",
            )
        if not ways:
            half = [name for name in ("client_id", "client_secret") if given[name]]
            raise ConfigurationError(
                f"No refresh token is set, only {_named(half)}." if half else "No Gmail credentials are set.",
                fix="Run `gmail-assets login`, or set GMAIL_CLIENT_ID, GMAIL_CLIENT_SECRET and "
                "GMAIL_REFRESH_TOKEN, or GMAIL_ACCESS_TOKEN alone, or GMAIL_SERVICE_ACCOUNT_FILE; "
                "docs/google-cloud.md lists all ways.",
            )
        if service_account_file:
            return cls.from_service_account_file(service_account_file, subject)
        if service_account_email:
            return cls.from_service_account_email(service_account_email, subject)
        if logins:
            return cls.from_logins(logins, endpoints)
        if given["access_token"]:
            return cls.from_access_token(_plain(access_token))
        missing = [name for name in ("client_id", "client_secret") if not given[name]]
        if missing:
            raise ConfigurationError(
                f"{_named(ways)} is set without {_named(missing)}.",
                fix="A refresh token works only with the OAuth client that it was issued to: set all three, "
                "or run `gmail-assets login`.",
            )
        if refresh_tokens:
            return cls(
                "logins",
                logins={
                    variable_suffix(name): cls.from_refresh_token(
                        client_id or "", _plain(client_secret), _plain(token)
                    )
                    for name, token in refresh_tokens.items()
                },
            )
        return cls.from_refresh_token(client_id or "", _plain(client_secret), _plain(refresh_token))

    @classmethod
    def from_refresh_token(cls, client_id: str, client_secret: str, refresh_token: str) -> Credentials:
        """The credentials of a user who consented, as `gmail-assets login` obtains them."""
        return cls(
            "refresh token",
            client_id=client_id.strip(),
            client_secret=SecretStr(client_secret.strip()),
            refresh_token=SecretStr(refresh_token.strip()),
        )

    @classmethod
    def from_access_token(cls, access_token: str) -> Credentials:
        """An access token that another program renews (as Databricks connections do)."""
        return cls("access token", access_token=SecretStr(access_token.strip()))

    @classmethod
    def from_service_account_file(cls, path: str | Path, subject: str | None = None) -> Credentials:
        """A service account with domain-wide delegation; reads its key file now.

        Raises:
            ConfigurationError: The file can't be read or is not a service account's key.
        """
        name = f"GMAIL_SERVICE_ACCOUNT_FILE={str(path)!r}"
        try:
            text = Path(path).read_text("utf-8")
        except OSError as error:
            reason = error.strerror or "it can't be read"
            raise ConfigurationError(f"{name}: {reason}.", fix=_SERVICE_ACCOUNT_FIX) from None
        except ValueError:
            raise ConfigurationError(f"{name} is not JSON.", fix=_SERVICE_ACCOUNT_FIX) from None
        return cls.from_service_account_json(text, subject, name=name, fix=_SERVICE_ACCOUNT_FIX)

    @classmethod
    def from_service_account_json(
        cls,
        text: str,
        subject: str | None = None,
        *,
        name: str = "service_account_json",
        fix: str = "Set it to the whole JSON key of the service account.",
    ) -> Credentials:
        """A service account with domain-wide delegation, by the text of its JSON key.

        Args:
            text: The key.
            subject: The mailbox that it impersonates.
            name: The name of the key in errors; they never show its content.
            fix: The fix in errors.

        Raises:
            ConfigurationError: The text is not a service account's key.
        """
        try:
            key = json.loads(text)
        except (ValueError, RecursionError):
            raise ConfigurationError(f"{name} is not JSON.", fix=fix) from None
        required = ("client_email", "private_key", "token_uri")
        missing = [field for field in required if not (isinstance(key, dict) and key.get(field))]
        if missing:
            raise ConfigurationError(f"{name} lacks {', '.join(missing)}.", fix=fix)
        return cls("service account", service_account=SecretStr(text), subject=subject or None)

    @classmethod
    def from_service_account_email(cls, email: str, subject: str | None = None) -> Credentials:
        """A service account with domain-wide delegation and no key: Google signs for the identity of this machine.

        Raises:
            ConfigurationError: The address is not a service account's.
        """
        email = email.strip().lower()
        if not _EMAIL.fullmatch(email):
            raise ConfigurationError(
                f"GMAIL_SERVICE_ACCOUNT_EMAIL={short_repr(email)} is not the address of a service account.",
                fix="Set it to NAME@PROJECT.iam.gserviceaccount.com.",
            )
        return cls("service account", service_account_email=email, subject=subject or None)

    @classmethod
    def from_logins(cls, folder: str | Path, endpoints: Endpoints = GOOGLE) -> Credentials:
        """One login per mailbox, from the login files in a folder; reads them now.

        Raises:
            ConfigurationError: The folder or a file can't be read, or a login belongs to other endpoints.
        """
        files = read_logins(Path(folder).expanduser(), endpoints)
        return cls("logins", logins={name: cls.from_refresh_token(**login) for name, login in files.items()})

    def for_mailbox(self, name: str) -> Credentials:
        """The credentials that read one mailbox.

        Args:
            name: `me` or an address.

        Raises:
            ConfigurationError: There are none: no login for this mailbox, or `me` does not name a mailbox.
        """
        if self.kind == "logins":
            return self._login_of(name)
        if self.kind != "service account":
            return self
        chosen = self if name == "me" else self.with_subject(name)
        if chosen.subject is None:
            raise ConfigurationError(
                "GMAIL_USER_ID='me' names no mailbox: a service account has no mailbox.",
                fix="Set GMAIL_MAILBOXES, GMAIL_MAILBOXES_FILE or GMAIL_DIRECTORY, or GMAIL_USER_ID to one mailbox.",
            )
        return chosen

    def _login_of(self, name: str) -> Credentials:
        if name == "me" and len(self.logins) == 1:
            return next(iter(self.logins.values()))
        found = self.logins.get(name.lower()) or self.logins.get(variable_suffix(name))
        if found is None and name == "me":
            raise ConfigurationError(
                "GMAIL_USER_ID='me' names no mailbox: there are logins for several.",
                fix="Set GMAIL_MAILBOXES to the addresses of the logins.",
            )
        if found is None:
            raise ConfigurationError(
                f"There is no login for the mailbox {short_repr(name)}.",
                fix=f"Add its login file to GMAIL_LOGINS, set {TOKEN_PREFIX}{variable_suffix(name)}, or remove it "
                "from GMAIL_MAILBOXES.",
            )
        return found

    def with_subject(self, mailbox: str) -> Credentials:
        """The same service account, impersonating another mailbox.

        Raises:
            ConfigurationError: These are not a service account's credentials.
        """
        if self.kind != "service account":
            raise ConfigurationError(
                f"Credentials of the kind {self.kind!r} can't impersonate {mailbox!r}.",
                fix="Use GMAIL_SERVICE_ACCOUNT_FILE to read other people's mailboxes.",
            )
        return replace(self, subject=mailbox)

    def check_endpoints(self, endpoints: Endpoints) -> None:
        """Refuse endpoints that a service account's key does not belong to.

        Raises:
            ConfigurationError: The key's `token_uri` names another token endpoint; names both.
        """
        if not self.service_account.get_secret_value():
            return
        token_uri = json.loads(self.service_account.get_secret_value()).get("token_uri")
        if isinstance(token_uri, str) and token_root(token_uri) != endpoints.oauth_root:
            raise ConfigurationError(
                f"The key in GMAIL_SERVICE_ACCOUNT_FILE belongs to {token_uri}, but GMAIL_OAUTH_ROOT is "
                f"{endpoints.oauth_root}.",
                fix="Unset GMAIL_OAUTH_ROOT, or use a key that belongs there.",
            )


def _plain(secret: Secret) -> str:
    if isinstance(secret, SecretStr):
        return secret.get_secret_value().strip()
    return (secret or "").strip()


def _named(fields: list[str]) -> str:
    names = [_VARIABLES[name] for name in fields]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
