"""Which mailboxes to read: from settings, from a file, and from the Workspace directory: `discover`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gmail_client.client import GmailClient, checked_mailbox_name
from gmail_client.directory import Directory, DirectoryUser
from gmail_client.errors import ConfigurationError

if TYPE_CHECKING:
    from gmail_client.settings import Settings

__all__ = ["Discovery", "directory_mailboxes", "discover", "discover_some", "mailboxes_of"]

_NOT_ALLOWED = "not in GMAIL_ALLOWED_MAILBOXES"


@dataclass(frozen=True, slots=True)
class Discovery:
    """The mailboxes that were found.

    Attributes:
        mailboxes: The mailboxes to read, each once, in the order in which they were found.
        left_out: The other mailboxes, with the reason: `{"ada@example.com": "suspended"}`; also the entries of
            GMAIL_DIRECTORY that have no users.
        user_ids: The directory's id of each user that it lists, which stays when the address is changed.
    """

    mailboxes: tuple[str, ...]
    left_out: Mapping[str, str]
    user_ids: Mapping[str, str] = field(default_factory=dict)

    def without(self, reasons: Mapping[str, str]) -> Discovery:
        """This discovery, with more mailboxes left out."""
        kept = tuple(name for name in self.mailboxes if name not in reasons)
        return replace(self, mailboxes=kept, left_out={**self.left_out, **reasons})


def discover(settings: Settings, client: GmailClient | None = None) -> Discovery:
    """The mailboxes that the settings name, directly or through a file or the directory.

    Args:
        settings: The settings.
        client: Reads the directory. Default: a client of these settings, if they name a directory.

    Raises:
        ConfigurationError: A setting or the file is invalid, or there are no credentials for the directory.
        GmailError: The directory can't be read to its end.
    """
    reasons = _in_file(settings.mailboxes_file) if settings.mailboxes_file is not None else {}
    user_ids: dict[str, str] = {}
    if settings.directory:
        if client is None:
            client = GmailClient.from_settings(settings)
        for name, reason, user in _in_directory(settings.directory, settings.directory_admin, client):
            if user is not None and user.id:
                user_ids[name] = user.id
            reasons[name] = reason if reasons.get(name, reason) else ""
    for name in (name for name, reason in reasons.items() if not reason):
        reasons[name] = "" if _is_allowed(name, settings.allowed_mailboxes) else _NOT_ALLOWED
    named = () if settings.discovers and not settings.mailboxes else settings.mailbox_names
    known = {name.lower() for name in named}
    found = [name for name, reason in reasons.items() if not reason and name not in known]
    left_out = {name: reason for name, reason in reasons.items() if reason and name not in known}
    return Discovery((*named, *found), left_out, user_ids)


def mailboxes_of(settings: Settings) -> tuple[str, ...]:
    """The mailboxes to read, at least one; see `discover`.

    Raises:
        ConfigurationError: There is none; or as `discover`.
    """
    return discover_some(settings).mailboxes


def discover_some(settings: Settings) -> Discovery:
    """As `discover`, at least one mailbox.

    Raises:
        ConfigurationError: There is none; or as `discover`.
    """
    if not settings.discovers:
        return Discovery(settings.mailbox_names, {})
    found = discover(settings)
    if not found.mailboxes:
        raise ConfigurationError(
            f"No mailbox to read was found; {len(found.left_out):,} are left out.",
            fix="`gmail-assets mailboxes` lists the reasons; correct GMAIL_DIRECTORY or GMAIL_MAILBOXES_FILE.",
        )
    return found


def _is_allowed(name: str, allowed: Iterable[str]) -> bool:
    entries = [entry.lower() for entry in allowed]
    return not entries or name in entries or f"@{name.rpartition('@')[2]}" in entries


def _in_file(path: Path) -> dict[str, str]:
    """One address per line; `#` begins a comment."""
    fix = "Set GMAIL_MAILBOXES_FILE to a text file with one address per line."
    try:
        lines = path.expanduser().read_text("utf-8").splitlines()
    except OSError as error:
        reason = error.strerror or "it can't be read"
        raise ConfigurationError(f"GMAIL_MAILBOXES_FILE={str(path)!r}: {reason}.", fix=fix) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"GMAIL_MAILBOXES_FILE={str(path)!r} is not UTF-8 text.", fix=fix) from None
    names: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            name = checked_mailbox_name(text).lower() if "@" in text else ""
        except ConfigurationError:
            name = ""
        if not name:
            raise ConfigurationError(
                f"GMAIL_MAILBOXES_FILE={str(path)!r}, line {number}: no address.", fix=fix
            )
        names[name] = ""
    return names


_Found = tuple[str, str, DirectoryUser | None]
"""An address, the reason why it is left out ("" if it is to be read), and its user."""


def directory_mailboxes(entries: Iterable[str], admin: str | None, client: GmailClient) -> dict[str, str]:
    """The users of the Workspace directory that entries name, each with the reason why it is left out.

    Args:
        entries: `all`, `domain:NAME`, `org-unit:/PATH` or `group:ADDRESS`.
        admin: The administrator that the service account reads the directory as.
        client: Reads the directory.

    Returns:
        By address, the reason; empty for a mailbox to read.

    Raises:
        ConfigurationError: There is no administrator, or the credentials are not a service account's.
        GmailError: The directory can't be read to its end.
    """
    reasons: dict[str, str] = {}
    for name, reason, _ in _in_directory(entries, admin, client):
        reasons[name] = reason if reasons.get(name, reason) else ""
    return reasons


def _in_directory(entries: Iterable[str], admin: str | None, client: GmailClient) -> Iterator[_Found]:
    """The addresses of the directory; an address can come repeatedly."""
    if admin is None:
        raise ConfigurationError(
            "GMAIL_DIRECTORY is set without GMAIL_DIRECTORY_ADMIN.",
            fix="Set it to the address of an administrator who may read users; the service account impersonates them.",
        )
    directory = client.directory(admin)
    everybody: dict[str, DirectoryUser] | None = None
    for entry in entries:
        kind, _, value = entry.partition(":")
        if kind == "group":
            if everybody is None:
                everybody = {user.address: user for user in directory.users()}
            found = list(_of_group(directory, value, everybody))
        else:
            domain, org_unit = (value if kind == name else None for name in ("domain", "org-unit"))
            users = directory.users(domain=domain, org_unit=org_unit)
            found = [(user.address, _reason(user), user) for user in users]
        yield from found or [(entry, "the directory has no users for it", None)]


def _of_group(directory: Directory, group: str, everybody: Mapping[str, DirectoryUser]) -> Iterator[_Found]:
    members = directory.members(group)
    for address in dict.fromkeys((*members.addresses, *(everybody if members.everybody else ()))):
        user = everybody.get(address)
        yield address, "not a user of this Workspace" if user is None else _reason(user), user


def _reason(user: DirectoryUser) -> str:
    if user.archived:  # such a user is suspended too
        return "archived"
    if user.suspended:
        return "suspended"
    return "" if user.has_mailbox else "no Gmail mailbox"
