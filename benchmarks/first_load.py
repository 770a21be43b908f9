"""A first load of messages and threads into Delta: memory, CPU and units, for mailboxes of several sizes.

    python -m benchmarks.first_load [MESSAGES ...] [--mean-kb KB] [--no-dagster]

The emulator and each load run in separate processes. The output shows the peak memory of the loading process (with
Dagster imported, as in a run), its CPU time per message without start-up, and its units compared with the cheapest
possible calls.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def load(folder: str, *, dagster: bool) -> None:
    """The work of the measured process; the environment names Gmail's endpoint."""
    if dagster:
        import dagster as dg

        assert dg.__version__
    from gmail_assets.delta.lake import Lake
    from gmail_assets.syncing import snapshot, sync
    from gmail_client.client import GmailClient
    from gmail_client.spec import Spec

    mailbox = GmailClient.from_settings().mailbox()
    tables = Spec.default().tables
    with tempfile.TemporaryDirectory() as other:
        snapshot(mailbox, Lake(other), tables[2])  # imports and connections are start-up
    before, started, at_start = cpu_seconds(), time.monotonic(), peak_mb()
    results = sync(mailbox, Lake(folder), tables[:2])
    messages = results["messages"]
    print(
        json.dumps(
            {
                "messages": messages.rows_written,
                "units": messages.units,
                "cpu_ms": (cpu_seconds() - before) * 1000 / max(messages.rows_written, 1),
                "seconds": time.monotonic() - started,
                "start_mb": at_start,
                "peak_mb": peak_mb(),
                "json_kb": messages.bytes / max(messages.rows_written, 1) / 1024,
            }
        )
    )


def main() -> None:
    from gmail_client.emulator import EmulatorProcess  # not in the measured process

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("messages", nargs="*", type=int, default=[5_000, 20_000])
    parser.add_argument("--mean-kb", type=float, default=15.0)
    parser.add_argument("--no-dagster", action="store_true")
    parser.add_argument("--load", metavar="FOLDER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        load(arguments.load, dagster=not arguments.no_dagster)
        return
    print(
        f"{'messages':>9} {'KB each':>8} {'CPU ms each':>12} {'messages/s':>11} "
        f"{'start MB':>9} {'peak MB':>8} {'units':>9}"
    )
    for messages in arguments.messages:
        with (
            EmulatorProcess(messages=messages, seed=1, mean_json_kb=arguments.mean_kb) as gmail,
            tempfile.TemporaryDirectory() as folder,
        ):
            environment = {**os.environ, **gmail.environment(), "GMAIL_QUOTA": "1200000"}
            command = [sys.executable, "-m", "benchmarks.first_load", "--load", folder]
            command += ["--no-dagster"] if arguments.no_dagster else []
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, timeout=1800)
            result = json.loads(done.stdout)
            print(
                f"{result['messages']:>9,} {result['json_kb']:>8.1f} {result['cpu_ms']:>12.3f} "
                f"{result['messages'] / result['seconds']:>11,.0f} {result['start_mb']:>9,.0f} "
                f"{result['peak_mb']:>8,.0f} {result['units']:>9,}"
            )


if __name__ == "__main__":
    main()
