"""Processes many mailboxes concurrently in one process: `run_mailboxes`.

Each mailbox is processed in a thread and succeeds or fails separately. One that failed is retried after all others, so
that it does not delay the others, and a mailbox with a short outage is finished in the same run.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from gmail_assets.syncing.stopping import RunGroup, deferred_signals
from gmail_client.errors import ConfigurationError, GmailError

__all__ = ["DEFAULT_JOBS", "RETRY_SECONDS", "MailboxOutcome", "run_mailboxes"]

T = TypeVar("T")

DEFAULT_JOBS = 32
"""Number of concurrent mailboxes. Gmail's limit per user applies to each, so more of them load more per minute."""

RETRY_SECONDS = 60.0
"""Seconds after which a request is not retried when several mailboxes are synced."""

_POLL_SECONDS = 0.25


@dataclass(slots=True)
class MailboxOutcome(Generic[T]):
    """The outcome of one mailbox.

    Attributes:
        mailbox: Its configured name.
        value: The result of the work; None if it failed or did not start.
        error: Why it failed.
        attempts: Number of attempts; 0 if the run ended before.
    """

    mailbox: str
    value: T | None = None
    error: Exception | None = None
    attempts: int = 0


def run_mailboxes(
    mailboxes: Iterable[str],
    work: Callable[[str], T],
    *,
    jobs: int = DEFAULT_JOBS,
    stop: RunGroup | None = None,
    attempts: int = 2,
    on_done: Callable[[MailboxOutcome[T]], None] = lambda outcome: None,
    on_wait: Callable[[], None] = lambda: None,
    on_signal: Callable[[], None] = lambda: None,
) -> list[MailboxOutcome[T]]:
    """Do the work for each mailbox, for `jobs` of them concurrently.

    Ctrl-C and SIGTERM set `stop`: no further mailbox is started, those in progress end at their next commit, and then
    the signal takes effect. A second signal takes effect immediately. Signals arrive in the main thread only.

    Args:
        mailboxes: Their names.
        work: Does the work for one mailbox, in a thread.
        jobs: Number of concurrent mailboxes.
        stop: Ends the work early; the work has to check it.
        attempts: 1 or 2. With 2, a mailbox that failed is retried after all others.
        on_done: Called in this thread with each final outcome, in the order of completion.
        on_wait: Called in this thread several times a second.
        on_signal: Called after the first signal, in a thread of its own.

    Returns:
        An outcome for each mailbox, in the order of `mailboxes`.
    """
    outcomes = [MailboxOutcome[T](name) for name in mailboxes]
    run = _Run(outcomes, work, jobs, stop or RunGroup(), attempts, on_done, on_wait)
    with deferred_signals(run.stop.set, run.stop.is_set, on_signal):
        run.run()
    return outcomes


class _Run(Generic[T]):
    def __init__(
        self,
        outcomes: Sequence[MailboxOutcome[T]],
        work: Callable[[str], T],
        jobs: int,
        stop: RunGroup,
        attempts: int,
        on_done: Callable[[MailboxOutcome[T]], None],
        on_wait: Callable[[], None],
    ) -> None:
        self.stop = stop
        self._first = deque(outcomes)
        self._again: deque[MailboxOutcome[T]] = deque()
        self._work = work
        self._jobs = max(1, min(jobs, len(outcomes)))
        self._attempts = attempts
        self._on_done = on_done
        self._on_wait = on_wait
        self._tasks: SimpleQueue[MailboxOutcome[T] | None] = SimpleQueue()
        self._done: SimpleQueue[MailboxOutcome[T]] = SimpleQueue()
        self._threads = 0

    def run(self) -> None:
        """Process all mailboxes. The threads end afterwards; an exception stops them and does not wait for them."""
        try:
            self._round(self._first, self._finish_or_keep)
            self._round(self._again, self._on_done)
        except BaseException:
            self.stop.set()
            raise
        finally:
            for _ in range(self._threads):
                self._tasks.put(None)

    def _finish_or_keep(self, outcome: MailboxOutcome[T]) -> None:
        """Keep a mailbox that failed for the second round; the outcome of any other one is final."""
        if self._attempts > 1 and _worth_another_try(outcome.error) and not self.stop.is_set():
            self._again.append(outcome)
        else:
            self._on_done(outcome)

    def _round(self, waiting: deque[MailboxOutcome[T]], finish: Callable[[MailboxOutcome[T]], None]) -> None:
        running = 0
        while running or waiting:
            while waiting and running < self._jobs and not self.stop.is_set():
                self._submit(waiting.popleft())
                running += 1
            if not running:  # stopped
                break
            try:
                finish(self._done.get(timeout=_POLL_SECONDS))
                running -= 1
            except Empty:
                self._on_wait()
        while waiting:
            self._on_done(waiting.popleft())

    def _submit(self, outcome: MailboxOutcome[T]) -> None:
        self._tasks.put(outcome)
        if self._threads < self._jobs:
            self._threads += 1
            # Daemon threads, so that a second Ctrl-C ends the process.
            threading.Thread(target=self._serve, name=f"mailbox-{self._threads}", daemon=True).start()

    def _serve(self) -> None:
        while (outcome := self._tasks.get()) is not None:
            outcome.attempts += 1
            outcome.error = None
            try:
                outcome.value = self._work(outcome.mailbox)
            except Exception as error:  # a bug also affects one mailbox only
                outcome.error = error
            except SystemExit as error:  # of a library; without an outcome, the run would wait forever
                outcome.error = RuntimeError(f"The thread of the mailbox was ended by {error!r}.")
            _release_memory()
            self._done.put(outcome)


def _release_memory() -> None:
    """Return the memory that Arrow keeps for this thread; with many threads, it would be most of the process."""
    arrow = sys.modules.get("pyarrow")  # not imported for it
    if arrow is not None:
        arrow.default_memory_pool().release_unused()


def _worth_another_try(error: Exception | None) -> bool:
    """Whether the error may be transient: not if settings are wrong, nor after a bug."""
    return isinstance(error, GmailError) and not isinstance(error, ConfigurationError)
