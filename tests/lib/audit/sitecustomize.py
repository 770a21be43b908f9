"""Logs each address that a Python process connects to in the file CONNECT_LOG; must be first in PYTHONPATH."""

from __future__ import annotations

import os
import sys

_LOG = os.environ.get("CONNECT_LOG")


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect" and _LOG:
        descriptor = os.open(_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, f"{arguments[1]!r}\n".encode())
        finally:
            os.close(descriptor)


if _LOG:
    sys.addaudithook(_watch)
