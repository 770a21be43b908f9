"""Interruptible sleep: `pause` sleeps on a clock in short steps and raises `Stopped` when its event is set."""

from __future__ import annotations

import threading

from gmail_client.http.clock import Clock

__all__ = ["Stopped", "pause"]

_STEP = 0.25
"""Seconds of the clock's time between two checks of the event."""


class Stopped(Exception):  # noqa: N818 - a signal between this client's threads, not an error
    """The work was cancelled. Stays inside the client."""


def pause(clock: Clock, seconds: float, stop: threading.Event | None = None) -> None:
    """Sleep for `seconds` of `clock`'s time.

    Args:
        clock: Measures the seconds.
        seconds: Zero or less returns immediately.
        stop: Ends the sleep early when it is set.

    Raises:
        Stopped: `stop` was set.
    """
    if stop is None:
        clock.sleep(seconds)
        return
    while seconds > 0:
        if stop.is_set():
            raise Stopped
        step = min(seconds, _STEP)
        clock.sleep(step)
        seconds -= step
    if stop.is_set():
        raise Stopped
