"""Many mailboxes in one process: a first load, and a sync with nothing to do.

    python -m benchmarks.many_mailboxes [MAILBOXES] [--messages N] [--jobs N]

The emulator runs in another process, with Gmail's limits per user and per project. The output shows units per minute,
CPU time per mailbox and the peak memory of the process that loads; then the CPU time and memory of
`gmail-assets sync` for one mailbox and for all, when nothing has changed.
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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measured:
    """Cost of a command: seconds of CPU and of time, and peak memory in MB."""

    cpu: float
    seconds: float
    peak_mb: float
    output: str


def measure(command: list[str], environment: Mapping[str, str]) -> Measured:
    started = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    output = process.stdout.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    cpu = used.ru_utime + used.ru_stime
    return Measured(cpu, time.monotonic() - started, used.ru_maxrss / 1024, output)


def load(jobs: int) -> None:
    """The work of the measured process: messages and threads of all mailboxes."""
    from gmail_assets.delta.lake import Lake
    from gmail_assets.syncing import sync
    from gmail_assets.syncing.many import run_mailboxes
    from gmail_assets.syncing.results import SyncResult
    from gmail_assets.syncing.stopping import RunGroup
    from gmail_client.client import GmailClient
    from gmail_client.settings import Settings
    from gmail_client.spec import Spec

    settings = Settings()
    client = GmailClient.from_settings(settings, workers=2, retry_seconds=60)
    lake, tables, group = Lake(settings.lake), Spec.default().tables[:2], RunGroup()
    used = resource.getrusage(resource.RUSAGE_SELF)
    before, started = used.ru_utime + used.ru_stime, time.monotonic()

    def work(name: str) -> dict[str, SyncResult]:
        return sync(client.mailbox(name), lake, tables, group=group)

    outcomes = run_mailboxes(settings.mailbox_names, work, jobs=jobs, stop=group)
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = [outcome.value["messages"] for outcome in outcomes if outcome.value]
    print(
        json.dumps(
            {
                "mailboxes": len(found),
                "failed": len(outcomes) - len(found),
                "messages": sum(result.rows_total for result in found),
                "units": sum(result.units for result in found),
                "seconds": time.monotonic() - started,
                "cpu": used.ru_utime + used.ru_stime - before,
            }
        )
    )


def main() -> None:
    from gmail_client.emulator import EmulatorProcess  # not in the measured process

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mailboxes", nargs="?", type=int, default=60)
    parser.add_argument("--messages", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=32)
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        load(arguments.jobs)
        return
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "key.json"
        with EmulatorProcess(
            arguments.mailboxes, arguments.messages, quota="current", service_account_file=key
        ) as gmail:
            environment = {
                **os.environ,
                "GMAIL_SERVICE_ACCOUNT_FILE": str(key),
                "GMAIL_API_ROOT": gmail.url,
                "GMAIL_OAUTH_ROOT": gmail.url,
                "GMAIL_MAILBOXES": ",".join(gmail.addresses),
                "GMAIL_LAKE": f"{folder}/lake",
                "GMAIL_CREDENTIALS_FILE": f"{folder}/none",
            }
            python = sys.executable
            jobs = ["--jobs", str(arguments.jobs)]
            loaded = measure([python, "-m", "benchmarks.many_mailboxes", "--load", *jobs], environment)
            result = json.loads(loaded.output)
            print(
                f"first load: {result['mailboxes']:,} mailboxes ({result['failed']} failed), "
                f"{result['messages']:,} messages, {result['units']:,} units in {result['seconds']:.0f} s "
                f"({result['units'] / result['seconds'] * 60:,.0f} a minute), "
                f"{result['cpu'] / result['mailboxes']:.2f} CPU s a mailbox, peak {loaded.peak_mb:,.0f} MB"
            )
            sync = [python, "-m", "gmail_assets.cli", "sync", "messages", "threads", *jobs]
            one = measure([*sync, "--mailbox", gmail.addresses[0]], environment)
            every = measure(sync, environment)
            further = (every.cpu - one.cpu) / max(arguments.mailboxes - 1, 1)
            print(
                f"nothing to do: one mailbox {one.cpu:.2f} CPU s, {arguments.mailboxes:,} mailboxes "
                f"{every.cpu:.2f} CPU s ({further * 1000:.0f} ms for each further one), "
                f"{every.seconds:.0f} s, peak {every.peak_mb:,.0f} MB"
            )


if __name__ == "__main__":
    main()
