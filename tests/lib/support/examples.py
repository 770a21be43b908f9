"""Number of random examples of a fault test: fixed ones by default, new ones with LIVES (`make hunt`)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

__all__ = ["examples"]


def examples(count: int) -> settings:
    """Hypothesis settings for `count` examples, the same in each run; with LIVES, for that many new ones."""
    hunted = os.environ.get("LIVES")
    return settings(
        deadline=None,
        max_examples=int(hunted or count),
        derandomize=not hunted,
        suppress_health_check=list(HealthCheck),
    )
