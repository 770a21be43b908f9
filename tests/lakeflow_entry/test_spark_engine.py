"""Dagster's Spark engine: the rows are the same as without it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deltalake import DeltaTable
from support.lakeflow import comparable, options_of

from gmail_assets.lake import Lake
from gmail_assets.spark_engine import SparkEngine
from gmail_assets.sync import sync
from gmail_client.client import GmailClient
from gmail_client.credentials import Credentials
from gmail_client.emulator import Emulator
from gmail_client.errors import ConfigurationError
from gmail_client.options import Spec
from gmail_client.quota import preset

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.filterwarnings("default")]

TABLES = Spec.default().tables[:2]
CONNECTION = "workspace"


@pytest.fixture
def gmail(connections_file: Path, tmp_path: Path) -> Iterator[Emulator]:
    with Emulator(mailboxes=2, messages=60, seed=9, mean_json_kb=3.0) as emulator:
        known = {name: value for name, value in options_of(emulator).items() if name.endswith("root")}
        key = str(emulator.service_account_file(tmp_path / "key.json"))
        connections_file.write_text(
            json.dumps({CONNECTION: {**known, "service_account_file": key, "quota": "1200000"}})
        )
        yield emulator
    connections_file.write_text("{}")


def client_of(gmail: Emulator, tmp_path: Path) -> GmailClient:
    credentials = Credentials.from_service_account_file(tmp_path / "key.json", gmail.addresses[0])
    return GmailClient(credentials, quota=preset("1200000"), api_root=gmail.url, oauth_root=gmail.url)


def rows(lake: Lake, table: str) -> dict[tuple[str, str], Any]:
    stored = DeltaTable(lake.location(table)).to_pyarrow_table().to_pylist()
    found = {(row["mailbox"], row["id"]): comparable(row) for row in stored}
    assert len(found) == len(stored)
    return found


def test_the_rows_are_the_same_with_spark_and_without(
    spark: SparkSession, gmail: Emulator, tmp_path: Path
) -> None:
    plain, sparked = Lake(str(tmp_path / "plain")), Lake(str(tmp_path / "sparked"))
    client = client_of(gmail, tmp_path)
    mailboxes = [client.mailbox(address) for address in gmail.addresses]
    engine = SparkEngine({}, CONNECTION)
    assert engine.session.sparkContext.defaultParallelism == 2
    written = engine.preload(sparked, TABLES, mailboxes)
    truth = {table: sum(len(gmail.truth(table, a)) for a in gmail.addresses) for table in written}
    assert written == truth
    arrived = gmail.mailbox().insert(gmail.mailbox().random_mail(), ("INBOX",))
    gmail.usage.reset()
    for mailbox in mailboxes:
        results = sync(mailbox, sparked, TABLES)
        assert all(result.complete and result.history_id for result in results.values())
    assert gmail.usage.fetched == 1, "the sync fetches what arrived since, and nothing that Spark brought"
    for mailbox in mailboxes:
        sync(mailbox, plain, TABLES)
    for table in ("messages", "threads"):
        assert rows(sparked, table) == rows(plain, table)
    assert (gmail.addresses[0], arrived) in rows(sparked, "messages")
    assert engine.preload(sparked, TABLES, mailboxes) == {}


@pytest.mark.slow
def test_filtered_tables_are_read_each_by_itself(
    spark: SparkSession, gmail: Emulator, tmp_path: Path
) -> None:
    plain, sparked = Lake(str(tmp_path / "plain")), Lake(str(tmp_path / "sparked"))
    mailbox = client_of(gmail, tmp_path).mailbox(gmail.addresses[1])
    configuration = {"table_configuration": {"labelIds": "INBOX"}}
    spec = Spec.parse(
        {
            "objects": [
                {"table": {"source_table": "messages", **configuration}},
                {"table": {"source_table": "threads"}},
            ]
        }
    )
    SparkEngine({}, CONNECTION).preload(sparked, spec.tables, [mailbox])
    sync(mailbox, sparked, spec.tables)
    sync(mailbox, plain, spec.tables)
    for table in ("messages", "threads"):
        assert rows(sparked, table) == rows(plain, table)


def test_the_assets_use_it_when_the_setting_says_so(
    spark: SparkSession, gmail: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gmail_assets.headless import Runner

    for name, value in {
        "GMAIL_ENGINE": "spark",
        "GMAIL_SPARK_CONNECTION": CONNECTION,
        "GMAIL_SERVICE_ACCOUNT_FILE": str(tmp_path / "key.json"),
        "GMAIL_USER_ID": gmail.addresses[0],
        "GMAIL_API_ROOT": gmail.url,
        "GMAIL_OAUTH_ROOT": gmail.url,
        "GMAIL_LAKE": str(tmp_path / "lake"),
        "GMAIL_CREDENTIALS_FILE": str(tmp_path / "none.json"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    run = Runner().run_mailbox(gmail.addresses[0], ["messages", "threads", "labels"])
    assert run.failures == {}
    lake = Lake(str(tmp_path / "lake"))
    assert len(rows(lake, "messages")) == len(gmail.truth("messages"))
    assert len(rows(lake, "threads")) == len(gmail.truth("threads"))


def test_an_unknown_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMAIL_ENGINE", "steam")
    with pytest.raises(ConfigurationError, match="neither plain nor spark"):
        SparkEngine.chosen()
    monkeypatch.setenv("GMAIL_ENGINE", "plain")
    assert SparkEngine.chosen() is None


def test_importing_it_imports_no_spark() -> None:
    import subprocess
    import sys

    code = "import sys, gmail_assets.spark_engine; sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=dict(os.environ), check=False).returncode == 0
