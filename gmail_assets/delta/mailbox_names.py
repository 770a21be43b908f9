"""The names of the mailboxes of a lake: `MailboxNames`, which `MailboxRegistry.names` reads; and errors about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gmail_client.errors import ConfigurationError

__all__ = ["MailboxNames", "StoredMailbox", "other_mailbox_error", "other_person_error"]


@dataclass(frozen=True, slots=True)
class StoredMailbox:
    """A mailbox of the lake.

    Attributes:
        stored_as: The address under which it is stored: the first one.
        current: Its present address, as far as known; empty if the first address belongs to another user now.
        user_id: The directory's id of its user; None if unknown.
    """

    stored_as: str
    current: str
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class MailboxNames:
    """The names of all mailboxes of a lake.

    Attributes:
        stored_as: The address under which the mailbox of each name is stored.
        mailboxes: The mailboxes, by that address.
    """

    stored_as: Mapping[str, str]
    mailboxes: Mapping[str, StoredMailbox]

    def find(self, name: str, address: str) -> str | None:
        """The address under which a mailbox is stored; None if it is new, renamed or another one than before.

        Args:
            name: Its configured name.
            address: Its present address.
        """
        stored_as = self.stored_as.get(name)
        if stored_as is None or stored_as != self.stored_as.get(address):
            return None
        return stored_as if self.mailboxes[stored_as].current == address else None


def other_mailbox_error(name: str, known: str, address: str) -> ConfigurationError:
    """The error if a name is recorded for another mailbox."""
    return ConfigurationError(
        f"The mailbox {name!r} is {address} now, but in this lake it was {known}.",
        fix=f"Use the credentials of {known}, name the mailbox {address} in GMAIL_MAILBOXES, "
        "or set GMAIL_LAKE to another location.",
    )


def other_person_error(address: str, stored_as: str, current: str) -> ConfigurationError:
    """The error if an address is recorded for a mailbox that has another address now."""
    now = f", which is {current} now" if current else ", which has another address now"
    return ConfigurationError(
        f"The address {address} belongs to another mailbox now: this lake has rows of an earlier mailbox with this "
        f"address{now}.",
        fix=f"Load the new mailbox into another lake (GMAIL_LAKE) and remove {address} from GMAIL_MAILBOXES here; "
        f"or, if the rows of the earlier mailbox are not needed, erase them: `gmail-assets forget {stored_as}`.",
    )
