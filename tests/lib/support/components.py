"""What a test does without a component that it needs, such as Postgres: `require`."""

from __future__ import annotations

import os

import pytest

__all__ = ["require"]


def require(reason: str) -> None:
    """Skip the test if a component is missing; fail it where REQUIRE_COMPONENTS is set, as `.ci/run` does.

    Args:
        reason: Why the component can't be used; empty if it can.
    """
    if reason and not os.environ.get("REQUIRE_COMPONENTS"):
        pytest.skip(reason)
    assert not reason, reason
