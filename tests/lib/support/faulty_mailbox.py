"""Mailboxes with injected faults: refused messages, changed results, and a hook before each call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import replace
from typing import Any

from gmail_client.client import Mailbox
from gmail_client.errors import RequestError
from gmail_client.http.calls import ApiCall, ApiResult

__all__ = ["before_calls", "map_results", "refuse_messages"]


class _Api:
    def __init__(
        self, api: Any, answer: Callable[[ApiResult], ApiResult], before: Callable[[str], None]
    ) -> None:
        self._api = api
        self._answer = answer
        self._before = before

    def __getattr__(self, name: str) -> Any:
        self._before(name)
        return getattr(self._api, name)

    def get_many(
        self, calls: Iterable[ApiCall], *, ordered: bool = False, stop: threading.Event | None = None
    ) -> Iterator[ApiResult]:
        self._before("get_many")
        yield from map(self._answer, self._api.get_many(calls, ordered=ordered, stop=stop))


def refuse_messages(
    mailbox: Mailbox, ids: Set[str], formats: Set[str] = frozenset({"full", "minimal", "raw"})
) -> Mailbox:
    """The mailbox, but gets of these messages, and of threads that contain them, fail in these formats."""

    def answer(given: ApiResult) -> ApiResult:
        held = {given.call.key, *(m["id"] for m in (given.json or {}).get("messages") or ())}
        if given.call.params.get("format") in formats and held & ids:
            return replace(given, json=None, error=RequestError("refused by the test", fix="-", status=400))
        return given

    return Mailbox(mailbox.client, mailbox.user_id, _Api(mailbox.api, answer, lambda name: None))  # type: ignore[arg-type]


def map_results(mailbox: Mailbox, answer: Callable[[ApiResult], ApiResult]) -> Mailbox:
    """The mailbox, but each result of a get is passed through a function."""
    return Mailbox(mailbox.client, mailbox.user_id, _Api(mailbox.api, answer, lambda name: None))  # type: ignore[arg-type]


def before_calls(mailbox: Mailbox, before: Callable[[str], None]) -> Mailbox:
    """The mailbox, with a function that is called with the name of each API method before it is used."""
    return Mailbox(mailbox.client, mailbox.user_id, _Api(mailbox.api, lambda given: given, before))  # type: ignore[arg-type]
