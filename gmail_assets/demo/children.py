"""Processes that end with us: `child` starts one in a group of its own and stops the whole group on leaving."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["child"]

_PATIENCE_SECONDS = 15.0


@contextmanager
def child(command: Sequence[str], *, output: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program of this environment; it and all that it started are gone when the block is left.

    Args:
        command: Name of a console script beside the running interpreter, and its arguments.
        output: Where standard output and error go.
    """
    program = Path(sys.executable).parent / command[0]
    process = subprocess.Popen(  # noqa: S603 - our own environment's program
        [str(program), *command[1:]],
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the group to stop, and end what does not."""
    for number, patience in (
        (signal.SIGINT, _PATIENCE_SECONDS),
        (signal.SIGTERM, 5.0),
        (signal.SIGKILL, 5.0),
    ):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
