"""How a run over several mailboxes shares its time and its memory: settings from the environment and `.env`."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from gmail_assets.syncing.many import DEFAULT_JOBS, RETRY_SECONDS
from gmail_assets.syncing.memory import BYTES_IN_FLIGHT
from gmail_client.settings import setting_error

__all__ = ["WORKERS_OF_MANY", "RunSettings"]

WORKERS_OF_MANY = 2
"""Concurrent requests of a mailbox among several: with two, its limit per minute binds, and memory is bounded."""


class RunSettings(BaseSettings):
    """Each field is read from the variable `GMAIL_<NAME>`: a number.

    Raises:
        ConfigurationError: A value is not a number, or out of range.
    """

    model_config = SettingsConfigDict(
        env_prefix="GMAIL_", env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore"
    )

    jobs: int = Field(
        default=DEFAULT_JOBS, ge=1, le=256, description="Number of mailboxes that a run syncs concurrently."
    )
    retry_seconds: float = Field(
        default=RETRY_SECONDS,
        ge=0,
        le=3600,
        description="Seconds after which a request is not retried in a run over several mailboxes.",
    )
    megabytes_in_flight: int = Field(
        default=BYTES_IN_FLIGHT // 2**20,
        ge=1,
        le=10_000,
        description="Megabytes of fetched messages that all mailboxes of a run hold together before they are written.",
    )
    snapshot_minutes: float = Field(
        default=60.0,
        ge=0,
        description="Minutes for which `sync` does not read a snapshot again in a mailbox that did not change.",
    )
    mailboxes_per_run: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Number of mailboxes in one run of a backfill or of the schedule.",
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise setting_error(error) from None
