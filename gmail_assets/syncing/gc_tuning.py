"""Runs Python's cyclic garbage collector less often during a command, and while mail is loaded.

Parsed mail has about two hundred small objects per message, without reference cycles: reference counting frees them.
The collector would scan them repeatedly without effect, which takes a tenth of a load's CPU time. What exists before,
mostly modules, is frozen meanwhile: the collector does not scan it.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collected_seldom"]

_OBJECTS = 100_000
"""Number of new objects after which the collector scans the young generation; Python's default is 700."""

_lock = threading.Lock()
_inside = 0
_before = (0, 0, 0)
_frozen = False


@contextmanager
def collected_seldom() -> Iterator[None]:
    """Raise the collector's threshold inside the block, for all threads; a disabled collector stays disabled."""
    global _inside, _before, _frozen
    with _lock:
        if not _inside:
            _before = gc.get_threshold()
            if _before[0]:
                gc.set_threshold(max(_before[0], _OBJECTS), *_before[1:])
            _frozen = not gc.get_freeze_count()
            if _frozen:
                gc.freeze()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                gc.set_threshold(*_before)
                if _frozen:
                    gc.unfreeze()
