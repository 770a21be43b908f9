"""The ASGI application: `EmulatorApp` passes Gmail's paths and batches to the gateway, the rest to Starlette's routes.

Calls are executed in the event loop, one after the other; asynchronous are reading, the configured latency and
writing. So the parts of a batch are in flight together.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gmail_client.emulator.api.errors import ApiError
from gmail_client.emulator.backend import Backend
from gmail_client.emulator.faults import HTML_PAGE, Fault
from gmail_client.emulator.http.batch import assemble, parse_batch
from gmail_client.emulator.http.calls import ServerReply, ServerRequest
from gmail_client.emulator.http.gateway import HTML, Gateway, error_reply, fault_reply
from gmail_client.emulator.http.uploads import Uploads

__all__ = ["EmulatorApp"]

_API_ROOTS = ("/gmail/v1/", "/upload/gmail/", "/resumable/upload/gmail/")
_BATCH_PATHS = ("/batch", "/batch/gmail/v1")
_MOST_BODY = 220 * 2**20
_SMALL = 1024


class EmulatorApp:
    """The emulator as an ASGI application.

    Args:
        backend: What it serves.
        routes: Everything but Gmail's own paths.
        latency: Minimum seconds of every request to the API.
        abort: Closes the connection of a client, given as (host, port).
    """

    def __init__(
        self,
        backend: Backend,
        *,
        routes: list[Route],
        latency: float = 0.0,
        abort: Callable[[tuple[str, int]], None] = lambda client: None,
    ) -> None:
        self.backend = backend
        self._gateway = Gateway(backend)
        self._uploads = Uploads()
        self._rest = Starlette(routes=routes)
        self._latency = latency
        self._abort = abort

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        raw_path = scope.get("raw_path") or scope["path"].encode()
        path = raw_path.decode("latin-1")
        if path in _BATCH_PATHS and scope["method"] == "POST":
            await self._batch(scope, receive, send)
        elif path.startswith(_API_ROOTS):
            await self._single(path, scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    async def _single(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if body is None:
            await _respond(scope, send, error_reply(ApiError(413, "uploadTooLarge", "Request is too large.")))
            return
        self.backend.usage.count_request(batch=False)
        request = ServerRequest(
            scope["method"], path, scope["query_string"].decode("latin-1"), _headers(scope), body
        )
        session = self._uploads.step(request)
        if isinstance(session, ServerReply):
            await _respond(scope, send, session)
            return
        ticket = self._gateway.admit(session)
        await self._wait(ticket.fault)
        await self._send(scope, send, ticket.finish(), ticket.fault)

    async def _batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        self.backend.usage.count_request(batch=True)
        headers = _headers(scope)
        try:
            if body is None:
                raise ApiError(413, "uploadTooLarge", "Request is too large.")
            parts = parse_batch(body, headers.get("content-type", ""))
        except ApiError as error:
            await _respond(scope, send, error_reply(error))
            return
        fault = self.backend.faults.next_for("batch")
        if fault is not None and fault.is_error:
            await _respond(scope, send, fault_reply(fault))
            return
        authorization = headers.get("authorization")
        tickets = []
        in_flight = 0
        for part in parts:
            ticket = self._gateway.admit(part.request, in_batch=in_flight, token=authorization)
            in_flight += ticket.call is not None
            tickets.append(ticket)
        faults = [fault, *(ticket.fault for ticket in tickets)]
        breaking = next((one for one in faults if one and one.breaks_connection), fault)
        slowest = max((one for one in faults if one), key=lambda one: one.seconds, default=None)
        await self._wait(slowest)
        replies = []
        for number, ticket in enumerate(tickets):
            if number % 10 == 9:
                await asyncio.sleep(0)
            replies.append(ticket.finish())
        text, content_type = assemble(parts, replies)
        reply = ServerReply(200, text, content_type=content_type)
        if fault is not None and fault.kind == "content-type":
            reply = ServerReply(200, HTML_PAGE, content_type=HTML)
        await self._send(scope, send, reply, breaking)

    async def _wait(self, fault: Fault | None) -> None:
        seconds = self._latency
        if fault is not None and fault.kind == "delay":
            seconds += fault.seconds
        if seconds > 0:
            await asyncio.sleep(seconds / getattr(self.backend.clock, "factor", 1.0))

    async def _send(self, scope: Scope, send: Send, reply: ServerReply, fault: Fault | None) -> None:
        if fault is not None and fault.kind == "reset":
            self._abort(tuple(scope["client"]))
            # The server notices the closed connection in the next turns of the loop, then it expects no response.
            for _ in range(3):
                await asyncio.sleep(0)
            return
        await _respond(scope, send, reply, cut=fault is not None and fault.kind == "truncate")
        if fault is not None and fault.kind == "truncate":
            self._abort(tuple(scope["client"]))
            for _ in range(3):
                await asyncio.sleep(0)


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None when it is larger than the largest that Gmail accepts."""
    message = await receive()
    if not message.get("more_body"):
        return bytes(message.get("body", b""))
    chunks = [message.get("body", b"")]
    size = len(chunks[0])
    while message.get("more_body"):
        message = await receive()
        size += len(message.get("body", b""))
        if size <= _MOST_BODY:
            chunks.append(message.get("body", b""))
    return b"".join(chunks) if size <= _MOST_BODY else None


async def _respond(scope: Scope, send: Send, reply: ServerReply, *, cut: bool = False) -> None:
    body = reply.body
    headers = [(b"vary", b"Origin, X-Origin, Referer"), (b"server", b"ESF")]
    if body or reply.status != 204:
        headers.append((b"content-type", reply.content_type.encode()))
    if len(body) >= _SMALL and _takes_gzip(scope):
        body = gzip.compress(body, compresslevel=1, mtime=0)
        headers.append((b"content-encoding", b"gzip"))
    headers.append((b"content-length", str(len(body)).encode()))
    headers += [(name.encode(), value.encode("latin-1", "replace")) for name, value in reply.headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if cut:
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
    else:
        await send({"type": "http.response.body", "body": body})


def _takes_gzip(scope: Scope) -> bool:
    """Whether both Accept-Encoding and User-Agent contain gzip, which Google requires."""
    accepts = agent = False
    for name, value in scope["headers"]:
        if name == b"accept-encoding":
            accepts = b"gzip" in value
        elif name == b"user-agent":
            agent = b"gzip" in value
    return accepts and agent
