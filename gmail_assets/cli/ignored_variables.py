"""Warnings about environment variables and lines of `.env` that are ignored because they are misspelled."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from dotenv.parser import parse_stream
from pydantic_settings import BaseSettings

from gmail_assets.run_settings import RunSettings
from gmail_client.settings import Settings

__all__ = ["warn_of_ignored_variables"]

_PREFIX = "GMAIL_"
_OTHERS = {"CREDENTIALS_FILE", "HASH_KEY", "CONNECTIONS_FILE"}
"""Variables that are not fields of a settings class."""
_FAMILIES = ("REFRESH_TOKEN_", "CONNECTION_", "ASSETS_")
"""Beginnings of variables whose names contain a mailbox or a connection."""


def warn_of_ignored_variables() -> None:
    """Warn of names that resemble a setting, and of lines of `.env` that are not assignments.

    Other variables that begin with GMAIL_ may belong to another program.
    """
    names = {name for name in os.environ if name.startswith(_PREFIX)}
    names.update(_names_in_dotenv(Path(".env")))
    known = _known(Settings, RunSettings)
    unknown = {name for name in names if name not in known and not name[len(_PREFIX) :].startswith(_FAMILIES)}
    if not unknown:
        return
    from gmail_assets.automation_settings import AutomationSettings  # not imported for correct names
    from gmail_assets.spark_engine import EngineSettings

    known |= _known(AutomationSettings, EngineSettings)
    for name in sorted(unknown - known):
        for meant in get_close_matches(name, known, n=1, cutoff=0.85):
            warnings.warn(f"{name} is not a setting. Did you mean {meant}?", stacklevel=2)


def _names_in_dotenv(path: Path) -> Iterator[str]:
    try:
        text = path.open(encoding="utf-8")
    except OSError:
        return  # `Settings` reports the error
    with text:
        logging.getLogger("dotenv.main").setLevel(
            logging.ERROR
        )  # it warns of the same lines, without the file
        try:
            bindings = list(parse_stream(text))
        except UnicodeDecodeError:
            return
    for binding in bindings:
        if binding.error:
            line = binding.original.line
            warnings.warn(f"{path}: line {line} is not of the form NAME=value and is ignored.", stacklevel=3)
        elif binding.key is not None and binding.key.upper().startswith(_PREFIX):
            yield binding.key.upper()


def _known(*settings: type[BaseSettings]) -> set[str]:
    fields = {name.upper() for kind in settings for name in kind.model_fields}
    return {f"{_PREFIX}{name}" for name in fields | _OTHERS}
