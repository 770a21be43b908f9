"""Each reader of streams, and both tables that are streams."""

from __future__ import annotations

import pytest
from support.streams import READERS


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["messages", "threads"])
def table(request: pytest.FixtureRequest) -> str:
    return str(request.param)
