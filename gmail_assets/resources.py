"""What the assets run on: `GmailResource` is the way to the mailboxes, `LakeResource` the place of the tables.

Both are thin: they hold what may stand in a run's config, and make the plain client and lake below. Credentials are
never fields; the client takes them from the environment, `.env` or the file that `login` wrote, when a run needs them.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from pathlib import Path

import dagster as dg
from pydantic import Field

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.maintenance import DEFAULT_UPKEEP, Upkeep
from gmail_client.client import GmailClient, Mailbox
from gmail_client.settings import Settings

__all__ = ["GmailResource", "LakeResource"]


@lru_cache(maxsize=8)
def _client(settings: Settings, workers: int) -> GmailClient:
    """One client per set of settings and process: sensor ticks share its tokens, connections and meters."""
    return GmailClient.from_settings(settings, workers=workers)


class GmailResource(dg.ConfigurableResource[GmailClient]):
    """Access to Gmail. Credentials come from the environment (GMAIL_CLIENT_ID ...), never from run config."""

    quota: str | None = Field(
        default=None,
        description="Units that may be spent: `current`, `legacy`, or a number per minute and user. "
        "GMAIL_QUOTA, else `current`, where not given.",
    )
    workers: int = Field(
        default=5, ge=1, le=20, description="Requests of one mailbox that may be under way at once."
    )
    api_root: str | None = Field(default=None, description="Where Gmail is: GMAIL_API_ROOT, else Google's.")
    oauth_root: str | None = Field(
        default=None,
        description="Where the token endpoint is: GMAIL_OAUTH_ROOT, else Google's.",
    )

    def client(self) -> GmailClient:
        """The client that these fields and the environment describe.

        Raises:
            ConfigurationError: Credentials are missing or contradict each other, or a setting can't be right.
        """
        given = {"quota": self.quota, "api_root": self.api_root, "oauth_root": self.oauth_root}
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
        return _client(settings, self.workers)

    def mailbox(self, name: str) -> Mailbox:
        """One mailbox, by its partition key: an address, or `me`."""
        return self.client().mailbox(name)


class LakeResource(dg.ConfigurableResource[Lake]):
    """The place of the Delta tables."""

    uri: str | None = Field(
        default=None,
        description="A folder, or an s3://, gs:// or abfss:// URI. GMAIL_LAKE, else the folder `lake`.",
    )
    storage_options: dict[str, str] = Field(
        default_factory=dict,
        description="Settings of the object store, such as `aws_region`. Keep secrets in the environment "
        "(AWS_SECRET_ACCESS_KEY ...): what stands here can be seen in Dagster.",
    )

    compact_files: int = Field(
        default=DEFAULT_UPKEEP.small_files,
        ge=0,
        description="Merge a mailbox's files in a table once so many of them are small; 0 never does.",
    )
    keep_versions_days: int | None = Field(
        default=7,
        ge=0,
        description="Remove files that only versions older than so many days need; null keeps all.",
    )

    def upkeep(self) -> Upkeep:
        """When runs tidy the tables they wrote."""
        days = self.keep_versions_days
        return Upkeep(self.compact_files, None if days is None else timedelta(days=days))

    def lake(self) -> Lake:
        """The lake that these fields and the environment describe."""
        uri = self.uri or Settings().lake
        place = uri if "://" in uri else str(Path(uri).expanduser())
        return Lake(place, tuple(sorted(self.storage_options.items())))
