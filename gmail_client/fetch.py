"""Fetches requested messages with the cheapest calls, thread by thread.

Gmail's price is per call: a message costs one `messages.get`, a thread with all its messages one `threads.get` at
twice that price. `fetch` takes `FetchRequest`s (one per thread), chooses for each the calls that cost fewest units, and
yields a `FetchedThread` for each, in the order of arrival. `chunks` groups these into lists of bounded size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gmail_client.api import GmailApi
from gmail_client.errors import GmailError, IncompleteReadError, NotFoundError
from gmail_client.http.calls import ApiCall, ApiResult
from gmail_client.minimize import ContentPolicy
from gmail_client.options import MessageFormat

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
    """

    thread_id: str
    message_ids: tuple[str, ...] = ()
    whole: bool = False
    partly_stored: bool = False


@dataclass(slots=True)
class FetchedThread:
    """The result of one `FetchRequest`.

    Attributes:
        thread_id: The thread.
        messages: Message resources, at least the requested ones that still exist.
        history_id: The thread's history id, if threads.get returned it.
        snippet: The thread's snippet, if threads.get returned it.
        size: Bytes of JSON.
        gone: Messages that no longer exist, or that the policy excludes.
        failed: Requested messages that could not be read, each with its error.
    """

    thread_id: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    history_id: str | None = None
    snippet: str | None = None
    size: int = 0
    gone: list[str] = field(default_factory=list)
    failed: dict[str, GmailError] = field(default_factory=dict)


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
) -> Iterator[FetchedThread]:
    """Read the requested messages.

    Args:
        api: The mailbox.
        requests: One per thread; consumed as needed, so that a long plan needs no memory here.
        format_: Format of the gets. `raw` exists for single messages only.
        policy: What is removed from the content. A message that it excludes counts as gone.

    Yields:
        One `FetchedThread` per request; each requested message is among its `messages`, `gone` or `failed`. Messages
        that threads.get leaves out (it may hide trash) are read singly, and so are those of a thread that it refuses,
        unless the request is for the whole thread.

    Raises:
        ConfigurationError: The policy hashes addresses, and there is no usable key; nothing was read.
        GmailError: Nothing more can be read (revoked token, daily quota). Results yielded before are valid.
        IncompleteReadError: A requested message has no outcome.
    """
    if policy is not None:
        policy.check()
    message_price = api.plan.price("messages.get")
    thread_price = api.plan.price("threads.get")
    open_requests: dict[str, tuple[FetchRequest, FetchedThread, int]] = {}
    owners: dict[str, str] = {}
    follow_ups: list[tuple[FetchRequest, FetchedThread]] = []

    def calls() -> Iterator[ApiCall]:
        for request in requests:
            if request.thread_id in open_requests:
                raise _without_outcome(open_requests[request.thread_id][0].message_ids)
            if prefers_thread(request, format_, message_price, thread_price):
                open_requests[request.thread_id] = (request, FetchedThread(request.thread_id), 1)
                yield api.thread_call(request.thread_id, format_)
            elif request.message_ids:
                open_requests[request.thread_id] = (
                    request,
                    FetchedThread(request.thread_id),
                    len(request.message_ids),
                )
                for message_id in request.message_ids:
                    owners[message_id] = request.thread_id
                    yield api.message_call(message_id, format_)

    for result in api.get_many(calls()):
        by_thread = result.call.method == "threads.get"
        thread_id = result.call.key if by_thread else owners.pop(result.call.key)
        request, fetched, pending = open_requests[thread_id]
        if by_thread:
            _add_thread(request, fetched, result, policy)
        else:
            _add_message(fetched, result, policy)
        if pending > 1:
            open_requests[thread_id] = (request, fetched, pending - 1)
            continue
        del open_requests[thread_id]
        if by_thread and _left_out(request, fetched):
            follow_ups.append((request, fetched))
            if len(follow_ups) >= _FOLLOW_UPS:
                yield from _follow_up(api, follow_ups, format_, policy)
                follow_ups = []
        else:
            yield _conserved(request, fetched)
    yield from _follow_up(api, follow_ups, format_, policy)
    if open_requests:
        raise _without_outcome(
            [id_ for request, _, _ in open_requests.values() for id_ in request.message_ids]
        )


def _left_out(request: FetchRequest, fetched: FetchedThread) -> list[str]:
    known = {message["id"] for message in fetched.messages}.union(fetched.gone, fetched.failed)
    return [message_id for message_id in request.message_ids if message_id not in known]


def _add_thread(
    request: FetchRequest, fetched: FetchedThread, result: ApiResult, policy: ContentPolicy | None
) -> None:
    fetched.size += result.size
    if isinstance(result.error, NotFoundError):
        # The thread is gone; a single get shows whether one of its messages moved to another thread.
        return
    if result.error is not None:
        if request.whole or not request.message_ids:
            fetched.failed.update(dict.fromkeys(request.message_ids or (request.thread_id,), result.error))
        # Otherwise one message may be the cause: the others are read with single gets.
        return
    thread = result.json or {}
    for message in thread.get("messages") or ():
        _keep(fetched, message, policy)
    fetched.history_id = thread.get("historyId")
    snippet = thread.get("snippet")
    fetched.snippet = snippet if policy is None else policy.snippet(snippet)


def _keep(fetched: FetchedThread, message: dict[str, Any], policy: ContentPolicy | None) -> None:
    left = message if policy is None else policy.message(message)
    if left is None:
        fetched.gone.append(message["id"])
    else:
        fetched.messages.append(left)


def _add_message(fetched: FetchedThread, result: ApiResult, policy: ContentPolicy | None) -> None:
    fetched.size += result.size
    if isinstance(result.error, NotFoundError):
        fetched.gone.append(result.call.key)
    elif result.error is not None:
        fetched.failed[result.call.key] = result.error
    elif result.json is not None:
        _keep(fetched, result.json, policy)


def _follow_up(
    api: GmailApi,
    pairs: list[tuple[FetchRequest, FetchedThread]],
    format_: MessageFormat,
    policy: ContentPolicy | None,
) -> Iterator[FetchedThread]:
    owners = {message_id: fetched for request, fetched in pairs for message_id in _left_out(request, fetched)}
    for result in api.get_many(api.message_call(message_id, format_) for message_id in owners):
        _add_message(owners[result.call.key], result, policy)
    for request, fetched in pairs:
        yield _conserved(request, fetched)


def _conserved(request: FetchRequest, fetched: FetchedThread) -> FetchedThread:
    """`fetched`, once every requested message has an outcome."""
    if missing := _left_out(request, fetched):
        raise _without_outcome(missing)
    return fetched


def _without_outcome(message_ids: Sequence[str]) -> IncompleteReadError:
    return IncompleteReadError(
        f"Defect: requested messages have no outcome: {len(message_ids)}, the first is {message_ids[:1]}.",
    )


def chunks(
    fetched: Iterable[FetchedThread],
    *,
    messages: int = CHUNK_MESSAGES,
    size: int = CHUNK_BYTES,
    first: int | None = None,
) -> Iterator[list[FetchedThread]]:
    """Group fetched threads into lists that end at a number of messages or bytes, whichever comes first.

    Args:
        fetched: Results of `fetch`.
        messages: Messages in a list.
        size: Bytes of JSON in a list.
        first: Messages in the first list, for a consumer that should not wait long for its first rows.
    """
    chunk: list[FetchedThread] = []
    count = total = 0
    most = min(messages, first or messages)
    for item in fetched:
        chunk.append(item)
        count += len(item.messages)
        total += item.size
        if count >= most or total >= size:
            yield chunk
            chunk, count, total = [], 0, 0
            most = messages
    if chunk:
        yield chunk
