"""With a named connection, no secret is in the files, logs and pages of Spark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.lakeflow import options_of

from gmail_client.emulator import Emulator

pytestmark = [pytest.mark.spark, pytest.mark.slow]

_SESSION = """
import os, sys, pathlib
mode, folder = sys.argv[1], pathlib.Path(sys.argv[2])
from pyspark.sql import SparkSession
from lakeflow_entry import register_lakeflow_source

builder = (SparkSession.builder.config("spark.ui.enabled", "false").config("spark.sql.shuffle.partitions", "2")
           .config("spark.eventLog.enabled", "true").config("spark.eventLog.dir", str(folder / "events"))
           .config("spark.eventLog.compress", "false").config("spark.driver.memory", "1g")
           .config("spark.sql.warehouse.dir", str(folder / "warehouse")))
spark = (builder.remote("local[2]") if mode == "connect" else builder.master("local[2]")).getOrCreate()
register_lakeflow_source(spark)

def read(reader, **options):
    return reader.format("lakeflow_connect").options(connection="gmail_connector", **options).load()

frame = read(spark.read, tableName="labels", user_id="me")
frame.explain(True)
print("ROWS", len(frame.collect()))
query = (read(spark.readStream, tableName="messages", user_id="me").writeStream.format("parquet")
         .option("checkpointLocation", str(folder / "checkpoint")).option("path", str(folder / "rows"))
         .trigger(availableNow=True).start())
query.awaitTermination()
print("PROGRESS", query.lastProgress)
try:
    read(spark.read, tableName="labels", user_id="nobody@nowhere.test").collect()
except Exception as error:
    print("FAILED", error)
else:
    sys.exit("reading somebody else's mailbox did not fail")
spark.stop()
"""


@pytest.mark.parametrize("mode", ["classic", "connect"])
def test_no_secret_is_shown(mode: str, tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    script = tmp_path / "session.py"
    script.write_text(_SESSION)
    with Emulator(messages=20, seed=3, mean_json_kb=2.0) as gmail:
        options = options_of(gmail)
        connections = tmp_path / "connections.json"
        connections.write_text(json.dumps({"gmail_connector": options}))
        done = subprocess.run(
            [sys.executable, script, mode, tmp_path],
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "PYSPARK_PYTHON": sys.executable,
                "GMAIL_CONNECTIONS_FILE": str(connections),
                "SPARK_LOCAL_IP": "127.0.0.1",
            },
            capture_output=True,
            text=True,
            timeout=540,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        assert "FAILED" in done.stdout
        assert "Delegation denied" in done.stdout
    connections.unlink()
    script.unlink()
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    written[Path("stdout")], written[Path("stderr")] = done.stdout.encode(), done.stderr.encode()
    events = b"".join(text for path, text in written.items() if "events" in path.parts)
    assert events
    if mode == "connect":
        assert b"gmail_connector" in events, (
            "Connect shows options: what is searched has to be the right place"
        )
    assert any("checkpoint" in path.parts for path in written)
    for name in ("client_secret", "refresh_token"):
        found = [str(path) for path, text in written.items() if options[name].encode() in text]
        assert found == [], name
