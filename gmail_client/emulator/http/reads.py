"""The reading methods: `READS`, a handler for each, from a `MethodCall` to the JSON text of the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gmail_client.emulator.api.errors import bad_argument, forbidden, not_found
from gmail_client.emulator.http.calls import MethodCall
from gmail_client.emulator.mailbox.listing import ListingFilter, list_page, page_size, read_token, write_token
from gmail_client.emulator.mailbox.mailbox import EmulatedMailbox
from gmail_client.emulator.mailbox.message_store import StoredMessage
from gmail_client.emulator.mailbox.render import MessageFormat, to_json

__all__ = ["DELEGATES_FORBIDDEN", "READS", "Handler", "label_resource"]

Handler = Callable[[MethodCall], bytes]

DELEGATES_FORBIDDEN = "Access restricted to service accounts that have been delegated domain-wide authority"
_METADATA_SCOPES = (
    "https://www.googleapis.com/auth/gmail.metadata",
    "https://www.googleapis.com/auth/gmail.addons.current.message.metadata",
)


def _profile(call: MethodCall) -> bytes:
    mailbox = call.mailbox
    return to_json(
        {
            "emailAddress": mailbox.address,
            "messagesTotal": len(mailbox.store.messages),
            "threadsTotal": len(mailbox.store.threads),
            "historyId": str(mailbox.log.head),
        }
    )


def _selection(call: MethodCall) -> ListingFilter:
    mailbox = call.mailbox
    q = call.query.get("q")
    if q and _metadata_only(call):
        raise forbidden("Metadata scope does not support 'q' parameter")
    label_ids = call.query.get("labelIds", ())
    mailbox.labels.require(label_ids)
    return ListingFilter(
        q,
        label_ids,
        call.query.get("includeSpamTrash", False),
        labels=mailbox.labels.ids_by_name(),
        me=mailbox.settings.send_as.keys(),
        now=mailbox.clock.time,
        behavior=mailbox.behavior,
    )


def _listing(key: str, items: Sequence[dict[str, Any]], token: str | None, estimate: int) -> bytes:
    answer: dict[str, Any] = {}
    if items:
        answer[key] = items
    if token:
        answer["nextPageToken"] = token
    answer["resultSizeEstimate"] = estimate
    return to_json(answer)


def _size(call: MethodCall) -> int:
    return page_size(call.query.get("maxResults", 100), call.mailbox.behavior)


def _messages_list(call: MethodCall) -> bytes:
    store = call.mailbox.store
    selection = _selection(call)
    page = list_page(
        store,
        store.messages_from,
        selection.message,
        size=_size(call),
        token=call.query.get("pageToken"),
        kind="messages",
        tired=lambda: selection.tired,
        empty_every=call.mailbox.behavior.empty_pages,
    )
    items = [{"id": message.id, "threadId": message.thread.id} for message in page.items]
    return _listing("messages", items, page.next_token, page.estimate)


def _threads_list(call: MethodCall) -> bytes:
    store = call.mailbox.store
    selection = _selection(call)
    page = list_page(
        store,
        store.threads_from,
        selection.thread,
        size=_size(call),
        token=call.query.get("pageToken"),
        kind="threads",
        tired=lambda: selection.tired,
        empty_every=call.mailbox.behavior.empty_pages,
    )
    items = [
        {
            "id": thread.id,
            "snippet": call.renderer.snippet(thread),
            "historyId": str(thread.history_id),
        }
        for thread in page.items
    ]
    return _listing("threads", items, page.next_token, page.estimate)


def _drafts_list(call: MethodCall) -> bytes:
    mailbox = call.mailbox
    store = mailbox.store
    selection = _selection(call)
    page = list_page(
        store,
        store.drafts_from,
        selection.message,
        size=_size(call),
        token=call.query.get("pageToken"),
        kind="drafts",
        tired=lambda: selection.tired,
        empty_every=mailbox.behavior.empty_pages,
    )
    items = [
        {"id": message.draft_id, "message": {"id": message.id, "threadId": message.thread.id}}
        for message in page.items
    ]
    return _listing("drafts", items, page.next_token, page.estimate)


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
        _size(call),
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
        call.mailbox.lose_a_label()
    return answer


def label_resource(mailbox: EmulatedMailbox, label_id: str) -> dict[str, Any]:
    """A Label resource with its counts.

    Raises:
        ApiError: 404.
    """
    label = mailbox.labels.get(label_id)
    none = {"messagesTotal": 0, "messagesUnread": 0, "threadsTotal": 0, "threadsUnread": 0}
    label.update(mailbox.store.counts().get(label_id, none))
    return label


def _labels_get(call: MethodCall) -> bytes:
    return to_json(label_resource(call.mailbox, call.variables["id"]))


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


def _delegated(handler: Handler) -> Handler:
    def guarded(call: MethodCall) -> bytes:
        if not call.access.delegated:
            raise forbidden(DELEGATES_FORBIDDEN)
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
    "settings.delegates.list": _delegated(_entries("delegates", "delegates")),
    "settings.delegates.get": _delegated(_entry("delegates", "delegateEmail")),
}
