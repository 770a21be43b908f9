"""The URLs of Gmail and its token endpoint, the OAuth scopes, and the hosts that secrets may be sent to.

The roots can be set to other servers (the emulator, a private gateway). Every connection carries a bearer token, so
plain http is allowed only to this machine. `Endpoints` is the pair of roots that credentials belong to.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from gmail_client.errors import ConfigurationError

__all__ = [
    "API_ROOT",
    "BATCH_PATH",
    "DIRECTORY_SCOPE",
    "FULL_SCOPE",
    "GOOGLE",
    "GROUP_SCOPE",
    "MODIFY_SCOPE",
    "OAUTH_ROOT",
    "READONLY_SCOPE",
    "TOKEN_PATH",
    "Endpoints",
    "checked_root",
    "is_loopback",
    "token_root",
]

API_ROOT = "https://gmail.googleapis.com"
OAUTH_ROOT = "https://oauth2.googleapis.com"
BATCH_PATH = "/batch/gmail/v1"
TOKEN_PATH = "/token"  # noqa: S105 - a path
READONLY_SCOPE = "https://www.googleapis.com/auth/gmail.readonly"
MODIFY_SCOPE = "https://www.googleapis.com/auth/gmail.modify"
FULL_SCOPE = "https://mail.google.com/"
DIRECTORY_SCOPE = "https://www.googleapis.com/auth/admin.directory.user.readonly"
GROUP_SCOPE = "https://www.googleapis.com/auth/admin.directory.group.member.readonly"

_GOOGLE_TOKEN_URIS = (
    "https://oauth2.googleapis.com/token",
    "https://accounts.google.com/o/oauth2/token",
    "https://www.googleapis.com/oauth2/v4/token",
    "https://www.googleapis.com/oauth2/v3/token",
)
"""Token endpoints in older and newer key and client files of Google; all of them mean `OAUTH_ROOT`."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The roots that some credentials belong to; Google's if nothing else is named."""

    api_root: str = API_ROOT
    oauth_root: str = OAUTH_ROOT

    def __str__(self) -> str:
        return self.api_root if self.api_root == self.oauth_root else f"{self.api_root} and {self.oauth_root}"


GOOGLE = Endpoints()


def checked_root(variable: str, url: str) -> str:
    """`url` without a trailing slash, if tokens may be sent there.

    Args:
        variable: The setting's name, for the message (`GMAIL_API_ROOT`).
        url: `https://host[:port][/path]`, or http to a loopback address.

    Raises:
        ConfigurationError: Not a URL, or plain http to another machine.
    """
    if "@" in url:
        raise ConfigurationError(
            f"{variable} contains a user name or password, which would appear in logs.",
            fix=f"Remove them from {variable}.",
        )
    parts = _parts(url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{variable}={url!r} is not the URL of a server.",
            fix=f"Set it to https://host, or unset {variable} to use Google's.",
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"{variable}={url!r} would send tokens unencrypted to another machine.",
            fix="Use https; plain http is allowed only to 127.0.0.1, ::1 and localhost.",
        )
    return url.rstrip("/")


_PLAIN = re.compile(r"[A-Za-z0-9\-._~:/\[\]%?#=&+,;!$'()*]+")
"""The characters of a URL. Parsers handle others (a backslash, a tab) differently, and may find another host."""


def _parts(url: str) -> SplitResult:
    if not _PLAIN.fullmatch(url):
        return urlsplit("")
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port
    except ValueError:
        return urlsplit("")
    return parts


def token_root(token_uri: str) -> str:
    """The root that a key's or client's `token_uri` names: `https://oauth2.googleapis.com/token` is `OAUTH_ROOT`.

    Returns:
        Scheme, host and port; for every token endpoint that Google has used, `OAUTH_ROOT`.
    """
    if token_uri in _GOOGLE_TOKEN_URIS:
        return OAUTH_ROOT
    return token_uri.rstrip("/").removesuffix(TOKEN_PATH)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
