"""Progress of a running sync, passed from the sync to the terminal past Dagster.

In a headless run the assets and the terminal share one process, but Dagster calls the assets. `reporting` installs a
`Reporter`, and `current_reporter` finds it. A run that Dagster starts has none and reports nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gmail_assets.syncing.results import Progress, SyncResult

__all__ = ["Reporter", "current_reporter", "reporting"]


class Reporter(Protocol):
    """Shows the progress of a sync. Called from one thread, and from another with the phase `stopping`."""

    def progress(self, progress: Progress) -> None:
        """Progress of messages and threads."""
        ...

    def finished(self, table: str, result: SyncResult) -> None:
        """One table is done."""
        ...

    def mailbox_finished(
        self, mailbox: str, results: Mapping[str, SyncResult], error: Exception | None
    ) -> None:
        """One mailbox of a run over several is done."""
        ...


_CURRENT: ContextVar[Reporter | None] = ContextVar("reporter", default=None)


def current_reporter() -> Reporter | None:
    """The reporter installed around this run, if any."""
    return _CURRENT.get()


@contextmanager
def reporting(reporter: Reporter) -> Iterator[None]:
    """Install `reporter` inside the block."""
    token = _CURRENT.set(reporter)
    try:
        yield
    finally:
        _CURRENT.reset(token)
