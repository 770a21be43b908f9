"""A mailbox in memory behind `GmailApi`, without HTTP, for tests that read it thousands of times: `MemoryGmail`.

It implements what the streams read: profile, listings, history and gets of messages and threads. Its history can
expire. Other tests use the emulator, which models Gmail in detail.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gmail_client.api import ApiCall, ApiResult, GmailApi, HistoryPage
from gmail_client.errors import HistoryExpiredError, NotFoundError
from gmail_client.quota import QuotaPlan, preset

__all__ = ["MemoryGmail"]

Resource = dict[str, Any]

_HIDDEN = {"SPAM", "TRASH"}
_PAGE = 4
_NOW = 1_700_000_000
_DAY = 86_400
_WINDOW = re.compile(r"(?:\((?P<q>.*)\) )?(?:after:(?P<after>\d+))?(?: ?before:(?P<before>\d+))?")


class MemoryGmail(GmailApi):
    """A mailbox, and the API that reads it.

    Attributes:
        address: Its address.
        messages: The messages by id, as `messages.get` returns them.
        head: The newest history id.
        calls: Calls by method name.
        unindexed: Messages that a search does not find yet.
    """

    def __init__(self, messages: int = 0) -> None:
        self.user_id = "me"
        self.address = "a@example.com"
        self._root = "/gmail/v1/users/me"
        self.messages: dict[str, Resource] = {}
        self.head = 100
        self.floor = 100
        self.calls: list[str] = []
        self.unindexed: set[str] = set()
        self._records: list[tuple[int, Resource]] = []
        self._next_id = 0x1000
        for number in range(messages):
            thread_id = self.thread_ids()[-1] if number % 4 == 1 else None
            self.insert(("INBOX",) if number % 3 else (), thread_id, age_days=messages - number)
        self.expire()

    # Writes

    def insert(self, labels: Sequence[str], thread_id: str | None = None, *, age_days: int = 0) -> str:
        """Add a message, dated now or some days ago; returns its id."""
        self._next_id += 7
        message_id = f"{self._next_id:x}"
        self.messages[message_id] = {
            "id": message_id,
            "threadId": thread_id or message_id,
            "internalDate": str((_NOW - age_days * _DAY) * 1000),
        }
        self._record("messagesAdded", [message_id], labels=list(labels))
        return message_id

    def modify(self, message_ids: Iterable[str], add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """Add and remove labels, in one history record."""
        changed = [id_ for id_ in message_ids if id_ in self.messages]
        self._record("labelsAdded", changed, add=add)
        self._record("labelsRemoved", changed, remove=remove)

    def delete(self, message_ids: Iterable[str]) -> None:
        """Delete permanently, in one history record."""
        gone = [id_ for id_ in message_ids if id_ in self.messages]
        self._record("messagesDeleted", gone)
        for message_id in gone:
            del self.messages[message_id]

    def expire(self, upto: int | None = None) -> None:
        """Drop history: starts below `upto` (by default every start up to the head) are refused."""
        if upto is None:
            self.head += 1
        self.floor = max(self.floor, self.head if upto is None else upto)

    def _record(
        self,
        kind: str,
        ids: list[str],
        *,
        labels: list[str] | None = None,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
    ) -> None:
        touched = [
            id_
            for id_ in ids
            if labels is not None
            or kind == "messagesDeleted"
            or set(add) - set(self.messages[id_]["labelIds"])
            or set(remove) & set(self.messages[id_]["labelIds"])
        ]
        if not touched:
            return
        self.head += 2
        events = []
        for message_id in touched:
            message = self.messages[message_id]
            before = labels if labels is not None else message["labelIds"]
            after = [label for label in dict.fromkeys([*before, *add]) if label not in remove]
            message |= {"labelIds": after, "historyId": str(self.head)}
            event = {"message": {"id": message_id, "threadId": message["threadId"], "labelIds": after}}
            events.append({**event, "labelIds": [*add, *remove]} if add or remove else event)
        self._records.append((self.head, {"id": str(self.head), kind: events}))

    # Reads

    def thread_ids(self) -> list[str]:
        """All threads, oldest first."""
        return list(dict.fromkeys(message["threadId"] for message in self.messages.values()))

    def rows(self, table: str, label_ids: Sequence[str] = (), hidden: bool = False) -> dict[str, Resource]:
        """The rows that a table must have, by id."""
        matching = self._matching(None, label_ids, hidden)
        if table == "messages":
            return {message["id"]: message for message in matching}
        return {thread: self._thread(thread, hidden) for thread in {one["threadId"] for one in matching}}

    @property
    def plan(self) -> QuotaPlan:
        return preset("current")

    @property
    def now(self) -> float:
        return float(_NOW)

    def profile(self) -> Resource:
        self.calls.append("getProfile")
        return {
            "emailAddress": self.address,
            "historyId": str(self.head),
            "threadsTotal": len(self.thread_ids()),
        }

    def label(self, label_id: str) -> Resource:
        self.calls.append("labels.get")
        threads = {message["threadId"] for message in self._matching(None, (label_id,), True)}
        return {"id": label_id, "threadsTotal": len(threads)}

    def list_messages(
        self,
        *,
        q: str | None = None,
        label_ids: Sequence[str] = (),
        include_spam_trash: bool = False,
        page_size: int = 500,
    ) -> Iterator[list[Resource]]:
        self.calls.append("messages.list")
        found = self._matching(q, label_ids, include_spam_trash)
        found = [message for message in found if not q or message["id"] not in self.unindexed]
        found.sort(key=lambda message: -int(message["internalDate"]))
        for begin in range(0, max(1, len(found)), page_size):
            page = found[begin : begin + page_size]
            yield [{"id": message["id"], "threadId": message["threadId"]} for message in page]

    def list_threads(
        self,
        *,
        q: str | None = None,
        label_ids: Sequence[str] = (),
        include_spam_trash: bool = False,
        page_size: int = 500,
    ) -> Iterator[list[Resource]]:
        self.calls.append("threads.list")
        found = dict.fromkeys(
            message["threadId"] for message in self._matching(q, label_ids, include_spam_trash)
        )
        yield [{**self._thread(thread, True), "messages": None} for thread in found]

    def history(
        self, start: str, *, page_size: int = 500, page_token: str | None = None
    ) -> Iterator[HistoryPage]:
        self.calls.append("history.list")
        if int(start) < self.floor:
            raise HistoryExpiredError("The history has expired.", fix="")
        records = [record for number, record in self._records if number > int(start)]
        for begin in range(0, max(1, len(records)), _PAGE):
            more = begin + _PAGE < len(records)
            yield HistoryPage(records[begin : begin + _PAGE], str(self.head), "next" if more else None)

    def get_many(
        self, calls: Iterable[ApiCall], *, ordered: bool = False, stop: threading.Event | None = None
    ) -> Iterator[ApiResult]:
        for call in calls:
            self.calls.append(call.method)
            if call.method == "messages.get":
                found = self.messages.get(call.key)
            else:
                found = self._thread(call.key, True) if call.key in self.thread_ids() else None
            error = None if found else NotFoundError(f"{call.key} is gone", fix="")
            yield ApiResult(call, dict(found) if found else None, error, 100)

    def _matching(self, q: str | None, label_ids: Sequence[str], hidden: bool) -> list[Resource]:
        window = _WINDOW.fullmatch(q or "")
        after, before = (int(window[name] or 0) for name in ("after", "before")) if window else (0, 0)
        search = window["q"] if window else q
        wanted = {*label_ids, *([search.removeprefix("is:").upper()] if search else [])}
        return [
            message
            for message in self.messages.values()
            if wanted <= set(message["labelIds"])
            and (hidden or not _HIDDEN & set(message["labelIds"]))
            and after <= int(message["internalDate"]) // 1000 < (before or 2 * _NOW)
        ]

    def _thread(self, thread_id: str, hidden: bool) -> Resource:
        members = [
            message
            for message in self.messages.values()
            if message["threadId"] == thread_id and (hidden or not _HIDDEN & set(message["labelIds"]))
        ]
        newest = max((int(message["historyId"]) for message in members), default=0)
        return {"id": thread_id, "historyId": str(newest), "snippet": "", "messages": members}
