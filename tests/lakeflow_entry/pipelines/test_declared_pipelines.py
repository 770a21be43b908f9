"""Pipelines declared to open-source Spark, run by its own command `spark-pipelines`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.lakeflow import options_of

from gmail_client.emulator import Emulator

ROOT = Path(__file__).parents[3]

_PIPELINE = """
from pyspark.sql import SparkSession

from gmail_client.spec import Spec
from lakeflow_entry.datasource import register_lakeflow_source
from lakeflow_entry.pipelines.declarative import declare

spark = SparkSession.active()
register_lakeflow_source(spark)
declare(spark, Spec.parse({spec!r}))
"""


def run(
    folder: Path, spec: dict[str, object], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a declared pipeline with `spark-pipelines`."""
    (folder / "transformations").mkdir(parents=True)
    (folder / "transformations" / "tables.py").write_text(_PIPELINE.format(spec=spec))
    (folder / "spark-pipeline.yml").write_text(
        f"name: gmail\nstorage: {(folder / 'storage').as_uri()}\n"
        "libraries:\n  - glob:\n      include: transformations/**\n"
    )
    command = [str(Path(sys.executable).parent / "spark-pipelines"), "run"]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("table", ["threads", "labels"])
def test_changes_and_snapshots_are_refused_with_the_fix(tmp_path: Path, table: str) -> None:
    pytest.importorskip("pyspark.pipelines")
    spec = {"connection_name": "work", "objects": [{"table": {"source_table": table}}]}
    done = run(tmp_path, spec, {})
    assert done.returncode != 0
    assert "The declarative pipelines of this Spark " in done.stdout
    assert "lakeflow_entry.ingest" in done.stdout
    assert "COMPLETED" not in done.stdout


@pytest.mark.slow
def test_append_only_messages_are_written(tmp_path: Path) -> None:
    pytest.importorskip("pyspark.pipelines")
    with Emulator(messages=12, seed=3, mean_json_kb=2.0) as gmail:
        connections = tmp_path / "connections.json"
        connections.write_text(json.dumps({"work": options_of(gmail)}))
        table = {
            "source_table": "messages",
            "destination_table": "2025_mail",  # has to be quoted
            "table_configuration": {"scd_type": "APPEND_ONLY"},
        }
        spec = {"connection_name": "work", "objects": [{"table": table}]}
        done = run(tmp_path / "pipeline", spec, {"GMAIL_CONNECTIONS_FILE": str(connections)})
        # The command can end with status 1 after the pipeline completed: it crashes when it ends the workers of a
        # Python data source. A pipeline that failed is not COMPLETED.
        assert done.returncode == 0 or "COMPLETED" in done.stdout, done.stdout[-3000:]
        stored = pq.read_table(tmp_path / "pipeline" / "spark-warehouse" / "2025_mail", columns=["id"])
        assert sorted(stored["id"].to_pylist()) == sorted(row["id"] for row in gmail.truth("messages"))
