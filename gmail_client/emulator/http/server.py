"""The web server: `Server` serves a backend on loopback."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import uvicorn

from gmail_client.emulator.backend import Backend
from gmail_client.emulator.http.app import EmulatorApp
from gmail_client.emulator.http.routes import make_routes

__all__ = ["HOST", "PortTakenError", "Server"]

HOST = "127.0.0.1"
_START_SECONDS = 30.0
_GRACE_SECONDS = 1.0
_GRACE_TURNS = 200


class PortTakenError(OSError):
    """The requested port is in use."""


class _QuickUvicorn(uvicorn.Server):
    """uvicorn that stops immediately instead of at its next tick, because tests start and stop many servers."""

    def end(self) -> None:
        """Stop; from any thread."""
        self.should_exit = True
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop detected the flag at a tick and is closed
                loop.call_soon_threadsafe(self._wake.set)

    _loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        """uvicorn's ticks, ten per second, until `end`."""
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        tick = 0
        while not await self.on_tick(tick):
            tick = (tick + 1) % 864_000
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), 0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close idle connections, wait a second for the others, then abort them."""
        for server in self.servers:
            server.close()
        for one in sockets or []:
            one.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for _ in range(_GRACE_TURNS):
            if not self.server_state.connections:
                break
            await asyncio.sleep(_GRACE_SECONDS / _GRACE_TURNS)
        for connection in list(self.server_state.connections):
            transport: Any = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        await asyncio.sleep(0)
        for task in list(self.server_state.tasks):
            task.cancel()


class Server:
    """uvicorn in a background thread, or in the caller's.

    Args:
        backend: The backend to serve.
        port: 0 for any free port.
        latency: Minimum seconds of every request to the API.

    Raises:
        PortTakenError: The port is in use.
    """

    def __init__(self, backend: Backend, *, port: int = 0, latency: float = 0.0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, port))
            self._socket.listen(512)
        except OSError as error:
            self._socket.close()
            raise PortTakenError(
                f"port {port} cannot be used: {error.strerror}; choose another port"
            ) from None
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}"
        app = EmulatorApp(backend, routes=make_routes(backend, self.url), latency=latency, abort=self._abort)
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",
            access_log=False,
            lifespan="off",
            server_header=False,
            date_header=True,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=2,
            ws="none",
            backlog=512,
        )
        self._uvicorn = _QuickUvicorn(config)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Serve from a background thread; returns when the server accepts requests."""
        self._thread = threading.Thread(target=self.run, name="emulator-server", daemon=True)
        self._thread.start()
        until = time.monotonic() + _START_SECONDS
        while not self._uvicorn.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise RuntimeError("the emulator's server did not start")
            time.sleep(0.002)

    def run(self) -> None:
        """Serve from this thread until `interrupt` or `stop`, or a signal to the process."""
        self._uvicorn.run(sockets=[self._socket])

    def interrupt(self) -> None:
        """Make `run` return; from any thread."""
        self._uvicorn.end()

    def stop(self) -> None:
        """Stop the server and wait for it."""
        self._uvicorn.end()
        if self._thread is not None:
            self._thread.join(10)
        self._socket.close()

    def _abort(self, client: tuple[str, int]) -> None:
        for protocol in list(self._uvicorn.server_state.connections):
            transport: Any = getattr(protocol, "transport", None)
            if transport is not None and transport.get_extra_info("peername") == client:
                transport.abort()
