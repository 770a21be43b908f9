"""End a process without finalizing the interpreter: `ProcessEnd`.

Arrow reads Delta tables in threads of its own, through a file system of Python objects, and drops these objects after
the result is returned. A thread that needs the interpreter's lock for that while the interpreter finalizes aborts the
process: "terminate called without an active exception", exit code 134, after correct output.
"""

from __future__ import annotations

import atexit
import os
import sys

__all__ = ["ProcessEnd"]


class ProcessEnd:
    """Ends the process when it exits, after the exit handlers that are registered later and after all threads.

    Create it before other modules register theirs. The interpreter finalizes as usual if the program ends without
    `with_code`, or if its output can't be written.
    """

    def __init__(self) -> None:
        self._code: int | None = None
        atexit.register(self._end)

    def with_code(self, code: int) -> int:
        """Set the exit code, and return it."""
        self._code = code
        return code

    def _end(self) -> None:
        if self._code is None:
            return
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            return
        os._exit(self._code)
