"""The services behind the HTTP server: `Backend`, with mailboxes, users, tokens, quota, faults and counters."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gmail_client.emulator.behavior import Behavior
from gmail_client.emulator.counters import RequestCounters
from gmail_client.emulator.faults import Faults
from gmail_client.emulator.generate.seeded import SeededMailbox
from gmail_client.emulator.mail.content import MessageContent
from gmail_client.emulator.mailbox.journal import Journal
from gmail_client.emulator.mailbox.mailbox import EmulatedMailbox
from gmail_client.emulator.mailbox.render import Renderer
from gmail_client.emulator.oauth.tokens import TokenStore
from gmail_client.emulator.quota import Quota, QuotaLimiter
from gmail_client.http.clock import Clock

__all__ = ["Backend", "DirectoryUser"]


@dataclass(frozen=True, slots=True)
class DirectoryUser:
    """A user of the domain, as the Directory lists it.

    Attributes:
        address: Primary e-mail address.
        mailbox: Whether Gmail is set up.
        suspended: The user has no access.
        archived: The user has no licence.
        admin: The user may read the Directory.
        org_unit: Path of the organizational unit.
        aliases: Other addresses of the user, such as the primary one before it was changed.
        created_as: The first primary address; the id depends on it. Default: `address`.
    """

    address: str
    mailbox: bool = True
    suspended: bool = False
    archived: bool = False
    admin: bool = False
    org_unit: str = "/"
    aliases: tuple[str, ...] = ()
    created_as: str = ""

    @property
    def id(self) -> str:
        """Google's numeric id of the user, which survives a change of the address."""
        name = self.created_as or self.address
        return str(10**20 + int(hashlib.sha256(name.encode()).hexdigest()[:16], 16))


class Backend:
    """The services behind the HTTP server: one domain with its mailboxes and users, and one Cloud project.

    Args:
        seeds: The initial content of each mailbox; the owner of the first one is the domain's admin.
        seed: Determines OAuth clients and refresh tokens.
        clock: The current time.
        behavior: Undocumented behavior.
        quota: The limits.
        journal: File in which writes are stored; None for none.
        origin: Describes the initial content that the journal applies to.

    Raises:
        ValueError: The journal belongs to another origin.
    """

    def __init__(
        self,
        seeds: Sequence[SeededMailbox],
        *,
        seed: int,
        clock: Clock,
        behavior: Behavior,
        quota: Quota,
        journal: Path | None = None,
        origin: dict[str, object] | None = None,
    ) -> None:
        self.clock = clock
        self.behavior = behavior
        self.usage = RequestCounters()
        self.faults = Faults()
        self.tokens = TokenStore(seed, clock)
        self.limiter = QuotaLimiter(quota, clock)
        self.renderer = Renderer(behavior)
        self.journal = Journal(journal, origin or {}) if journal is not None else None
        self.mailboxes: dict[str, EmulatedMailbox] = {}
        for entry in seeds:
            self.mailboxes[entry.address] = EmulatedMailbox(
                entry, clock=clock, behavior=behavior, journal=self.journal, deliver=self._deliver
            )
        self.addresses = list(self.mailboxes)
        self.users = {user.address: user for user in self._users()}
        self.groups: dict[str, tuple[str, ...]] = {}
        if self.journal is not None:
            for write in self.journal.replay():
                self.mailboxes[write.address].replay(write)

    def _users(self) -> list[DirectoryUser]:
        users = [DirectoryUser(address, admin=not index) for index, address in enumerate(self.addresses)]
        if self.behavior.directory_extras:
            domain = self.addresses[0].rpartition("@")[2]
            users += [
                DirectoryUser(f"suspended.example@{domain}", suspended=True),
                DirectoryUser(f"archived.example@{domain}", archived=True, suspended=True),
                DirectoryUser(f"no.mailbox.example@{domain}", mailbox=False),
            ]
        return users

    def account_state(self, address: str) -> str:
        """The state of an address: "active", "suspended", or "" when it does not exist."""
        user = self.users.get(self.tokens.primary(address))
        if user is None:
            return ""
        return "suspended" if user.suspended else "active"

    def rename_user(self, old: str, new: str) -> None:
        """Change a user's primary address; the old one becomes an alias, unless it is another user's address later.

        Raises:
            ValueError: There is no user `old`, or `new` is another user's primary address.
        """
        if old not in self.users or new in self.users:
            raise ValueError(f"no user {old!r}, or {new!r} is another user's address")
        for user in list(self.users.values()):  # an alias that is given to another user is taken away first
            self.users[user.address] = replace(
                user, aliases=tuple(alias for alias in user.aliases if alias != new)
            )
        user = self.users.pop(old)
        aliases = (*user.aliases, old)
        self.users[new] = replace(
            user, address=new, aliases=aliases, created_as=user.created_as or user.address
        )
        if (mailbox := self.mailboxes.pop(old, None)) is not None:
            self.mailboxes[new] = mailbox
            mailbox.rename(new)
            self.addresses[self.addresses.index(old)] = new
        self.tokens.rename(old, new)

    def close(self) -> None:
        """Close the journal."""
        if self.journal is not None:
            self.journal.close()

    def _deliver(self, address: str, content: MessageContent) -> None:
        mailbox = self.mailboxes.get(self.tokens.primary(address))
        if mailbox is not None:
            mailbox.receive(content)
