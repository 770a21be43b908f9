"""Ticks of the change sensor over many mailboxes: the CPU seconds of idle ticks, and of one after changes.

    python -m benchmarks.sensor [--mailboxes 500] [--changed 50] [--ticks 3]

The tables are synced for every mailbox, by their states alone. The emulator runs in a separate process.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import dagster as dg
from deltalake import CommitProperties, Transaction

from gmail_assets import gmail_definitions
from gmail_assets.delta.app_ids import StateReader
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.sync_state import SyncState, number_of, transactions
from gmail_client.client import GmailClient
from gmail_client.emulator.process import EmulatorProcess
from gmail_client.settings import Settings
from gmail_client.spec import Spec
from gmail_client.tables import CHANGE_TABLES


def write_states(lake: Lake, heads: Mapping[str, int], tables: Sequence[str] = CHANGE_TABLES) -> None:
    """Record that the tables are synced through a history id per address: one commit per table."""
    for spec in Spec.default().tables:
        if spec.source_table not in tables:
            continue
        table = lake.table(spec.source_table)
        fence = table.delta.version() + 1
        written: list[Transaction] = []
        for address, head in heads.items():
            read = StateReader(table.delta, address, table.source, table.transactions)
            state = SyncState(number_of(spec.options.fingerprint), number_of(spec.options.content_format))
            written += transactions(state.synced(head), read, read.base, fence)
        table.delta.create_write_transaction(
            [],
            "append",
            table.delta.schema(),
            partition_by=["mailbox"],
            commit_properties=CommitProperties(app_transactions=written),
        )


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mailboxes", type=int, default=500)
    parser.add_argument("--changed", type=int, default=50)
    parser.add_argument("--ticks", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder, "key.json")
        with EmulatorProcess(given.mailboxes, messages=1, service_account_file=key) as gmail:
            os.environ |= {
                "GMAIL_SERVICE_ACCOUNT_FILE": str(key),
                "GMAIL_API_ROOT": gmail.url,
                "GMAIL_OAUTH_ROOT": gmail.url,
                "GMAIL_LAKE": f"{folder}/lake",
            }
            measure(gmail, Lake(f"{folder}/lake"), given.changed, given.ticks)


def measure(gmail: EmulatorProcess, lake: Lake, changed: int, ticks: int) -> None:
    client = GmailClient.from_settings(Settings())
    write_states(lake, {name: client.mailbox(name).history_id() for name in gmail.addresses})
    definitions = gmail_definitions(mailboxes=gmail.addresses)
    sensor = definitions.get_repository_def().get_sensor_def("gmail_changes")
    cursor: str | None = None
    with dg.DagsterInstance.ephemeral() as instance:

        def tick(name: str) -> int:
            nonlocal cursor
            gmail.reset_usage()
            started, began = time.monotonic(), cpu_seconds()
            with dg.build_sensor_context(
                instance=instance, cursor=cursor, definitions=definitions, resources=definitions.resources
            ) as context:
                found = sensor.evaluate_tick(context)
            cursor = found.cursor
            runs = list(found.run_requests or [])
            units = sum(gmail.usage()["units"].values())
            print(
                f"{name}: {cpu_seconds() - began:.2f} CPU s, {time.monotonic() - started:.1f} s, "
                f"{units} units, {len(runs)} runs, cursor of {len(cursor or ''):,} bytes",
                flush=True,
            )
            return len(runs)

        tick("first tick (tokens, all mailboxes)")
        for number in range(ticks):
            tick(f"idle tick {number + 1}")
        step = max(len(gmail.addresses) // max(changed, 1), 1)
        for address in gmail.addresses[::step][:changed]:
            gmail.mailbox(address).write("insert", mail=b"Subject: new\r\n\r\nText", label_ids=["INBOX"])
        tick(f"after changes in {changed} mailboxes")


if __name__ == "__main__":
    main()
