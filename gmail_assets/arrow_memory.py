"""Which allocator Arrow uses: `use_system_allocator`."""

from __future__ import annotations

import os

__all__ = ["use_system_allocator"]


def use_system_allocator() -> None:
    """Let Arrow allocate with the system's `malloc`, if the environment names no other allocator.

    Arrow's own choice keeps freed memory for each thread: a first load of 60 mailboxes peaks at 730 MB instead of 400,
    for the same CPU time. Only has an effect before pyarrow is imported, in this process and those that it starts.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
