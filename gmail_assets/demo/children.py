"""`child` starts a process in its own process group and stops the whole group at the end of the block."""

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

_INTERRUPT_SECONDS = 15.0


@contextmanager
def child(command: Sequence[str], *, output: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a console script of this Python environment; stop it and its child processes at the end of the block.

    Args:
        command: Name of the console script, and its arguments.
        output: File for standard output and error.
    """
    program = Path(sys.executable).parent / command[0]
    process = subprocess.Popen(  # noqa: S603 - a program of this environment
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
    """Interrupt the process group, then terminate, then kill it."""
    for number, seconds in (
        (signal.SIGINT, _INTERRUPT_SECONDS),
        (signal.SIGTERM, 5.0),
        (signal.SIGKILL, 5.0),
    ):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
