"""Settings from the environment, from `.env` in the working directory, and from the login file.

The first source with a value wins; an empty value counts as not set; an endpoint applies only to the credentials of the
same source (`gmail_client.auth.layers`). Only the command line and Dagster need this module (and pydantic-settings);
`Credentials` and `GmailClient` take plain values.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from gmail_client.auth.credentials import Credentials
from gmail_client.auth.endpoints import API_ROOT, OAUTH_ROOT, Endpoints, checked_root
from gmail_client.auth.layers import CLIENT, Layer, merged, owner_of_client, plain
from gmail_client.auth.logins import tokens_in_environment
from gmail_client.auth.oauth_client import OAuthClient
from gmail_client.directory import DIRECTORY_ENTRY
from gmail_client.errors import ConfigurationError
from gmail_client.printable import short_repr
from gmail_client.private_files import refuse_planted
from gmail_client.quota import preset
from gmail_client.quota_shares import ProjectLimits

__all__ = ["Settings", "credentials_file", "login_target", "setting_error"]

_IN_CODE = "the code"
_ENVIRONMENT = "the environment"
_DOTENV = ".env"


class Settings(BaseSettings):
    """All settings; each field is the environment variable `GMAIL_<NAME>`.

    Raises:
        ConfigurationError: An invalid value; the message names the variable, the value and the fix.
    """

    model_config = SettingsConfigDict(
        env_prefix="GMAIL_",
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    client_id: str | None = Field(None, description="The OAuth client's id.")
    client_secret: SecretStr | None = Field(None, description="The OAuth client's secret.")
    refresh_token: SecretStr | None = Field(None, description="A refresh token of that client.")
    access_token: SecretStr | None = Field(None, description="An access token that another program renews.")
    service_account_file: Path | None = Field(None, description="A service account's JSON key.")
    service_account_email: str | None = Field(
        None, description="A service account without a key file: the machine's Google identity has it signed."
    )
    logins: Path | None = Field(None, description="Folder of login files, one per mailbox.")
    refresh_tokens: Annotated[tuple[tuple[str, SecretStr], ...], NoDecode] = Field(
        (),
        description="Refresh tokens by address, as JSON; or one variable per mailbox, GMAIL_REFRESH_TOKEN_<MAILBOX>.",
    )
    user_id: str = Field("me", description="The mailbox: `me` or an address.")
    mailboxes: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Several mailboxes, separated by commas; by default only `user_id`."
    )
    mailboxes_file: Path | None = Field(None, description="A file with one mailbox per line.")
    directory: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Users of the Workspace directory: `all`, `domain:NAME`, `org-unit:/PATH` or `group:ADDRESS`, "
        "separated by commas.",
    )
    directory_admin: str | None = Field(
        None, description="The administrator that the service account reads the directory as."
    )
    allowed_mailboxes: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Addresses, or domains such as `@example.com`: no other mailbox is read."
    )
    spec: str | None = Field(None, description="The pipeline spec: a YAML or JSON file.")
    quota: str = Field("current", description="`current`, `legacy`, or units per minute and user.")
    units_per_minute: int | None = Field(
        None, ge=600, description="Units per minute of the project; by default those of the quota."
    )
    units_per_day: int | None = Field(
        None, ge=1_000, description="Units per day of the project; by default those of the quota."
    )
    loads_share: float = Field(
        0.9, gt=0, le=1, description="Share of the units per day at which first loads stop."
    )
    changes_reserve: float = Field(
        0.03,
        ge=0,
        le=0.5,
        description="Share of the units per minute that first loads leave free for the changes of other processes.",
    )
    lake: str = Field("lake", description="Location of the Delta tables: a folder or an object-store URI.")
    api_root: str = Field(API_ROOT, description="URL of the Gmail API.")
    oauth_root: str = Field(OAUTH_ROOT, description="URL of the OAuth server.")

    def __init__(self, **values: Any) -> None:
        failure: ConfigurationError | None = None
        try:
            super().__init__(**values)
        except ValidationError as error:
            failure = setting_error(error)
        except (OSError, UnicodeDecodeError) as error:
            failure = _unreadable_dotenv(error)
        if failure is not None:
            raise failure

    @property
    def project_limits(self) -> ProjectLimits:
        """Limits of the project that its processes share."""
        plan = preset(self.quota)
        per_minute = plan.project_per_minute if self.units_per_minute is None else self.units_per_minute
        per_day = plan.project_per_day if self.units_per_day is None else self.units_per_day
        return ProjectLimits(per_minute, per_day, self.loads_share, self.changes_reserve)

    @field_validator("mailboxes", "allowed_mailboxes", "directory", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))

    @field_validator("refresh_tokens", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        return tuple(_tokens(value).items())

    @field_validator("directory")
    @classmethod
    def _known_directory(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            if not DIRECTORY_ENTRY.fullmatch(entry):
                raise ConfigurationError(
                    f"GMAIL_DIRECTORY contains {short_repr(entry)}.",
                    fix="Use all, domain:example.com, org-unit:/Sales or group:team@example.com, separated by commas.",
                )
        return value

    @field_validator("quota")
    @classmethod
    def _known_quota(cls, value: str) -> str:
        preset(value)
        return value

    @field_validator("api_root")
    @classmethod
    def _safe_api_root(cls, value: str) -> str:
        return checked_root("GMAIL_API_ROOT", value)

    @field_validator("oauth_root")
    @classmethod
    def _safe_oauth_root(cls, value: str) -> str:
        return checked_root("GMAIL_OAUTH_ROOT", value)

    @property
    def endpoints(self) -> Endpoints:
        """Where the credentials may be sent."""
        return Endpoints(self.api_root, self.oauth_root)

    @property
    def lake_uri(self) -> str:
        """Location of the lake, a folder or a URI; the default location is checked.

        Raises:
            ConfigurationError: It is the default folder, which leads out of the working directory or belongs to another
                user.
        """
        if "lake" not in self.model_fields_set:
            refuse_planted(self.lake)
        return self.lake if "://" in self.lake else str(Path(self.lake).expanduser())

    @property
    def discovers(self) -> bool:
        """Whether mailboxes come from a file or from the directory (`discovery.discover`), not from settings alone."""
        return self.mailboxes_file is not None or bool(self.directory)

    @property
    def mailbox_names(self) -> tuple[str, ...]:
        """The mailboxes that the settings name: `mailboxes`, else those with a login file, or `user_id` alone.

        Raises:
            ConfigurationError: The login files can't be read.
        """
        if self.mailboxes:
            return self.mailboxes
        if self.logins is not None and self.user_id == "me":
            return tuple(self.credentials().logins)
        return (self.user_id,)

    def credentials(self) -> Credentials:
        """The credentials that these settings describe.

        Raises:
            ConfigurationError: Missing, contradictory or incomplete credentials.
        """
        return Credentials.of(
            client_id=self.client_id,
            client_secret=self.client_secret,
            refresh_token=self.refresh_token,
            access_token=self.access_token,
            service_account_file=self.service_account_file,
            service_account_email=self.service_account_email,
            logins=self.logins,
            refresh_tokens=dict(self.refresh_tokens),
            subject=self.user_id if "@" in self.user_id else None,
            endpoints=self.endpoints,
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """One source that merges the four; see `_Layers`."""
        return (_Layers(settings_cls, (init_settings, env_settings, dotenv_settings)),)


class _Layers(PydanticBaseSettingsSource):
    """Arguments, environment, `.env`, login file, merged by the rules of `gmail_client.auth.layers`."""

    def __init__(
        self, settings_cls: type[BaseSettings], above: tuple[PydanticBaseSettingsSource, ...]
    ) -> None:
        super().__init__(settings_cls)
        self._above = above

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        layers = []
        for source, name in zip(self._above, (_IN_CODE, _ENVIRONMENT, _DOTENV), strict=True):
            source._set_current_state(self.current_state)
            values = _with_tokens(source()) if name == _ENVIRONMENT else source()
            layers.append(Layer.of(name, values, trusted=name != _DOTENV))
        if not any(layer.has_credentials for layer in layers):
            login = _login_file()
            _refuse_other_client(login, layers)
            layers.append(login)
        return merged(layers)


def _with_tokens(environment: dict[str, Any]) -> dict[str, Any]:
    """The environment's values, with the refresh tokens of single mailboxes."""
    tokens = {**_tokens(environment.get("refresh_tokens")), **tokens_in_environment()}
    return {**environment, "refresh_tokens": tokens} if tokens else environment


def _tokens(value: object) -> dict[str, Any]:
    """Refresh tokens by address, from JSON text or an object.

    Raises:
        ConfigurationError: Neither.
    """
    found: Any = value or {}
    if isinstance(value, str):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            found = None
    if not isinstance(found, dict) or not all(isinstance(token, str | SecretStr) for token in found.values()):
        raise ConfigurationError(
            "GMAIL_REFRESH_TOKENS is not a JSON object of refresh tokens by address.",
            fix='Give it the form {"ada@example.com": "..."}, or set one variable per mailbox.',
        )
    return found


def _refuse_other_client(login: Layer, above: Sequence[Layer]) -> None:
    for name in CLIENT:
        given = next((plain(layer.values[name]) for layer in above if name in layer.values), None)
        if given is not None and name in login.values and given != login.values[name]:
            raise ConfigurationError(
                f"GMAIL_{name.upper()} is not the one in the login file.",
                fix="Run `gmail-assets login` with this client, or unset "
                "GMAIL_CLIENT_ID and GMAIL_CLIENT_SECRET.",
            )


def login_target(
    *,
    client_id: str | None = None,
    client_secret: str | None = None,
    client: OAuthClient | None = None,
    ask_secret: Callable[[], str] | None = None,
) -> tuple[OAuthClient, Endpoints]:
    """The OAuth client for `login`, and its endpoints: from the command line, the environment, `.env`, else the
    last login.

    Values of the command line count as part of the environment, because both come from the user who runs the command.

    Args:
        client_id: The command line's client id.
        client_secret: The command line's client secret.
        client: The client of the command line's client file.
        ask_secret: Asks for the client secret where there is an id without one; its answer counts as typed.

    Raises:
        ConfigurationError: There is no client, or an endpoint is named that it doesn't belong to.
    """
    try:
        typed = _with_tokens(dict(EnvSettingsSource(Settings)()))
        dotenv = Layer.of(_DOTENV, DotEnvSettingsSource(Settings)(), trusted=False)
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable_dotenv(error) from None
    if client is not None:
        client_id, client_secret = client.id, client.secret.get_secret_value()
    typed |= {"client_id": client_id or typed.get("client_id")}
    typed |= {"client_secret": client_secret or typed.get("client_secret")}
    named = {
        name for layer in (Layer.of(_ENVIRONMENT, typed), dotenv) for name in CLIENT if name in layer.values
    }
    if named == {"client_id"} and ask_secret is not None:
        typed |= {"client_secret": ask_secret()}
    layers = [Layer.of(_ENVIRONMENT, typed), dotenv]
    if not named:
        layers.append(_login_file())
    owner = owner_of_client(layers)
    endpoints = Endpoints() if owner is None else owner.endpoints
    if client is not None:
        client.check_endpoint(endpoints.oauth_root)
        return client, endpoints
    found = {
        name: next((str(layer.values[name]) for layer in layers if name in layer.values), None)
        for name in CLIENT
    }
    return OAuthClient.of(found["client_id"], found["client_secret"]), endpoints


def credentials_file() -> Path:
    """Path of the login file: GMAIL_CREDENTIALS_FILE, or in the user's configuration folder."""
    named = os.environ.get("GMAIL_CREDENTIALS_FILE")
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        folder = os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming"
    else:
        folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "gmail-assets" / "credentials.json"


def _login_file() -> Layer:
    path = credentials_file()
    name = f"the login file {path}"
    fix = "Run `gmail-assets login` again, or remove the file."
    try:
        text = path.read_text("utf-8")
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return Layer.of(name, {})
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The login file {path} can't be read: {type(error).__name__}.", fix=fix
        ) from None
    if sys.platform != "win32" and mode & 0o077:
        warnings.warn(
            f"The login file {path} can be read by others (mode {mode:04o}): `chmod 600` it.", stacklevel=2
        )
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError):
        stored = None
    if not isinstance(stored, dict):
        raise ConfigurationError(f"The login file {path} is not a JSON object.", fix=fix)
    return Layer.of(name, {field: value for field, value in stored.items() if field in Settings.model_fields})


def _unreadable_dotenv(error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f".env can't be read: {type(error).__name__}.", fix="Correct or remove the file."
    )


def setting_error(error: ValidationError) -> ConfigurationError:
    """The error of the first invalid variable, with its value if it had to be a number or a boolean."""
    problems = error.errors(include_url=False)
    for problem in problems:
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, ConfigurationError):
            return ConfigurationError(cause.what, fix=cause.fix)
    name, problem = f"GMAIL_{str(problems[0]['loc'][0]).upper()}", problems[0]
    if problem["type"].startswith("bool"):
        return ConfigurationError(
            f"{name} is {problem['input']!r}, not true or false.", fix="Set it to true or false, or unset it."
        )
    if problem["type"].startswith(("int", "float", "greater_than", "less_than")):
        return ConfigurationError(
            f"{name} is {problem['input']!r}: {problem['msg']}.",
            fix="Correct it in the environment or .env, or unset it; docs/options.md describes its values.",
        )
    return ConfigurationError(
        f"{name}: {problem['msg']}.", fix="Correct it in the environment, .env or the login file."
    )
