"""Open the Dagster instance in DAGSTER_HOME, without Dagster's first-run notices."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gmail_assets.delta.errors import one_line
from gmail_client.errors import ConfigurationError

if TYPE_CHECKING:
    import dagster as dg

__all__ = ["dagster_instance", "records_runs"]

_CONFIG = "dagster.yaml"
_NEW_CONFIG = """\
# Created by gmail-assets. See docs/dagster.md for a production configuration.
telemetry:
  enabled: false
"""
_FOLDERS_OF_AN_INSTANCE = ("history", "storage", "schedules", ".telemetry")


def records_runs() -> bool:
    """Whether runs of this process are recorded: whether DAGSTER_HOME is set."""
    return bool(os.environ.get("DAGSTER_HOME"))


@contextmanager
def dagster_instance() -> Iterator[dg.DagsterInstance | None]:
    """Open the instance that DAGSTER_HOME names; None if the variable is not set.

    A folder that is not an instance yet becomes one, with telemetry switched off.

    Raises:
        ConfigurationError: The instance can't be opened.
    """
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        yield None
        return
    import dagster as dg

    try:
        _create(Path(home).expanduser())
        with _no_notice_about_missing_config():
            instance = dg.DagsterInstance.get()
    except (dg.DagsterError, OSError) as error:
        raise ConfigurationError(
            f"The Dagster instance in DAGSTER_HOME={home!r} can't be opened: {one_line(error)}",
            fix="Set DAGSTER_HOME to the absolute path of an existing folder, or unset it.",
        ) from None
    with instance:
        yield instance


def _create(home: Path) -> None:
    if not home.is_absolute() or not home.is_dir() or (home / _CONFIG).exists():
        return
    if not any((home / folder).exists() for folder in _FOLDERS_OF_AN_INSTANCE):
        (home / _CONFIG).write_text(_NEW_CONFIG, "utf-8")


@contextmanager
def _no_notice_about_missing_config() -> Iterator[None]:
    """An instance without dagster.yaml is valid; Dagster logs a warning each time it opens one."""
    logger = logging.getLogger("dagster")

    def other_messages(record: logging.LogRecord) -> bool:
        return "No dagster instance configuration file" not in record.getMessage()

    logger.addFilter(other_messages)
    try:
        yield
    finally:
        logger.removeFilter(other_messages)
