"""`hash: addresses` in Spark's workers: they take the key from their environment, and it is nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.lakeflow import options_of

from gmail_client.emulator import Emulator
from gmail_client.minimize import HASH_KEY, pseudonym

pytestmark = [pytest.mark.spark, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
KEY = "k3y-of-the-pseudonyms-4711"

_RUN = """
import json, pathlib, sys
from deltalake import DeltaTable
from gmail_assets.cli import main
from gmail_client.minimize import HASH_KEY

assert main(["sync", "messages", "threads", "send_as", "--verbose"]) == 0
from pyspark.sql import SparkSession
spark = SparkSession.getActiveSession()
assert spark is not None, "the sync did not use Spark"
options = {"connection": "corp", "hash": "addresses"}
shown = []
for table in ("messages", "send_as"):
    frame = spark.read.format("lakeflow_connect").options(**options).load(tableName=table)
    frame.explain(True)
    shown += [row.asDict(recursive=True) for row in frame.collect()]
query = (spark.readStream.format("lakeflow_connect").options(**options).load(tableName="messages").writeStream
    .format("parquet").option("path", "streamed").option("checkpointLocation", "checkpoint")
    .trigger(availableNow=True).start())
query.awaitTermination()
print("PROGRESS", query.lastProgress)
shown += [row.asDict(recursive=True) for row in spark.read.parquet("streamed").collect()]
for table in ("messages", "threads", "send_as"):
    rows = DeltaTable(f"lake/{table}").to_pyarrow_table().drop_columns(["mailbox"]).to_pylist()
    assert rows, table
    shown += rows
pathlib.Path(sys.argv[1]).write_text(json.dumps(shown, default=str))
searched = 0
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if HASH_KEY.encode() in (process / "environ").read_bytes():
            print("PROCESS", (process / "cmdline").read_bytes())
    except OSError:
        continue
spark.stop()
"""


def _spec(folder: Path) -> Path:
    tables = ("messages", "threads", "send_as")
    path = folder / "spec.json"
    configuration = {"hash": "addresses"}
    objects = [{"table": {"source_table": name, "table_configuration": configuration}} for name in tables]
    path.write_text(json.dumps({"objects": objects}))
    return path


@pytest.fixture
def events(bare: Path) -> Path:
    """The folder of Spark's event log, which is on for every session."""
    (bare / "conf").mkdir()
    folder = bare / "events"
    folder.mkdir()
    (bare / "conf" / "spark-defaults.conf").write_text(
        f"spark.eventLog.enabled true\nspark.eventLog.compress false\nspark.eventLog.dir file://{folder}\n"
    )
    return folder


def _run(bare: Path, gmail: Emulator, code: str, key: str | None) -> subprocess.CompletedProcess[str]:
    (bare / "connections.json").write_text(json.dumps({"corp": options_of(gmail)}))
    environment = {
        **os.environ,
        **gmail.environment(),
        "PYTHONPATH": str(ROOT),
        "GMAIL_ENGINE": "spark",
        "GMAIL_SPARK_MASTER": "local[2]",
        "GMAIL_SPARK_CONNECTION": "corp",
        "GMAIL_CONNECTIONS_FILE": str(bare / "connections.json"),
        "GMAIL_SPEC": str(_spec(bare)),
        "GMAIL_QUOTA": "1200000",
        "DAGSTER_HOME": str(bare / "home"),
        "SPARK_CONF_DIR": str(bare / "conf"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(bare / "spark"),
    }
    (bare / "home").mkdir()
    return subprocess.run(
        [sys.executable, "-c", code, str(bare / "rows.json")],
        cwd=bare / "work",
        env=environment if key is None else {**environment, HASH_KEY: key},
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_workers_hash_with_the_key_of_their_environment_and_it_shows_nowhere(
    bare: Path, events: Path
) -> None:
    with Emulator(messages=20, seed=3, mean_json_kb=2.0) as gmail:
        gmail.mailbox().insert(b"From: Mallory <mallory@shady.example>\r\nTo: ada@example.com\r\n\r\nhello")
        own = gmail.addresses[0]
        done = _run(bare, gmail, _RUN, KEY)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    rows = (bare / "rows.json").read_text()
    for address in (own, "mallory@shady.example", "ada@example.com"):
        assert address not in rows
        # In the lake's three tables, the two batch reads and the stream.
        assert rows.count(pseudonym(address, KEY.encode())) >= 3, address
    searched = {path: path.read_bytes() for path in bare.rglob("*") if path.is_file()}
    searched |= {Path("stdout"): done.stdout.encode(), Path("stderr"): done.stderr.encode()}
    assert done.stdout.count("PROCESS") >= 2, "the JVM and a worker have to be among what is searched"
    assert "PROGRESS" in done.stdout
    assert "Physical Plan" in done.stdout
    for folder in ("events", "checkpoint", "streamed", "lake", "home"):
        assert any(folder in path.parts for path in searched), folder
    assert [str(path) for path, text in searched.items() if KEY.encode() in text] == []


_WITHOUT_A_KEY = """
from gmail_assets.cli import main
raise SystemExit(main(["sync", "messages", "send_as"]))
"""


@pytest.mark.usefixtures("events")
def test_without_a_key_a_sync_on_spark_reads_nothing(bare: Path) -> None:
    with Emulator(messages=5, seed=3, mean_json_kb=2.0) as gmail:
        done = _run(bare, gmail, _WITHOUT_A_KEY, None)
        assert not gmail.usage.units["messages.get"]
        assert not gmail.usage.units["settings.sendAs.list"]
    assert done.returncode != 0
    assert HASH_KEY in done.stdout + done.stderr
