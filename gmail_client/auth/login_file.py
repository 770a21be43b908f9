"""The login file: readable only by its owner, written atomically.

It contains the endpoints of the login; a file of an earlier version has none and means Google's. `settings.py` reads it
last, after the environment and `.env`; `settings.credentials_file` is its path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gmail_client.auth.endpoints import GOOGLE
from gmail_client.auth.login import Granted
from gmail_client.errors import ConfigurationError
from gmail_client.private_files import write_private_json

__all__ = ["env_lines", "read_login", "remove_login", "store_login"]


def store_login(path: Path, granted: Granted) -> None:
    """Write the file, readable only by its owner; replaces an existing one atomically.

    Raises:
        ConfigurationError: It can't be written.
    """
    document = {
        "client_id": granted.client.id,
        "client_secret": granted.client.secret.get_secret_value(),
        "refresh_token": granted.refresh_token.get_secret_value(),
        "address": granted.address,
        "scopes": list(granted.scopes),
        "api_root": granted.endpoints.api_root,
        "oauth_root": granted.endpoints.oauth_root,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        write_private_json(path, document)
    except OSError as error:
        raise ConfigurationError(
            f"The login file {path} can't be written: {error.strerror or type(error).__name__}.",
            fix="Set GMAIL_CREDENTIALS_FILE to another path, or use --print-env.",
        ) from None


def read_login(path: Path) -> Mapping[str, Any]:
    """The contents of the file; empty if there is none, or an unreadable one."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def remove_login(path: Path) -> bool:
    """Remove the file.

    Returns:
        Whether it existed.

    Raises:
        ConfigurationError: It can't be removed.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigurationError(
            f"The login file {path} can't be removed: {error.strerror or type(error).__name__}.",
            fix="Delete it yourself.",
        ) from None
    return True


def env_lines(granted: Granted) -> str:
    """The lines for an `.env` file, with the secrets in clear."""
    moved = granted.endpoints != GOOGLE
    roots = f"GMAIL_API_ROOT={granted.endpoints.api_root}\nGMAIL_OAUTH_ROOT={granted.endpoints.oauth_root}\n"
    return (
        f"GMAIL_CLIENT_ID={granted.client.id}\n"
        f"GMAIL_CLIENT_SECRET={granted.client.secret.get_secret_value()}\n"
        f"GMAIL_REFRESH_TOKEN={granted.refresh_token.get_secret_value()}\n{roots if moved else ''}"
    )
