"""The lake in an object store, on a real S3 server."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from support.chaos import client_of
from support.object_store import CountingProxy, ObjectStore

from gmail_assets.delta import shared_tables, table_log
from gmail_assets.delta.creation import create_table
from gmail_assets.operations.access_check import check_lake
from gmail_assets.syncing import sync
from gmail_client.emulator import Emulator
from gmail_client.spec import Spec
from gmail_client.tables import CHANGE_TABLES


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


@pytest.mark.slow
def test_the_requests_of_a_small_sync_in_a_new_process(store: ObjectStore) -> None:
    """Three for each commit since the last checkpoint (two of them by deltalake), and 43 more; no listing of a log."""
    mail = [entry for entry in Spec.default().tables if entry.source_table in CHANGE_TABLES]
    with CountingProxy(store) as counting, Emulator(messages=20, seed=3) as gmail:
        lake = counting.lake("requests")
        sync(client_of(gmail).mailbox(), lake, mail)
        for _ in range(2):
            gmail.mailbox().insert(gmail.mailbox().random_mail(), ["INBOX"])
            tables = [lake.find(name) for name in CHANGE_TABLES]
            commits = sum(table.version() + 1 for table in tables if table is not None)
            table_log.forget_all()
            shared_tables.forget_tables()
            time.sleep(0.5)  # the proxy notes a request in another process
            before = len(counting.requests)
            sync(client_of(gmail).mailbox(), lake, mail)
            time.sleep(0.5)
            requests = counting.requests[before:]
            assert len(requests) <= 43 + 3 * commits, requests
            listings = [request for request in requests if "list-type=2" in request]
            assert listings
            assert all("start-after=" in request for request in listings)
