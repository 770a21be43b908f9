"""Where the browser lands after a consent: a page on the own machine, or an address pasted by hand.

`Landing` collects whatever comes first from either; nothing waits longer than it is told to.
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

__all__ = ["Answer", "Landing", "parse_pasted"]

Answer = Mapping[str, str]
"""The parameters that Google put into the address: `code` and `state`, or `error`."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>gmail-assets</title>
<style>body{{font:18px/1.5 sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem}}</style></head>
<body><h1>{title}</h1><p>{text}</p></body></html>
"""
_CAME = ("Received", "You can close this window. The terminal says how it went.")
_REFUSED = ("No access was given", "You can close this window. The terminal says what to do.")
_STALE = ("This page belongs to another login", "Use the address that the terminal shows now.")


class Landing:
    """Waits for the answer to one consent. Use it as a context manager.

    Args:
        port: Port of the own machine to listen on, 0 for any that is free, None to wait for a pasted one only.

    Attributes:
        port: The port listened on, None for none.
        state: What an answer has to carry; visits with another are told that they are stale.

    Raises:
        ConfigurationError: The port is taken or not allowed.
    """

    def __init__(self, port: int | None) -> None:
        self._answers: queue.Queue[Answer | ConfigurationError] = queue.Queue()
        self.state = ""
        self._server: ThreadingHTTPServer | None = None
        self.port = port
        if port is not None:
            self._server = self._listen(port)
            self.port = self._server.server_address[1]

    def _listen(self, port: int) -> ThreadingHTTPServer:
        landing = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                landing._visited(self)

            def log_message(self, format: str, *args: object) -> None:
                """The address holds the code: it belongs in no log."""

        try:
            # A thread for each connection: browsers open some that they never use.
            server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except (OSError, OverflowError) as error:
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise ConfigurationError(
                f"Port {port} cannot be listened on: {reason}.",
                fix="Give another --port, or leave it out to take any that is free.",
            ) from None
        server.daemon_threads = True
        return server

    def __enter__(self) -> Landing:
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
        """Take a pasted line too.

        Args:
            read_line: Gives the next line; may block, and says '' at the end of its input.
            complain: Told what is wrong with a line that is of no use; the next one is read then.
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
                        "The input ended and nothing was pasted.",
                        fix="Run it in a terminal and paste the address that the browser ended at.",
                    )
                )
            return None

        threading.Thread(target=read, daemon=True).start()

    def wait(self, seconds: float) -> Answer | None:
        """The answer, or None when none came within so many seconds.

        Raises:
            ConfigurationError: The answer can only be pasted, and the input ended.
        """
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                # In short steps, so that Ctrl-C is heard on every platform.
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
        title, text = (_REFUSED if "error" in answer else _CAME) if ours else _STALE
        page = _PAGE.format(title=html.escape(title), text=html.escape(text)).encode()
        request.send_response(200 if ours else 400)
        request.send_header("Content-Type", "text/html; charset=utf-8")
        request.send_header("Content-Length", str(len(page)))
        request.send_header("Cache-Control", "no-store")
        request.end_headers()
        request.wfile.write(page)
        if ours:
            self._answers.put(answer)


def parse_pasted(text: str) -> Answer:
    """What Google said, from the address that the browser ended at, or from the code alone.

    Raises:
        ConfigurationError: It is neither.
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
        "What was pasted is neither the address that the browser ended at nor a code.",
        fix="Copy the whole address from the browser's address bar; it holds `code=`.",
    )
