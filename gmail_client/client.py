"""The way in: `GmailClient` holds what mailboxes share, `Mailbox` is one of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import requests

from gmail_client.api import GmailApi
from gmail_client.auth.credentials import Credentials
from gmail_client.auth.endpoints import API_ROOT, OAUTH_ROOT, Endpoints, checked_root
from gmail_client.auth.tokens import TokenSource
from gmail_client.errors import ConfigurationError, UnavailableError
from gmail_client.http.calls import Usage
from gmail_client.http.clock import SYSTEM_CLOCK, Clock
from gmail_client.http.concurrency import Gate
from gmail_client.http.sessions import new_session
from gmail_client.http.transport import Transport
from gmail_client.options import TableOptions
from gmail_client.quota import Meter, QuotaPlan, preset
from gmail_client.reads import read_pages
from gmail_client.schema import to_batch

if TYPE_CHECKING:
    from gmail_client.settings import Settings

__all__ = ["GmailClient", "Mailbox"]


class GmailClient:
    """One Cloud project's access to Gmail: its credentials, its quota, its connections.

    Thread-safe. Pickles without sessions, locks and counters: the copy starts afresh.

    Args:
        credentials: Who asks.
        quota: What may be spent, and what calls cost.
        api_root: Where Gmail is.
        oauth_root: Where its token endpoint is.
        workers: Threads of a mailbox's `get_many`.
        clock: Counts every wait.
        session: Makes the connections; called once, when the first is needed.

    Raises:
        ConfigurationError: A root that tokens must not be sent to.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        quota: QuotaPlan | None = None,
        api_root: str = API_ROOT,
        oauth_root: str = OAUTH_ROOT,
        workers: int = 5,
        clock: Clock = SYSTEM_CLOCK,
        session: Callable[[], requests.Session] = new_session,
    ) -> None:
        if workers < 1:
            raise ConfigurationError(
                f"workers={workers} can fetch nothing.", fix="Use 1 or more; 5 is usual."
            )
        self.credentials = credentials
        self.plan = quota or preset("current")
        self.api_root = checked_root("GMAIL_API_ROOT", api_root)
        self.oauth_root = checked_root("GMAIL_OAUTH_ROOT", oauth_root)
        credentials.check_endpoints(Endpoints(self.api_root, self.oauth_root))
        self.workers = workers
        self.clock = clock
        self._make_session = session
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._live_session: requests.Session | None = None
        self._mailboxes: dict[str, Mailbox] = {}
        self._lines: dict[str, tuple[TokenSource, Meter, Gate]] = {}
        self._project_meter = Meter(self.plan.project_per_minute, clock=self.clock)

    @classmethod
    def from_settings(cls, settings: Settings | None = None, **options: Any) -> GmailClient:
        """A client as the environment, `.env` and the file of `login` describe it.

        Args:
            settings: Settings already read; read now when left out.
            **options: `workers`, `clock`, `session`, as in the constructor.

        Raises:
            ConfigurationError: Settings that are missing, contradict each other or can't be right.
        """
        from gmail_client.settings import Settings

        found = settings if settings is not None else Settings()
        return cls(
            found.credentials(),
            quota=preset(found.quota),
            api_root=found.api_root,
            oauth_root=found.oauth_root,
            **options,
        )

    def mailbox(self, user_id: str = "me") -> Mailbox:
        """One mailbox; the same object for the same `user_id`.

        Args:
            user_id: `me`, or an address. A service account acts for that address.

        Raises:
            ConfigurationError: `me` with a service account that has no subject.
        """
        user_id = user_id.strip() or "me"
        with self._lock:
            if user_id not in self._mailboxes:
                self._mailboxes[user_id] = Mailbox(self, user_id, self._api(user_id))
            return self._mailboxes[user_id]

    def _api(self, user_id: str) -> GmailApi:
        tokens, meter, gate = self._line(user_id)
        transport = Transport(
            tokens=tokens,
            plan=self.plan,
            user_meter=meter,
            project_meter=self._project_meter,
            gate=gate,
            usage=Usage(),
            session=self._session,
            api_root=self.api_root,
            clock=self.clock,
        )
        return GmailApi(transport, user_id, workers=self.workers)

    def _line(self, user_id: str) -> tuple[TokenSource, Meter, Gate]:
        """Token, meter and gate belong to the user behind the token, whatever the mailbox is called."""
        credentials = self.credentials
        user = "me"
        if credentials.kind == "service account":
            if user_id != "me":
                credentials = credentials.with_subject(user_id)
            if credentials.subject is None:
                raise ConfigurationError(
                    "GMAIL_USER_ID='me' means nobody with a service account: it has no mailbox of its own.",
                    fix="Name the mailboxes in GMAIL_MAILBOXES, or one in GMAIL_USER_ID.",
                )
            user = credentials.subject
        if user not in self._lines:
            tokens = TokenSource(
                credentials, session=self._session, oauth_root=self.oauth_root, clock=self.clock
            )
            self._lines[user] = (tokens, Meter(self.plan.user_per_minute, clock=self.clock), Gate())
        return self._lines[user]

    def _session(self) -> requests.Session:
        if self._live_session is None:
            with self._lock:
                if self._live_session is None:
                    self._live_session = self._make_session()
        return self._live_session

    def __getstate__(self) -> dict[str, Any]:
        fresh = ("_lock", "_live_session", "_mailboxes", "_lines", "_project_meter")
        return {name: value for name, value in self.__dict__.items() if name not in fresh}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def __repr__(self) -> str:
        return f"GmailClient({self.credentials.kind}, {self.plan.name} quota, {self.api_root})"


class Mailbox:
    """One mailbox. Get it from `GmailClient.mailbox`; pickles as its client and its name.

    Attributes:
        client: The client it belongs to.
        user_id: `me` or an address, as it was asked for.
        api: Its read endpoints.
    """

    def __init__(self, client: GmailClient, user_id: str, api: GmailApi) -> None:
        self.client = client
        self.user_id = user_id
        self.api = api
        self._address: str | None = None

    @property
    def address(self) -> str:
        """Its real address, asked of Gmail once.

        Raises:
            GmailError: Gmail did not tell.
        """
        if self._address is None:
            address = self.api.profile().get("emailAddress")
            if not isinstance(address, str) or not address:
                raise UnavailableError(
                    "getProfile: an answer without an emailAddress.",
                    fix="Try again later; check GMAIL_API_ROOT.",
                    method="getProfile",
                )
            self._address = address
        return self._address

    def rows(self, table: str, options: TableOptions | None = None) -> Iterator[dict[str, Any]]:
        """One table's rows as Gmail sends them.

        Args:
            table: One of the ten names.
            options: The table's options; the defaults where not given.

        Raises:
            GmailError: The read can't be completed.
        """
        for page in read_pages(self.api, table, options):
            yield from page

    def read(self, table: str, options: TableOptions | None = None) -> Iterator[pa.RecordBatch]:
        """One table as record batches of its schema; see `rows`."""
        for page in read_pages(self.api, table, options):
            yield to_batch(table, page)

    def __reduce__(self) -> tuple[object, ...]:
        return (_mailbox, (self.client, self.user_id))

    def __repr__(self) -> str:
        return f"Mailbox({self.user_id!r})"


def _mailbox(client: GmailClient, user_id: str) -> Mailbox:
    return client.mailbox(user_id)
