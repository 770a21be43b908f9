"""Many calls at a time: batches of the size that Gmail accepts, sent by several workers: `BatchFetcher`.

A batch saves round trips, not quota units. Only the refused parts are sent again, and while the batch endpoint itself
fails, calls are sent one by one.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence

from gmail_client.auth.endpoints import BATCH_PATH
from gmail_client.errors import (
    CredentialsError,
    GmailError,
    IncompleteReadError,
    QuotaError,
    ResponseError,
    UnavailableError,
)
from gmail_client.http.calls import ApiCall, ApiResult
from gmail_client.http.clock import Clock
from gmail_client.http.failure_streak import OF_ONE_CALL, FailureStreak, Probe
from gmail_client.http.multipart import BatchPart, decode_batch, encode_batch
from gmail_client.http.transport import HttpResponse, Transport
from gmail_client.http.waiting import Stopped
from gmail_client.http.worker_pool import WorkerPool

__all__ = ["BatchFetcher"]

_BUFFER_BYTES = 32 << 20
"""Bytes of JSON that may be in flight or waiting for the consumer."""

_BATCH_BYTES = 4 << 20
"""Bytes of JSON that one batch should return."""

_FIRST_ESTIMATE = 15_000.0
"""Bytes of JSON of a message, until results give a better estimate."""


class BatchFetcher:
    """Performs many calls of one mailbox.

    Args:
        transport: The mailbox's transport.
        workers: Threads, each with one HTTP request at a time.
    """

    def __init__(self, transport: Transport, workers: int = 5) -> None:
        self._transport = transport
        self._workers = workers
        self._endpoint = _BatchEndpoint(transport.clock)
        self._probe = Probe(transport)

    def get_many(
        self, calls: Iterable[ApiCall], *, ordered: bool = False, stop: threading.Event | None = None
    ) -> Iterator[ApiResult]:
        """Perform `calls` and yield their results as they arrive.

        Reads `calls` in the consumer's thread, and only as far ahead as the buffer allows. Closing the generator ends
        the threads.

        Args:
            calls: Any number of calls.
            ordered: Yield the results in the order of `calls`.
            stop: Ends the read when it is set: no further call is sent, and what is in flight is still yielded.

        Yields:
            One result per call. An error of that call alone (deleted since, malformed, refused, Gmail can't serve it)
            is the result's `error`. Results that are there when an error ends the read are yielded before it is raised.

        Raises:
            GmailError: What concerns all calls: credentials, access, quota, Gmail out of reach; or the error of one
                call if all of the first 100 fail, or if 5 in a row are unavailable and so is a call that was served
                before. Calls that are `retried` count for neither.
            IncompleteReadError: Fewer results than calls, and `stop` was not set.
        """
        if stop is not None and stop.is_set():
            return
        source = _CallSource(calls, self._transport)
        yielded = 0
        for result in self._results(source, ordered, stop):
            yielded += 1
            yield result
        if stop is not None and stop.is_set():
            return
        if yielded != source.taken or not source.exhausted:
            raise IncompleteReadError(
                f"Internal error: a read ended with {yielded} results of {source.taken} calls"
                f"{'' if source.exhausted else ', and with calls that were never sent'}.",
            )

    def _results(
        self, source: _CallSource, ordered: bool, stop: threading.Event | None
    ) -> Iterator[ApiResult]:
        failures = FailureStreak(self._probe)
        size = _FIRST_ESTIMATE
        first = source.next_batch(size)
        second = source.next_batch(size) if first else []
        if not second:
            yield from self._results_of_one(first, failures, stop)
            return

        def work(batch: Sequence[ApiCall], stop: threading.Event, results: dict[int, ApiResult]) -> None:
            self._fetch(batch, failures, results, stop)

        with WorkerPool(self._workers, work, stop) as pool:
            pool.submit(first)
            pool.submit(second)
            in_flight = len(first) + len(second)
            started = False
            while True:
                # Without a pending batch one is sent, however low the bounds are.
                while (
                    not pool.stopping
                    and (not pool.pending or in_flight < self._max_in_flight(size, started))
                    and (batch := source.next_batch(size))
                ):
                    pool.submit(batch)
                    in_flight += len(batch)
                if not pool.pending:
                    break
                for result in pool.next_results(ordered=ordered):
                    started = True
                    size += (result.size - size) * 0.05
                    in_flight -= 1
                    yield result
            pool.raise_error()

    def _results_of_one(
        self, calls: Sequence[ApiCall], failures: FailureStreak, stop: threading.Event | None
    ) -> Iterator[ApiResult]:
        """The results of a read so small that it needs no threads."""
        results: dict[int, ApiResult] = {}
        error: GmailError | None = None
        try:
            self._fetch(calls, failures, results, stop)
        except Stopped:
            pass
        except GmailError as raised:
            error = raised
        yield from (results[number] for number in sorted(results))
        if error is not None:
            raise error

    def _fetch(
        self,
        calls: Sequence[ApiCall],
        failures: FailureStreak,
        results: dict[int, ApiResult],
        stop: threading.Event | None = None,
    ) -> None:
        """Perform a few calls in as many batches as it takes; `results` takes each result, by its call's position."""
        transport = self._transport
        pending = list(range(len(calls)))
        retry_policy = transport.retry_policy()
        renewed = too_large = False
        while pending:
            if stop is not None and stop.is_set():
                raise Stopped
            chunk = pending[: transport.concurrency.batch_size]
            token = transport.tokens.token()
            if len(chunk) == 1 or too_large or not self._endpoint.begin(stop):
                results[chunk[0]] = failures.record(self._single(calls[chunk[0]], stop), stop)
                pending.remove(chunk[0])
                continue
            try:
                responses = self._exchange([calls[number] for number in chunk], token, stop)
            except ResponseError:
                too_large = True
                continue
            refused: dict[int, GmailError] = {}
            for number, result in zip(chunk, responses, strict=False):
                if result.error is None or isinstance(result.error, OF_ONE_CALL):
                    results[number] = failures.record(result, stop)
                else:
                    refused[number] = result.error
            remaining = [number for number in pending if number not in results]
            if len(remaining) < len(pending):
                retry_policy = transport.retry_policy()
            pending = remaining
            rejected = any(error.status == 401 for error in refused.values())
            if rejected and not renewed:
                renewed = True
                transport.tokens.renew(token)
                refused = {number: error for number, error in refused.items() if error.status != 401}
            if refused:
                try:
                    transport.wait(retry_policy, list(refused.values()), stop)
                except UnavailableError as spent:
                    for number, error in refused.items():
                        if type(error) is type(spent):
                            unavailable = ApiResult(calls[number], None, error, 0)
                            results[number] = failures.record(unavailable, stop)
                    pending = [number for number in pending if number not in results]

    def _single(self, call: ApiCall, stop: threading.Event | None) -> ApiResult:
        """One call as a separate request, with its own retries."""
        try:
            return self._transport.fetch(call, stop)
        except (*OF_ONE_CALL, UnavailableError) as error:
            return ApiResult(call, None, error, 0)

    def _exchange(
        self, calls: Sequence[ApiCall], token: str, stop: threading.Event | None
    ) -> list[ApiResult]:
        """Send one batch: the results of the first of `calls`, as many as quota allowed to send.

        None at all when the endpoint failed; it is then not used for a while.

        Raises:
            ResponseError: The response is too large, or too slow.
        """
        transport = self._transport
        boundary = f"batch_{secrets.token_hex(12)}"
        try:
            with transport.permit([transport.plan.price(call.method) for call in calls], stop) as permit:
                calls = calls[: permit.count]
                body = encode_batch([call.target for call in calls], boundary)
                content_type = f"multipart/mixed; boundary={boundary}"
                response = transport.post(BATCH_PATH, body, content_type, calls, token)
            return self._results_of(response, calls, permit.generation)
        except UnavailableError:
            self._endpoint.failed()
            return []
        finally:
            self._endpoint.end()

    def _results_of(
        self, response: HttpResponse, calls: Sequence[ApiCall], generation: int
    ) -> list[ApiResult]:
        transport = self._transport
        content_type = response.headers.get("Content-Type", "")
        parts = decode_batch(response.content, content_type) if response.status == 200 else {}
        if any(number < len(calls) for number in parts):
            self._endpoint.worked()
            return [
                transport.to_result(call, _response(part), generation)
                if (part := parts.get(number)) is not None
                else ApiResult(call, None, _missing(call.method), 0)
                for number, call in enumerate(calls)
            ]
        if response.status in (401, 403, 429):
            error = transport.to_error("batch", response, generation)
            if isinstance(error, CredentialsError | QuotaError):
                return [ApiResult(call, None, error, 0) for call in calls]
        self._endpoint.failed()
        return []

    def _max_in_flight(self, size: float, started: bool) -> int:
        parts = self._transport.concurrency.batch_size * self._workers
        return max(1, min(parts * 2 if started else parts, int(_BUFFER_BYTES / size)))


class _CallSource:
    """The calls of one `get_many`, divided into batches.

    Attributes:
        taken: Calls taken so far.
        exhausted: Whether all were.
    """

    def __init__(self, calls: Iterable[ApiCall], transport: Transport) -> None:
        self._calls = iter(calls)
        self._transport = transport
        self.taken = 0
        self.exhausted = False

    def next_batch(self, size: float) -> list[ApiCall]:
        """The next batch; empty only after the last call.

        Args:
            size: Expected bytes of a result.
        """
        limit = max(1, min(self._transport.concurrency.batch_size, int(_BATCH_BYTES / size)))
        burst = self._transport.burst
        batch: list[ApiCall] = []
        units = 0
        for call in itertools.islice(self._calls, limit):
            batch.append(call)
            price = self._transport.plan.price(call.method)
            units += price
            if units + price > burst:
                break
        self.taken += len(batch)
        self.exhausted = not batch
        return batch


class _BatchEndpoint:
    """Whether to use the batch endpoint.

    Calls that went out in a batch that failed are sent, and paid, again. So until a batch has worked, only one at a
    time is sent, while the other workers wait for its result; after a failure the endpoint rests, longer each time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._works = False
        self._probing: int | None = None
        self._failures = 0
        self._unused_until = 0.0

    def begin(self, stop: threading.Event | None) -> bool:
        """Whether a batch may be sent now; if so, `end` has to follow.

        Raises:
            Stopped: `stop` was set.
        """
        with self._changed:
            while not self._works:
                if self._clock.time() < self._unused_until:
                    return False
                if self._probing is None:
                    self._probing = threading.get_ident()
                    return True
                self._changed.wait(0.1)
                if stop is not None and stop.is_set():
                    raise Stopped
            return True

    def end(self) -> None:
        with self._changed:
            if self._probing == threading.get_ident():
                self._probing = None
                self._changed.notify_all()

    def failed(self) -> None:
        with self._changed:
            now = self._clock.time()
            if now >= self._unused_until:
                self._works = False
                self._failures += 1
                self._unused_until = now + min(1800.0, 15.0 * 2 ** (self._failures - 1))

    def worked(self) -> None:
        with self._changed:
            self._works = True
            self._failures = 0
            self._changed.notify_all()


def _response(part: BatchPart) -> HttpResponse:
    """A part as a separate response; the headers are needed only after a failure."""
    return HttpResponse(part.status, {} if part.status == 200 else part.headers, part.content)


def _missing(method: str) -> UnavailableError:
    return UnavailableError(
        f"{method}: missing from the batch response.", fix="Try again later.", method=method
    )
