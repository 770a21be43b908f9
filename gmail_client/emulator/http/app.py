"""The ASGI application: `EmulatorApp` passes Gmail's paths and batches to the gateway, the rest to Starlette's routes.

Calls are executed in the event loop, one after the other. Reading, writing and the configured latency are asynchronous,
so the parts of a batch are in flight at the same time.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
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
_SMALL = 1024


class EmulatorApp:
    """The emulator as an ASGI application.

    Args:
        backend: What it serves.
        routes: All routes except Gmail's own paths.
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
        # A foreign domain that resolves to this machine can't open the consent page either.
        hosts = Middleware(
            TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False
        )
        self._rest = Starlette(routes=routes, middleware=[hosts])
        self._latency = latency
        self._abort = abort

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        if scope["type"] == "http" and path in _BATCH_PATHS and scope["method"] == "POST":
            await self._batch(Request(scope, receive), send)
        elif scope["type"] == "http" and path.startswith(_API_ROOTS):
            await self._single(path, Request(scope, receive), send)
        else:
            await self._rest(scope, receive, send)

    async def _single(self, path: str, request: Request, send: Send) -> None:
        body = await request.body()
        self.backend.usage.count_request(batch=False)
        query = request.scope["query_string"].decode("latin-1")
        step = self._uploads.step(ServerRequest(request.method, path, query, dict(request.headers), body))
        if isinstance(step, ServerReply):
            await _respond(request, send, step)
            return
        call = self._gateway.admit(step)
        await self._wait(call.fault)
        await self._send(request, send, call.finish(), call.fault)

    async def _batch(self, request: Request, send: Send) -> None:
        body = await request.body()
        self.backend.usage.count_request(batch=True)
        try:
            parts = parse_batch(body, request.headers.get("content-type", ""))
        except ApiError as error:
            await _respond(request, send, error_reply(error))
            return
        fault = self.backend.faults.next_for("batch")
        if fault is not None and fault.is_error:
            await _respond(request, send, fault_reply(fault))
            return
        calls = []
        in_flight = 0
        for part in parts:
            call = self._gateway.admit(
                part.request, in_batch=in_flight, token=request.headers.get("authorization")
            )
            in_flight += call.call is not None
            calls.append(call)
        faults = [one for one in (fault, *(call.fault for call in calls)) if one is not None]
        await self._wait(max(faults, key=lambda one: one.seconds, default=None))
        replies = []
        for number, call in enumerate(calls):
            if number % 10 == 9:
                await asyncio.sleep(0)
            replies.append(call.finish())
        text, content_type = assemble(parts, replies)
        reply = ServerReply(200, text, content_type=content_type)
        if fault is not None and fault.kind == "content-type":
            reply = ServerReply(200, HTML_PAGE, content_type=HTML)
        breaking = next((one for one in faults if one.breaks_connection), fault)
        await self._send(request, send, reply, breaking)

    async def _wait(self, fault: Fault | None) -> None:
        seconds = self._latency
        if fault is not None and fault.kind == "delay":
            seconds += fault.seconds
        if seconds > 0:
            await asyncio.sleep(seconds / getattr(self.backend.clock, "factor", 1.0))

    async def _send(self, request: Request, send: Send, reply: ServerReply, fault: Fault | None) -> None:
        if fault is None or not fault.breaks_connection:
            await _respond(request, send, reply)
            return
        if fault.kind == "truncate":
            await _respond(request, send, reply, cut=True)
        self._abort(request.scope["client"])
        # The server detects the closed connection in the next iterations of the loop; then it expects no response.
        for _ in range(3):
            await asyncio.sleep(0)


async def _respond(request: Request, send: Send, reply: ServerReply, *, cut: bool = False) -> None:
    body = reply.body
    headers = {"vary": "Origin, X-Origin, Referer", "server": "ESF", **reply.headers}
    # Google requires gzip in both Accept-Encoding and User-Agent.
    accepted = (request.headers.get("accept-encoding", ""), request.headers.get("user-agent", ""))
    if len(body) >= _SMALL and all("gzip" in header for header in accepted):
        body = gzip.compress(body, compresslevel=1, mtime=0)
        headers["content-encoding"] = "gzip"
    kind = reply.content_type if body or reply.status != 204 else None
    response = Response(body, reply.status, headers, media_type=kind)
    start = {"type": "http.response.start", "status": reply.status, "headers": response.raw_headers}
    await send(start)
    half = body[: len(body) // 2] if cut else body
    await send({"type": "http.response.body", "body": half, "more_body": cut})
