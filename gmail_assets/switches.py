"""What is switched on without a click in Dagster's UI: read from the environment and `.env`."""

from __future__ import annotations

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from gmail_client.errors import ConfigurationError

__all__ = ["Switches"]


class Switches(BaseSettings):
    """Each field is the variable `GMAIL_<NAME>`: `true` or `false`.

    Raises:
        ConfigurationError: A value that is neither.
    """

    model_config = SettingsConfigDict(
        env_prefix="GMAIL_", env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore"
    )

    sensor: bool = Field(default=False, description="The change sensor is on from the start.")
    sensor_initial_load: bool = Field(
        default=False, description="The sensor also asks for the first load of a mailbox."
    )
    schedule: bool = Field(default=False, description="The daily snapshots are on from the start.")

    def __init__(self) -> None:
        try:
            super().__init__()
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = "_".join(str(part) for part in first["loc"])
            raise ConfigurationError(
                f"GMAIL_{name.upper()} is {first['input']!r}, neither true nor false.",
                fix="Set it to true or false, or unset it.",
            ) from None
