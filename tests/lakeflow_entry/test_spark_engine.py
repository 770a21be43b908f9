"""Dagster's Spark engine: the rows are the same as without it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deltalake import DeltaTable
from support.domain import read_domain
from support.lakeflow import comparable, options_of

from gmail_assets.delta.lake import Lake
from gmail_assets.spark_engine import Preloaded, SparkEngine, SparkError, _spark_failures
from gmail_assets.syncing import snapshot, sync
from gmail_client.auth.credentials import Credentials
from gmail_client.client import GmailClient
from gmail_client.emulator import Emulator, Fault
from gmail_client.errors import ApiDisabledError, ConfigurationError
from gmail_client.quota import preset
from gmail_client.spec import Spec
from gmail_client.tables import CATALOGUE
from lakeflow_entry.connection import Connection

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.filterwarnings("default")]

TABLES, SNAPSHOTS = Spec.default().tables[:2], Spec.default().tables[2:]
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
    for mailbox in mailboxes:
        assert mailbox.address
    gmail.usage.reset()
    brought = engine.preload(sparked, TABLES, mailboxes)
    truth = {table: sum(len(gmail.truth(table, a)) for a in gmail.addresses) for table in brought.written}
    assert brought.written == truth
    # The driver reads two history ids; the workers read everything else.
    assert brought.units == gmail.usage.total_units - 2
    assert brought.calls == gmail.usage.total_calls - gmail.usage.calls["oauth.token"] - 2
    assert brought.bytes > 0
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
    assert engine.preload(sparked, TABLES, mailboxes) == Preloaded()


def test_the_snapshots_are_the_same_with_spark_and_without(
    spark: SparkSession, gmail: Emulator, tmp_path: Path
) -> None:
    plain, sparked = Lake(str(tmp_path / "plain")), Lake(str(tmp_path / "sparked"))
    client = client_of(gmail, tmp_path)
    engine = SparkEngine({}, CONNECTION)
    for address in gmail.addresses:
        mailbox = client.mailbox(address)
        assert mailbox.address
        for entry in SNAPSHOTS:
            here = snapshot(mailbox, plain, entry)
            gmail.usage.reset()
            there = snapshot(mailbox, sparked, entry, read=engine.read)
            assert (there.mode, there.rows_written, there.rows_total, there.warnings) == (
                "snapshot",
                here.rows_written,
                here.rows_total,
                here.warnings,
            )
            # A worker read all rows, and additionally the address of the mailbox.
            assert there.units == here.units + 1 == gmail.usage.total_units
            assert there.calls == here.calls + 1
    for entry in SNAPSHOTS:
        tables = [DeltaTable(lake.location(entry.source_table)) for lake in (plain, sparked)]
        one, other = (table.to_pyarrow_table().to_pylist() for table in tables)
        assert sorted(map(repr, one)) == sorted(map(repr, other))
        assert one
        assert [table.version() for table in tables] == [tables[0].version()] * 2


def test_a_refused_table_keeps_its_rows_and_a_refused_item_is_reported(
    spark: SparkSession, gmail: Emulator, tmp_path: Path
) -> None:
    lake = Lake(str(tmp_path / "lake"))
    mailbox = client_of(gmail, tmp_path).mailbox(gmail.addresses[0])
    engine = SparkEngine({}, CONNECTION)
    tables = {entry.source_table: entry for entry in SNAPSHOTS}
    before = snapshot(mailbox, lake, tables["delegates"], read=engine.read)
    gmail.faults.add(Fault("settings.delegates.list", status=403, message="Delegates are closed"))
    gmail.faults.add(Fault("settings.getVacation", status=403, message="Vacation is closed"))
    refused = snapshot(mailbox, lake, tables["delegates"], read=engine.read)
    assert refused.mode == "refused"
    assert refused.rows_total == before.rows_total > 0
    (warning,) = refused.warnings
    assert warning.startswith("This account is not allowed to read the table; its rows are kept.")
    assert "Delegates are closed" in warning
    settings = snapshot(mailbox, lake, tables["settings"], read=engine.read)
    assert settings.mode == "snapshot"
    (warning,) = settings.warnings
    assert warning.startswith("settings.vacation is empty:")


def test_an_error_on_a_worker_keeps_its_class(spark: SparkSession, gmail: Emulator, tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    mailbox = client_of(gmail, tmp_path).mailbox(gmail.addresses[0])
    engine = SparkEngine({}, CONNECTION)
    labels = next(entry for entry in SNAPSHOTS if entry.source_table == "labels")
    before = snapshot(mailbox, lake, labels, read=engine.read)
    gmail.faults.add(
        Fault("labels.list", status=403, reason="accessNotConfigured", message="Gmail API is off")
    )
    with pytest.raises(ApiDisabledError, match="Gmail API is off") as caught:
        snapshot(mailbox, lake, labels, read=engine.read)
    assert caught.value.fix
    assert caught.value.status == 403
    assert "Traceback" not in str(caught.value)
    gmail.faults.clear()
    gmail.faults.add(
        Fault("messages.list", status=403, reason="accessNotConfigured", message="Gmail API is off")
    )
    with pytest.raises(ApiDisabledError, match="Gmail API is off"):
        engine.preload(lake, TABLES, [mailbox])
    gmail.faults.clear()
    with pytest.raises(ConfigurationError, match="Connection not found: 'nowhere'"):
        snapshot(mailbox, lake, labels, read=SparkEngine({}, "nowhere").read)
    assert snapshot(mailbox, lake, labels, read=engine.read).rows_total == before.rows_total


def test_rows_of_another_account_are_not_accepted(
    spark: SparkSession, gmail: Emulator, connections_file: Path, tmp_path: Path
) -> None:
    lake = Lake(str(tmp_path / "lake"))
    known = json.loads(connections_file.read_text())
    known["other"] = options_of(gmail, gmail.addresses[1])
    connections_file.write_text(json.dumps(known))
    mine = Connection.of(options_of(gmail, gmail.addresses[0])).mailbox("me")
    engine = SparkEngine({}, "other")
    labels = next(entry for entry in SNAPSHOTS if entry.source_table == "labels")
    expected = f"read the mailbox {gmail.addresses[1]}, not {gmail.addresses[0]}"
    with pytest.raises(ConfigurationError, match=expected):
        snapshot(mine, lake, labels, read=engine.read)
    with pytest.raises(ConfigurationError, match=expected):
        engine.preload(lake, TABLES, [mine])
    assert [lake.table(name).count() for name in ("labels", "messages", "threads")] == [0, 0, 0]


def test_a_message_that_gmail_refuses_is_left_to_the_sync(
    spark: SparkSession, gmail: Emulator, tmp_path: Path
) -> None:
    lake = Lake(str(tmp_path / "lake"))
    mailbox = client_of(gmail, tmp_path).mailbox(gmail.addresses[0])
    gmail.faults.add(Fault("messages.get", status=400, nth=3))
    brought = SparkEngine({}, CONNECTION).preload(lake, TABLES, [mailbox])
    threads = len(gmail.truth("threads", gmail.addresses[0]))
    assert brought.written["threads"] == threads - 1
    gmail.faults.clear()
    assert sync(mailbox, lake, TABLES)["threads"].rows_total == threads


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            "\n  An exception was thrown\nTraceback (most recent call last):\n  File 'x', line 1, in f\n"
            "    raise ModuleNotFoundError\nModuleNotFoundError: No module named 'gmail_client'\n\n\tat org.apache",
            "ModuleNotFoundError: No module named 'gmail_client'",
        ),
        (
            "An error occurred while calling o1.load.\n: org.apache.spark.SparkException: Job aborted\n\tat",
            "org.apache.spark.SparkException: Job aborted",
        ),
        (
            "Traceback (most recent call last):\nValueError: Bearer abc.def ya29.secret in a URL",
            "ValueError: [removed] [removed] in a URL",
        ),
        ("", "PySparkException"),
    ],
)
def test_spark_s_own_failure_is_one_line_without_secrets(text: str, cause: str) -> None:
    from pyspark.errors import PySparkException

    with pytest.raises(SparkError) as caught, _spark_failures("reading labels of me"):
        raise PySparkException(text)
    assert caught.value.what == f"Spark failed while reading labels of me: {cause}"
    assert caught.value.__suppress_context__


@pytest.mark.slow
def test_new_mailboxes_are_one_job_with_a_task_for_each(
    spark: SparkSession, gmail: Emulator, connections_file: Path, tmp_path: Path
) -> None:
    lake = Lake(str(tmp_path / "lake"))
    known = json.loads(connections_file.read_text())[CONNECTION]
    with Emulator(mailboxes=7, messages=6, seed=4) as many:
        many.service_account_file(tmp_path / "key.json")
        known |= {name: many.url for name in known if name.endswith("root")}
        connections_file.write_text(json.dumps({CONNECTION: known}))
        client = client_of(many, tmp_path)
        mailboxes = [client.mailbox(address) for address in many.addresses]
        engine, tracker = SparkEngine({}, CONNECTION), spark.sparkContext.statusTracker()
        before = set(tracker.getJobIdsForGroup())
        brought = engine.preload(lake, TABLES, mailboxes)
        (job,) = set(tracker.getJobIdsForGroup()) - before
        found = tracker.getJobInfo(job)
        assert found is not None
        stages = [tracker.getStageInfo(stage) for stage in found.stageIds]
        assert [stage.numTasks for stage in stages if stage is not None] == [len(mailboxes)]
        assert brought.mailboxes.keys() == set(many.addresses)
        many.usage.reset()
        for mailbox in mailboxes:
            sync(mailbox, lake, TABLES)
        assert many.usage.fetched == 0
        for address in many.addresses:
            for table in ("messages", "threads"):
                stored = {item for stored_in, item in rows(lake, table) if stored_in == address}
                assert stored == {row["id"] for row in many.truth(table, address)}


@pytest.mark.slow
def test_filtered_tables_are_read_separately(spark: SparkSession, gmail: Emulator, tmp_path: Path) -> None:
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


def use_spark(gmail: Emulator, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment variables of a deployment with the engine `spark` and a lake in the folder."""
    spark = {
        "GMAIL_ENGINE": "spark",
        "GMAIL_SPARK_CONNECTION": CONNECTION,
        "GMAIL_LAKE": str(folder / "lake"),
    }
    read_domain(gmail, folder, monkeypatch, **spark)


def test_the_assets_use_spark_if_the_setting_says_so(
    spark: SparkSession, gmail: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gmail_assets.operations.run_in_process import Runner

    use_spark(gmail, tmp_path, monkeypatch)
    monkeypatch.setenv("GMAIL_USER_ID", gmail.addresses[0])
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    gmail.faults.add(Fault("settings.delegates.list", status=403, message="Delegates are closed"))
    gmail.faults.add(Fault("settings.getVacation", status=403, message="Vacation is closed"))
    gmail.faults.add(Fault("settings.filters.list", status=400, message="Filters are closed"))
    gmail.usage.reset()
    run = Runner().run_mailbox(gmail.addresses[0], list(CATALOGUE))
    (failed,) = run.failures.items()
    assert (failed[0], failed[1].error) == ("filters", "RequestError")
    assert "Fix: " in failed[1].message
    assert "Traceback" not in failed[1].message
    assert run.tables.keys() == CATALOGUE.keys() - {"filters"}
    assert run.tables["delegates"]["sync_mode"] == "refused"
    assert "Delegates are closed" in run.tables["delegates"]["warnings"]
    assert "settings.vacation is empty" in run.tables["settings"]["warnings"]
    units = {name: metadata["quota_units"] for name, metadata in run.tables.items()}
    assert units["messages"] == units["threads"] >= 20 * len(gmail.truth("threads"))
    assert all(units.values())
    assert run.tables["threads"]["rows_written"] == len(gmail.truth("threads"))
    lake = Lake(str(tmp_path / "lake"))
    assert len(rows(lake, "messages")) == len(gmail.truth("messages"))
    assert len(rows(lake, "threads")) == len(gmail.truth("threads"))


@pytest.mark.slow
def test_a_run_over_several_mailboxes_has_spark_read_the_new_ones_in_one_job(
    spark: SparkSession, gmail: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dagster as dg

    from gmail_assets import gmail_definitions

    use_spark(gmail, tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    asked: list[list[str]] = []
    preload = SparkEngine.preload

    def noted(engine: SparkEngine, lake: Lake, tables: Any, mailboxes: Any, **more: Any) -> Preloaded:
        asked.append([mailbox.user_id for mailbox in mailboxes])
        return preload(engine, lake, tables, mailboxes, **more)

    monkeypatch.setattr(SparkEngine, "preload", noted)
    stranger = "nobody@gmail.test"
    mailboxes = [gmail.addresses[0], stranger, gmail.addresses[1]]
    job = gmail_definitions(mailboxes=mailboxes).resolve_job_def("gmail_sync")
    config = {"ops": {"gmail_mail": {"config": {"mailboxes": mailboxes}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(run_config=config, instance=instance, raise_on_error=False)
        (event,) = instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey(["gmail", "messages"]), asset_partitions=[gmail.addresses[1]]),
            limit=1,
        ).records
    assert event.asset_materialization is not None
    written = event.asset_materialization.metadata["rows_written"].value
    assert written == len(gmail.truth("messages", gmail.addresses[1]))
    assert not result.success  # one of the three has no mailbox
    assert asked == [gmail.addresses]
    lake = Lake(str(tmp_path / "lake"))
    for address in gmail.addresses:
        for table in ("messages", "threads"):
            stored = {message_id for mailbox, message_id in rows(lake, table) if mailbox == address}
            assert stored == {row["id"] for row in gmail.truth(table, address)}


def test_an_unknown_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMAIL_ENGINE", "steam")
    with pytest.raises(ConfigurationError, match="neither plain nor spark"):
        SparkEngine.chosen()
    monkeypatch.setenv("GMAIL_ENGINE", "plain")
    assert SparkEngine.chosen() is None


@pytest.mark.parametrize(
    "master", ["spark://evil:7077", "yarn", "k8s://https://evil", "sc://evil", "local[2]@evil"]
)
def test_dotenv_cannot_name_a_remote_master(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, master: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GMAIL_ENGINE", "GMAIL_SPARK_MASTER"):
        monkeypatch.delenv(name, raising=False)
    Path(".env").write_text(f"GMAIL_ENGINE=spark\nGMAIL_SPARK_MASTER={master}\n")
    for environment in ("", "local[*]"):
        monkeypatch.setenv("GMAIL_SPARK_MASTER", environment)
        if environment:
            assert SparkEngine.chosen() is not None
        else:
            with pytest.raises(ConfigurationError, match="GMAIL_SPARK_MASTER"):
                SparkEngine.chosen()
    monkeypatch.setenv("GMAIL_SPARK_MASTER", master)
    engine = SparkEngine.chosen()
    assert engine is not None
    assert engine.spark_config["spark.master"] == master


@pytest.mark.parametrize("master", ["local", "local[2]", "local[*]", "local[2, 3]"])
def test_dotenv_can_name_a_local_master(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, master: str) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GMAIL_ENGINE", "GMAIL_SPARK_MASTER"):
        monkeypatch.delenv(name, raising=False)
    Path(".env").write_text(f"GMAIL_ENGINE=spark\nGMAIL_SPARK_MASTER={master}\n")
    engine = SparkEngine.chosen()
    assert engine is not None
    assert engine.spark_config["spark.master"] == master
    assert engine.spark_config["spark.python.authenticate.socketTimeout"] == "120s"


def test_importing_the_engine_does_not_import_spark() -> None:
    import subprocess
    import sys

    code = "import sys, gmail_assets.spark_engine; sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=dict(os.environ), check=False).returncode == 0
