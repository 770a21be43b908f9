"""Postgres and an S3 server, started for the tests that need them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support import object_store, postgres
from support.object_store import ObjectStore
from support.postgres import Postgres


def _require(reason: str) -> None:
    """Skip the test if a component is missing; fail it if components are required (`.ci/run`)."""
    if reason and not os.environ.get("REQUIRE_COMPONENTS"):
        pytest.skip(reason)
    assert not reason, reason


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    _require(object_store.why_not())
    with ObjectStore() as server:
        yield server


@pytest.fixture
def database() -> Iterator[Postgres]:
    _require(postgres.why_not())
    with Postgres() as server:
        yield server
