"""Many calls at a time: batches as wide as Gmail accepts, over a few workers, as a lazy stream of answers.

A batch saves round trips, never units. Only the parts that were refused are sent again, and when the batch
endpoint itself does not work, the same calls go out one by one.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence

from gmail_client.auth.endpoints import BATCH_PATH
from gmail_client.errors import (
    DEFECT_FIX,
    CredentialsError,
    GmailError,
    IncompleteReadError,
    NotFoundError,
    QuotaError,
    RequestError,
    UnavailableError,
)
from gmail_client.http.calls import Answer, Call
from gmail_client.http.clock import Clock
from gmail_client.http.multipart import Part, packed, unpacked
from gmail_client.http.retry import Patience
from gmail_client.http.transport import Reply, Transport
from gmail_client.http.worker_pool import Crew

__all__ = ["Batches"]

_BUFFER_BYTES = 32 << 20
"""Bytes of JSON that may be on their way or waiting for the consumer."""

_BATCH_BYTES = 4 << 20
"""Bytes of JSON that one batch should bring."""

_USUAL_SIZE = 15_000.0
"""Bytes of JSON of a message, until answers tell better."""

_DOWN = 5
"""Calls in a row that Gmail could not serve after which the trouble is Gmail's, not the messages'."""


class Batches:
    """Fetches many calls of one mailbox.

    Args:
        transport: The mailbox's line.
        workers: Threads, and so HTTP requests at a time.
    """

    def __init__(self, transport: Transport, workers: int = 5) -> None:
        self._transport = transport
        self._workers = workers
        self._endpoint = _Endpoint(transport.clock)

    def get_many(self, calls: Iterable[Call], *, ordered: bool = False) -> Iterator[Answer]:
        """The answers to `calls`, as they come.

        `calls` is pulled in the consumer's thread, only as far as the work in flight is bounded. Closing the
        generator ends the threads.

        Args:
            calls: Any number of calls.
            ordered: Keep their order.

        Yields:
            One answer per call. What stands in the way of one call alone (deleted since, malformed, Gmail
            can't serve it) is its `error`.

        Raises:
            GmailError: What stands in the way of all: credentials, access, quota, Gmail out of reach.
            IncompleteReadError: Fewer answers than calls.
        """
        source = _CallSource(calls, self._transport)
        answered = 0
        for answer in self._answers(source, ordered):
            answered += 1
            yield answer
        if answered != source.taken or not source.exhausted:
            raise IncompleteReadError(
                f"Defect: a read ended with {answered} answers to {source.taken} calls"
                f"{'' if source.exhausted else ', and with calls that were never sent'}.",
                fix=DEFECT_FIX,
            )

    def _answers(self, source: _CallSource, ordered: bool) -> Iterator[Answer]:
        watch = _Watch()
        size = _USUAL_SIZE
        first = source.take(size)
        second = source.take(size) if first else []
        if not second:
            yield from self._fetch(first, watch)
            return
        with Crew(self._workers, lambda batch, stop: self._fetch(batch, watch, stop)) as crew:
            crew.put(first)
            crew.put(second)
            out = len(first) + len(second)
            seen = False
            while True:
                # With nothing in flight a batch goes out, however little the bounds allow.
                while (not crew.pending or out < self._most_out(size, seen)) and (batch := source.take(size)):
                    crew.put(batch)
                    out += len(batch)
                if not crew.pending:
                    return
                for answer in crew.take(ordered=ordered):
                    seen = True
                    size += (answer.size - size) * 0.05
                    out -= 1
                    yield answer

    def _fetch(
        self, calls: Sequence[Call], watch: _Watch, stop: threading.Event | None = None
    ) -> list[Answer]:
        """The answers to a few calls, in their order, in as many batches as it takes."""
        transport = self._transport
        answers: dict[int, Answer] = {}
        pending = list(range(len(calls)))
        patience = Patience(transport.clock)
        renewed = False
        while pending:
            chunk = pending[: transport.gate.batch_size]
            if len(chunk) == 1 or not self._endpoint.usable():
                answers[chunk[0]] = watch.passed(self._single(calls[chunk[0]], stop))
                pending.remove(chunk[0])
                continue
            token = transport.tokens.token()
            got = self._exchange([calls[number] for number in chunk], token, stop)
            refused: dict[int, GmailError] = {}
            for number, answer in zip(chunk, got, strict=False):
                if answer.error is None or isinstance(answer.error, NotFoundError | RequestError):
                    answers[number] = watch.passed(answer)
                else:
                    refused[number] = answer.error
            left = [number for number in pending if number not in answers]
            if len(left) < len(pending):
                patience = Patience(transport.clock)
            pending = left
            rejected = any(error.status == 401 for error in refused.values())
            if rejected and not renewed:
                renewed = True
                transport.tokens.renew(token)
                refused = {number: error for number, error in refused.items() if error.status != 401}
            if refused:
                try:
                    transport.wait(patience, list(refused.values()), stop)
                except UnavailableError:
                    for number, error in refused.items():
                        if isinstance(error, UnavailableError):
                            answers[number] = watch.passed(Answer(calls[number], None, error, 0))
                    pending = [number for number in pending if number not in answers]
        return [answers[number] for number in range(len(calls))]

    def _single(self, call: Call, stop: threading.Event | None) -> Answer:
        """One call by itself, with retries of its own."""
        try:
            return self._transport.fetch(call, stop)
        except (NotFoundError, RequestError, UnavailableError) as error:
            return Answer(call, None, error, 0)

    def _exchange(self, calls: Sequence[Call], token: str, stop: threading.Event | None) -> list[Answer]:
        """One batch out and in: answers to the first of `calls`, as many as quota allowed to go out.

        None at all when the endpoint failed; it is then left alone for a while.
        """
        transport = self._transport
        boundary = f"batch_{secrets.token_hex(12)}"
        with transport.permit([transport.plan.price(call.method) for call in calls], stop) as permit:
            calls = calls[: permit.count]
            body = packed([call.target for call in calls], boundary)
            try:
                reply = transport.post(
                    BATCH_PATH, body, f"multipart/mixed; boundary={boundary}", calls, token
                )
            except UnavailableError:
                self._endpoint.failed()
                return []
        parts = unpacked(reply.content, reply.headers.get("Content-Type", "")) if reply.status == 200 else {}
        if any(number < len(calls) for number in parts):
            self._endpoint.worked()
            return [
                transport.judged(call, _reply(part), permit.mark)
                if (part := parts.get(number)) is not None
                else Answer(call, None, _missing(call.method), 0)
                for number, call in enumerate(calls)
            ]
        if reply.status in (401, 403, 429):
            error = transport.refused("batch", reply, permit.mark)
            if isinstance(error, CredentialsError | QuotaError):
                return [Answer(call, None, error, 0) for call in calls]
        self._endpoint.failed()
        return []

    def _most_out(self, size: float, seen: bool) -> int:
        width = self._transport.gate.batch_size * self._workers
        return max(1, min(width * 2 if seen else width, int(_BUFFER_BYTES / size)))


class _CallSource:
    """The calls of one `get_many`, handed out in batches.

    Attributes:
        taken: Calls handed out so far.
        exhausted: All were.
    """

    def __init__(self, calls: Iterable[Call], transport: Transport) -> None:
        self._calls = iter(calls)
        self._transport = transport
        self.taken = 0
        self.exhausted = False

    def take(self, size: float) -> list[Call]:
        """The next batch; empty only when all calls are handed out.

        Args:
            size: Bytes that an answer is expected to have.
        """
        most = max(1, min(self._transport.gate.batch_size, int(_BATCH_BYTES / size)))
        burst = self._transport.burst
        batch: list[Call] = []
        units = 0
        for call in itertools.islice(self._calls, most):
            batch.append(call)
            price = self._transport.plan.price(call.method)
            units += price
            if units + price > burst:
                break
        self.taken += len(batch)
        self.exhausted = not batch
        return batch


class _Endpoint:
    """Whether the batch endpoint is worth a try: after a failure it is left alone, for longer each time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._shut_until = 0.0

    def usable(self) -> bool:
        return self._clock.time() >= self._shut_until

    def failed(self) -> None:
        with self._lock:
            now = self._clock.time()
            if now >= self._shut_until:
                self._failures += 1
                self._shut_until = now + min(1800.0, 15.0 * 2 ** (self._failures - 1))

    def worked(self) -> None:
        self._failures = 0


class _Watch:
    """Tells trouble with some messages from trouble with Gmail; shared by the workers of one `get_many`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_a_row = 0

    def passed(self, answer: Answer) -> Answer:
        with self._lock:
            failed = isinstance(answer.error, UnavailableError)
            self._in_a_row = self._in_a_row + 1 if failed else 0
            if answer.error is not None and self._in_a_row >= _DOWN:
                raise answer.error
        return answer


def _reply(part: Part) -> Reply:
    """A part as an answer of its own; the headers of a good one say nothing that is needed."""
    return Reply(part.status, {} if part.status == 200 else part.headers, part.content)


def _missing(method: str) -> UnavailableError:
    return UnavailableError(
        f"{method}: left out of the answer to a batch.", fix="Try again later.", method=method
    )
