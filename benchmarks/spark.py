"""Messages into Spark rows: Arrow batches, as this product yields them, compared with nested `Row` objects.

    python -m benchmarks.spark [--rows N] [--mean-kb KB]

The same messages pass through a Python data source in four variants: from parsed records and from the bytes of Gmail's
responses, each as Arrow batches and as `Row` objects built field by field (as most Python connectors do). The output
shows the CPU seconds of the Python worker, from the first record to the last row passed to Spark, and of worker and JVM
together.

The JVM does the same work in every variant: Spark packs `Row` objects into Arrow batches in the worker, and converts
Arrow batches to its own rows before a sink gets them. This takes about 25 to 60 microseconds of CPU for a message of
7 KB, about as much as the worker needs for parsed records. The size of the batches, the garbage collector and the kind
of socket have no measurable effect. A JVM that has just started spends about 10 CPU seconds on JIT compilation, which
would dominate a short run. So the JVM is warmed up first, by reading all messages several times; then each variant is
measured once.

From bytes, the Arrow variant includes the checks of each response; the `Row` variant only parses JSON.

Before the checks existed, the standard library parsed the JSON: 78, 79 and 83 microseconds of the worker for a message
from bytes, in three alternating runs of both versions. With checks and the faster parser it takes 76, 84 and 75.

On two cores in November 2026, with 20,000 rows, from records and from bytes: 16.3 and 5.5 times the rows per CPU second
of `Row` objects for the worker alone, 8.9 and 4.0 times with the JVM. Without the warm-up: 4 times, and 2 to 4 times.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyspark.sql import Row
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.types import ArrayType, DataType, StructType

from gmail_client.emulator import Emulator
from gmail_client.parsing import parse_json, parse_response
from gmail_client.schema import SCHEMAS, message_row, to_batch
from lakeflow_entry.pipelines.session import local_session
from lakeflow_entry.spark_schema import struct_type

_PAGE = 500
_WARM_UP = 4
WAYS = {
    "records, Arrow": ("records", "arrow"),
    "records, Row": ("records", "row"),
    "bytes, Arrow": ("bytes", "arrow"),
    "bytes, Row": ("bytes", "row"),
}


def nested_row(value: Any, kind: DataType) -> Any:
    if value is None:
        return None
    if isinstance(kind, StructType):
        return Row(**{field.name: nested_row(value.get(field.name), field.dataType) for field in kind.fields})
    if isinstance(kind, ArrayType):
        return [nested_row(item, kind.elementType) for item in value]
    return value


def parsed(line: bytes) -> dict[str, Any]:
    """A message as the product reads it from a response."""
    return parse_response("messages.get", parse_json(line, "messages.get") or {})


class Reader(DataSourceReader):
    def __init__(self, options: dict[str, str], schema: StructType) -> None:
        self.options = options
        self.spark_schema = schema

    def partitions(self) -> list[InputPartition]:
        return [InputPartition(0)]

    def read(self, partition: InputPartition) -> Iterator[Any]:
        lines = Path(self.options["file"]).read_bytes().splitlines()
        lines = (lines * (int(self.options["rows"]) // len(lines) + 1))[: int(self.options["rows"])]
        records = [json.loads(line) for line in lines] if self.options["source"] == "records" else None
        read = parsed if self.options["way"] == "arrow" else json.loads
        before = time.process_time()
        for at in range(0, len(lines), _PAGE):
            page = records[at : at + _PAGE] if records else list(map(read, lines[at : at + _PAGE]))
            if self.options["way"] == "arrow":
                yield to_batch("messages", page)
            else:
                for record in page:
                    yield nested_row(message_row(record), self.spark_schema)
        Path(self.options["told"]).write_text(str(time.process_time() - before))


class Source(DataSource):
    @classmethod
    def name(cls) -> str:
        return "gmail_benchmark"

    def schema(self) -> StructType:
        return struct_type(SCHEMAS["messages"])

    def reader(self, schema: StructType) -> Reader:
        return Reader({key: self.options[key] for key in ("file", "rows", "source", "way", "told")}, schema)


def jvm_seconds() -> float:
    """CPU seconds of this process's JVM."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())], capture_output=True, text=True
    )
    for line in listed.stdout.splitlines():
        pid, command = line.split()[:2]
        if command == "java":
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def section(rows: int = 40_000, mean_kb: float = 6.0) -> list[str]:
    """Measure all variants, and return them as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        file, told = Path(folder, "messages.jsonl"), Path(folder, "told")
        with Emulator(messages=1_000, seed=1, mean_json_kb=mean_kb) as gmail:
            lines = [json.dumps(row) for row in gmail.truth("messages")]
        file.write_text("\n".join(lines))
        size = sum(map(len, lines)) / len(lines) / 1024
        spark = local_session("benchmark", spark__driver__memory="2g")
        spark.dataSource.register(Source)

        def measure(name: str) -> tuple[float, float]:
            """CPU seconds of the worker and of the JVM."""
            source, way = WAYS[name]
            frame = (
                spark.read.format("gmail_benchmark")
                .options(file=str(file), rows=str(rows), source=source, way=way, told=str(told))
                .load()
            )
            before = jvm_seconds()
            frame.write.format("noop").mode("overwrite").save()
            return float(told.read_text()), jvm_seconds() - before

        cold = [f"{measure('records, Arrow')[1]:.2f}" for _ in range(_WARM_UP)]
        print(f"JVM seconds during the warm-up: {', '.join(cold)}", flush=True)
        costs: dict[str, tuple[float, float]] = {}
        for name in WAYS:
            costs[name] = measure(name)
            print(f"{name:<15} worker {costs[name][0]:6.2f} s, JVM {costs[name][1]:5.2f} s", flush=True)
        spark.stop()
    return [
        f"{rows:,} messages of {size:.1f} KB of JSON through a PySpark data source on local Spark: as Arrow batches, "
        "as this product yields them, and as nested `Row` objects, as most Python sources do. CPU of the Python worker "
        "from the first record to the last row passed to Spark, and with the warm JVM that receives the rows. *From "
        "bytes* is from Gmail's responses: the Arrow variant checks each of them, the `Row` variant only parses JSON.",
        "",
        "| | Arrow, µs a message | `Row`, µs a message | times the rows per CPU second | with the JVM |",
        "|---|---:|---:|---:|---:|",
        *(_compared(source, costs, rows) for source in ("records", "bytes")),
    ]


def _compared(source: str, costs: dict[str, tuple[float, float]], rows: int) -> str:
    """A row of the table: both variants from one source."""
    (fast, fast_jvm), (slow, slow_jvm) = costs[f"{source}, Arrow"], costs[f"{source}, Row"]
    return (
        f"| from {source} | {fast / rows * 1e6:.0f} | {slow / rows * 1e6:.0f} | {slow / fast:.1f} | "
        f"{(slow + slow_jvm) / (fast + fast_jvm):.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--mean-kb", type=float, default=6.0)
    arguments = parser.parse_args()
    print("\n".join(section(arguments.rows, arguments.mean_kb)))


if __name__ == "__main__":
    main()
