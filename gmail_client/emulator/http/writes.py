"""The writing methods: `WRITES`, by name; each calls a Python method of the mailbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gmail_client.emulator.api.errors import bad_argument
from gmail_client.emulator.http.calls import MethodCall
from gmail_client.emulator.http.reads import Handler, for_service_accounts
from gmail_client.emulator.http.request_bodies import json_body, mail_body
from gmail_client.emulator.mailbox.render import to_json

__all__ = ["WRITES"]


def _message(call: MethodCall, message_id: str) -> bytes:
    return to_json(call.renderer.reference(call.mailbox.message(message_id)))


def _thread(call: MethodCall, thread_id: str) -> bytes:
    members = call.mailbox.thread(thread_id).members
    return to_json({"id": thread_id, "messages": [call.renderer.reference(member) for member in members]})


def _draft(call: MethodCall, draft_id: str) -> bytes:
    message = call.mailbox.draft(draft_id)
    return to_json({"id": draft_id, "message": call.renderer.reference(message)})


def _insert(call: MethodCall) -> bytes:
    mail = mail_body(call)
    message_id = call.mailbox.insert(
        mail.required(),
        mail.message.get("labelIds", ()),
        thread_id=mail.message.get("threadId"),
        date_source=call.query.get("internalDateSource", "receivedTime"),
        deleted=call.query.get("deleted", False),
        classification=mail.message.get("classificationLabelValues", ()),
    )
    return _message(call, message_id)


def _import(call: MethodCall) -> bytes:
    mail = mail_body(call)
    message_id = call.mailbox.import_(
        mail.required(),
        mail.message.get("labelIds", ()),
        thread_id=mail.message.get("threadId"),
        date_source=call.query.get("internalDateSource", "dateHeader"),
        never_mark_spam=call.query.get("neverMarkSpam", False),
        deleted=call.query.get("deleted", False),
        classification=mail.message.get("classificationLabelValues", ()),
    )
    return _message(call, message_id)


def _send(call: MethodCall) -> bytes:
    mail = mail_body(call)
    return _message(call, call.mailbox.send(mail.required(), thread_id=mail.message.get("threadId")))


def _label_changes(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "add": body.get("addLabelIds", ()),
        "remove": body.get("removeLabelIds", ()),
    }


def _classification_changes(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "add_classification": body.get("addClassificationLabels", ()),
        "remove_classification": body.get("removeClassificationLabelIds", ()),
    }


def _modify(call: MethodCall) -> bytes:
    body = json_body(call)
    message_id = call.variables["id"]
    call.mailbox.modify(message_id, **_label_changes(body), **_classification_changes(body))
    return _message(call, message_id)


def _batch_modify(call: MethodCall) -> bytes:
    body = json_body(call)
    call.mailbox.batch_modify(body.get("ids", ()), **_label_changes(body), **_classification_changes(body))
    return b""


def _batch_delete(call: MethodCall) -> bytes:
    call.mailbox.batch_delete(json_body(call).get("ids", ()))
    return b""


def _thread_modify(call: MethodCall) -> bytes:
    thread_id = call.variables["id"]
    call.mailbox.modify_thread(thread_id, **_label_changes(json_body(call)))
    return _thread(call, thread_id)


def _by_id(write: str, answer: Callable[[MethodCall, str], bytes] | None, variable: str = "id") -> Handler:
    """A handler that calls a write of the mailbox with one id and returns the resource, or nothing."""

    def handler(call: MethodCall) -> bytes:
        value = call.variables[variable]
        getattr(call.mailbox, write)(value)
        return answer(call, value) if answer else b""

    return handler


def _draft_create(call: MethodCall) -> bytes:
    mail = mail_body(call)
    draft_id = call.mailbox.create_draft(
        mail.required(),
        thread_id=mail.message.get("threadId"),
        classification=mail.message.get("classificationLabelValues", ()),
    )
    return _draft(call, draft_id)


def _draft_update(call: MethodCall) -> bytes:
    draft_id = call.variables["id"]
    call.mailbox.update_draft(draft_id, mail_body(call).required())
    return _draft(call, draft_id)


def _draft_send(call: MethodCall) -> bytes:
    mail = mail_body(call)
    if mail.draft_id:
        return _message(call, call.mailbox.send_draft(mail.draft_id, mail.raw))
    return _message(call, call.mailbox.send(mail.required(), thread_id=mail.message.get("threadId")))


def _label_create(call: MethodCall) -> bytes:
    body = json_body(call)
    name = body.pop("name", "")
    return to_json(call.mailbox.labels.get(call.mailbox.create_label(name, **_settable(body))))


def _settable(label: dict[str, Any]) -> dict[str, Any]:
    wanted = ("name", "messageListVisibility", "labelListVisibility", "color", "id")
    return {key: value for key, value in label.items() if key in wanted}


def _label_change(write: str) -> Handler:
    def handler(call: MethodCall) -> bytes:
        label_id = call.variables["id"]
        changes = _settable(json_body(call))
        if changes.pop("id", label_id) != label_id:
            raise bad_argument("Label ID in the body does not match the one in the path")
        getattr(call.mailbox, write)(label_id, **changes)
        return to_json(call.mailbox.label(label_id))

    return handler


def _setting(part: str) -> Handler:
    return lambda call: to_json(call.mailbox.update_settings(part, json_body(call)))


def _filter_create(call: MethodCall) -> bytes:
    body = json_body(call)
    return to_json(call.mailbox.create_filter(body.get("criteria", {}), body.get("action", {})))


def _created(write: str, key: str) -> Handler:
    return lambda call: to_json(getattr(call.mailbox, write)(json_body(call).get(key, "")))


def _send_as_create(call: MethodCall) -> bytes:
    body = json_body(call)
    return to_json(call.mailbox.create_send_as(body.pop("sendAsEmail", ""), **body))


def _send_as_change(write: str) -> Handler:
    def handler(call: MethodCall) -> bytes:
        email = call.variables["sendAsEmail"]
        return to_json(getattr(call.mailbox, write)(email, **{**json_body(call), "sendAsEmail": email}))

    return handler


WRITES: dict[str, Handler] = {
    "messages.insert": _insert,
    "messages.import": _import,
    "messages.send": _send,
    "messages.modify": _modify,
    "messages.batchModify": _batch_modify,
    "messages.batchDelete": _batch_delete,
    "messages.trash": _by_id("trash", _message),
    "messages.untrash": _by_id("untrash", _message),
    "messages.delete": _by_id("delete", None),
    "threads.modify": _thread_modify,
    "threads.trash": _by_id("trash_thread", _thread),
    "threads.untrash": _by_id("untrash_thread", _thread),
    "threads.delete": _by_id("delete_thread", None),
    "drafts.create": _draft_create,
    "drafts.update": _draft_update,
    "drafts.send": _draft_send,
    "drafts.delete": _by_id("delete_draft", None),
    "labels.create": _label_create,
    "labels.update": _label_change("update_label"),
    "labels.patch": _label_change("patch_label"),
    "labels.delete": _by_id("delete_label", None),
    "settings.updateAutoForwarding": _setting("autoForwarding"),
    "settings.updateImap": _setting("imap"),
    "settings.updatePop": _setting("pop"),
    "settings.updateLanguage": _setting("language"),
    "settings.updateVacation": _setting("vacation"),
    "settings.filters.create": _filter_create,
    "settings.filters.delete": _by_id("delete_filter", None),
    "settings.forwardingAddresses.create": for_service_accounts(
        _created("create_forwarding_address", "forwardingEmail")
    ),
    "settings.forwardingAddresses.delete": for_service_accounts(
        _by_id("delete_forwarding_address", None, "forwardingEmail")
    ),
    "settings.sendAs.create": for_service_accounts(_send_as_create),
    "settings.sendAs.update": _send_as_change("update_send_as"),
    "settings.sendAs.patch": _send_as_change("patch_send_as"),
    "settings.sendAs.delete": for_service_accounts(_by_id("delete_send_as", None, "sendAsEmail")),
    "settings.sendAs.verify": for_service_accounts(_by_id("verify_send_as", None, "sendAsEmail")),
    "settings.delegates.create": for_service_accounts(_created("create_delegate", "delegateEmail")),
    "settings.delegates.delete": for_service_accounts(_by_id("delete_delegate", None, "delegateEmail")),
}
