"""`MailboxList`: the mailboxes that one read or stream has, from addresses and from the Workspace directory.

The option `mailboxes` has entries separated by commas: addresses, and `all`, `domain:example.com`, `org-unit:/Sales` or
`group:team@example.com` for users of the directory. For these, a service account reads the directory as the
administrator in the connection's option `directory_admin` (default: `user_id`).
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from gmail_client.client import GmailClient, checked_mailbox_name
from gmail_client.directory import DIRECTORY_ENTRY
from gmail_client.discovery import directory_mailboxes
from gmail_client.errors import ConfigurationError, OptionError
from gmail_client.printable import short_repr
from lakeflow_entry.connection import Connection, by_options

__all__ = ["MailboxList", "Mailboxes", "mailbox_list"]

_FRESH = 600.0
"""Seconds after which a running stream reads the directory again."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MailboxList:
    """The value of the option `mailboxes`.

    Attributes:
        addresses: The addresses, each once.
        directory: The entries of the directory.
    """

    addresses: tuple[str, ...] = ()
    directory: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.addresses or self.directory)

    def names(self, connection: Connection, client: GmailClient | None = None) -> tuple[str, ...]:
        """The addresses of the mailboxes; reads the directory if entries name it.

        Raises:
            ConfigurationError: The connection can't read the directory, or no mailbox is left.
            GmailError: The directory can't be read.
        """
        if not self.directory:
            return self.addresses
        client = client or connection.client()
        try:
            found = directory_mailboxes(self.directory, connection.directory_admin, client)
        except ConfigurationError as error:
            raise ConfigurationError(by_options(error.what), fix=by_options(error.fix)) from None
        for name, reason in found.items():
            if reason:
                _log.info("%s is left out: %s", name, reason)
        names = dict.fromkeys((*self.addresses, *(name for name, reason in found.items() if not reason)))
        if not names:
            raise ConfigurationError(
                f"Option 'mailboxes' names no mailbox that can be read: {len(found):,} users are left out.",
                fix="`gmail-assets mailboxes` shows the reasons; correct the option.",
            )
        return tuple(names)


class Mailboxes:
    """The mailboxes of a running stream, read from the directory again from time to time.

    Args:
        listed: The option.
        connection: The connection.
        client: The client.
    """

    def __init__(self, listed: MailboxList, connection: Connection, client: GmailClient | None) -> None:
        self._listed = listed
        self._connection = connection
        self._client = client
        self._names: tuple[str, ...] = ()
        self._at = 0.0

    def names(self) -> tuple[str, ...]:
        """Their addresses; see `MailboxList.names`."""
        if not self._names or time.monotonic() - self._at > _FRESH:
            self._names = self._listed.names(self._connection, self._client)
            self._at = time.monotonic()
        return self._names

    @property
    def owner(self) -> str | None:
        """The mailbox of a checkpoint of one mailbox: the connection's, or the only one."""
        names = self.names()
        user_id = self._connection.user_id
        return user_id if user_id in names else names[0] if len(names) == 1 else None


def mailbox_list(value: str | None, *, me: bool = False) -> MailboxList:
    """The list in the option `mailboxes`.

    Args:
        value: The option's value.
        me: Whether `me` is allowed, for the mailbox of the connection's own credentials.

    Raises:
        OptionError: An entry is neither an address nor an entry of the directory.
    """
    entries = list(dict.fromkeys(part.strip() for part in (value or "").split(",") if part.strip()))
    directory = [entry for entry in entries if DIRECTORY_ENTRY.fullmatch(entry)]
    addresses = []
    for entry in entries:
        if entry in directory:
            continue
        if ("@" not in entry or ":" in entry) and not (me and entry == "me"):
            raise OptionError(
                f"Option 'mailboxes' contains {short_repr(entry)}, which is not an address.",
                fix="Use addresses, all, domain:example.com, org-unit:/Sales or group:team@example.com, separated by "
                "commas.",
            )
        addresses.append(checked_mailbox_name(entry).lower())
    return MailboxList(tuple(dict.fromkeys(addresses)), tuple(directory))
