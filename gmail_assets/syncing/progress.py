"""How far a sync is, told while it runs: from deep below Dagster to whoever shows it.

A step's assets and the terminal live in one process where runs are headless, yet Dagster stands between them. A
`Reporter` that is installed by `reporting` is what `current_reporter` finds there; in a run of Dagster's own there is
none, and nothing is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gmail_assets.syncing.results import Progress, SyncResult

__all__ = ["Reporter", "current_reporter", "reporting"]


class Reporter(Protocol):
    """Whoever shows how far a sync is. Called from one thread."""

    def progress(self, progress: Progress) -> None:
        """Messages and threads are so far."""
        ...

    def finished(self, table: str, result: SyncResult) -> None:
        """One table is done."""
        ...


_CURRENT: ContextVar[Reporter | None] = ContextVar("reporter", default=None)


def current_reporter() -> Reporter | None:
    """The reporter installed around this run, if any."""
    return _CURRENT.get()


@contextmanager
def reporting(reporter: Reporter) -> Iterator[None]:
    """Install `reporter` for what runs inside."""
    token = _CURRENT.set(reporter)
    try:
        yield
    finally:
        _CURRENT.reset(token)
