"""What the commands work on, as the environment describes it: settings, spec, lake and, when asked for, the client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gmail_assets.delta.lake import Lake
    from gmail_client.client import GmailClient
    from gmail_client.settings import Settings
    from gmail_client.spec import Spec

__all__ = ["Setting"]


@dataclass(frozen=True, slots=True)
class Setting:
    """Settings, spec and lake; all are read once, at the start of a command."""

    settings: Settings
    spec: Spec
    lake: Lake

    @classmethod
    def load(cls) -> Setting:
        """Read the environment, `.env` and the login file.

        Raises:
            ConfigurationError: A setting or the spec can't be right.
        """
        from pathlib import Path

        from gmail_assets.delta.lake import Lake
        from gmail_client.settings import Settings
        from gmail_client.spec import Spec

        settings = Settings()
        place = settings.lake if "://" in settings.lake else str(Path(settings.lake).expanduser())
        return cls(settings, Spec.load(settings.spec), Lake(place))

    def client(self) -> GmailClient:
        """Access to Gmail.

        Raises:
            ConfigurationError: Credentials are missing or contradict each other.
        """
        from gmail_client.client import GmailClient

        return GmailClient.from_settings(self.settings)
