"""Dagster resources of the assets: `GmailResource` gives access to mailboxes, `LakeResource` is the lake.

    gmail = GmailResource(GmailAccess(client_id=..., client_secret=dg.EnvVar("..."), refresh_token=dg.EnvVar("...")))
    lake = LakeResource(LakeLocation(uri="s3://bucket/gmail"))

Neither takes values from run config. Dagster's web server has no login, and anyone who can launch a run could name
another server there, which would receive the refresh token or the mail. So their values are in plain objects, given in
code or read from the environment, for which Dagster has no config.
"""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import dagster as dg

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.maintenance import DEFAULT_UPKEEP, Upkeep
from gmail_assets.run_settings import WORKERS_OF_MANY, RunSettings
from gmail_client.client import GmailClient, Mailbox
from gmail_client.errors import ConfigurationError
from gmail_client.http.sessions import new_session
from gmail_client.settings import Settings

__all__ = ["GmailAccess", "GmailResource", "LakeLocation", "LakeResource", "ResourceKeys"]

Text = str | dg.EnvVar | None
"""A text, or the environment variable that holds it, read when a run needs it."""

_MOST_WORKERS = 20


@lru_cache(maxsize=8)
def _client(settings: Settings, workers: int) -> GmailClient:
    """One client per set of settings and process: sensor ticks share its tokens, connections and rate limiters."""
    return GmailClient.from_settings(settings, workers=workers)


@lru_cache(maxsize=8)
def _client_of_many(settings: Settings, workers: int, jobs: int, retry_seconds: float) -> GmailClient:
    """The client of runs over several mailboxes."""
    connections = jobs * workers
    return GmailClient.from_settings(
        settings, workers=workers, session=partial(new_session, connections), retry_seconds=retry_seconds
    )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class GmailAccess:
    """Credentials, endpoints and limits of one account or service account.

    Values that are not given come from the environment, `.env` or the login file (`gmail_client.settings`); usually
    that is all of them. Credentials that are given here replace those, together with their endpoints.

    Attributes:
        client_id: The OAuth client's id.
        client_secret: Its secret.
        refresh_token: A refresh token of that client.
        access_token: An access token that another program renews.
        service_account_file: Path of a service account's JSON key.
        service_account_email: A service account without a key file: the machine's Google identity has it signed.
        logins: Folder of login files, one per mailbox.
        api_root: URL of the Gmail API; default: Google's.
        oauth_root: URL of the OAuth server with the token endpoint; default: Google's.
        quota: `current`, `legacy`, or units per minute and user.
        workers: Concurrent requests of one mailbox, 1 to 20.
    """

    client_id: Text = None
    client_secret: Text = None
    refresh_token: Text = None
    access_token: Text = None
    service_account_file: Text = None
    service_account_email: Text = None
    logins: Text = None
    api_root: Text = None
    oauth_root: Text = None
    quota: Text = None
    workers: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= _MOST_WORKERS:
            raise ConfigurationError(
                f"workers={self.workers} is not from 1 to {_MOST_WORKERS}.", fix="Use 5, the default."
            )

    def settings(self) -> Settings:
        """The settings: values given here, else those of the environment.

        Raises:
            ConfigurationError: A value is invalid, or a named variable is not set.
        """
        names = [entry.name for entry in fields(self) if entry.name != "workers"]
        given = {name: _resolved(name, getattr(self, name)) for name in names}
        return Settings(**{name: value for name, value in given.items() if value is not None})

    def client(self) -> GmailClient:
        """The client; the same one for the same settings.

        Raises:
            ConfigurationError: Credentials are missing or contradict each other, or a setting is invalid.
        """
        return _client(self.settings(), self.workers)

    def client_of_many(self, run: RunSettings) -> GmailClient:
        """The client for runs over several mailboxes, which share its limit per project.

        Raises:
            ConfigurationError: See `client`.
        """
        workers = min(self.workers, WORKERS_OF_MANY)
        return _client_of_many(self.settings(), workers, run.jobs, run.retry_seconds)

    def __repr__(self) -> str:
        given = [entry.name for entry in fields(self) if getattr(self, entry.name) is not None]
        return f"GmailAccess({', '.join(given)})"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LakeLocation:
    """Location and maintenance of the Delta tables.

    Attributes:
        uri: A folder, or an s3://, gs:// or abfss:// URI. Default: GMAIL_LAKE, else the folder `lake`.
        storage_options: Settings of the object store, as deltalake expects them, such as `aws_region`.
        compact_files: Compact a mailbox's files in a table once this many of them are small; 0 never compacts.
        keep_versions_days: Remove files that only versions older than this many days need; None keeps all.
        keep_deleted_days: Delete rows that were soft-deleted (`deletes: keep`) so many days ago; None keeps them.
    """

    uri: Text = None
    storage_options: Mapping[str, str | dg.EnvVar] = field(default_factory=dict)
    compact_files: int = DEFAULT_UPKEEP.small_files
    keep_versions_days: int | None = 7
    keep_deleted_days: int | None = None

    def __post_init__(self) -> None:
        for name in ("compact_files", "keep_versions_days", "keep_deleted_days"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ConfigurationError(f"{name}={value} is below 0.", fix="Use 0 or more.")

    def upkeep(self) -> Upkeep:
        """When runs compact and vacuum the tables they wrote."""
        return Upkeep(
            self.compact_files,
            None if self.keep_versions_days is None else timedelta(days=self.keep_versions_days),
            keep_deleted=None if self.keep_deleted_days is None else timedelta(days=self.keep_deleted_days),
        )

    def lake(self) -> Lake:
        """The lake.

        Raises:
            ConfigurationError: A named variable is not set, or the default lake belongs to another user.
        """
        uri = _resolved("uri", self.uri) or Settings().lake_uri
        place = uri if "://" in uri else str(Path(uri).expanduser())
        options = {name: _resolved(name, value) or "" for name, value in self.storage_options.items()}
        return Lake(place, tuple(sorted(options.items())))

    def __repr__(self) -> str:
        return f"LakeLocation({', '.join(['uri', *self.storage_options])})"


class GmailResource(dg.ConfigurableResource[GmailClient]):
    """Access to Gmail. Run config can't set any of it: give a `GmailAccess`, or use the environment."""

    access: dg.ResourceDependency[GmailAccess]

    def __init__(self, access: GmailAccess | None = None, **more: Any) -> None:
        super().__init__(**{"access": access or GmailAccess(), **more})

    def client(self) -> GmailClient:
        """The client that the access describes.

        Raises:
            ConfigurationError: Credentials are missing or contradict each other, or a setting is invalid.
        """
        return self.access.client()

    def client_of_many(self, run: RunSettings) -> GmailClient:
        """The client for runs over several mailboxes.

        Raises:
            ConfigurationError: See `client`.
        """
        return self.access.client_of_many(run)

    def mailbox(self, name: str) -> Mailbox:
        """One mailbox, by its partition key: an address, or `me`."""
        return self.client().mailbox(name)


class LakeResource(dg.ConfigurableResource[Lake]):
    """The lake. Run config can't set any of it: give a `LakeLocation`, or use GMAIL_LAKE."""

    location: dg.ResourceDependency[LakeLocation]

    def __init__(self, location: LakeLocation | None = None, **more: Any) -> None:
        super().__init__(**{"location": location or LakeLocation(), **more})

    def upkeep(self) -> Upkeep:
        """When runs compact and vacuum the tables they wrote."""
        return self.location.upkeep()

    def lake(self) -> Lake:
        """The lake that the location describes."""
        return self.location.lake()


@dataclass(frozen=True, slots=True)
class ResourceKeys:
    """Resource keys of one set of definitions.

    Attributes:
        gmail: Key of the `GmailResource`.
        lake: Key of the `LakeResource`.
        tables: Key of the `TableInputs`.
    """

    gmail: str = "gmail"
    lake: str = "gmail_lake"
    tables: str = "gmail_tables"

    @classmethod
    def of(cls, name: str) -> "ResourceKeys":
        """The keys that follow from the definitions' name."""
        return cls(name, f"{name}_lake", f"{name}_tables")

    @property
    def required(self) -> set[str]:
        """The two that the steps use, as Dagster's decorators expect them."""
        return {self.gmail, self.lake}

    def of_run(self, resources: object) -> tuple[GmailResource, LakeResource]:
        """The two resources among those of a context."""
        return getattr(resources, self.gmail), getattr(resources, self.lake)


def _resolved(name: str, value: Text) -> str | None:
    if not isinstance(value, dg.EnvVar):
        return value
    found = value.get_value()
    if not found:
        raise ConfigurationError(
            f"{name} is the environment variable {value.env_var_name}, which is not set.",
            fix="Set it where Dagster's runs and its daemon are started.",
        )
    return found
