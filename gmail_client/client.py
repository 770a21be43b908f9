"""The entry point: `GmailClient` holds what mailboxes share, `Mailbox` is one of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import requests

from gmail_client.api import GmailApi
from gmail_client.auth.credentials import Credentials
from gmail_client.auth.endpoints import API_ROOT, OAUTH_ROOT, Endpoints, checked_root
from gmail_client.auth.tokens import TokenSource
from gmail_client.changes import read_changes
from gmail_client.directory import Directory
from gmail_client.errors import ConfigurationError, ResponseError
from gmail_client.http.calls import QuotaUsage
from gmail_client.http.clock import SYSTEM_CLOCK, Clock
from gmail_client.http.concurrency import ConcurrencyLimiter
from gmail_client.http.retry import LONGEST
from gmail_client.http.sessions import new_session
from gmail_client.http.transport import Transport
from gmail_client.mailbox_changes import MailboxChanges, history_id_of
from gmail_client.options import TableOptions
from gmail_client.printable import printable, short_repr
from gmail_client.project_quota import ProjectQuota
from gmail_client.quota import QuotaPlan, RateLimiter, preset
from gmail_client.quota_shares import LedgerStore, ProjectLimits
from gmail_client.reads import read_pages
from gmail_client.schema import to_batch

if TYPE_CHECKING:
    from gmail_client.settings import Settings

__all__ = ["GmailClient", "Mailbox", "checked_mailbox_name"]


class GmailClient:
    """One Cloud project's access to Gmail: credentials, quota and connections.

    Thread-safe. Can be pickled; the copy has no sessions, locks or counters of the original.

    Args:
        credentials: The credentials of a user or a service account.
        quota: Limits and prices; `preset("current")` by default.
        api_root: URL of the Gmail API.
        oauth_root: URL of the OAuth server with the token endpoint.
        workers: Threads of a mailbox's `get_many`.
        allowed_mailboxes: Addresses, or domains beginning with `@`: no other mailbox is read. Empty allows all.
        project_limits: Limits of the project that its processes share; default: those of the quota.
        clock: Measures every wait.
        session: Creates the HTTP session; called once, for the first request.
        retry_seconds: Seconds after which a request is not retried. Use a short time for many mailboxes, so that none
            delays the others; a run over one mailbox can wait as long as Gmail requires.

    Raises:
        ConfigurationError: A root that tokens must not be sent to, or fewer than one worker.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        quota: QuotaPlan | None = None,
        api_root: str = API_ROOT,
        oauth_root: str = OAUTH_ROOT,
        workers: int = 5,
        allowed_mailboxes: Iterable[str] = (),
        project_limits: ProjectLimits | None = None,
        clock: Clock = SYSTEM_CLOCK,
        session: Callable[[], requests.Session] = new_session,
        retry_seconds: float = LONGEST,
    ) -> None:
        if workers < 1:
            raise ConfigurationError(
                f"workers={workers} is less than 1.", fix="Use 1 or more; the default is 5."
            )
        self.credentials = credentials
        self.plan = quota or preset("current")
        self.api_root = checked_root("GMAIL_API_ROOT", api_root)
        self.oauth_root = checked_root("GMAIL_OAUTH_ROOT", oauth_root)
        credentials.check_endpoints(Endpoints(self.api_root, self.oauth_root))
        self.workers = workers
        self.allowed_mailboxes = tuple(entry.strip().lower() for entry in allowed_mailboxes if entry.strip())
        self.project_limits = project_limits or ProjectLimits(
            self.plan.project_per_minute, self.plan.project_per_day
        )
        self.clock = clock
        self.retry_seconds = retry_seconds
        self._make_session = session
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._live_session: requests.Session | None = None
        self._mailboxes: dict[str, Mailbox] = {}
        self._users: dict[str, tuple[TokenSource, RateLimiter, ConcurrencyLimiter]] = {}
        limit = self.project_limits.per_minute
        most = None if limit == self.plan.project_per_minute else limit
        self.project = ProjectQuota(limit, most=most, clock=self.clock)

    @classmethod
    def from_settings(cls, settings: Settings | None = None, **options: Any) -> GmailClient:
        """A client configured by the environment, `.env` and the login file.

        Args:
            settings: The settings; read now by default.
            **options: `workers`, `clock`, `session`, `retry_seconds`, as in the constructor.

        Raises:
            ConfigurationError: Settings that are missing, contradictory or invalid.
        """
        from gmail_client.settings import Settings

        found = settings if settings is not None else Settings()
        return cls(
            found.credentials(),
            quota=preset(found.quota),
            api_root=found.api_root,
            oauth_root=found.oauth_root,
            **{
                "allowed_mailboxes": found.allowed_mailboxes,
                "project_limits": found.project_limits,
                **options,
            },
        )

    def mailbox(self, user_id: str = "me") -> Mailbox:
        """One mailbox; the same object for each call with the same `user_id`.

        Args:
            user_id: `me` or an address. A service account impersonates that address.

        Raises:
            ConfigurationError: Neither `me` nor an address; `me` with a service account that has no subject; or a
                mailbox that is not allowed.
            GmailError: With an allow list: the address can't be read.
        """
        user_id = checked_mailbox_name(user_id)
        if "@" in user_id:
            self.check_allowed(user_id)
        with self._lock:
            known = self._mailboxes.get(user_id)
            if known is None:
                known = self._mailboxes[user_id] = Mailbox(self, user_id, self._api(user_id))
        if self.allowed_mailboxes:
            _ = known.address  # read once and checked, because `me` and aliases can be any address
        return known

    def directory(self, admin: str) -> Directory:
        """The directory of the Workspace domain.

        Args:
            admin: The administrator that the service account reads it as.

        Raises:
            ConfigurationError: The credentials are not a service account's.
        """
        tokens = TokenSource(
            self.credentials.with_subject(checked_mailbox_name(admin)),
            session=self._session,
            oauth_root=self.oauth_root,
            clock=self.clock,
        )
        return Directory(tokens, session=self._session, api_root=self.api_root, clock=self.clock)

    def check_allowed(self, address: str) -> None:
        """Refuse a mailbox that is not in the allow list.

        Raises:
            ConfigurationError: It is not.
        """
        allowed = self.allowed_mailboxes
        name = address.lower()
        if not allowed or name in allowed or f"@{name.rpartition('@')[2]}" in allowed:
            return
        raise ConfigurationError(
            f"The mailbox {short_repr(address)} is not in GMAIL_ALLOWED_MAILBOXES, so it is not read.",
            fix="Remove it from GMAIL_MAILBOXES, or add its address (or its domain, such as @example.com) to the list.",
        )

    def share_project(self, store: LedgerStore) -> None:
        """Share the project's quota with all processes that use the same ledger. A second call has no effect."""
        self.project.share(store, self.project_limits)

    def _api(self, user_id: str) -> GmailApi:
        tokens, limiter, concurrency = self._user(user_id)
        transport = Transport(
            tokens=tokens,
            plan=self.plan,
            user_limiter=limiter,
            project=self.project,
            concurrency=concurrency,
            usage=QuotaUsage(),
            session=self._session,
            api_root=self.api_root,
            clock=self.clock,
            retry_seconds=self.retry_seconds,
        )
        return GmailApi(transport, user_id, workers=self.workers)

    def _user(self, user_id: str) -> tuple[TokenSource, RateLimiter, ConcurrencyLimiter]:
        """Tokens and limiters belong to the user of the token, under any name of the mailbox."""
        credentials = self.credentials.for_mailbox(user_id)
        user = credentials.subject or (user_id.lower() if self.credentials.kind == "logins" else "me")
        if user not in self._users:
            tokens = TokenSource(
                credentials,
                session=self._session,
                oauth_root=self.oauth_root,
                clock=self.clock,
                retry_seconds=self.retry_seconds,
            )
            self._users[user] = (
                tokens,
                RateLimiter(self.plan.user_per_minute, clock=self.clock),
                ConcurrencyLimiter(),
            )
        return self._users[user]

    def _session(self) -> requests.Session:
        if self._live_session is None:
            with self._lock:
                if self._live_session is None:
                    self._live_session = self._make_session()
        return self._live_session

    def __getstate__(self) -> dict[str, Any]:
        fresh = ("_lock", "_live_session", "_mailboxes", "_users", "project")
        return {name: value for name, value in self.__dict__.items() if name not in fresh}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def __repr__(self) -> str:
        return f"GmailClient({self.credentials.kind}, {self.plan.name} quota, {self.api_root})"


_RECENT_SECONDS = 600.0


class Mailbox:
    """One mailbox, from `GmailClient.mailbox`. Can be pickled.

    Attributes:
        client: The client it belongs to.
        user_id: `me` or an address, as requested.
        api: Its read endpoints.
    """

    def __init__(self, client: GmailClient, user_id: str, api: GmailApi) -> None:
        self.client = client
        self.user_id = user_id
        self.api = api
        self._address: str | None = None
        self._profile: tuple[dict[str, Any], float] | None = None

    @property
    def address(self) -> str:
        """The mailbox's real address, read once with getProfile.

        Raises:
            GmailError: It can't be read.
        """
        if self._address is None:
            read_at = self.api.now
            profile = self.api.profile()
            self._profile = profile, read_at
            address = str(profile["emailAddress"])
            if not _is_address(address):
                raise ResponseError(
                    f"getProfile: emailAddress is {short_repr(address)}, not an address.",
                    fix="Try again later; check the proxy and GMAIL_API_ROOT.",
                    method="getProfile",
                )
            self.client.check_allowed(address)
            self._address = address
        return self._address

    def recent_profile(self) -> tuple[dict[str, Any], float]:
        """The profile, and the time of its read in epoch seconds: that of `address` once, if it is recent.

        Its history id can be lower than the current one: changes through it are certainly in the history.
        """
        known, self._profile = self._profile, None
        if known is not None and 0 <= self.api.now - known[1] <= _RECENT_SECONDS:
            return known
        read_at = self.api.now
        return self.api.profile(), read_at

    def history_id(self) -> int:
        """The mailbox's current history id: the `since` for changes from now on."""
        return int(self.api.profile()["historyId"])

    def changes(self, since: str | int) -> MailboxChanges:
        """All changes since a history id, one per message. The result's `history_id` is the next `since`.

        Args:
            since: A history id of this mailbox, as text or a number.

        Raises:
            HistoryExpiredError: Gmail no longer keeps the history back to `since` (about a week): read the table again.
            ConfigurationError: `since` is not a history id.
            GmailError: The history can't be read.
        """
        return MailboxChanges.of(read_changes(self.api, history_id_of(since)))

    def rows(
        self, table: str, options: TableOptions | Mapping[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Read a table, as JSON objects like Gmail's.

        Args:
            table: One of the ten names.
            options: The table's options, such as `{"labelIds": "INBOX"}`; see docs/options.md.

        Raises:
            OptionError: An option that the table does not have, or an invalid value.
            UnknownTableError: Not one of the ten tables.
            GmailError: The read can't be completed.
        """
        chosen = _options(table, options)
        return (row for page in read_pages(self.api, table, chosen) for row in page)

    def read(
        self, table: str, options: TableOptions | Mapping[str, Any] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Read a table, as Arrow record batches of its schema; see `rows`."""
        chosen = _options(table, options)
        return (to_batch(table, page) for page in read_pages(self.api, table, chosen))

    def __reduce__(self) -> tuple[object, ...]:
        return (_mailbox, (self.client, self.user_id))

    def __repr__(self) -> str:
        return f"Mailbox({self.user_id!r})"


def _options(table: str, options: TableOptions | Mapping[str, Any] | None) -> TableOptions:
    if isinstance(options, TableOptions):
        return options.for_table(table)
    return TableOptions.parse(table, options)


def _mailbox(client: GmailClient, user_id: str) -> Mailbox:
    return client.mailbox(user_id)


_LONGEST_ADDRESS = 254
"""Characters of an address (RFC 5321). It becomes the name of a folder, which may have 255 bytes."""


def checked_mailbox_name(name: str) -> str:
    """A mailbox's name without the space around it.

    Raises:
        ConfigurationError: Neither `me` nor an address.
    """
    name = name.strip()
    if not _is_address(name):
        raise ConfigurationError(
            f"{short_repr(name)} is neither 'me' nor a mailbox's address.",
            fix=f"Use an address of at most {_LONGEST_ADDRESS} characters, without spaces and control characters.",
        )
    return name


def _is_address(text: str) -> bool:
    short = 0 < len(text) <= _LONGEST_ADDRESS
    # One or two dots would be a path segment with a special meaning.
    return (
        short
        and text.strip(".") != ""
        and printable(text) == text
        and not any(character.isspace() for character in text)
    )
