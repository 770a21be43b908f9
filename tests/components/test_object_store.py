"""The lake in an object store, on a real S3 server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
from support.object_store import ObjectStore

from gmail_assets.delta.creation import create_table
from gmail_assets.operations.access_check import check_lake
from gmail_client.spec import Spec


def test_check_finds_the_store_writable_and_leaves_nothing(store: ObjectStore) -> None:
    lake = store.lake("checked")
    assert check_lake(lake, Spec.default()).problem is None
    assert store.keys("checked") == []
    lake.table("labels")
    access = check_lake(lake, Spec.default())
    assert access.writable
    assert access.tables["labels"]["version"] == 0
    assert {key.split("/")[1] for key in store.keys("checked")} == {"labels"}


def test_check_names_a_bucket_that_does_not_exist(store: ObjectStore) -> None:
    lake = store.lake("x")
    access = check_lake(type(lake)("s3://no-such-bucket/lake", lake.storage_options), Spec.default())
    assert not access.writable
    assert access.problem is not None
    assert "NoSuchBucket" in access.problem.what
    assert "hush" not in str(access.problem)


def test_clients_that_create_a_table_at_the_same_moment_get_the_same_one(store: ObjectStore) -> None:
    schema = pa.schema([("mailbox", pa.string()), ("id", pa.string())])
    for name in ("one", "two", "three"):
        lake = store.lake("raced")
        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(create_table, lake.location(name), schema, lake.options) for _ in range(4)]
            tables = [future.result() for future in futures]
        assert len({table.metadata().id for table in tables}) == 1
        found = lake.find(name)
        assert found is not None
        assert found.version() == 0
