"""The emulator's own routes under `/_emulator/`, which control it from another process: `admin_reply`.

GET usage, faults, truth?mailbox=&table=&q=&labelIds=&includeSpamTrash=&format=, time, state;
POST usage/reset, faults (a Fault as JSON), faults/clear, expire, revoke, token, write.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
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
        name
        for name, method in inspect.getmembers(EmulatedMailbox, inspect.isfunction)
        if hasattr(method, "__wrapped__")
    }
    | {"send", "send_draft", "message_ids", "thread_ids", "label_ids", "random_mail"}
)
"""Methods of `EmulatedMailbox` that POST write may call: the decorated writes and a few more."""

AdminQuery = dict[str, list[str]]
Action = Callable[[Backend, AdminQuery, dict[str, Any]], Any]


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
    return ServerReply(200, to_json({} if value is None else value))


def _act(backend: Backend, verb: str, action: str, query: AdminQuery, body: dict[str, Any]) -> Any:
    run = _ACTIONS.get((verb, action))
    if run is None:
        raise _BadRequestError(f"no such action: {verb} {action}")
    return run(backend, query, body)


def _truth(backend: Backend, query: AdminQuery, body: dict[str, Any]) -> Any:
    return truth_of(
        _mailbox(backend, _first(query, "mailbox")),
        backend.renderer,
        _first(query, "table") or "",
        q=_first(query, "q"),
        label_ids=query.get("labelIds", []),
        include_spam_trash=_first(query, "includeSpamTrash") == "true",
        format=_format(_first(query, "format")),
    )


def _token(backend: Backend, query: AdminQuery, body: dict[str, Any]) -> Any:
    address = _mailbox(backend, body.get("mailbox")).address
    scopes = tuple(body.get("scopes") or ("https://mail.google.com/",))
    expires_in = float(body.get("expires_in", 3600))
    return {"access_token": backend.tokens.new_access_token(address, scopes, expires_in=expires_in)}


def _write(backend: Backend, query: AdminQuery, body: dict[str, Any]) -> Any:
    mailbox, operation = _mailbox(backend, body.get("mailbox")), body.get("operation", "")
    if operation not in OPERATIONS:
        raise _BadRequestError(f"no operation {operation!r}; there are {', '.join(sorted(OPERATIONS))}")
    result = getattr(mailbox, operation)(**decode_arguments(body.get("arguments", {})))
    return {"result": result.decode("latin-1") if isinstance(result, bytes) else result}


_ACTIONS: dict[tuple[str, str], Action] = {
    ("GET", "usage"): lambda backend, query, body: backend.usage.as_json(),
    ("POST", "usage/reset"): lambda backend, query, body: backend.usage.reset(),
    ("GET", "faults"): lambda backend, query, body: backend.faults.listed(),
    ("POST", "faults"): lambda backend, query, body: backend.faults.add(Fault.from_json(body)),
    ("POST", "faults/clear"): lambda backend, query, body: backend.faults.clear(),
    ("GET", "truth"): _truth,
    ("GET", "time"): lambda backend, query, body: {
        "time": backend.clock.time(),
        "factor": getattr(backend.clock, "factor", 1.0),
    },
    ("GET", "state"): lambda backend, query, body: {"addresses": backend.addresses},
    ("POST", "expire"): lambda backend, query, body: _mailbox(backend, body.get("mailbox")).expire_history(
        body.get("upto")
    ),
    ("POST", "rename"): lambda backend, query, body: backend.rename_user(body["old"], body["new"]),
    ("POST", "revoke"): lambda backend, query, body: backend.tokens.revoke_mailbox(
        _mailbox(backend, body.get("mailbox")).address
    ),
    ("POST", "token"): _token,
    ("POST", "write"): _write,
}


def _mailbox(backend: Backend, address: str | None) -> EmulatedMailbox:
    name = address or backend.addresses[0]
    if name not in backend.mailboxes:
        raise _BadRequestError(f"no mailbox {name!r}; there are {', '.join(backend.addresses)}")
    return backend.mailboxes[name]


def _first(query: AdminQuery, name: str) -> str | None:
    return query[name][0] if name in query else None


def _format(text: str | None) -> Any:
    if text not in (None, "full", "metadata", "minimal", "raw"):
        raise _BadRequestError(f"no format {text!r}")
    return text or "full"
