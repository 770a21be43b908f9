"""Distinguishes errors of a few messages from an outage of Gmail: `FailureStreak`, `Probe`."""

from __future__ import annotations

import threading
from contextlib import suppress

from gmail_client.errors import (
    ForbiddenError,
    GmailError,
    NotFoundError,
    RequestError,
    ResponseError,
    UnavailableError,
)
from gmail_client.http.calls import ApiCall, ApiResult
from gmail_client.http.transport import Transport, profile_call

__all__ = ["OF_ONE_CALL", "FailureStreak", "Probe"]

OF_ONE_CALL = (NotFoundError, RequestError, ResponseError, ForbiddenError)
"""Errors that may concern one message only."""

_MAX_UNAVAILABLE = 5
"""Calls in a row that fail as unavailable, retries included, after which a probe shows whether Gmail is unavailable."""

_MAX_UNSERVED = 20
"""Calls in a row that fail as unavailable, before any is served, after which Gmail is unavailable although getProfile
is not."""

_MAX_REFUSED = 100
"""Calls that are refused, before any is served, after which all are refused, not a few messages."""


class Probe:
    """Finds out whether Gmail serves a mailbox: repeats the last call that was served.

    Args:
        transport: The mailbox's transport.

    Attributes:
        served: The last call that was served; None if there is none yet.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.served: ApiCall | None = None

    def check(self, failed: ApiCall, stop: threading.Event | None) -> bool:
        """Perform a call: the last one that was served, or getProfile if there is none.

        Args:
            failed: A call that failed.
            stop: Ends the check when it is set.

        Returns:
            Whether it was a call that had been served.

        Raises:
            GmailError: It is not served now.
            Stopped: `stop` was set.
        """
        served = self.served
        # If the item is not found any more, Gmail has responded, which shows the same.
        with suppress(NotFoundError):
            self._transport.fetch(served or profile_call(failed), stop)
        return served is not None


class FailureStreak:
    """Counts the failures of one read; its workers share it.

    Calls that are `retried` don't count: another failure of them is expected, and a queue of them must not prevent the
    load of new mail.

    Args:
        probe: The mailbox's probe.
    """

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._lock = threading.Lock()
        self._unavailable = 0
        self._unserved = 0
        self._refused = 0
        self._served = False

    def record(self, result: ApiResult, stop: threading.Event | None = None) -> ApiResult:
        """`result`, unless all calls are failing.

        Raises:
            GmailError: The result's error.
            Stopped: `stop` was set.
        """
        error = result.error
        with self._lock:
            if error is None:
                self._probe.served = result.call
            if error is None or isinstance(error, NotFoundError):
                self._served = True
            elif result.call.retried:
                return result
            if isinstance(error, UnavailableError):
                self._unavailable += 1
                if self._unavailable >= _MAX_UNAVAILABLE:
                    self._check_outage(result.call, error, stop)
                return result
            self._unavailable = self._unserved = 0
            if isinstance(error, OF_ONE_CALL) and not self._served:
                self._refused += 1
                if self._refused >= _MAX_REFUSED:
                    raise error
        return result

    def _check_outage(self, call: ApiCall, error: GmailError, stop: threading.Event | None) -> None:
        """Find out whether Gmail serves other calls.

        Raises:
            GmailError: `error`: it does not.
            Stopped: `stop` was set.
        """
        try:
            served_before = self._probe.check(call, stop)
        except UnavailableError:
            raise error from None
        self._unserved = 0 if served_before else self._unserved + self._unavailable
        self._unavailable = 0
        if self._unserved >= _MAX_UNSERVED:
            raise error
