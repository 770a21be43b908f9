"""One request to Gmail: wait for quota, send, classify the response, and retry when that can help: `Transport`.

Nothing here depends on retries or hooks mounted on the session.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
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
from gmail_client.errors import (
    ConcurrencyError,
    GmailError,
    PreconditionError,
    RateLimitError,
    ResponseError,
    UnavailableError,
)
from gmail_client.http.body import read_body
from gmail_client.http.calls import ApiCall, ApiResult, QuotaUsage
from gmail_client.http.clock import SYSTEM_CLOCK, Clock
from gmail_client.http.concurrency import ConcurrencyLimiter
from gmail_client.http.error_mapping import error_from_response, no_mailbox
from gmail_client.http.retry import LONGEST, RetryPolicy
from gmail_client.http.sessions import DEADLINE, route_to
from gmail_client.http.waiting import pause
from gmail_client.parsing import is_of_gmail, parse_json, parse_response
from gmail_client.project_quota import ProjectQuota
from gmail_client.quota import QuotaPlan, RateLimiter

__all__ = ["HttpResponse", "Permit", "Transport", "profile_call"]

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 60.0
"""Seconds of real time. A batch of 20 large messages takes some seconds to arrive."""

try:
    _VERSION = version("gmail-assets")
except PackageNotFoundError:
    _VERSION = "0"

_LOG = logging.getLogger(__name__)

_LOGGED_WAIT = 15.0
"""Seconds: longer waits are logged, so that a run without progress explains itself."""

_HEADERS = {"User-Agent": f"gmail-assets/{_VERSION} (gzip)", "Accept-Encoding": "gzip"}
"""Gmail compresses its responses only when both headers say gzip."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete HTTP response: status, headers and uncompressed body."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Permit:
    """Permission to send calls now.

    Attributes:
        count: How many of the calls.
        generation: Which requests are in flight together, for `to_result`.
    """

    count: int
    generation: int


class Transport:
    """Sends the requests of one mailbox; thread-safe.

    Args:
        tokens: The source of access tokens.
        plan: Prices.
        user_limiter: Limits the mailbox's units per minute.
        project: The project's units per minute and day; its mailboxes share them.
        concurrency: Limits the requests in flight.
        usage: Counts calls, units and bytes.
        session: Returns the session to send with.
        api_root: URL of the Gmail API.
        clock: Measures every wait.
        retry_seconds: Seconds after which a request is not retried.
    """

    def __init__(
        self,
        *,
        tokens: TokenSource,
        plan: QuotaPlan,
        user_limiter: RateLimiter,
        project: ProjectQuota,
        concurrency: ConcurrencyLimiter,
        usage: QuotaUsage,
        session: Callable[[], requests.Session],
        api_root: str = API_ROOT,
        clock: Clock = SYSTEM_CLOCK,
        retry_seconds: float = LONGEST,
    ) -> None:
        self.clock = clock
        self._retry_seconds = retry_seconds
        self.concurrency = concurrency
        self.plan = plan
        self.tokens = tokens
        self.usage = usage
        self._user_limiter = user_limiter
        self._project = project
        self.background = False
        """The calls belong to a first load or a reconciliation: changes of other mailboxes go first."""
        self._session = session
        self._root = checked_root("GMAIL_API_ROOT", api_root)
        self._route = route_to(self._root)

    def retry_policy(self) -> RetryPolicy:
        """The retries of one request."""
        return RetryPolicy(self.clock, longest=self._retry_seconds)

    @property
    def burst(self) -> int:
        """Units that may be spent at once; a batch should cost less."""
        return min(self._user_limiter.burst, self._project.burst)

    def get(self, method: str, path: str, params: Mapping[str, Any] | None = None) -> ApiResult:
        """Get the resource at `path`, with retries.

        Args:
            method: Name in the price table.
            path: Path from the API root, ids quoted.
            params: Query parameters, as in `ApiCall`.

        Raises:
            GmailError: Why there is no result; see `errors`.
        """
        return self.fetch(ApiCall(method, path, params or {}))

    def fetch(self, call: ApiCall, stop: threading.Event | None = None) -> ApiResult:
        """Perform one call, with retries. The result always has JSON.

        Raises:
            GmailError: Why there is no result.
            Stopped: `stop` was set.
        """
        retry_policy = self.retry_policy()
        renewed = False
        while True:
            result, token = self._once(call, stop)
            if result.error is None:
                return result
            if result.error.status == 401 and not renewed:
                renewed = True
                self.tokens.renew(token)
                continue
            try:
                self.wait(retry_policy, [result.error], stop)
            except PreconditionError as error:
                if call.method == "getProfile":
                    raise no_mailbox(error) from None
                # Raises NoMailboxError when the whole account is refused, not only this call.
                self.fetch(profile_call(call), stop)
                raise

    def _once(self, call: ApiCall, stop: threading.Event | None) -> tuple[ApiResult, str]:
        token = self.tokens.token()
        with self.permit([self.plan.price(call.method)], stop) as permit:
            self.usage.sent(call.method)
            try:
                response = self._send("GET", call.target, call.method, token)
            except (UnavailableError, ResponseError) as error:
                _LOG.debug("%s: no response", call.method)
                return ApiResult(call, None, error, 0), token
        _LOG.debug("%s: HTTP %d, %d bytes", call.method, response.status, len(response.content))
        return self.to_result(call, response, permit.generation), token

    def post(
        self, path: str, body: bytes, content_type: str, calls: Sequence[ApiCall], token: str
    ) -> HttpResponse:
        """Send a batch once. The caller takes care of quota (`permit`) and retries (`wait`).

        Args:
            path: Path of the batch endpoint.
            body: The encoded calls.
            content_type: The content type of `body`.
            calls: The calls in `body`, for the usage counters.
            token: An access token.

        Raises:
            UnavailableError: No response, or a truncated one.
            ResponseError: A response that is too large or too slow.
        """
        self.usage.sent(*(call.method for call in calls))
        response = self._send("POST", path, "batch", token, body, {"Content-Type": content_type})
        if _LOG.isEnabledFor(logging.DEBUG):
            counts = Counter(call.method for call in calls)
            summary = ", ".join(f"{count} {method}" for method, count in counts.items())
            _LOG.debug("batch of %s: HTTP %d, %d bytes", summary, response.status, len(response.content))
        return response

    def exchange(
        self,
        verb: str,
        target: str,
        prices: Mapping[str, int],
        body: bytes | None = None,
        content_type: str = "",
    ) -> HttpResponse:
        """Send one request once and return its response with any status, for diagnostics of a server.

        Waits for quota, and sends it a second time if the access token was refused.

        Args:
            verb: HTTP method.
            target: Path and query.
            prices: Units by the name of each method that is called; a batch calls several.
            body: The body, if there is one.
            content_type: The content type of `body`.

        Raises:
            UnavailableError: No response, or a truncated one.
            ResponseError: A response that is too large or too slow.
        """
        method = next(iter(prices)) if len(prices) == 1 else "batch"
        headers = {"Content-Type": content_type} if content_type else None
        for last in (False, True):
            token = self.tokens.token()
            with self.permit([sum(prices.values())]):
                self.usage.sent(*prices)
                response = self._send(verb, target, method, token, body, headers)
            if response.status != 401 or last:
                break
            self.tokens.renew(token)
        if response.status < 400 or (response.status in (400, 403, 404) and method != "batch"):
            self.usage.spent(method, sum(prices.values()), len(response.content))
        return response

    def wait(
        self, retry_policy: RetryPolicy, errors: Sequence[GmailError], stop: threading.Event | None = None
    ) -> None:
        """Wait before a retry. After a rate limit, all requests of the mailbox wait.

        Raises:
            GmailError: One of `errors`, when a retry can't help or the attempts are used up.
            Stopped: `stop` was set.
        """
        delay = retry_policy.delay(*errors)
        if any(isinstance(error, RateLimitError) and not error.per_project for error in errors):
            self._user_limiter.block_until(self.clock.time() + delay)
        if delay >= _LOGGED_WAIT:
            _LOG.warning("Waiting %.0f s: %s", delay, errors[0].what)
        pause(self.clock, delay, stop)

    @contextmanager
    def permit(self, prices: Sequence[int], stop: threading.Event | None = None) -> Iterator[Permit]:
        """Wait until calls may be sent; hold their quota and their places in flight until the block ends.

        Args:
            prices: Units per call, in order.
            stop: Ends the wait when it is set.

        Yields:
            How many of the calls, from the first, may be sent: usually all, at least one.

        Raises:
            Stopped: `stop` was set while waiting.
        """
        places = len(prices)
        generation = self.concurrency.acquire(places, stop)
        try:
            units = sum(prices)
            least = min(units, max(prices[0], self._user_limiter.smallest_grant))
            with self._user_limiter.reserve(units, least=least, stop=stop) as held:
                count, kept = _fitting(prices, held.units)
                held.keep(kept)
                self.concurrency.release(places - count)
                places = count
                with self._project.reserve(kept, loads=self.background, stop=stop) as shared:
                    if held.waited or shared.waited:
                        self.usage.waited(held.waited + shared.waited)
                    yield Permit(count, generation)
        finally:
            self.concurrency.release(places)

    def to_result(self, call: ApiCall, response: HttpResponse, generation: int) -> ApiResult:
        """The result of `call`: JSON, or the error of the response.

        Counts the units, and adjusts the limiters after a refusal.

        Args:
            call: The call.
            response: Its response, of a single request or of one part of a batch.
            generation: The `Permit`'s.
        """
        size = len(response.content)
        if response.status == 200:
            try:
                document = parse_json(response.content, call.method)
                if document is None:
                    return ApiResult(call, None, _unreadable(call.method), size)
                if not is_of_gmail(call.method, document):
                    return ApiResult(call, None, _foreign(call.method), size)
                self.usage.spent(call.method, self.plan.price(call.method), size)
                self.concurrency.increase(1)
                return ApiResult(call, parse_response(call.method, document, call.item_id), None, size)
            except ResponseError as malformed:
                return ApiResult(call, None, malformed, size)
        error = self.to_error(call.method, response, generation)
        if not error.retryable and response.status != 401:
            self.usage.spent(call.method, self.plan.price(call.method), 0)
        return ApiResult(call, None, error, size)

    def to_error(self, method: str, response: HttpResponse, generation: int) -> GmailError:
        """The error of `response`. Adjusts the limiters to the limits that it names."""
        error = error_from_response(
            response.status, response.content, method=method, headers=response.headers, now=self.clock.time()
        )
        if isinstance(error, ConcurrencyError):
            self.concurrency.decrease(generation)
        elif isinstance(error, RateLimitError):
            limiter = self._project if error.per_project else self._user_limiter
            if error.limit is not None:
                limiter.learn(error.limit)
                if not error.per_project:
                    self.plan = self.plan.revealed_by(error.limit)
            if error.retry_at is not None and error.retry_at - self.clock.time() <= _LONGEST_BLOCK:
                limiter.block_until(error.retry_at)
        return error

    def _send(
        self,
        verb: str,
        target: str,
        method: str,
        token: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        problem = ""
        started = time.monotonic()
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
                stream=True,
            )
            return HttpResponse(response.status_code, response.headers, read_body(response, method))
        except (OSError, HTTPException, urllib3.exceptions.HTTPError, UnicodeError) as error:
            # Raised outside of this block, because the original error contains the request, and so the token.
            problem = type(error).__name__
        if time.monotonic() - started >= DEADLINE:
            raise ResponseError(
                f"{method}: the response did not arrive within {DEADLINE:.0f} seconds.",
                fix="Check the network and the proxy; if it is one large mail, the connection is too slow for it.",
                method=method,
            )
        raise UnavailableError(
            f"{method}: no complete response from Gmail ({problem}).",
            fix="Check the network, the proxy and GMAIL_API_ROOT; Gmail itself is rarely unavailable for long.",
            method=method,
        )


_LONGEST_BLOCK = 1800.0
"""Seconds: a mailbox is not blocked for longer than one request would wait."""


def _fitting(prices: Sequence[int], units: int) -> tuple[int, int]:
    """How many calls, from the first, `units` pay for (at least one), and what they cost."""
    count, spent = 1, prices[0]
    while count < len(prices) and spent + prices[count] <= units:
        spent += prices[count]
        count += 1
    return count, spent


def profile_call(call: ApiCall) -> ApiCall:
    """The call of getProfile for the user of another call (`/gmail/v1/users/me/...`)."""
    return ApiCall("getProfile", "/".join([*call.path.split("/")[:5], "profile"]))


def _unreadable(method: str) -> UnavailableError:
    return UnavailableError(
        f"{method}: the response is truncated or not a JSON object.",
        fix="Try again later; check the proxy and GMAIL_API_ROOT.",
        status=200,
        method=method,
    )


def _foreign(method: str) -> UnavailableError:
    return UnavailableError(
        f"{method}: the response has status 200, but an error or other fields than Gmail's.",
        fix="Try again later; check the proxy and GMAIL_API_ROOT.",
        status=200,
        method=method,
    )
