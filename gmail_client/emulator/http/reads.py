"""The reading methods: `READS`, by name, each from a `MethodCall` to the JSON text of the response."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from gmail_client.emulator.api.errors import bad_argument, forbidden, not_found
from gmail_client.emulator.http.calls import MethodCall
from gmail_client.emulator.mailbox.listing import ListingFilter, list_page, page_size, read_token, write_token
from gmail_client.emulator.mailbox.message_store import SortKey, StoredMessage, StoredThread
from gmail_client.emulator.mailbox.render import MessageFormat, to_json

__all__ = ["READS", "Handler", "for_service_accounts"]

T = TypeVar("T", StoredMessage, StoredThread)

Handler = Callable[[MethodCall], bytes]

_METADATA_SCOPES = (
    "https://www.googleapis.com/auth/gmail.metadata",
    "https://www.googleapis.com/auth/gmail.addons.current.message.metadata",
)


def _profile(call: MethodCall) -> bytes:
    return to_json(call.mailbox.profile())


def _page_size(call: MethodCall) -> int:
    return page_size(call.query.get("maxResults", 100), call.mailbox.behavior)


def _listing(
    call: MethodCall,
    key: str,
    source: Callable[[SortKey | None], Iterator[T]],
    matches: Callable[[ListingFilter, T], bool],
    item: Callable[[T], dict[str, Any]],
) -> bytes:
    """The response of a list method with its items under `key`."""
    mailbox, query = call.mailbox, call.query
    q = query.get("q")
    if q and _metadata_only(call):
        raise forbidden("Metadata scope does not support 'q' parameter")
    label_ids = query.get("labelIds", ())
    mailbox.labels.require(label_ids)
    listed = mailbox.listing_filter(q, label_ids, query.get("includeSpamTrash", False))
    page = list_page(
        source,
        lambda entry: matches(listed, entry),
        key_of=mailbox.store.key_of,
        size=_page_size(call),
        token=query.get("pageToken"),
        kind=key,
        empty_every=mailbox.behavior.empty_pages,
        is_exhausted=lambda: listed.is_exhausted,
    )
    answer: dict[str, Any] = {key: [item(entry) for entry in page.items]} if page.items else {}
    if page.next_token:
        answer["nextPageToken"] = page.next_token
    answer["resultSizeEstimate"] = page.estimate
    return to_json(answer)


def _messages_list(call: MethodCall) -> bytes:
    def item(message: StoredMessage) -> dict[str, Any]:
        return {"id": message.id, "threadId": message.thread.id}

    return _listing(call, "messages", call.mailbox.store.messages_from, ListingFilter.message, item)


def _threads_list(call: MethodCall) -> bytes:
    def item(thread: StoredThread) -> dict[str, Any]:
        snippet = call.renderer.snippet(thread)
        return {"id": thread.id, "snippet": snippet, "historyId": str(thread.history_id)}

    return _listing(call, "threads", call.mailbox.store.threads_from, ListingFilter.thread, item)


def _drafts_list(call: MethodCall) -> bytes:
    def item(message: StoredMessage) -> dict[str, Any]:
        return {"id": message.draft_id, "message": {"id": message.id, "threadId": message.thread.id}}

    return _listing(call, "drafts", call.mailbox.store.drafts_from, ListingFilter.message, item)


def _metadata_only(call: MethodCall) -> bool:
    usable = call.access.scopes & set(call.method.scopes)
    return usable <= set(_METADATA_SCOPES)


def _format(call: MethodCall) -> tuple[MessageFormat, Sequence[str]]:
    form: MessageFormat = call.query.get("format", "full")
    if form in ("full", "raw") and _metadata_only(call):
        raise forbidden(f"Metadata scope doesn't allow format {form.upper()}")
    return form, call.query.get("metadataHeaders", ())


def _count_fetch(call: MethodCall, form: MessageFormat, messages: Sequence[StoredMessage]) -> None:
    if form in ("full", "raw"):
        for message in messages:
            call.usage.count_fetch(call.mailbox.address, message.id)


def _messages_get(call: MethodCall) -> bytes:
    form, headers = _format(call)
    message = call.mailbox.message(call.variables["id"])
    _count_fetch(call, form, (message,))
    return call.renderer.message(message, form, headers)


def _threads_get(call: MethodCall) -> bytes:
    form, headers = _format(call)
    thread = call.mailbox.thread(call.variables["id"])
    _count_fetch(call, form, thread.members)
    return call.renderer.thread(thread, form, headers)


def _drafts_get(call: MethodCall) -> bytes:
    form, _ = _format(call)
    message = call.mailbox.draft(call.variables["id"])
    _count_fetch(call, form, (message,))
    return call.renderer.draft(message, form)


def _attachments_get(call: MethodCall) -> bytes:
    message = call.mailbox.message(call.variables["messageId"])
    return to_json(call.renderer.attachment(message, call.variables["id"]))


def _history_list(call: MethodCall) -> bytes:
    mailbox = call.mailbox
    log, behavior, query = mailbox.log, mailbox.behavior, call.query
    if "startHistoryId" not in query:
        raise bad_argument("Missing or invalid startHistoryId")
    start, offset = query["startHistoryId"], 0
    if query.get("pageToken"):
        start, offset = read_token(query["pageToken"], "history", (int, int))
    label_id = query.get("labelId")
    if label_id is not None and label_id not in mailbox.labels:
        raise not_found()
    if start < log.floor or (start > log.head and behavior.future_history_start == "not-found"):
        raise not_found()
    page = log.page(
        start,
        _page_size(call),
        kinds=frozenset(query.get("historyTypes", ())),
        label_id=label_id,
        offset=offset,
    )
    answer: dict[str, Any] = {}
    if page.records:
        answer["history"] = page.records
    if page.next is not None:
        answer["nextPageToken"] = write_token("history", *page.next)
    answer["historyId"] = str(log.head)
    return to_json(answer)


def _labels_list(call: MethodCall) -> bytes:
    answer = to_json({"labels": call.mailbox.labels.listed()})
    if call.mailbox.behavior.label_vanishes_after_list:
        call.mailbox.delete_first_user_label()
    return answer


def _labels_get(call: MethodCall) -> bytes:
    return to_json(call.mailbox.label(call.variables["id"]))


def _setting(part: str) -> Handler:
    return lambda call: to_json(call.mailbox.settings.parts[part])


def _entries(key: str, entries: str) -> Handler:
    def handler(call: MethodCall) -> bytes:
        found = list(getattr(call.mailbox.settings, entries).values())
        return to_json({key: found} if found else {})

    return handler


def _entry(entries: str, variable: str) -> Handler:
    def handler(call: MethodCall) -> bytes:
        settings = call.mailbox.settings
        return to_json(settings.one(getattr(settings, entries), call.variables[variable]))

    return handler


def for_service_accounts(handler: Handler) -> Handler:
    """A handler that returns 403, except for service accounts with domain-wide delegation."""

    def guarded(call: MethodCall) -> bytes:
        if not call.access.delegated:
            raise forbidden(
                "Access restricted to service accounts that have been delegated domain-wide authority"
            )
        return handler(call)

    return guarded


READS: dict[str, Handler] = {
    "getProfile": _profile,
    "messages.list": _messages_list,
    "messages.get": _messages_get,
    "messages.attachments.get": _attachments_get,
    "threads.list": _threads_list,
    "threads.get": _threads_get,
    "drafts.list": _drafts_list,
    "drafts.get": _drafts_get,
    "history.list": _history_list,
    "labels.list": _labels_list,
    "labels.get": _labels_get,
    "settings.getAutoForwarding": _setting("autoForwarding"),
    "settings.getImap": _setting("imap"),
    "settings.getPop": _setting("pop"),
    "settings.getLanguage": _setting("language"),
    "settings.getVacation": _setting("vacation"),
    "settings.filters.list": _entries("filter", "filters"),
    "settings.filters.get": _entry("filters", "id"),
    "settings.forwardingAddresses.list": _entries("forwardingAddresses", "forwarding_addresses"),
    "settings.forwardingAddresses.get": _entry("forwarding_addresses", "forwardingEmail"),
    "settings.sendAs.list": _entries("sendAs", "send_as"),
    "settings.sendAs.get": _entry("send_as", "sendAsEmail"),
    "settings.delegates.list": for_service_accounts(_entries("delegates", "delegates")),
    "settings.delegates.get": for_service_accounts(_entry("delegates", "delegateEmail")),
}
