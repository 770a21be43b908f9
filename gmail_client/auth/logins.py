"""A login per mailbox: a folder of login files, or a refresh token per mailbox in the environment.

The files are those that `gmail-assets login` writes, one per mailbox. Variables of the environment have the mailbox's
address in their name: `GMAIL_REFRESH_TOKEN_ADA_EXAMPLE_COM` is the refresh token of ada@example.com.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gmail_client.auth.endpoints import GOOGLE, Endpoints
from gmail_client.errors import ConfigurationError

__all__ = ["TOKEN_PREFIX", "LoginFiles", "read_logins", "tokens_in_environment", "variable_suffix"]

TOKEN_PREFIX = "GMAIL_REFRESH_TOKEN_"  # noqa: S105 - a name

LoginFiles = Mapping[str, Mapping[str, str]]
"""Client id, client secret and refresh token of each login, by address."""

_ROOTS = ("api_root", "oauth_root")
_FIELDS = ("client_id", "client_secret", "refresh_token")
_FIX = "Log in again with GMAIL_CREDENTIALS_FILE set to a file in this folder, or remove the file."


def variable_suffix(address: str) -> str:
    """An address as part of a variable's name: `ADA_EXAMPLE_COM`."""
    return re.sub(r"[^A-Za-z0-9]", "_", address).upper()


def tokens_in_environment() -> dict[str, str]:
    """The refresh tokens in the environment by the end of their variable's name; empty values are left out."""
    return {
        name.removeprefix(TOKEN_PREFIX): value
        for name, value in os.environ.items()
        if name.startswith(TOKEN_PREFIX) and value.strip()
    }


def read_logins(folder: Path, endpoints: Endpoints) -> LoginFiles:
    """The logins in a folder: every file that ends in `.json`.

    Args:
        folder: The folder.
        endpoints: The servers that get the logins.

    Raises:
        ConfigurationError: The folder or a file can't be read, two files are for one address, or a login belongs to
            other endpoints.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except OSError as error:
        raise ConfigurationError(
            f"GMAIL_LOGINS={str(folder)!r}: {error.strerror or 'it is not a folder'}.",
            fix="Set GMAIL_LOGINS to the folder with the login files.",
        ) from None
    if not paths:
        raise ConfigurationError(
            f"GMAIL_LOGINS={str(folder)!r} contains no login file.",
            fix=f"Run `GMAIL_CREDENTIALS_FILE={folder}/NAME.json gmail-assets login` for each mailbox.",
        )
    logins: dict[str, Mapping[str, str]] = {}
    for path in paths:
        document = _read(path)
        address = str(document["address"]).lower()
        roots = [str(document.get(name) or getattr(GOOGLE, name)).rstrip("/") for name in _ROOTS]
        belongs = Endpoints(*roots)
        if belongs != endpoints:
            raise ConfigurationError(
                f"The login file {path} belongs to {belongs}, but the settings name {endpoints}: it is not sent there.",
                fix="Set GMAIL_API_ROOT and GMAIL_OAUTH_ROOT to the endpoints of the logins, in the same place as "
                "GMAIL_LOGINS.",
            )
        if address in logins:
            raise ConfigurationError(
                f"GMAIL_LOGINS={str(folder)!r} has two login files for {address}; one is {path.name}.",
                fix="Remove one of them.",
            )
        logins[address] = {field: str(document[field]) for field in _FIELDS}
    return logins


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        reason = error.strerror or "it can't be read"
        raise ConfigurationError(f"The login file {path}: {reason}.", fix=_FIX) from None
    except (ValueError, RecursionError):
        document = None
    missing = [
        field
        for field in ("address", *_FIELDS)
        if not (isinstance(document, dict) and isinstance(document.get(field), str) and document[field])
    ]
    if missing or not isinstance(document, dict):
        raise ConfigurationError(f"The login file {path} lacks {', '.join(missing)}.", fix=_FIX)
    return document
