"""Fetches requested messages with the cheapest calls, thread by thread.

Gmail's price is per call: a message costs one `messages.get`, a thread with all its messages one `threads.get` at
twice that price. `fetch` takes `FetchRequest`s (one per thread), chooses for each the calls that cost fewest units, and
yields a `FetchedThread` for each, in the order of arrival. `chunks` groups these into lists of bounded size.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gmail_client.api import GmailApi
from gmail_client.errors import GmailError, IncompleteReadError, NotFoundError, ResponseError
from gmail_client.http.calls import ApiCall, ApiResult
from gmail_client.minimize import ContentPolicy
from gmail_client.options import MessageFormat
from gmail_client.printable import short_repr
from gmail_client.unknown_fields import COLUMN

__all__ = [
    "CHUNK_BYTES",
    "CHUNK_MESSAGES",
    "FetchRequest",
    "FetchedThread",
    "chunks",
    "fetch",
    "prefers_thread",
]

CHUNK_MESSAGES = 1_000
"""A chunk ends at this many messages ..."""
CHUNK_BYTES = 16 * 2**20
"""... or at this many bytes of JSON, whichever comes first."""

_FOLLOW_UPS = 40


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """The messages to fetch of one thread.

    Attributes:
        thread_id: The thread.
        message_ids: The requested messages, as far as they are known.
        whole: Every message of the thread is requested, whether or not `message_ids` has it.
        partly_stored: Other messages of the thread are stored already; they are read again only if that costs less.
        retried: Every requested message failed in an earlier run, so another failure does not indicate an outage.
    """

    thread_id: str
    message_ids: tuple[str, ...] = ()
    whole: bool = False
    partly_stored: bool = False
    retried: bool = False


@dataclass(slots=True)
class FetchedThread:
    """The result of one `FetchRequest`.

    Attributes:
        thread_id: The thread.
        messages: Message resources, at least the requested ones that still exist.
        history_id: The thread's history id, if threads.get returned it.
        snippet: The thread's snippet, if threads.get returned it.
        unknown: The thread's own `unknownFields`, if threads.get returned any.
        size: Bytes of JSON.
        absent: Messages that no longer exist, or that the policy excludes.
        failed: Requested messages that could not be read, each with its error.
        moved: For failed messages whose response names another thread than was requested, that thread's id.
        refused: Why threads.get did not return the thread, if its messages have to be read singly.
        partial: The read ended before every requested message had an outcome.
    """

    thread_id: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    history_id: str | None = None
    snippet: str | None = None
    unknown: str | None = None
    size: int = 0
    absent: list[str] = field(default_factory=list)
    failed: dict[str, GmailError] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    refused: GmailError | None = None
    partial: bool = False


def prefers_thread(
    request: FetchRequest, format_: MessageFormat, message_price: int, thread_price: int
) -> bool:
    """Whether one `threads.get` serves the request at no higher cost than single gets."""
    if format_ == "raw":
        return False
    if request.whole:
        return True
    single = len(request.message_ids) * message_price
    return thread_price < single or (thread_price == single and not request.partly_stored)


def fetch(
    api: GmailApi,
    requests: Iterable[FetchRequest],
    format_: MessageFormat = "full",
    policy: ContentPolicy | None = None,
    *,
    stop: threading.Event | None = None,
) -> Iterator[FetchedThread]:
    """Read the requested messages.

    Args:
        api: The mailbox.
        requests: One per thread; consumed as needed, so that a long plan needs no memory here.
        format_: Format of the gets. `raw` exists for single messages only.
        policy: What is removed from the content. A message that it excludes counts as absent.
        stop: Ends the read early when it is set. A caller that passes it also gets the messages of unfinished threads
            (`partial`) when the read ends early, by `stop` or by an error: their units are spent.

    Yields:
        One `FetchedThread` per request; each requested message is among its `messages`, `absent` or `failed`. Messages
        that threads.get leaves out (it may hide trash) are read singly, and so are those of a thread that it refuses,
        unless the request is for the whole thread.

    Raises:
        ConfigurationError: The policy hashes addresses, and there is no usable key; nothing was read.
        GmailError: Nothing more can be read (revoked token, daily quota). Results yielded before are valid.
        IncompleteReadError: A requested message has no outcome.
    """
    if policy is not None:
        policy.check()
    reading = _Fetch(api, format_, policy, stop)
    try:
        yield from reading.run(requests)
    except GmailError as error:
        ended: GmailError | None = error
    else:
        ended = None
    if stop is not None and (ended is not None or stop.is_set()):
        yield from reading.unfinished()
    if ended is not None:
        raise ended


class _Fetch:
    """The state of one `fetch`."""

    def __init__(
        self,
        api: GmailApi,
        format_: MessageFormat,
        policy: ContentPolicy | None,
        stop: threading.Event | None,
    ) -> None:
        self._api = api
        self._format = format_
        self._policy = policy
        self._stop = stop
        self._message_price = api.plan.price("messages.get")
        self._thread_price = api.plan.price("threads.get")
        self._open: dict[str, tuple[FetchRequest, FetchedThread, int]] = {}
        self._owners: dict[str, str] = {}
        self._incomplete: list[tuple[FetchRequest, FetchedThread]] = []

    def run(self, requests: Iterable[FetchRequest]) -> Iterator[FetchedThread]:
        """Read all requested messages, or those that arrive before `stop` is set."""
        for result in self._api.get_many(self._calls(requests), stop=self._stop):
            by_thread = result.call.method == "threads.get"
            thread_id = result.call.key if by_thread else self._owners.pop(result.call.key)
            request, fetched, pending = self._open[thread_id]
            if by_thread:
                _add_thread(request, fetched, result, self._policy)
            else:
                _add_message(fetched, result, self._policy)
            if pending > 1:
                self._open[thread_id] = (request, fetched, pending - 1)
                continue
            del self._open[thread_id]
            if by_thread and _left_out(request, fetched):
                self._incomplete.append((request, fetched))
                if len(self._incomplete) >= _FOLLOW_UPS:
                    yield from self._follow_up()
            else:
                yield _conserved(request, fetched)
        if self._stopped:
            return
        yield from self._follow_up()
        if self._open and not self._stopped:
            raise _without_outcome(
                [id_ for request, _, _ in self._open.values() for id_ in request.message_ids]
            )

    def unfinished(self) -> Iterator[FetchedThread]:
        """The threads of which only some results have arrived."""
        begun = [*self._incomplete, *((request, fetched) for request, fetched, _ in self._open.values())]
        for request, fetched in begun:
            if fetched.refused is not None:
                # Recorded as failed, so that in the next run the same thread does not count as a sign of an outage.
                fetched.failed.update(dict.fromkeys(_left_out(request, fetched), fetched.refused))
            if fetched.messages or fetched.absent or fetched.failed:
                yield replace(fetched, partial=bool(_left_out(request, fetched)))

    @property
    def _stopped(self) -> bool:
        return self._stop is not None and self._stop.is_set()

    def _calls(self, requests: Iterable[FetchRequest]) -> Iterator[ApiCall]:
        for request in requests:
            thread_id = request.thread_id
            if thread_id in self._open:
                raise _without_outcome(self._open[thread_id][0].message_ids)
            if prefers_thread(request, self._format, self._message_price, self._thread_price):
                self._open[thread_id] = (request, FetchedThread(thread_id), 1)
                call = self._api.thread_call(thread_id, self._format)
                yield replace(call, retried=True) if request.retried else call
            elif request.message_ids:
                self._open[thread_id] = (request, FetchedThread(thread_id), len(request.message_ids))
                for message_id in request.message_ids:
                    self._owners[message_id] = thread_id
                    yield self._message_call(request, message_id)

    def _message_call(self, request: FetchRequest, message_id: str) -> ApiCall:
        call = self._api.message_call(message_id, self._format)
        return replace(call, retried=True) if request.retried else call

    def _follow_up(self) -> Iterator[FetchedThread]:
        """Read the messages that threads.get left out with single gets."""
        owners = {
            message_id: (request, fetched)
            for request, fetched in self._incomplete
            for message_id in _left_out(request, fetched)
        }
        calls = (self._message_call(request, message_id) for message_id, (request, _) in owners.items())
        for result in self._api.get_many(calls, stop=self._stop):
            _add_message(owners[result.call.key][1], result, self._policy)
        if self._stopped:
            return
        done, self._incomplete = self._incomplete, []
        for request, fetched in done:
            yield _conserved(request, fetched)


def _left_out(request: FetchRequest, fetched: FetchedThread) -> list[str]:
    known = {message["id"] for message in fetched.messages}.union(fetched.absent, fetched.failed)
    return [message_id for message_id in request.message_ids if message_id not in known]


def _add_thread(
    request: FetchRequest, fetched: FetchedThread, result: ApiResult, policy: ContentPolicy | None
) -> None:
    fetched.size += result.size
    if isinstance(result.error, NotFoundError):
        # The thread does not exist; a single get shows whether one of its messages moved to another thread.
        return
    if result.error is not None:
        if request.whole or not request.message_ids:
            fetched.failed.update(dict.fromkeys(request.message_ids or (request.thread_id,), result.error))
        else:
            # One message may be the cause: the others are read with single gets.
            fetched.refused = result.error
        return
    thread = result.json or {}
    for message in thread.get("messages") or ():
        _keep(fetched, message, policy)
    fetched.history_id = thread.get("historyId")
    snippet = thread.get("snippet")
    fetched.snippet = snippet if policy is None else policy.snippet(snippet)
    unknown = thread.get(COLUMN)
    fetched.unknown = unknown if policy is None else policy.unknown(unknown)


def _keep(fetched: FetchedThread, message: dict[str, Any], policy: ContentPolicy | None) -> None:
    left = message if policy is None else policy.message(message)
    if left is None:
        fetched.absent.append(message["id"])
    else:
        fetched.messages.append(left)


def _add_message(fetched: FetchedThread, result: ApiResult, policy: ContentPolicy | None) -> None:
    fetched.size += result.size
    if isinstance(result.error, NotFoundError):
        fetched.absent.append(result.call.key)
    elif result.error is not None:
        fetched.failed[result.call.key] = result.error
    elif result.json is not None:
        message = result.json
        thread_id = message.setdefault("threadId", fetched.thread_id)
        if thread_id == fetched.thread_id:
            _keep(fetched, message, policy)
        else:
            # A listing or the history names the one thread, the message the other: one of them is wrong.
            fetched.moved[result.call.key] = thread_id
            fetched.failed[result.call.key] = ResponseError(
                f"messages.get: threadId is {short_repr(thread_id)}; "
                f"it was listed in the thread {short_repr(fetched.thread_id)}.",
                fix="The next run reads it again.",
                status=200,
                method="messages.get",
            )


def _conserved(request: FetchRequest, fetched: FetchedThread) -> FetchedThread:
    """`fetched`, once every requested message has an outcome."""
    if missing := _left_out(request, fetched):
        raise _without_outcome(missing)
    return fetched


def _without_outcome(message_ids: Sequence[str]) -> IncompleteReadError:
    return IncompleteReadError(
        f"Internal error: requested messages have no outcome: {len(message_ids)}, the first is {message_ids[:1]}.",
    )


def chunks(
    fetched: Iterable[FetchedThread],
    *,
    messages: int = CHUNK_MESSAGES,
    size: int = CHUNK_BYTES,
    first: int | None = None,
    is_full: Callable[[], bool] = lambda: False,
) -> Iterator[list[FetchedThread]]:
    """Group fetched threads into lists that end at a number of messages or bytes, whichever comes first.

    Args:
        fetched: Results of `fetch`.
        messages: Messages in a list.
        size: Bytes of JSON in a list.
        first: Messages in the first list, for a consumer that should not wait long for its first rows.
        is_full: Whether a list has to end for another reason, such as memory.
    """
    chunk: list[FetchedThread] = []
    count = total = 0
    most = min(messages, first or messages)
    for item in fetched:
        chunk.append(item)
        count += len(item.messages)
        total += item.size
        if count >= most or total >= size or is_full():
            yield chunk
            chunk, count, total = [], 0, 0
            most = messages
    if chunk:
        yield chunk
