"""The emulator's own routes under `/_emulator/`, which control it from another process: `admin_reply`.

GET usage, faults, truth?mailbox=&table=&q=&labelIds=&includeSpamTrash=&format=, time, state;
POST usage/reset, faults (a Fault as JSON), faults/clear, expire, revoke, token, write.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from gmail_client.emulator.api.errors import ApiError
from gmail_client.emulator.backend import Backend
from gmail_client.emulator.faults import Fault
from gmail_client.emulator.http.calls import ServerReply
from gmail_client.emulator.http.gateway import error_reply
from gmail_client.emulator.mailbox.journal import decode_arguments
from gmail_client.emulator.mailbox.mailbox import EmulatedMailbox
from gmail_client.emulator.mailbox.render import to_json
from gmail_client.emulator.truth import truth_of

__all__ = ["ADMIN_ROOT", "OPERATIONS", "admin_reply"]

ADMIN_ROOT = "/_emulator/"

OPERATIONS = frozenset(
    {
        "insert",
        "import_",
        "receive",
        "send",
        "modify",
        "batch_modify",
        "trash",
        "untrash",
        "delete",
        "batch_delete",
        "modify_thread",
        "trash_thread",
        "untrash_thread",
        "delete_thread",
        "create_draft",
        "update_draft",
        "send_draft",
        "delete_draft",
        "create_label",
        "patch_label",
        "update_label",
        "delete_label",
        "update_settings",
        "create_filter",
        "delete_filter",
        "create_forwarding_address",
        "delete_forwarding_address",
        "create_send_as",
        "patch_send_as",
        "update_send_as",
        "delete_send_as",
        "verify_send_as",
        "create_delegate",
        "delete_delegate",
        "expire_history",
        "message_ids",
        "thread_ids",
        "label_ids",
        "random_mail",
    }
)
"""Methods of `EmulatedMailbox` that POST write may call."""


class _BadRequestError(Exception):
    """An invalid request to the admin routes; the message says why."""


def admin_reply(backend: Backend, verb: str, action: str, query: str, body: bytes) -> ServerReply:
    """The reply to a request for `/_emulator/<action>`; 400 with a message for an invalid one."""
    try:
        value = _act(backend, verb, action, parse_qs(query), json.loads(body) if body.strip() else {})
    except ApiError as error:
        return error_reply(error)
    except (_BadRequestError, ValueError, TypeError, KeyError) as error:
        return ServerReply(400, to_json({"error": f"{type(error).__name__}: {error}"}))
    return ServerReply(200, to_json(value))


def _act(backend: Backend, verb: str, action: str, query: dict[str, list[str]], body: dict[str, Any]) -> Any:
    match (verb, action):
        case ("GET", "usage"):
            return backend.usage.as_json()
        case ("POST", "usage/reset"):
            backend.usage.reset()
            return {}
        case ("GET", "faults"):
            return backend.faults.listed()
        case ("POST", "faults"):
            backend.faults.add(Fault.from_json(body))
            return {}
        case ("POST", "faults/clear"):
            backend.faults.clear()
            return {}
        case ("GET", "truth"):
            return truth_of(
                _mailbox(backend, _first(query, "mailbox")),
                backend.renderer,
                _first(query, "table") or "",
                q=_first(query, "q"),
                label_ids=query.get("labelIds", []),
                include_spam_trash=_first(query, "includeSpamTrash") == "true",
                format=_format(_first(query, "format")),
            )
        case ("GET", "time"):
            return {"time": backend.clock.time(), "factor": getattr(backend.clock, "factor", 1.0)}
        case ("GET", "state"):
            return {"addresses": backend.addresses}
        case ("POST", "expire"):
            _mailbox(backend, body.get("mailbox")).expire_history(body.get("upto"))
            return {}
        case ("POST", "revoke"):
            backend.tokens.revoke_mailbox(_mailbox(backend, body.get("mailbox")).address)
            return {}
        case ("POST", "token"):
            mailbox = _mailbox(backend, body.get("mailbox"))
            scopes = tuple(body.get("scopes") or ("https://mail.google.com/",))
            expires_in = float(body.get("expires_in", 3600))
            return {
                "access_token": backend.tokens.new_access_token(
                    mailbox.address, scopes, expires_in=expires_in
                )
            }
        case ("POST", "write"):
            return _write(_mailbox(backend, body.get("mailbox")), body)
        case _:
            raise _BadRequestError(f"no such action: {verb} {action}")


def _write(mailbox: EmulatedMailbox, body: dict[str, Any]) -> Any:
    operation = body.get("operation", "")
    if operation not in OPERATIONS:
        raise _BadRequestError(f"no operation {operation!r}; there are {', '.join(sorted(OPERATIONS))}")
    result = getattr(mailbox, operation)(**decode_arguments(body.get("arguments", {})))
    return {"result": result.decode("latin-1") if isinstance(result, bytes) else result}


def _mailbox(backend: Backend, address: str | None) -> EmulatedMailbox:
    name = address or backend.addresses[0]
    if name not in backend.mailboxes:
        raise _BadRequestError(f"no mailbox {name!r}; there are {', '.join(backend.addresses)}")
    return backend.mailboxes[name]


def _first(query: dict[str, list[str]], name: str) -> str | None:
    return query[name][0] if name in query else None


def _format(text: str | None) -> Any:
    if text not in (None, "full", "metadata", "minimal", "raw"):
        raise _BadRequestError(f"no format {text!r}")
    return text or "full"
