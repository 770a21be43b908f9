"""`make lakeflow-demo`: the pipeline spec of the docs, run on local Spark against the emulator.

It loads the ten tables into Delta, changes the mailbox, runs the same pipeline again, and compares the tables with the
mailbox in the emulator.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gmail_client.emulator import Emulator
from gmail_client.errors import GmailError
from gmail_client.tables import CATALOGUE
from lakeflow_entry.pipelines.ingest import IngestedTable, ingest
from lakeflow_entry.pipelines.session import local_session, require_java

__all__ = ["main"]

CONNECTION = "gmail_connector"
SPEC: dict[str, Any] = {
    "connection_name": CONNECTION,
    "objects": [{"table": {"source_table": name}} for name in CATALOGUE],
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="lakeflow-demo", description="The Lakeflow pipeline on local Spark."
    )
    parser.add_argument("--messages", type=int, default=300, help="messages in the emulated mailbox (300)")
    parser.add_argument("--lake", type=Path, help="folder for the Delta tables (default: a temporary folder)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    folder = Path(tempfile.mkdtemp(prefix="lakeflow-demo-"))
    try:
        return _run(options.messages, options.lake or folder)
    except GmailError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(messages: int, lake: Path) -> int:
    require_java()
    with Emulator(messages=messages) as gmail:
        for variable, value in {**gmail.environment(), "GMAIL_QUOTA": "1200000"}.items():
            os.environ[f"GMAIL_CONNECTION_{CONNECTION.upper()}_{variable.removeprefix('GMAIL_')}"] = value
        _print(f"A Gmail with {messages:,} messages is emulated at {gmail.url}. Starting Spark ...")
        spark = local_session("lakeflow-demo")
        try:
            for title, change in (
                ("First run: full load", None),
                ("Second run: changes", _change),
            ):
                if change is not None:
                    _print(
                        "\nFive messages arrive, three are starred, one is trashed, and a thread is deleted."
                    )
                    change(gmail)
                gmail.usage.reset()
                started = time.monotonic()
                done = ingest(spark, SPEC, lake=str(lake))
                seconds = time.monotonic() - started
                _show(title, done, seconds, gmail.usage.total_units)
            wrong = _differing(gmail, lake)
        finally:
            spark.stop()
    if wrong:
        _print(f"\nThese tables differ from the mailbox: {', '.join(wrong)}.")
        return 1
    _print("\nEvery table has exactly the ids of the mailbox.")
    return 0


def _change(gmail: Emulator) -> None:
    mailbox = gmail.mailbox()
    for _ in range(5):
        mailbox.insert(mailbox.random_mail(), ["INBOX", "UNREAD"])
    ids = mailbox.message_ids()
    for message_id in ids[6:9]:
        mailbox.modify(message_id, ["STARRED"], ["UNREAD"])
    mailbox.trash(ids[10])
    mailbox.delete_thread(mailbox.thread_ids()[-1])


def _show(title: str, done: dict[str, IngestedTable], seconds: float, units: int) -> None:
    _print(f"\n{title} ({seconds:.0f} s, {units:,} quota units)")
    _print(f"  {'table':<22}{'written':>9}{'removed':>9}{'rows':>9}")
    for name, one in done.items():
        _print(f"  {name:<22}{one.upserted:>9,}{one.deleted:>9,}{one.rows:>9,}")


def _differing(gmail: Emulator, lake: Path) -> list[str]:
    from deltalake import DeltaTable

    wrong = []
    for name, entry in CATALOGUE.items():
        key = entry.primary_key[0]
        rows = DeltaTable(str(lake / name)).to_pyarrow_table(columns=[key])[key].to_pylist()
        # Without domain-wide delegation Gmail refuses to list delegates.
        truth = [] if name == "delegates" else [row[key] for row in gmail.truth(name, format="minimal")]
        if sorted(rows) != sorted(truth):
            wrong.append(name)
    return wrong


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
