"""Waiting that can be called off.

`pause` sleeps on a clock in short steps and raises `Stopped` once nobody wants the result any more.
"""

from __future__ import annotations

import threading

from gmail_client.http.clock import Clock

__all__ = ["Stopped", "pause"]

_STEP = 0.25
"""Seconds of the clock's time after which a sleeper looks up."""


class Stopped(Exception):  # noqa: N818 - a signal between this client's threads, no error
    """The work was called off. Stays inside the client."""


def pause(clock: Clock, seconds: float, stop: threading.Event | None = None) -> None:
    """Sleep for `seconds` of `clock`'s time.

    Args:
        clock: What counts the seconds.
        seconds: Nothing happens for zero or less.
        stop: Ends the pause early when it is set.

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
