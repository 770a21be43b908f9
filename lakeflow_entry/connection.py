"""`Connection`: access to a mailbox, from connection options or from the name of a connection.

A connection is given by its options (`client_id`, `client_secret` and `refresh_token`, `access_token` alone, or
`service_account_json` with the mailbox as `user_id`), or by its name. The worker that reads the mail resolves the name,
from the environment or from a file, so that no secret passes through Spark's options, plans and logs:

    GMAIL_CONNECTION_<NAME>_<OPTION>          such as GMAIL_CONNECTION_GMAIL_CONNECTOR_REFRESH_TOKEN
    GMAIL_CONNECTIONS_FILE                    a JSON file: {"gmail_connector": {"client_id": ..., ...}, ...}

Without options and without a name, the usual variables (GMAIL_CLIENT_ID ...) define the connection; if they have no
credentials, the worker uses its `.env` and login file. So no secret has to be in the environment of the worker.

People who may read through a connection must not be able to send its secrets elsewhere. So options that name an
endpoint or a key file are accepted only together with credentials in the options, and without a connection name.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gmail_client.auth.credentials import Credentials
from gmail_client.auth.endpoints import API_ROOT, OAUTH_ROOT
from gmail_client.auth.layers import CLIENT, ROOTS, plain
from gmail_client.client import GmailClient, Mailbox
from gmail_client.errors import ConfigurationError
from gmail_client.quota import preset

__all__ = ["CONNECTION_OPTIONS", "Connection", "by_options", "require_credentials"]

_KEY = "service_account_json"
_KEYLESS = "service_account_email"
_WAYS = ("refresh_token", "access_token", "service_account_file", _KEYLESS, _KEY)
_SECRETS = ("client_secret", "refresh_token", "access_token", _KEY)
_OPTIONS = (*CLIENT, *_WAYS, "user_id", "directory_admin", "quota", *ROOTS)
_PLACES = (*ROOTS, "service_account_file")
_NAMES = ("connection", "databricks.connection")

CONNECTION_OPTIONS = (*(option for option in _OPTIONS if option != _KEYLESS), *_NAMES, "mailboxes")
"""Options that describe a connection. The identity of Spark's workers is not for everybody who can set a reader's
options, so `service_account_email` is not one of them: it has to be set where the connection is defined."""

_PREFIX = "GMAIL_CONNECTION_"
_INJECTION = "spark.databricks.unityCatalog.connectionDfOptionInjection.enabled"
_VARIABLE = re.compile(rf"\bGMAIL_({'|'.join(option.upper() for option in (*_OPTIONS, 'mailboxes'))})\b")


@dataclass(frozen=True, slots=True, repr=False)
class Connection:
    """A connection: its name, or its options.

    Attributes:
        name: Its name, if one was given.
        values: Its options by lower-case name; empty while only the name is known.
    """

    name: str | None
    values: Mapping[str, str]

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Connection:
        """The connection in the options of a data source; a name is not resolved yet.

        Raises:
            ConfigurationError: Incomplete credentials, or an endpoint or key file that these options may not name.
        """
        given = {
            key.lower(): str(value).strip()
            for key, value in options.items()
            if key.lower() in CONNECTION_OPTIONS and str(value).strip()
        }
        name = next((given[key] for key in _NAMES if key in given), None)
        values = {key: given[key] for key in _OPTIONS if key in given}
        _refuse_places(values, name)
        if any(secret in values for secret in _SECRETS):
            _credentials(values, name)
        return cls(name, values)

    @property
    def shows_secrets(self) -> bool:
        """Whether secrets came with the options (on Databricks, Unity Catalog puts them there and hides them)."""
        return any(secret in self.values for secret in _SECRETS)

    def mailbox(self, user_id: str | None = None, client: GmailClient | None = None) -> Mailbox:
        """The mailbox.

        Args:
            user_id: An address that replaces the connection's `user_id`.
            client: The client; by default a separate one.

        Raises:
            ConfigurationError: The connection is not found, or has no credentials.
        """
        client = client or self.client()
        try:
            return client.mailbox(user_id or self._resolved().get("user_id", "me"))
        except ConfigurationError as error:
            raise ConfigurationError(by_options(error.what), fix=by_options(error.fix)) from None

    def client(self) -> GmailClient:
        """A client with the credentials of the connection.

        Raises:
            ConfigurationError: The connection is not found, or has no credentials.
        """
        values = self._resolved()
        credentials = _credentials(values, self.name)
        try:
            return GmailClient(
                credentials,
                quota=preset(values.get("quota", "current")),
                api_root=values.get("api_root", API_ROOT),
                oauth_root=values.get("oauth_root", OAUTH_ROOT),
                # Not an option: a user who can set a reader's options must not be able to extend the list.
                allowed_mailboxes=os.environ.get("GMAIL_ALLOWED_MAILBOXES", "").split(","),
            )
        except ConfigurationError as error:
            raise ConfigurationError(by_options(error.what), fix=by_options(error.fix)) from None

    @property
    def user_id(self) -> str | None:
        """The address of the connection's mailbox; None if it is `me`."""
        name = self._resolved().get("user_id", "me")
        return name.lower() if "@" in name else None

    @property
    def directory_admin(self) -> str | None:
        """The administrator that a service account reads the directory as: `directory_admin`, else `user_id`."""
        return self._resolved().get("directory_admin") or self.user_id

    def _resolved(self) -> Mapping[str, str]:
        if any(way in self.values for way in _WAYS):
            return self.values
        if self.name is None:
            return {**_ordinary(), **self.values}
        found = _variables(_PREFIX + _slug(self.name) + "_") or _file().get(self.name, {})
        if not found:
            raise ConfigurationError(
                f"Connection not found: {self.name!r}. Known connections: {', '.join(_known()) or 'none'}.",
                fix=f"Set {_PREFIX}{_slug(self.name)}_REFRESH_TOKEN (and the rest) where Spark's workers run, "
                "or define it in the file GMAIL_CONNECTIONS_FILE; on Databricks create the Unity Catalog connection, "
                f"and set {_INJECTION} to true in the pipeline.",
            )
        return {**found, **self.values}

    def __repr__(self) -> str:
        return f"Connection({self.name!r}, options: {', '.join(self.values) or 'none'})"


def require_credentials(options: Mapping[str, str]) -> None:
    """Refuse options that have neither credentials nor the name of a connection.

    The framework passes the options of a Unity Catalog connection, so the variables of the environment don't count.

    Raises:
        ConfigurationError: They have none.
    """
    given = {key.lower() for key, value in options.items() if str(value).strip()}
    if given.isdisjoint({*_WAYS, *_NAMES}):
        raise ConfigurationError(
            "The connection has no credentials: no access_token, refresh_token or service_account_json was passed.",
            fix="Create a Unity Catalog connection of the type COMMUNITY and sign in, and set "
            f"{_INJECTION} to true in the pipeline.",
        )


def _refuse_places(values: Mapping[str, str], name: str | None) -> None:
    """Refuse endpoints and key files that options may not name; see the module docstring."""
    places = [place for place in _PLACES if place in values]
    roots = [root for root in ROOTS if root in values]
    if name is not None and places:
        raise ConfigurationError(
            f"Option {places[0]!r} can't be given together with the connection {name!r}: only the connection itself "
            "defines where its credentials are sent.",
            fix=f"Remove the option; set {places[0]} where the connection is defined.",
        )
    if roots and not any(secret in values for secret in ("refresh_token", "access_token", _KEY)):
        raise ConfigurationError(
            f"Option {roots[0]!r} needs refresh_token, access_token or {_KEY} in the same options: "
            "other credentials are not sent there.",
            fix="Give them as options too, or set the endpoint where the credentials are defined.",
        )


def _credentials(values: Mapping[str, str], name: str | None) -> Credentials:
    """The credentials in a connection; a refresh token takes precedence over an access token, which expires."""
    way = next((way for way in _WAYS if way in values), None)
    chosen = {key: value for key, value in values.items() if key not in _WAYS or key == way}
    user_id = values.get("user_id", "me")
    subject = user_id if "@" in user_id else None
    try:
        if way == _KEY:
            return Credentials.from_service_account_json(values[_KEY], subject)
        return Credentials.of(
            client_id=chosen.get("client_id"),
            client_secret=chosen.get("client_secret"),
            refresh_token=chosen.get("refresh_token"),
            access_token=chosen.get("access_token"),
            service_account_file=chosen.get("service_account_file"),
            service_account_email=chosen.get(_KEYLESS),
            subject=subject,
        )
    except ConfigurationError as error:
        of = f"The connection {name!r}" if name else "The connection"
        raise ConfigurationError(
            f"{of} has incomplete credentials: {by_options(error.what)}",
            fix=f"Give it client_id, client_secret and refresh_token, or access_token alone, or {_KEY} and user_id.",
        ) from None


def by_options(text: str) -> str:
    """A message in which environment variables are the options of the connection."""
    return _VARIABLE.sub(lambda found: found[1].lower(), text).replace("GMAIL_DIRECTORY", "mailboxes")


def _slug(name: str) -> str:
    return re.sub(r"\W", "_", name).upper()


def _variables(prefix: str) -> dict[str, str]:
    values = {option: os.environ.get(prefix + option.upper(), "").strip() for option in _OPTIONS}
    return {option: value for option, value in values.items() if value}


def _ordinary() -> dict[str, str]:
    values = _variables("GMAIL_")
    if any(way in values for way in _WAYS):
        return values
    try:
        from gmail_client.settings import Settings
    except ImportError:  # not part of the bundle for Databricks
        return values
    settings = Settings()
    found = {option: plain(getattr(settings, option, None)) for option in _OPTIONS}
    return {option: str(value) for option, value in found.items() if value}


def _file() -> dict[str, dict[str, str]]:
    named = os.environ.get("GMAIL_CONNECTIONS_FILE")
    if not named:
        return {}
    problem = "it is not a JSON object of connections"
    try:
        stored = json.loads(Path(named).expanduser().read_text("utf-8"))
    except OSError as error:
        stored, problem = None, error.strerror or "it can't be read"
    except (ValueError, RecursionError):
        stored, problem = None, "it is not JSON"
    if not isinstance(stored, dict) or not all(isinstance(value, dict) for value in stored.values()):
        raise ConfigurationError(
            f"GMAIL_CONNECTIONS_FILE={named!r}: {problem}.",
            fix='Give it the form {"gmail_connector": {"client_id": "...", "refresh_token": "...", ...}}.',
        )
    return {
        name: {key: str(value) for key, value in values.items() if key in _OPTIONS and str(value).strip()}
        for name, values in stored.items()
    }


def _known() -> list[str]:
    names = set(_file())
    for variable in os.environ:
        if variable.startswith(_PREFIX):
            for option in _OPTIONS:
                if variable.endswith(f"_{option.upper()}"):
                    names.add(variable[len(_PREFIX) : -len(option) - 1].lower())
    return sorted(name for name in names if name)
