"""The path of a call through the server: `Gateway.admit` accepts or refuses it, `PendingCall.finish` executes it.

Order of the checks: path, faults, token, parameters, mailbox, scope, calls in flight, quota. Only a call that passes
all of them costs units.
"""

from __future__ import annotations

import json
import traceback
from dataclasses import dataclass

from gmail_client.emulator.api.errors import (
    ApiError,
    bad_argument,
    failed_precondition,
    forbidden,
    insufficient_scope,
    missing_token,
    not_found,
    rejected_token,
)
from gmail_client.emulator.api.field_masks import apply, parse
from gmail_client.emulator.backend import Backend
from gmail_client.emulator.faults import HTML_PAGE, Fault
from gmail_client.emulator.http.calls import MethodCall, ServerReply, ServerRequest
from gmail_client.emulator.http.reads import READS
from gmail_client.emulator.http.router import MethodRoute, match, parse_query
from gmail_client.emulator.http.writes import WRITES
from gmail_client.emulator.mailbox.mailbox import EmulatedMailbox
from gmail_client.emulator.mailbox.render import to_json
from gmail_client.emulator.oauth.tokens import AccessGrant

__all__ = ["HTML", "Gateway", "PendingCall", "error_reply", "fault_reply"]

HTML = "text/html; charset=UTF-8"

_HANDLERS = {**READS, **WRITES}


def error_reply(error: ApiError, method: str = "", *, version: int = 1) -> ServerReply:
    """The reply of an error."""
    body = json.dumps(error.body(version=version), indent=2, ensure_ascii=False).encode() + b"\n"
    return ServerReply(error.code, body, headers=dict(error.headers), method=method)


def fault_reply(fault: Fault) -> ServerReply:
    """The reply of a fault with `is_error`."""
    error = fault.error()
    if fault.is_page:
        return ServerReply(error.code, HTML_PAGE, content_type=HTML, headers=dict(error.headers))
    return error_reply(error)


@dataclass(slots=True)
class PendingCall:
    """A call that was refused (`reply`), or accepted and in flight (`call`).

    `fault` is one that changes how the reply is sent (reset, truncate, content-type, delay).
    """

    backend: Backend
    method: str
    reply: ServerReply | None = None
    call: MethodCall | None = None
    units: int = 0
    fault: Fault | None = None

    def finish(self) -> ServerReply:
        """Execute the call and return its reply; the call is then no longer counted as in flight."""
        reply = self.reply
        if reply is None:
            call = self.call
            assert call is not None  # noqa: S101
            try:
                reply = _answer(call)
            finally:
                self.backend.limiter.leave(call.mailbox.address)
        address = self.call.mailbox.address if self.call is not None else ""
        self.backend.usage.count(self.method, reply.status, self.units, len(reply.body), address)
        reply.method = self.method
        if self.fault is not None and self.fault.changes_json and reply.status == 200 and self.call:
            schema = self.call.method.response
            reply.body = to_json(self.fault.patched(json.loads(reply.body), schema))
        if self.fault is not None and self.fault.kind == "content-type":
            return ServerReply(200, HTML_PAGE, content_type=HTML, method=self.method)
        return reply


def _answer(call: MethodCall) -> ServerReply:
    query = call.query
    version = 2 if query.get("$.xgafv") == "2" else 1
    try:
        mask = parse(query["fields"], call.method.response) if query.get("fields") else None
        with call.mailbox.lock:
            body = _HANDLERS[call.method.name](call)
    except ApiError as error:
        return error_reply(error, version=version)
    except Exception:
        # A bug of the emulator: it is printed to stderr, and the other calls of the batch continue.
        traceback.print_exc()
        return error_reply(ApiError(500, "backendError", "Internal error encountered."), version=version)
    if call.method.response is None:
        return ServerReply(204, b"")
    if mask is not None:
        body = to_json(apply(mask, json.loads(body)))
    callback = query.get("callback")
    if callback:
        text = b"// API callback\n%b(%b);" % (callback.encode(), body)
        return ServerReply(200, text, content_type="text/javascript; charset=UTF-8")
    return ServerReply(200, body)


class Gateway:
    """Accepts and refuses calls.

    Args:
        backend: The backend that they read and write.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def admit(
        self, request: ServerRequest, *, in_batch: int | None = None, token: str | None = None
    ) -> PendingCall:
        """Check a call; an accepted call counts as in flight until `finish`.

        Args:
            request: The call.
            in_batch: None for a single request, else the number of parts of its batch that are in flight already.
            token: The Authorization header of the batch.
        """
        backend = self.backend
        route = match(request.verb, request.path)
        if route is None:
            return PendingCall(backend, "unknown", _unknown(request))
        method = route.method
        header = request.headers.get("authorization") or token or ""
        access = backend.tokens.access(header.removeprefix("Bearer ").strip()) if header else None
        fault = backend.faults.next_for(
            method.name,
            address=access.address if access else None,
            batch=in_batch is not None,
            ids=route.variables.values(),
        )
        if fault is not None and fault.is_error:
            return PendingCall(backend, method.name, fault_reply(fault))
        version = 1
        try:
            if not header and ("access_token=" in request.query or "oauth_token=" in request.query):
                query = parse_query(method.parameters, request.query)
                header = query.get("access_token") or query.get("oauth_token") or ""
                access = backend.tokens.access(header)
            if access is None:
                raise rejected_token(method.name) if header else missing_token(method.name)
            query = parse_query(method.parameters, request.query)
            version = 2 if query.get("$.xgafv") == "2" else 1
            if query.get("alt", "json") != "json":
                raise bad_argument(f"The emulator answers alt=json only, not {query['alt']}")
            mailbox = self._mailbox(route, access)
            if access.scopes.isdisjoint(method.scopes):
                raise insufficient_scope(method.name, method.scopes)
            in_flight = backend.limiter.enter(mailbox.address, in_batch=in_batch or 0)
            backend.usage.record_concurrency(in_flight)
            try:
                units = backend.limiter.charge(mailbox.address, method)
            except ApiError:
                backend.limiter.leave(mailbox.address)
                raise
        except ApiError as error:
            return PendingCall(backend, method.name, error_reply(error, version=version), fault=fault)
        call = MethodCall(
            method,
            route.variables,
            query,
            request,
            route.upload,
            mailbox,
            access,
            backend.renderer,
            backend.usage,
        )
        return PendingCall(backend, method.name, call=call, units=units, fault=fault)

    def _mailbox(self, route: MethodRoute, access: AccessGrant) -> EmulatedMailbox:
        backend = self.backend
        user = route.variables["userId"]
        if user not in ("me", access.address) and backend.tokens.primary(user.lower()) != access.address:
            raise forbidden(f"Delegation denied for {access.address or 'this service account'}")
        mailbox = backend.mailboxes.get(access.address)
        if mailbox is None:
            raise failed_precondition("Mail service not enabled")
        return mailbox


def _unknown(request: ServerRequest) -> ServerReply:
    if request.path.startswith("/gmail/v1/users/"):
        message = f"Method not found, or not offered by the emulator: {request.verb} {request.path}"
        return error_reply(ApiError(404, "notFound", message))
    return error_reply(not_found())
