"""Everything behind the server: `Backend` with its mailboxes, accounts, tokens, quota, faults and counters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
        suspended: No access at all.
        archived: Kept, without a licence.
        admin: May read the Directory.
    """

    address: str
    mailbox: bool = True
    suspended: bool = False
    archived: bool = False
    admin: bool = False


class Backend:
    """A small Google: one domain, one Cloud project.

    Args:
        seeds: What each mailbox holds at first; the first one's owner is the domain's admin.
        seed: What clients and tokens follow from.
        clock: The present.
        behavior: Behaviour that Gmail leaves open.
        quota: What is allowed.
        journal: File of what was written; None for none.
        origin: What the journal builds on.

    Raises:
        ValueError: The journal does not fit.
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
                entry, clock=clock, behavior=behavior, journal=self.journal, post=self._post
            )
        self.addresses = list(self.mailboxes)
        self.accounts = {account.address: account for account in self._accounts()}
        if self.journal is not None:
            for write in self.journal.replay():
                self.mailboxes[write.address].replay(write)

    def _accounts(self) -> list[DirectoryUser]:
        accounts = [DirectoryUser(address, admin=not index) for index, address in enumerate(self.addresses)]
        if self.behavior.directory_extras:
            domain = self.addresses[0].rpartition("@")[2]
            accounts += [
                DirectoryUser(f"suspended.example@{domain}", suspended=True),
                DirectoryUser(f"archived.example@{domain}", archived=True, suspended=True),
                DirectoryUser(f"no.mailbox.example@{domain}", mailbox=False),
            ]
        return accounts

    def account_state(self, address: str) -> str:
        """What an address is here: "active", "suspended" or "" for nobody."""
        account = self.accounts.get(address)
        if account is None:
            return ""
        return "suspended" if account.suspended else "active"

    def close(self) -> None:
        """Close the journal."""
        if self.journal is not None:
            self.journal.close()

    def _post(self, address: str, content: MessageContent) -> None:
        mailbox = self.mailboxes.get(address)
        if mailbox is not None:
            mailbox.receive(content)
