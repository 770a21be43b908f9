"""A server that must not get any request: `Trap` records what is sent to it."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from typing import Self

__all__ = ["Trap"]

_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 46\r\nConnection: close\r\n\r\n"
)
_BODY = b'{"access_token": "ya29.trap", "expires_in": 9}'


def _request(connection: socket.socket) -> bytes:
    """A request with its body, or as much of it as arrived."""
    text = b""
    while piece := connection.recv(65536):
        text += piece
        head, _, body = text.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if b"\r\n\r\n" in text and len(body) >= int(length[1] if length else 0):
            break
    return text


class Trap:
    """Listens on loopback and answers every request as a token endpoint would.

    Args:
        answer: Another response, with status line and headers.

    Attributes:
        received: The first request of each connection, headers and body.
    """

    def __init__(self, answer: bytes = b"") -> None:
        self._answer = answer or _ANSWER + _BODY
        self.received: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """Its address, as a root."""
        return f"http://127.0.0.1:{self.port}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(2)
                self.received.append(_request(connection))
                connection.sendall(self._answer)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A blocked accept() does not end by close() alone.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
