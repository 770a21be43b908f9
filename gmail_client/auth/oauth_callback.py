"""Receives the OAuth redirect after a consent: a page on this machine, or an address that the user pastes.

`OAuthCallback` waits for the first of the two, up to a timeout.
"""

from __future__ import annotations

import html
import queue
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qsl, unquote, urlsplit

from gmail_client.errors import ConfigurationError

__all__ = ["AuthorizationResponse", "OAuthCallback", "parse_pasted"]

AuthorizationResponse = Mapping[str, str]
"""The parameters of the redirect address: `code` and `state`, or `error`."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>gmail-assets</title>
<style>body{{font:18px/1.5 sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem}}</style></head>
<body><h1>{title}</h1><p>{text}</p></body></html>
"""
_RECEIVED = ("Received", "You can close this window. The terminal shows the result.")
_REFUSED = ("Access was not granted", "You can close this window. The terminal shows the reason and the fix.")
_STALE = ("This page belongs to another login", "Use the address that the terminal shows now.")


class OAuthCallback:
    """Waits for the redirect of one consent. Use it as a context manager.

    Args:
        port: Port on this machine to listen on, 0 for any free port, None to wait only for a pasted address.

    Attributes:
        port: The port in use, None for none.
        state: The `state` that the redirect has to have; others get an error page.

    Raises:
        ConfigurationError: The port is in use or not allowed.
    """

    def __init__(self, port: int | None) -> None:
        self._answers: queue.Queue[AuthorizationResponse | ConfigurationError] = queue.Queue()
        self.state = ""
        self._server: ThreadingHTTPServer | None = None
        self.port = port
        if port is not None:
            self._server = self._listen(port)
            self.port = self._server.server_address[1]

    def _listen(self, port: int) -> ThreadingHTTPServer:
        callback = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                callback._visited(self)

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing: the address contains the code."""

        try:
            # One thread per connection: browsers open connections that they never use.
            server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except (OSError, OverflowError) as error:
            reason = (getattr(error, "strerror", None) or str(error)).lower().rstrip(".")
            raise ConfigurationError(
                f"Can't listen on port {port}: {reason}.",
                fix="Use another --port, or omit it to use any free port.",
            ) from None
        server.daemon_threads = True
        return server

    def __enter__(self) -> OAuthCallback:
        if self._server is not None:
            threading.Thread(
                target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
            ).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def listen_to(self, read_line: Callable[[], str], complain: Callable[[str], None]) -> None:
        """Accept a pasted line too.

        Args:
            read_line: Returns the next line; may block, and returns '' at the end of the input.
            complain: Called with the problem of a line that can't be used, before the next one is read.
        """

        def read() -> None:
            while line := read_line():
                if line.strip():
                    try:
                        return self._answers.put(parse_pasted(line))
                    except ConfigurationError as error:
                        complain(str(error))
            if self._server is None:
                self._answers.put(
                    ConfigurationError(
                        "The input ended before an address was pasted.",
                        fix="Run it in a terminal and paste the address that the browser shows at the end.",
                    )
                )
            return None

        threading.Thread(target=read, daemon=True).start()

    def wait(self, seconds: float) -> AuthorizationResponse | None:
        """The parameters of the redirect, or None after a timeout of `seconds`.

        Raises:
            ConfigurationError: The response can only be pasted, and the input ended.
        """
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                # In short steps, so that Ctrl-C works on every platform.
                answer = self._answers.get(timeout=min(left, 0.5))
            except queue.Empty:
                continue
            if isinstance(answer, ConfigurationError):
                raise answer
            return answer
        return None

    def _visited(self, request: BaseHTTPRequestHandler) -> None:
        answer = dict(parse_qsl(urlsplit(request.path).query))
        if "code" not in answer and "error" not in answer:
            request.send_error(404)
            return
        ours = bool(self.state) and answer.get("state") == self.state
        title, text = (_REFUSED if "error" in answer else _RECEIVED) if ours else _STALE
        page = _PAGE.format(title=html.escape(title), text=html.escape(text)).encode()
        request.send_response(200 if ours else 400)
        request.send_header("Content-Type", "text/html; charset=utf-8")
        request.send_header("Content-Length", str(len(page)))
        request.send_header("Cache-Control", "no-store")
        request.end_headers()
        request.wfile.write(page)
        if ours:
            self._answers.put(answer)


def parse_pasted(text: str) -> AuthorizationResponse:
    """The parameters in a pasted redirect address, or a pasted code.

    Raises:
        ConfigurationError: Neither of them.
    """
    given = text.strip().strip("'\"<>")
    if "code=" in given or "error=" in given:
        query = urlsplit(given).query if "?" in given else given
        answer = dict(parse_qsl(query))
        if answer.get("code") or answer.get("error"):
            return answer
    elif given and not any(mark in given for mark in " ?&=") and not given.startswith("http"):
        return {"code": unquote(given)}
    raise ConfigurationError(
        "The pasted text is neither the redirect address nor a code.",
        fix="Copy the whole address from the browser's address bar; it contains `code=`.",
    )
