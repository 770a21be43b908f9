"""Where Gmail and its token endpoint are, and which scopes are asked for.

The roots can be moved (the emulator, a private gateway). A bearer token crosses every connection, so plain
http is taken to the own machine only.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from gmail_client.errors import ConfigurationError

__all__ = [
    "API_ROOT",
    "BATCH_PATH",
    "DIRECTORY_SCOPE",
    "OAUTH_ROOT",
    "READONLY_SCOPE",
    "TOKEN_PATH",
    "checked_root",
]

API_ROOT = "https://gmail.googleapis.com"
OAUTH_ROOT = "https://oauth2.googleapis.com"
BATCH_PATH = "/batch/gmail/v1"
TOKEN_PATH = "/token"  # noqa: S105 - a path
READONLY_SCOPE = "https://www.googleapis.com/auth/gmail.readonly"
DIRECTORY_SCOPE = "https://www.googleapis.com/auth/admin.directory.user.readonly"


def checked_root(variable: str, url: str) -> str:
    """`url` without a trailing slash, if tokens may be sent there.

    Args:
        variable: The setting it came from, for the message (`GMAIL_API_ROOT`).
        url: `https://host[:port][/path]`, or http to a loopback address.

    Raises:
        ConfigurationError: No URL, or plain http to another machine.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.username or parts.password:
        raise ConfigurationError(
            f"{variable} carries a user name or password, which would end up in logs.",
            fix=f"Leave them out of {variable}.",
        )
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{variable}={url!r} is no URL of a server.",
            fix=f"Give it as https://host, or unset {variable} to talk to Google.",
        )
    if parts.scheme == "http" and not _is_loopback(host):
        raise ConfigurationError(
            f"{variable}={url!r} would send tokens in the clear to another machine.",
            fix="Use https; plain http is allowed to 127.0.0.1, ::1 and localhost only.",
        )
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
