"""How many random lives a test lives through: the same ones each time, or with LIVES (`make hunt`) other ones."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

__all__ = ["lives"]


def lives(count: int) -> settings:
    """Settings for so many examples, the same ones in each run; with LIVES for that many new ones."""
    hunted = os.environ.get("LIVES")
    return settings(
        deadline=None,
        max_examples=int(hunted or count),
        derandomize=not hunted,
        suppress_health_check=list(HealthCheck),
    )
