"""What the environment configures for a command: settings, pipeline spec, lake and, on request, the Gmail client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gmail_assets.delta.lake import Lake
    from gmail_assets.renamed import Renames
    from gmail_assets.run_settings import RunSettings
    from gmail_client.client import GmailClient
    from gmail_client.discovery import Discovery
    from gmail_client.settings import Settings
    from gmail_client.spec import Spec

__all__ = ["Environment"]


@dataclass(frozen=True, slots=True)
class Environment:
    """Settings, pipeline spec and lake, read once at the start of a command."""

    settings: Settings
    spec: Spec
    lake: Lake

    @classmethod
    def load(cls) -> Environment:
        """Read the environment variables, `.env` and the login file.

        Raises:
            ConfigurationError: A setting or the spec is invalid, or the default lake belongs to another user.
        """
        from gmail_assets.cli.ignored_variables import warn_of_ignored_variables
        from gmail_assets.delta.lake import Lake
        from gmail_client.settings import Settings
        from gmail_client.spec import Spec

        warn_of_ignored_variables()
        settings = Settings()
        spec = Spec.load(settings.spec)
        spec.require_each_once()
        return cls(settings, spec, Lake(settings.lake_uri))

    def mailboxes(self, named: Sequence[str] = ()) -> tuple[str, ...]:
        """The mailboxes of a command: those of its options, otherwise those of the settings, file or directory.

        Raises:
            GmailError: The directory can't be read.
        """
        from gmail_client.discovery import mailboxes_of

        return tuple(named) or mailboxes_of(self.settings)

    def discovery(self, named: Sequence[str] = ()) -> Discovery:
        """The same mailboxes, with the directory's ids of their users.

        Raises:
            GmailError: The directory can't be read.
        """
        from gmail_client.discovery import Discovery, discover_some

        return Discovery(tuple(named), {}) if named else discover_some(self.settings)

    def renamed(self, mailboxes: Sequence[str], user_ids: Mapping[str, str] | None = None) -> Renames:
        """Find mailboxes that were renamed, so that they are not loaded again; see `find_renamed`.

        Args:
            mailboxes: All mailboxes, in their present names.
            user_ids: The directory's id of each user, by address.
        """
        from gmail_assets.delta.registry import MAILBOXES
        from gmail_assets.renamed import Renames, find_renamed

        if self.lake.find(MAILBOXES) is None:
            return Renames()
        return find_renamed(self.lake, lambda name: self.client().mailbox(name), mailboxes, user_ids)

    def client_of_many(self, mailboxes: int, *, retry_seconds: float, connections: int = 16) -> GmailClient:
        """The client for several mailboxes at once.

        Args:
            mailboxes: Number of mailboxes, each of which will cost a unit. If that is more than a process may spend
                without a claim, the client uses the lake's ledger of the project's quota.
            retry_seconds: Seconds after which a request is not retried.
            connections: Number of HTTP connections to keep open.

        Raises:
            ConfigurationError: Credentials are missing or contradict each other.
        """
        from functools import partial

        from gmail_assets.delta.quota_ledger import join_quota
        from gmail_client.client import GmailClient
        from gmail_client.http.sessions import new_session
        from gmail_client.project_quota import FREE_UNITS

        client = GmailClient.from_settings(
            self.settings, session=partial(new_session, connections), retry_seconds=retry_seconds
        )
        if mailboxes > FREE_UNITS:
            join_quota(client, self.lake)
        return client

    def client(self) -> GmailClient:
        """The Gmail client with the configured credentials; it uses the lake's ledger of the project's quota, if any.

        Raises:
            ConfigurationError: Credentials are missing or contradict each other.
        """
        from gmail_assets.delta.quota_ledger import join_quota
        from gmail_client.client import GmailClient

        client = GmailClient.from_settings(self.settings)
        join_quota(client, self.lake)
        return client

    def unchanged(
        self, names: Sequence[str], tables: Sequence[str], settings: RunSettings, *, spec: Spec | None = None
    ) -> set[str]:
        """The mailboxes without changes since the last sync; one quota unit each.

        Args:
            names: Configured names of the mailboxes.
            tables: The tables that have to be up to date, by source table.
            settings: Age of a snapshot, and number of concurrent requests.
            spec: The pipeline spec, if it is not that of the environment.

        Returns:
            Their names. Empty if that can't be determined: the sync then reports the error.
        """
        from gmail_assets.operations.unchanged import UnchangedMailboxes
        from gmail_client.errors import GmailError

        try:
            client = self.client_of_many(len(names), retry_seconds=0, connections=settings.jobs)
            state = UnchangedMailboxes(
                self.lake, spec or self.spec, tables, snapshot_seconds=settings.snapshot_minutes * 60
            )
            return set(state.find(client, names, jobs=settings.jobs))
        except GmailError:
            return set()
