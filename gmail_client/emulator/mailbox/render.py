"""Messages, threads and drafts as JSON text: `Renderer`, with a bounded cache.

A payload never changes, except for its attachment ids, which are new in every response. So the JSON text of a payload
is cached without the ids, and a response is composed of this text, new ids and a few other fields.
"""

from __future__ import annotations

import base64
import json
import os
import random
import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal

from gmail_client.emulator.api.errors import bad_argument
from gmail_client.emulator.behavior import Behavior
from gmail_client.emulator.mailbox.message_store import StoredMessage, StoredThread

__all__ = ["MessageFormat", "Renderer", "to_json"]

MessageFormat = Literal["full", "metadata", "minimal", "raw"]

_ID_PREFIX = "ANGjdJ8"
_NONCE = 90

CacheKey = tuple[int, str]
"""The identity of a message's content, and its id: ids are unique in one mailbox only."""


_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def to_json(value: Any) -> bytes:
    """Compact JSON, with characters beyond ASCII escaped."""
    return _encode(value).encode()


class Renderer:
    """Renders API resources.

    Args:
        behavior: Undocumented behavior.
        cache_bytes: Maximum bytes of cached payloads.
        summaries: Maximum number of cached snippets and sizes.
    """

    def __init__(
        self, behavior: Behavior, *, cache_bytes: int = 96 * 2**20, summaries: int = 100_000
    ) -> None:
        self._behavior = behavior
        self._snippet_style = behavior.snippet_style
        self._lock = threading.Lock()
        self._limit = cache_bytes
        self._held = 0
        self._most_summaries = summaries
        self._summaries: OrderedDict[CacheKey, tuple[str, int]] = OrderedDict()
        self._cache: OrderedDict[CacheKey, tuple[bytes, ...]] = OrderedDict()
        self._marker = secrets.token_hex(12)
        self._nonces = random.Random(os.urandom(8))  # noqa: S311

    def message(
        self, message: StoredMessage, format: MessageFormat = "full", headers: Sequence[str] = ()
    ) -> bytes:
        """The JSON text of a Message resource.

        Args:
            message: The message.
            format: The format.
            headers: With `metadata`: only headers with these names; empty for all.
        """
        snippet, size = self._summary(message)
        head = self._head(message)
        head["snippet"] = snippet
        tail = {
            "sizeEstimate": size,
            "historyId": str(message.history_id),
            "internalDate": str(message.internal_date_ms),
        }
        if message.classification:
            tail["classificationLabelValues"] = list(message.classification)
        start, end = to_json(head)[:-1], to_json(tail)[1:]
        if format == "full":
            return b'%b,"payload":%b,%b' % (start, self._payload(message), end)
        if format == "metadata":
            return b'%b,"payload":%b,%b' % (start, to_json(self._metadata(message, headers)), end)
        if format == "raw":
            raw = message.content.raw()
            if raw:
                return b'%b,"raw":"%b",%b' % (start, base64.urlsafe_b64encode(raw), end)
        return b"%b,%b" % (start, end)

    def thread(
        self, thread: StoredThread, format: MessageFormat = "full", headers: Sequence[str] = ()
    ) -> bytes:
        """The JSON text of a Thread resource with its messages, oldest first."""
        members = thread.members
        if not self._behavior.threads_get_includes_trash:
            members = [member for member in members if not member.hidden]
        return self.thread_of(thread, members, format, headers, snippet=self._behavior.threads_get_snippet)

    def thread_of(
        self,
        thread: StoredThread,
        members: Sequence[StoredMessage],
        format: MessageFormat,
        headers: Sequence[str] = (),
        *,
        snippet: bool,
    ) -> bytes:
        """The JSON text of a Thread resource with these messages, with or without its snippet."""
        head: dict[str, Any] = {"id": thread.id}
        if snippet:
            head["snippet"] = self.snippet(thread)
        head["historyId"] = str(thread.history_id)
        if not members:
            return to_json(head)
        messages = b",".join([self.message(member, format, headers) for member in members])
        return b'%b,"messages":[%b]}' % (to_json(head)[:-1], messages)

    def draft(self, message: StoredMessage, format: MessageFormat = "full") -> bytes:
        """The JSON text of a Draft resource."""
        return b'{"id":%b,"message":%b}' % (to_json(message.draft_id), self.message(message, format))

    def reference(self, message: StoredMessage) -> dict[str, Any]:
        """The response of most writes: id, threadId and labelIds."""
        return self._head(message)

    def attachment(self, message: StoredMessage, attachment_id: str) -> dict[str, Any]:
        """The MessagePartBody of an attachment id of this message.

        Raises:
            ApiError: 400 for an id that is not one of this message's.
        """
        data = self._attachment_data(message, attachment_id)
        return {"size": len(data), "data": base64.urlsafe_b64encode(data).decode()}

    def _attachment_data(self, message: StoredMessage, attachment_id: str) -> bytes:
        refused = bad_argument("Invalid attachment token")
        if not attachment_id.startswith(_ID_PREFIX):
            raise refused
        try:
            token = base64.urlsafe_b64decode(attachment_id[len(_ID_PREFIX) :].encode())
            message_id, part_id = token[_NONCE:].decode().split(":")
        except ValueError:
            raise refused from None
        if message_id != message.id:
            raise refused
        try:
            return message.content.attachment(part_id)
        except KeyError:
            raise refused from None

    def _attachment_id(self, message_id: str, part_id: str) -> str:
        token = self._nonces.randbytes(_NONCE) + f"{message_id}:{part_id}".encode()
        return _ID_PREFIX + base64.urlsafe_b64encode(token).decode()

    def _head(self, message: StoredMessage) -> dict[str, Any]:
        head: dict[str, Any] = {"id": message.id, "threadId": message.thread.id}
        if message.label_ids or self._behavior.empty_label_ids == "empty":
            head["labelIds"] = message.label_ids
        return head

    def snippet(self, thread: StoredThread) -> str:
        """The snippet of a thread."""
        return self._summary(thread.snippet_message)[0]

    def _summary(self, message: StoredMessage) -> tuple[str, int]:
        """Snippet and size."""
        key = (id(message.content), message.id)
        found = self._summaries.get(key)
        if found is None:
            found = (message.content.snippet(self._snippet_style), message.content.size)
            with self._lock:
                self._summaries[key] = found
                if len(self._summaries) > self._most_summaries:
                    self._summaries.popitem(last=False)
        return found

    def _metadata(self, message: StoredMessage, names: Sequence[str]) -> dict[str, Any]:
        headers = message.content.headers()
        if names:
            wanted = {name.lower() for name in names}
            headers = [header for header in headers if header["name"].lower() in wanted]
        payload: dict[str, Any] = {"mimeType": message.content.mime_type}
        if headers:
            payload["headers"] = headers
        return payload

    def _payload(self, message: StoredMessage) -> bytes:
        key = (id(message.content), message.id)
        with self._lock:
            pieces = self._cache.get(key)
            if pieces is not None:
                self._cache.move_to_end(key)
        if pieces is None:
            pieces = self._pieces(message)
            self._keep(key, pieces)
        if len(pieces) == 1:
            return pieces[0]
        filled = list(pieces)
        for index in range(1, len(filled), 2):
            filled[index] = self._attachment_id(message.id, filled[index].decode()).encode()
        return b"".join(filled)

    def _keep(self, key: CacheKey, pieces: tuple[bytes, ...]) -> None:
        with self._lock:
            if key not in self._cache:
                self._held += sum(map(len, pieces))
            self._cache[key] = pieces
            while self._held > self._limit:
                _, dropped = self._cache.popitem(last=False)
                self._held -= sum(map(len, dropped))

    def _pieces(self, message: StoredMessage) -> tuple[bytes, ...]:
        """The JSON of the payload split at its attachment ids: text, partId, text, partId, ..., text."""
        marker = self._marker
        text = to_json(message.content.payload(lambda part_id: f"{marker}{part_id}{marker}"))
        return tuple(text.split(marker.encode()))
