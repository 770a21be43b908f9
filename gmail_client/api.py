"""Gmail's read endpoints for one mailbox, one method each: `GmailApi`.

https://developers.google.com/workspace/gmail/api/reference/rest/v1. Methods return Gmail's own JSON. A key missing from
a list response means an empty list; an error never does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from gmail_client.errors import ConfigurationError, UnavailableError
from gmail_client.http.batch import BatchFetcher
from gmail_client.http.calls import ApiCall, ApiResult, QuotaUsage, UsageSnapshot
from gmail_client.http.exchange import Exchange
from gmail_client.http.transport import Transport
from gmail_client.labels import HIDDEN_LABELS
from gmail_client.paging import pages_of
from gmail_client.quota import QuotaPlan

__all__ = ["ApiCall", "ApiResult", "GmailApi", "HistoryPage", "QuotaUsage", "UsageSnapshot"]

Resource = dict[str, Any]
Format = Literal["full", "metadata", "minimal", "raw"]

_SETTINGS = {
    "autoForwarding": "settings.getAutoForwarding",
    "imap": "settings.getImap",
    "language": "settings.getLanguage",
    "pop": "settings.getPop",
    "vacation": "settings.getVacation",
}


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """One page of the history.

    Attributes:
        records: History records by increasing id; possibly none.
        head: The mailbox's newest historyId at the time of the response. Valid as a cursor only after the last page.
        next_page_token: Token of the next page; None on the last page.
    """

    records: list[Resource]
    head: str
    next_page_token: str | None


class GmailApi:
    """One mailbox's read endpoints; thread-safe.

    Every method retries transient errors and then raises a `GmailError`.

    Args:
        transport: Sends the mailbox's requests.
        user_id: `me` or an address.
        workers: Threads of `get_many`.
    """

    def __init__(self, transport: Transport, user_id: str = "me", *, workers: int = 5) -> None:
        self.user_id = user_id
        self._transport = transport
        self._batches = BatchFetcher(transport, workers)
        self._root = f"/gmail/v1/users/{quote(user_id, safe='@')}"

    @property
    def usage(self) -> QuotaUsage:
        """Calls, units and bytes spent on this mailbox."""
        return self._transport.usage

    @property
    def plan(self) -> QuotaPlan:
        """Prices and limits."""
        return self._transport.plan

    @property
    def background(self) -> bool:
        """The calls belong to a first load or a reconciliation: changes of other mailboxes go first."""
        return self._transport.background

    @background.setter
    def background(self, value: bool) -> None:
        self._transport.background = value

    @property
    def now(self) -> float:
        """Seconds since the epoch, by the client's clock."""
        return self._transport.clock.time()

    def exchange(self) -> Exchange:
        """Sends requests to this mailbox and returns the responses as they are, for diagnostics."""
        return Exchange(self._transport, self._root)

    def profile(self) -> Resource:
        """`{emailAddress, messagesTotal, threadsTotal, historyId}`."""
        return self._transport.fetch(self.profile_call()).resource()

    def profile_call(self) -> ApiCall:
        """The call that gets the profile; its key is `profile`."""
        return ApiCall("getProfile", f"{self._root}/profile", key="profile")

    def list_messages(
        self,
        *,
        q: str | None = None,
        label_ids: Sequence[str] = (),
        include_spam_trash: bool = False,
        page_size: int = 500,
    ) -> Iterator[list[Resource]]:
        """List all matching messages, as pages of `{id, threadId}`.

        Args:
            q: A search in Gmail's syntax.
            label_ids: Label ids; a message must have all of them.
            include_spam_trash: Include messages in SPAM and TRASH.
            page_size: Items per page, 1 to 500.
        """
        params = _filters(q, label_ids, include_spam_trash, page_size)
        return self._pages("messages.list", "/messages", "messages", params)

    def list_threads(
        self,
        *,
        q: str | None = None,
        label_ids: Sequence[str] = (),
        include_spam_trash: bool = False,
        page_size: int = 500,
    ) -> Iterator[list[Resource]]:
        """List threads with a matching message, as pages of `{id, snippet, historyId}`; see `list_messages`."""
        params = _filters(q, label_ids, include_spam_trash, page_size)
        return self._pages("threads.list", "/threads", "threads", params)

    def list_drafts(
        self, *, q: str | None = None, include_spam_trash: bool = False, page_size: int = 500
    ) -> Iterator[list[Resource]]:
        """List all matching drafts, as pages of `{id, message: {id, threadId}}`; see `list_messages`."""
        return self._pages("drafts.list", "/drafts", "drafts", _filters(q, (), include_spam_trash, page_size))

    def history(
        self, start: str, *, page_size: int = 500, page_token: str | None = None
    ) -> Iterator[HistoryPage]:
        """Read all changes after `start`, in order.

        Args:
            start: A historyId of this mailbox.
            page_size: Records per page, 1 to 500.
            page_token: Continue from the `next_page_token` of an earlier page with the same start.

        Raises:
            HistoryExpiredError: Gmail no longer keeps the history back to `start`.
        """

        def get(page_token: str | None) -> Resource:
            params = {"startHistoryId": start, "maxResults": page_size, "pageToken": page_token}
            return self._get("history.list", "/history", params)

        # One history id may have records on several pages, so an id alone does not identify a record.
        documents = pages_of(
            get,
            method="history.list",
            key="history",
            page_token=page_token,
            identity=lambda record: hash(str(record)),
        )
        for document in documents:
            yield HistoryPage(
                document.get("history", []), document["historyId"], document.get("nextPageToken")
            )

    def labels(self) -> list[Resource]:
        """All labels, without counts and colors (`label` has those).

        Raises:
            UnavailableError: There is none, although every mailbox has system labels.
        """
        return _some("labels.list", self._list("labels.list", "/labels", "labels"))

    def label(self, label_id: str) -> Resource:
        """One label with its counts and color.

        Raises:
            NotFoundError: No such label.
        """
        return self._transport.fetch(self.label_call(label_id)).resource()

    def hidden_totals(self) -> dict[str, int]:
        """How many `messages` and `threads` are in spam and trash, by Gmail's counts of these labels."""
        calls = map(self.label_call, sorted(HIDDEN_LABELS))
        labels = [result.resource() for result in self.get_many(calls)]
        return {
            name: sum(int(label.get(f"{name}Total") or 0) for label in labels)
            for name in ("messages", "threads")
        }

    def filters(self) -> list[Resource]:
        """All filters."""
        return self._list("settings.filters.list", "/settings/filters", "filter")

    def forwarding_addresses(self) -> list[Resource]:
        """All forwarding addresses."""
        return self._list(
            "settings.forwardingAddresses.list", "/settings/forwardingAddresses", "forwardingAddresses"
        )

    def send_as(self) -> list[Resource]:
        """All send-as aliases, with the mailbox's own address."""
        return self._list("settings.sendAs.list", "/settings/sendAs", "sendAs")

    def delegates(self) -> list[Resource]:
        """All delegates.

        Raises:
            ForbiddenError: The credentials are not those of a service account with domain-wide delegation.
        """
        return self._list("settings.delegates.list", "/settings/delegates", "delegates")

    def settings_part(self, name: str) -> Resource:
        """One part of the mailbox's settings: see `settings_call`."""
        return self._transport.fetch(self.settings_call(name)).resource()

    def settings_call(self, name: str) -> ApiCall:
        """The call that gets one part of the mailbox's settings; its key is the name.

        Args:
            name: `autoForwarding`, `imap`, `language`, `pop` or `vacation`.

        Raises:
            ConfigurationError: Another name.
        """
        if name not in _SETTINGS:
            raise ConfigurationError(
                f"{name!r} is not a part of Gmail's settings.", fix=f"Use one of: {', '.join(_SETTINGS)}."
            )
        return ApiCall(_SETTINGS[name], f"{self._root}/settings/{name}", key=name)

    def message_call(self, message_id: str, format: Format = "full") -> ApiCall:
        """The call that gets one message; its key is the id."""
        return self._item("messages.get", "messages", message_id, {"format": format})

    def attachment_call(
        self, message_id: str, attachment_id: str, key: str, *, retried: bool = False
    ) -> ApiCall:
        """The call that gets the bytes of an attachment, base64url in `data`.

        Args:
            message_id: The message.
            attachment_id: From `body.attachmentId` of a part of that message.
            key: The caller's id of the attachment.
            retried: It failed in an earlier run.
        """
        place = f"messages/{quote(message_id, safe='')}/attachments/{quote(attachment_id, safe='')}"
        params = {"prettyPrint": False}
        return ApiCall("messages.attachments.get", f"{self._root}/{place}", params, key=key, retried=retried)

    def thread_call(self, thread_id: str, format: Format = "full") -> ApiCall:
        """The call that gets one thread with its messages (Gmail has no `raw` here); its key is the id."""
        return self._item("threads.get", "threads", thread_id, {"format": format})

    def draft_call(self, draft_id: str, format: Format = "full") -> ApiCall:
        """The call that gets one draft with its message; its key is the id."""
        return self._item("drafts.get", "drafts", draft_id, {"format": format})

    def label_call(self, label_id: str) -> ApiCall:
        """The call that gets one label; its key is the id."""
        return self._item("labels.get", "labels", label_id, {})

    def get_many(
        self, calls: Iterable[ApiCall], *, ordered: bool = False, stop: threading.Event | None = None
    ) -> Iterator[ApiResult]:
        """Perform many calls, in batches and by several threads.

        Args:
            calls: The calls; read lazily, in the consumer's thread.
            ordered: Yield results in the order of `calls` instead of as they arrive.
            stop: Ends the read early when it is set; what is in flight is still yielded.

        Yields:
            One result per call, with the error of that call if it failed (`NotFoundError`: deleted since).

        Raises:
            GmailError: An error that concerns all calls.
        """
        return self._batches.get_many(calls, ordered=ordered, stop=stop)

    def _item(self, method: str, collection: str, item: str, params: Mapping[str, Any]) -> ApiCall:
        path = f"{self._root}/{collection}/{quote(item, safe='')}"
        return ApiCall(method, path, {**params, **_COMPACT}, key=item, item_id=item)

    def _get(self, method: str, path: str, params: Mapping[str, Any] | None = None) -> Resource:
        return self._transport.get(method, self._root + path, params).resource()

    def _list(self, method: str, path: str, key: str) -> list[Resource]:
        items: list[Resource] = self._get(method, path).get(key, [])
        return items

    def _pages(self, method: str, path: str, key: str, params: Mapping[str, Any]) -> Iterator[list[Resource]]:
        def get(page_token: str | None) -> Resource:
            return self._get(method, path, {**params, "pageToken": page_token})

        return (document.get(key, []) for document in pages_of(get, method=method, key=key))


_COMPACT = {"prettyPrint": False}
"""Gmail indents its JSON by default; a payload with many parts is then mostly whitespace."""


def _some(method: str, items: list[Resource]) -> list[Resource]:
    if not items:
        raise UnavailableError(
            f"{method}: the response is empty, which it is for no mailbox.",
            fix="Try again later; if it persists, check the proxy and GMAIL_API_ROOT.",
            method=method,
        )
    return items


def _filters(
    q: str | None, label_ids: Sequence[str], include_spam_trash: bool, page_size: int
) -> dict[str, Any]:
    return {
        "maxResults": page_size,
        "q": q or None,
        "labelIds": list(label_ids),
        "includeSpamTrash": True if include_spam_trash else None,
    }
