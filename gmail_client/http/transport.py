"""One exchange with Gmail: wait for quota, send, classify the answer, wait and try again where that can help.

Nothing here depends on retries or hooks mounted on the session, nor on streaming.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import requests
import urllib3

from gmail_client.auth.endpoints import API_ROOT, checked_root
from gmail_client.auth.tokens import TokenSource
from gmail_client.errors import ConcurrencyError, GmailError, RateLimitError, UnavailableError
from gmail_client.http.calls import Answer, Call, Usage
from gmail_client.http.clock import SYSTEM_CLOCK, Clock
from gmail_client.http.concurrency import Gate
from gmail_client.http.error_mapping import refusal
from gmail_client.http.retry import Patience
from gmail_client.http.sessions import route_to
from gmail_client.http.waiting import pause
from gmail_client.quota import Meter, QuotaPlan

__all__ = ["Permit", "Reply", "Transport"]

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 60.0
"""Seconds of real time. A batch of 20 large messages takes some seconds to come."""

try:
    _VERSION = version("gmail-assets")
except PackageNotFoundError:
    _VERSION = "0"

_LOG = logging.getLogger(__name__)

_WORTH_TELLING = 15.0
"""Seconds: a longer wait is told, so that a run that stands still can be understood."""

_HEADERS = {"User-Agent": f"gmail-assets/{_VERSION} (gzip)", "Accept-Encoding": "gzip"}
"""Gmail packs its answers only when both headers say gzip."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, whole: status, headers and unpacked body."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to send.

    Attributes:
        count: How many calls.
        mark: For `judged`: which requests were in flight together.
    """

    count: int
    mark: int


class Transport:
    """The line of one mailbox to Gmail; thread-safe.

    Args:
        tokens: Where access tokens come from.
        plan: Prices.
        user_meter: Spends the mailbox's units.
        project_meter: Spends the project's units, shared by its mailboxes.
        gate: Bounds what is in flight.
        usage: Counts.
        session: The connections to use.
        api_root: Where Gmail is.
        clock: Counts every wait.
    """

    def __init__(
        self,
        *,
        tokens: TokenSource,
        plan: QuotaPlan,
        user_meter: Meter,
        project_meter: Meter,
        gate: Gate,
        usage: Usage,
        session: Callable[[], requests.Session],
        api_root: str = API_ROOT,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.clock = clock
        self.gate = gate
        self.plan = plan
        self.tokens = tokens
        self.usage = usage
        self._user_meter = user_meter
        self._project_meter = project_meter
        self._session = session
        self._root = checked_root("GMAIL_API_ROOT", api_root)
        self._route = route_to(self._root)

    @property
    def burst(self) -> int:
        """Units that may go out at once: what a batch should stay below."""
        return min(self._user_meter.burst, self._project_meter.burst)

    def get(self, method: str, path: str, params: Mapping[str, Any] | None = None) -> Answer:
        """The resource at `path`, tried again as often as it makes sense.

        Args:
            method: Name in the price table.
            path: From the root, ids quoted.
            params: Query parameters, as in `Call`.

        Raises:
            GmailError: Whatever stood in the way; see `errors`.
        """
        return self.fetch(Call(method, path, params or {}))

    def fetch(self, call: Call, stop: threading.Event | None = None) -> Answer:
        """The answer to `call`, with its JSON.

        Raises:
            GmailError: Whatever stood in the way.
            Stopped: `stop` was set.
        """
        patience = Patience(self.clock)
        renewed = False
        while True:
            answer, token = self._once(call, stop)
            if answer.error is None:
                return answer
            if answer.error.status == 401 and not renewed:
                renewed = True
                self.tokens.renew(token)
            else:
                self.wait(patience, [answer.error], stop)

    def _once(self, call: Call, stop: threading.Event | None) -> tuple[Answer, str]:
        token = self.tokens.token()
        with self.permit([self.plan.price(call.method)], stop) as permit:
            self.usage.sent(call.method)
            try:
                reply = self._send("GET", call.target, call.method, token)
            except UnavailableError as error:
                return Answer(call, None, error, 0), token
        return self.judged(call, reply, permit.mark), token

    def post(self, path: str, body: bytes, content_type: str, calls: Sequence[Call], token: str) -> Reply:
        """Send a batch once. Quota and retries are the caller's affair (`permit`, `wait`).

        Args:
            path: The batch endpoint's.
            body: The packed calls.
            content_type: Of `body`.
            calls: What is in it, to be counted.
            token: An access token.

        Raises:
            UnavailableError: No answer, or not a whole one.
        """
        self.usage.sent(*(call.method for call in calls))
        return self._send("POST", path, "batch", token, body, {"Content-Type": content_type})

    def wait(
        self, patience: Patience, errors: Sequence[GmailError], stop: threading.Event | None = None
    ) -> None:
        """Wait after a refusal for as long as `patience` says; a spent minute holds up the whole mailbox.

        Raises:
            GmailError: One of `errors`, when waiting can't help or has gone on for long enough.
            Stopped: `stop` was set.
        """
        delay = patience.delay(*errors)
        if any(isinstance(error, RateLimitError) and not error.per_project for error in errors):
            self._user_meter.block_until(self.clock.time() + delay)
        if delay >= _WORTH_TELLING:
            _LOG.warning("Waiting %.0f s: %s", delay, errors[0].what)
        pause(self.clock, delay, stop)

    @contextmanager
    def permit(self, prices: Sequence[int], stop: threading.Event | None = None) -> Iterator[Permit]:
        """Hold quota and places in flight for as many of some calls as may go out together now.

        Args:
            prices: Units per call, in order.
            stop: Ends the wait when it is set.

        Yields:
            How many of the calls may go, from the first: all as a rule, at least one.

        Raises:
            Stopped: `stop` was set while waiting.
        """
        places = len(prices)
        mark = self.gate.enter(places, stop)
        try:
            units = sum(prices)
            least = min(units, max(prices[0], self._user_meter.crumb))
            with self._user_meter.reserve(units, least=least, stop=stop) as held:
                count, kept = _fitting(prices, held.units)
                held.keep(kept)
                self.gate.leave(places - count)
                places = count
                with self._project_meter.reserve(kept, stop=stop) as shared:
                    if held.waited or shared.waited:
                        self.usage.waited(held.waited + shared.waited)
                    yield Permit(count, mark)
        finally:
            self.gate.leave(places)

    def judged(self, call: Call, reply: Reply, mark: int) -> Answer:
        """`reply` as an answer to `call`: JSON, or the error it stands for. Counts it, learns from a refusal.

        Args:
            call: What was asked.
            reply: What came, of a single call or of one part of a batch.
            mark: What `permit` gave for it.
        """
        if reply.status == 200:
            try:
                document = json.loads(reply.content)
            except (ValueError, RecursionError):
                document = None
            if isinstance(document, dict):
                size = len(reply.content)
                self.usage.spent(call.method, self.plan.price(call.method), size)
                self.gate.widen(1)
                return Answer(call, document, None, size)
            return Answer(call, None, _unreadable(call.method), len(reply.content))
        error = self.refused(call.method, reply, mark)
        if not error.retryable and reply.status != 401:
            self.usage.spent(call.method, self.plan.price(call.method), 0)
        return Answer(call, None, error, len(reply.content))

    def refused(self, method: str, reply: Reply, mark: int) -> GmailError:
        """The error that `reply` stands for; meter and gate learn what it says about the limits."""
        error = refusal(
            reply.status, reply.content, method=method, headers=reply.headers, now=self.clock.time()
        )
        if isinstance(error, ConcurrencyError):
            self.gate.narrow(mark)
        elif isinstance(error, RateLimitError):
            meter = self._project_meter if error.per_project else self._user_meter
            if error.limit is not None:
                meter.learn(error.limit)
                if not error.per_project:
                    self.plan = self.plan.revealed_by(error.limit)
            if error.retry_at is not None and error.retry_at - self.clock.time() <= _LONGEST_BLOCK:
                meter.block_until(error.retry_at)
        return error

    def _send(
        self,
        verb: str,
        target: str,
        method: str,
        token: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        problem = ""
        try:
            response = self._session().request(
                verb,
                self._root + target,
                data=body,
                headers={**_HEADERS, "Authorization": f"Bearer {token}", **(headers or {})},
                timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                allow_redirects=False,
                proxies=self._route.proxies,
                verify=self._route.verify,
            )
            return Reply(response.status_code, response.headers, response.content)
        except (OSError, HTTPException, urllib3.exceptions.HTTPError) as error:
            problem = type(error).__name__
        raise UnavailableError(
            f"{method}: no whole answer from Gmail ({problem}).",
            fix="Check the network, the proxy and GMAIL_API_ROOT; a lasting break here is rarely Gmail's.",
            method=method,
        )


_LONGEST_BLOCK = 1800.0
"""Seconds: a mailbox is not held up for longer than a request would wait."""


def _fitting(prices: Sequence[int], units: int) -> tuple[int, int]:
    """How many calls `units` pay for, from the first, and what these cost; the first always fits."""
    count, spent = 1, prices[0]
    while count < len(prices) and spent + prices[count] <= units:
        spent += prices[count]
        count += 1
    return count, spent


def _unreadable(method: str) -> UnavailableError:
    return UnavailableError(
        f"{method}: the answer was cut short or is no JSON object.",
        fix="Try again later; check the proxy and GMAIL_API_ROOT.",
        status=200,
        method=method,
    )
