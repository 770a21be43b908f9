"""Postgres and an S3 server, started for the tests that need them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import object_store, postgres
from support.components import require
from support.object_store import ObjectStore
from support.postgres import Postgres


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    require(object_store.why_not())
    with ObjectStore() as server:
        yield server


@pytest.fixture
def database() -> Iterator[Postgres]:
    require(postgres.why_not())
    with Postgres() as server:
        yield server
