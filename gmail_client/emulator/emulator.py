"""The emulator from Python: `with Emulator(...) as gmail` serves the Gmail API on loopback from a thread."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from gmail_client.emulator.backend import Backend, DirectoryUser
from gmail_client.emulator.behavior import Behavior
from gmail_client.emulator.counters import RequestCounters
from gmail_client.emulator.faults import Faults
from gmail_client.emulator.generate.generator import GENERATOR_VERSION, seeded_mailbox
from gmail_client.emulator.generate.own_mail import with_own_mail
from gmail_client.emulator.generate.seeded import SeededMailbox
from gmail_client.emulator.http.server import Server
from gmail_client.emulator.mailbox.mailbox import EmulatedMailbox
from gmail_client.emulator.mailbox.render import MessageFormat
from gmail_client.emulator.oauth.iam import IDENTITY_AUDIENCE
from gmail_client.emulator.oauth.tokens import RegisteredClient
from gmail_client.emulator.quota import Quota
from gmail_client.emulator.truth import truth_of
from gmail_client.http.clock import SYSTEM_CLOCK, Clock

__all__ = ["DEFAULT_SCOPES", "Emulator"]

DEFAULT_SCOPES = (
    "https://mail.google.com/",
    "https://www.googleapis.com/auth/gmail.settings.basic",
    "https://www.googleapis.com/auth/gmail.settings.sharing",
    "https://www.googleapis.com/auth/admin.directory.user.readonly",
    "https://www.googleapis.com/auth/admin.directory.group.member.readonly",
)
_READONLY = ("https://www.googleapis.com/auth/gmail.readonly",)

PathLike = str | os.PathLike[str]


class Emulator:
    """The Gmail API on loopback, served from a thread of this process.

    Args:
        mailboxes: Number of mailboxes.
        messages: Number of messages in each at the start.
        seed: The same seed gives the same mailboxes.
        mean_json_kb: About how many kilobytes of JSON a message has on average.
        quota: `current`, `legacy`, `none`, units per minute and user, or a `Quota`.
        latency_ms: Minimum milliseconds (of the clock) of every request to the API.
        clock: The time of quota windows, dates and token lifetimes.
        behavior: Undocumented behavior of Gmail.
        journal: File that stores the writes, for the next start with the same arguments.
        eml: Folders of `.eml` files, added to the first mailbox.
        mbox: Files in mbox form (a Takeout export), added to the first mailbox.
        maildir: Maildir folders, added to the first mailbox.
        port: 0 for any free port.

    Raises:
        ValueError: An invalid argument, or a journal of other arguments.
        ConfigurationError: A file or folder of mail is missing or invalid.
        PortTakenError: The port is in use.

    Attributes:
        url: Root of the API, of OAuth and of the Directory.
        addresses: The addresses of the mailboxes. The first is the default one and its owner the domain's admin.
        clock: The clock.
        behavior: The behavior.
    """

    def __init__(
        self,
        mailboxes: int = 1,
        messages: int = 200,
        seed: int = 1,
        *,
        mean_json_kb: float = 15.0,
        quota: str | int | Quota = "none",
        latency_ms: float = 0,
        clock: Clock = SYSTEM_CLOCK,
        behavior: Behavior | None = None,
        journal: PathLike | None = None,
        eml: Iterable[PathLike] = (),
        mbox: Iterable[PathLike] = (),
        maildir: Iterable[PathLike] = (),
        port: int = 0,
    ) -> None:
        if mailboxes < 1 or messages < 0:
            raise ValueError(f"mailboxes is at least 1 and messages at least 0, not {mailboxes}, {messages}")
        self.clock = clock
        self.behavior = behavior or Behavior()
        own = {
            kind: [Path(path) for path in paths]
            for kind, paths in (("eml", eml), ("mbox", mbox), ("maildir", maildir))
        }
        origin: dict[str, object] = {
            "generator": GENERATOR_VERSION,
            "mailboxes": mailboxes,
            "messages": messages,
            "seed": seed,
            "mean_json_kb": mean_json_kb,
            "behavior": self.behavior.words(),
            **{kind: [str(path) for path in paths] for kind, paths in own.items()},
        }
        self._backend = Backend(
            _seeds(mailboxes, messages, seed, mean_json_kb, own),
            seed=seed,
            clock=clock,
            behavior=self.behavior,
            quota=Quota.named(quota),
            journal=Path(journal) if journal is not None else None,
            origin=origin,
        )
        self.addresses: list[str] = list(self._backend.addresses)
        self._refresh_tokens = {
            address: self._backend.tokens.default_refresh_token(address, DEFAULT_SCOPES)
            for address in self.addresses
        }
        try:
            self._server = Server(self._backend, port=port, latency=latency_ms / 1000)
        except BaseException:
            self._backend.close()
            raise
        self.url: str = self._server.url

    def __enter__(self) -> Emulator:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Emulator({self.url}, {len(self.addresses)} mailboxes)"

    def start(self) -> None:
        """Serve from a background thread."""
        self._server.start()

    def serve(self) -> None:
        """Serve from this thread until `interrupt` or a signal to the process."""
        self._server.run()

    def interrupt(self) -> None:
        """Make `serve` return; from any thread."""
        self._server.interrupt()

    def stop(self) -> None:
        """Stop the server; `usage` and `truth` remain available."""
        self._server.stop()
        self._backend.close()

    @property
    def faults(self) -> Faults:
        """The faults to inject."""
        return self._backend.faults

    @property
    def usage(self) -> RequestCounters:
        """Counters of calls, units and bytes by method."""
        return self._backend.usage

    def environment(self, address: str | None = None) -> dict[str, str]:
        """The environment variables that connect this product to a mailbox of the emulator."""
        client = self._backend.tokens.default_client
        return {
            "GMAIL_CLIENT_ID": client.id,
            "GMAIL_CLIENT_SECRET": client.secret,
            "GMAIL_REFRESH_TOKEN": self._refresh_tokens[self._address(address)],
            "GMAIL_USER_ID": address or "me",
            "GMAIL_API_ROOT": self.url,
            "GMAIL_OAUTH_ROOT": self.url,
        }

    def mailbox(self, address: str | None = None) -> EmulatedMailbox:
        """A mailbox, with Gmail's methods to write to it.

        Raises:
            ValueError: There is no such mailbox.
        """
        return self._backend.mailboxes[self._address(address)]

    def access_token(
        self,
        address: str | None = None,
        scopes: Sequence[str] | None = None,
        expires_in: float = 3600,
        *,
        delegated: bool = False,
    ) -> str:
        """A new access token for a mailbox, by default with full access.

        Args:
            address: The mailbox; the first by default.
            scopes: Full scope URLs.
            expires_in: Seconds of the clock.
            delegated: Whether it is issued to a service account with domain-wide delegation.
        """
        return self._backend.tokens.new_access_token(
            self._address(address),
            tuple(scopes) if scopes is not None else DEFAULT_SCOPES,
            expires_in=expires_in,
            delegated=delegated,
        )

    def refresh_token(self, address: str | None = None, scopes: Sequence[str] = _READONLY) -> str:
        """A new refresh token of the default client for a mailbox with these scopes."""
        tokens = self._backend.tokens
        return tokens.new_refresh_token(tokens.default_client.id, self._address(address), tuple(scopes))

    def service_account_file(self, path: PathLike) -> Path:
        """Write the key file of a service account that can impersonate every mailbox; returns its path."""
        target = Path(path)
        self._backend.tokens.write_service_account(target, self.url)
        return target

    def workload_identity(self, path: PathLike) -> dict[str, str]:
        """Write a workload identity configuration for `GOOGLE_APPLICATION_CREDENTIALS`.

        Returns:
            The environment variables for access without a key: that identity may sign for the service account.
        """
        tokens = self._backend.tokens
        tokens.write_workload_identity(Path(path), self.url, IDENTITY_AUDIENCE)
        return {
            "GOOGLE_APPLICATION_CREDENTIALS": str(path),
            "GMAIL_SERVICE_ACCOUNT_EMAIL": tokens.service_account().email,
            "GMAIL_API_ROOT": self.url,
            "GMAIL_OAUTH_ROOT": self.url,
        }

    def revoke_signing(self) -> None:
        """Take the permission to sign for the service account from every identity."""
        self._backend.tokens.signers = frozenset()

    def change_user(self, address: str, **changes: Any) -> None:
        """Change or add a user of the Directory: `suspended`, `archived`, `mailbox`, `admin`, `org_unit`."""
        users = self._backend.users
        users[address] = replace(users.get(address, DirectoryUser(address)), **changes)

    def rename_user(self, old: str, new: str) -> None:
        """Change a user's primary address, as an administrator does: id, mail and history ids stay.

        The old address becomes an alias of the user, until it is given to another one. Not stored in the journal.

        Raises:
            ValueError: There is no user `old`, or `new` is another user's primary address.
        """
        self._backend.rename_user(old, new)
        self.addresses[:] = self._backend.addresses
        if old in self._refresh_tokens:
            self._refresh_tokens[new] = self._refresh_tokens.pop(old)

    def remove_user(self, address: str) -> None:
        """Remove a user from the Directory, as after a deletion of the account."""
        del self._backend.users[address]

    def set_group(self, address: str, members: Sequence[str]) -> None:
        """Create or change a group; members are users, other groups, addresses from outside, or `*` (everybody)."""
        self._backend.groups[address] = tuple(members)

    def add_client(
        self, kind: Literal["installed", "web"] = "web", redirect_uris: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Register an OAuth client; returns it in the format of Google's downloadable JSON file."""
        client: RegisteredClient = self._backend.tokens.add_client(kind, tuple(redirect_uris))
        return self._backend.tokens.client_json(client, self.url)

    def client_json(self) -> dict[str, Any]:
        """The default desktop client in the format of Google's downloadable JSON file."""
        return self._backend.tokens.client_json(self._backend.tokens.default_client, self.url)

    def allow_delegation(self, scopes: Sequence[str]) -> None:
        """Limit the scopes of domain-wide delegation."""
        self._backend.tokens.delegated_scopes = frozenset(scopes)

    def truth(
        self,
        table: str,
        address: str | None = None,
        *,
        q: str | None = None,
        label_ids: Sequence[str] = (),
        include_spam_trash: bool = False,
        format: MessageFormat = "full",
    ) -> list[dict[str, Any]]:
        """The rows that a table must have now, as API JSON objects; see `truth.truth_of`."""
        return truth_of(
            self.mailbox(address),
            self._backend.renderer,
            table,
            q=q,
            label_ids=label_ids,
            include_spam_trash=include_spam_trash,
            format=format,
        )

    def expire_history(self, address: str | None = None, *, upto: str | int | None = None) -> None:
        """Drop old history records of a mailbox.

        Args:
            address: The mailbox; the first by default.
            upto: A start below this history id gets a 404; this id and later ones stay valid. By default every
                start up to the current head gets a 404.

        Raises:
            ValueError: `upto` is above the head.
        """
        self.mailbox(address).expire_history(upto)

    def revoke_tokens(self, address: str | None = None) -> None:
        """Revoke all refresh and access tokens of a mailbox."""
        self._backend.tokens.revoke_mailbox(self._address(address))

    def _address(self, address: str | None) -> str:
        if address in (None, "me"):
            return self.addresses[0]
        if address not in self._backend.mailboxes:
            raise ValueError(f"no mailbox {address!r}; there are {', '.join(self.addresses)}")
        return str(address)


def _seeds(
    mailboxes: int, messages: int, seed: int, mean_json_kb: float, own: dict[str, list[Path]]
) -> list[SeededMailbox]:
    seeds = [seeded_mailbox(seed, index, messages, mean_json_kb=mean_json_kb) for index in range(mailboxes)]
    if any(own.values()):
        seeds[0] = with_own_mail(seeds[0], **own)
    return seeds
