"""Derived tables of a large mailbox: a full computation, then an update after 100 changes, then after a renamed label.

    python -m benchmarks.views [--messages 100000] [--mean-kb 15] [--lake FOLDER]

Each step runs in a separate process. A lake in FOLDER that already contains the mailbox is reused. `files` are, for
each table: rewritten, of those that contain a changed message, of all.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.first_load import peak_mb

ADDRESS = "ada@gmail.test"
_CHUNK = 1_000
_POOL = 2_000


def fill(folder: str, messages: int, mean_kb: float) -> None:
    """Write `messages` and `labels`: generated mail under other ids."""
    import pyarrow as pa

    from gmail_assets.delta.lake import Lake
    from gmail_assets.delta.writer import PartitionWriter
    from gmail_client.emulator import Emulator
    from gmail_client.schema import to_batch

    with Emulator(messages=_POOL, seed=1, mean_json_kb=mean_kb) as emulator:
        pool = to_batch("messages", emulator.truth("messages", include_spam_trash=True))
        labels = to_batch("labels", emulator.truth("labels"))
    lake = Lake(folder)
    PartitionWriter(lake.table("labels"), ADDRESS, ["id"]).append(pa.Table.from_batches([labels]))
    writer = PartitionWriter(lake.table("messages"), ADDRESS, ["id"])
    content = pa.Table.from_batches([pool])
    for start in range(0, messages, _CHUNK):
        numbers = range(start, min(start + _CHUNK, messages))
        rows = content.take(pa.array([n % content.num_rows for n in numbers], pa.int64()))
        for name in ("id", "threadId"):
            values = pa.array([f"{0x18C2A0000000000 - n * 977:016x}" for n in numbers], pa.string())
            rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), values)
        writer.append(rows)


def change(folder: str, what: str) -> list[str]:
    """Relabel 100 messages spread over the mailbox, or rename one of its user labels; returns the messages' ids."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from gmail_assets.delta.lake import Lake
    from gmail_assets.delta.scan import read_columns
    from gmail_assets.delta.writer import PartitionWriter
    from gmail_client.views import VIEWS

    lake = Lake(folder)
    table = lake.table("messages" if what == "relabel" else "labels")
    writer = PartitionWriter(table, ADDRESS, ["id"])
    ids = sorted(read_columns(table, ADDRESS, ["id"], pa.schema([("id", pa.string())]))["id"].to_pylist())
    if what == "relabel":
        chosen = random.Random(3).sample(ids, 100)
        updates = {"id": chosen, "labelIds": [["INBOX", "STARRED"]] * 100, "historySequence": [10**9] * 100}
        fields = [table.schema.field(name) for name in updates]
        writer.merge(pa.table(updates, schema=pa.schema(fields)))
        return chosen
    label = next(label for label in ids if label.startswith("Label_"))
    writer.merge(pa.table({"id": [label], "name": [f"Renamed at {time.time()}"]}))
    schema = pa.schema([("message_id", pa.string()), ("label_id", pa.string())])
    carried = read_columns(lake.view(VIEWS["message_labels"]), ADDRESS, schema.names, schema)
    return carried.filter(pc.equal(carried["label_id"], label))["message_id"].to_pylist()


def files_of(folder: str, name: str, message_ids: list[str]) -> dict[str, bool]:
    """The data files of a derived table, and whether they contain one of the messages."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from gmail_assets.delta.lake import Lake

    delta, among = Lake(folder).find(name), pa.array(message_ids, pa.string())
    found = {}
    for fragment in delta.to_pyarrow_dataset().get_fragments() if delta is not None else ():
        ids = fragment.to_table(columns=["message_id"])["message_id"].cast(pa.string())
        found[fragment.path] = bool(pc.any(pc.is_in(ids, among)).as_py())
    return found


def derive_once(folder: str, names: list[str]) -> None:
    """The work of a measured process."""
    from gmail_assets.delta.lake import Lake
    from gmail_assets.delta.maintenance import Upkeep
    from gmail_assets.views import ViewSources, derive
    from gmail_client.spec import SpecTable

    sources = ViewSources(
        SpecTable(source_table="messages"), SpecTable(source_table="labels"), {name: name for name in names}
    )
    before, started = time.process_time(), time.monotonic()
    results = derive(Lake(folder), ADDRESS, sources, upkeep=Upkeep(small_files=0, retention=None))
    rows = {name: [r.rows_written, r.rows_updated, r.rows_deleted] for name, r in results.items()}
    print(
        json.dumps(
            {
                "cpu": time.process_time() - before,
                "seconds": time.monotonic() - started,
                "peak_mb": peak_mb(),
                "rows": rows,
            }
        )
    )


def measured(folder: str, names: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.views", "--derive", folder, "--views", ",".join(names)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=7200)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> int:
    from gmail_client.views import VIEWS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--mean-kb", type=float, default=15.0)
    parser.add_argument("--lake")
    parser.add_argument("--derive", help=argparse.SUPPRESS)
    parser.add_argument("--views", default=",".join(VIEWS))
    arguments = parser.parse_args()
    names = arguments.views.split(",")
    if arguments.derive:
        derive_once(arguments.derive, names)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.lake or temporary
        if not (Path(folder) / "messages").exists():
            fill(folder, arguments.messages, arguments.mean_kb)
        print(f"{arguments.messages:,} messages; {', '.join(names)}")
        steps = (
            ("computed whole", ""),
            ("100 relabelled", "relabel"),
            ("a label renamed", "rename"),
            ("idle", ""),
        )
        for step, what in steps:
            changed = change(folder, what) if what else []
            before = {name: files_of(folder, name, changed) for name in names}
            result = measured(folder, names)
            rewritten = {name: files.keys() - files_of(folder, name, []) for name, files in before.items()}
            files = {
                name: [len(rewritten[name]), sum(held.values()), len(held)] for name, held in before.items()
            }
            per = result["cpu"] / arguments.messages * 1e6
            print(
                f"  {step:16} {result['cpu']:7.1f} s CPU ({per:5.0f} us a message) {result['seconds']:7.1f} s "
                f"{result['peak_mb']:6.0f} MB  {result['rows']} files: {files}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
