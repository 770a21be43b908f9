"""How the sensor and the schedule start: settings from the environment and `.env`."""

from __future__ import annotations

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from gmail_assets.poll_schedule import QUIET_MINUTES
from gmail_client.settings import setting_error

__all__ = ["AutomationSettings"]


class AutomationSettings(BaseSettings):
    """Each field is read from the variable `GMAIL_<NAME>`.

    Raises:
        ConfigurationError: A value is not a boolean, or not a number in its range.
    """

    model_config = SettingsConfigDict(
        env_prefix="GMAIL_", env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore"
    )

    sensor: bool = Field(default=False, description="Start the change sensor switched on.")
    sensor_initial_load: bool = Field(
        default=False, description="Let the sensor also request the first load of a mailbox."
    )
    sensor_quiet_minutes: float = Field(
        default=QUIET_MINUTES,
        ge=0,
        le=1440,
        description="The maximum interval between two checks of a mailbox without changes.",
    )
    schedule: bool = Field(default=False, description="Start the daily snapshot schedule switched on.")

    def __init__(self) -> None:
        try:
            super().__init__()
        except ValidationError as error:
            raise setting_error(error) from None
