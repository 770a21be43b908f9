"""The cheapest calls that bring wanted messages, thread by thread.

Gmail's price is per call: a message costs one `messages.get`, a thread with all its messages one `threads.get` at
twice that price. `fetch` takes `FetchRequest`s (one per thread), chooses for each the calls that cost fewest units, and
yields what came as `FetchedThread`, in the order in which it came. `chunks` groups these into pieces of bounded size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gmail_client.api import GmailApi
from gmail_client.errors import GmailError, IncompleteReadError, NotFoundError
from gmail_client.http.calls import ApiCall, ApiResult
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
    """What is wanted of one thread.

    Attributes:
        thread_id: The thread.
        message_ids: The wanted messages, as far as they are known.
        whole: Every message of the thread is wanted, also ones that are not named.
        held: Other messages of the thread are stored already and should not be read again without need.
    """

    thread_id: str
    message_ids: tuple[str, ...] = ()
    whole: bool = False
    held: bool = False


@dataclass(slots=True)
class FetchedThread:
    """What came of one `FetchRequest`.

    Attributes:
        thread_id: The thread.
        messages: Message resources, at least the wanted ones that still exist.
        history_id: The thread's history id, where threads.get named it.
        snippet: The thread's snippet, where threads.get named it.
        size: Bytes of JSON.
        gone: Wanted messages that no longer exist.
        failed: Wanted messages that Gmail would not give, each with its error.
    """

    thread_id: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    history_id: str | None = None
    snippet: str | None = None
    size: int = 0
    gone: list[str] = field(default_factory=list)
    failed: dict[str, GmailError] = field(default_factory=dict)


def prefers_thread(want: FetchRequest, format_: MessageFormat, message_price: int, thread_price: int) -> bool:
    """Whether one `threads.get` serves the want at no higher cost than single gets."""
    if format_ == "raw":
        return False
    if want.whole:
        return True
    single = len(want.message_ids) * message_price
    return thread_price < single or (thread_price == single and not want.held)


def fetch(
    api: GmailApi, wants: Iterable[FetchRequest], format_: MessageFormat = "full"
) -> Iterator[FetchedThread]:
    """Read what is wanted.

    Args:
        api: The mailbox.
        wants: One per thread; consumed as needed, so that a long plan needs no memory here.
        format_: Format of the gets. `raw` exists for single messages only.

    Yields:
        One `FetchedThread` per want; each wanted message is among its `messages`, `gone` or `failed`. Messages that
        threads.get leaves out (it may hide trash) are read singly, and so are those of a thread that it refuses,
        unless all of its messages are wanted, named or not.

    Raises:
        GmailError: Nothing more can be read (revoked token, daily quota). What was yielded before stands.
        IncompleteReadError: A wanted message has no outcome.
    """
    message_price = api.plan.price("messages.get")
    thread_price = api.plan.price("threads.get")
    open_wants: dict[str, tuple[FetchRequest, FetchedThread, int]] = {}
    owners: dict[str, str] = {}
    follow_ups: list[tuple[FetchRequest, FetchedThread]] = []

    def calls() -> Iterator[ApiCall]:
        for want in wants:
            if want.thread_id in open_wants:
                raise _without_outcome(open_wants[want.thread_id][0].message_ids)
            if prefers_thread(want, format_, message_price, thread_price):
                open_wants[want.thread_id] = (want, FetchedThread(want.thread_id), 1)
                yield api.thread_call(want.thread_id, format_)
            elif want.message_ids:
                open_wants[want.thread_id] = (want, FetchedThread(want.thread_id), len(want.message_ids))
                for message_id in want.message_ids:
                    owners[message_id] = want.thread_id
                    yield api.message_call(message_id, format_)

    for answer in api.get_many(calls()):
        by_thread = answer.call.method == "threads.get"
        thread_id = answer.call.key if by_thread else owners.pop(answer.call.key)
        want, fetched, pending = open_wants[thread_id]
        if by_thread:
            _take_thread(want, fetched, answer)
        else:
            _take_message(fetched, answer)
        if pending > 1:
            open_wants[thread_id] = (want, fetched, pending - 1)
            continue
        del open_wants[thread_id]
        if by_thread and _left_out(want, fetched):
            follow_ups.append((want, fetched))
            if len(follow_ups) >= _FOLLOW_UPS:
                yield from _follow_up(api, follow_ups, format_)
                follow_ups = []
        else:
            yield _conserved(want, fetched)
    yield from _follow_up(api, follow_ups, format_)
    if open_wants:
        raise _without_outcome([id_ for want, _, _ in open_wants.values() for id_ in want.message_ids])


def _left_out(want: FetchRequest, fetched: FetchedThread) -> list[str]:
    known = {message["id"] for message in fetched.messages}.union(fetched.gone, fetched.failed)
    return [message_id for message_id in want.message_ids if message_id not in known]


def _take_thread(want: FetchRequest, fetched: FetchedThread, answer: ApiResult) -> None:
    fetched.size += answer.size
    if isinstance(answer.error, NotFoundError):
        # Gone as a thread; a member that lives on elsewhere shows itself when asked for singly.
        return
    if answer.error is not None:
        if want.whole or not want.message_ids:
            fetched.failed.update(dict.fromkeys(want.message_ids or (want.thread_id,), answer.error))
        # Else it may be one message that Gmail can't give: the others come singly.
        return
    thread = answer.json or {}
    fetched.messages = thread.get("messages") or []
    fetched.history_id = thread.get("historyId")
    fetched.snippet = thread.get("snippet")


def _take_message(fetched: FetchedThread, answer: ApiResult) -> None:
    fetched.size += answer.size
    if isinstance(answer.error, NotFoundError):
        fetched.gone.append(answer.call.key)
    elif answer.error is not None:
        fetched.failed[answer.call.key] = answer.error
    elif answer.json is not None:
        fetched.messages.append(answer.json)


def _follow_up(
    api: GmailApi, pairs: list[tuple[FetchRequest, FetchedThread]], format_: MessageFormat
) -> Iterator[FetchedThread]:
    owners = {message_id: fetched for want, fetched in pairs for message_id in _left_out(want, fetched)}
    for answer in api.get_many(api.message_call(message_id, format_) for message_id in owners):
        _take_message(owners[answer.call.key], answer)
    for want, fetched in pairs:
        yield _conserved(want, fetched)


def _conserved(want: FetchRequest, fetched: FetchedThread) -> FetchedThread:
    """`fetched`, once every wanted message has an outcome."""
    if missing := _left_out(want, fetched):
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
    """Group what was fetched into pieces that end at so many messages or bytes, whichever comes first.

    Args:
        fetched: What `fetch` yields.
        messages: Messages in a piece.
        size: Bytes of JSON in a piece.
        first: Messages in the first piece, for a consumer who should not wait long for the beginning.
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
