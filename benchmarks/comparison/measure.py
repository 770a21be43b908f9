"""One run of a program: its cost (`measure`), and the missing and wrong rows of its tables afterwards (`mistakes`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.comparison.programs import PEAK_FILE
from benchmarks.comparison.wire import WireCounter
from benchmarks.emulator_load import EmulatorLoad
from gmail_client.emulator import EmulatorProcess

__all__ = ["Cost", "FirstLoad", "count_mistakes", "measure", "mistakes", "typed_rows"]

LIMIT_SECONDS = 7_200


@dataclass(frozen=True)
class Cost:
    """The cost of one run of a program, start-up included.

    Attributes:
        units: Quota units, counted by the emulator.
        calls: API calls; each part of a batch is one.
        requests: HTTP requests.
        wire_mb: Megabytes sent between the program and the emulator, in both directions.
        cpu: Seconds of CPU, user and system, of the process and its children.
        memory_mb: Peak resident memory of the process in MB.
        seconds: Wall-clock seconds.
        emulator_share: Share of one core that the emulator used meanwhile.
        missing: Rows that both tables together lack afterwards.
        wrong: Rows that differ from the mailbox, or that should not exist.
    """

    units: int
    calls: int
    requests: int
    wire_mb: float
    cpu: float
    memory_mb: float
    seconds: float
    emulator_share: float = 0.0
    missing: int = 0
    wrong: int = 0


@dataclass(frozen=True)
class FirstLoad:
    """The cost of a first load, and the size of the lake afterwards.

    Attributes:
        cost: What the program used.
        disk_mb: Megabytes of Parquet files of both tables.
    """

    cost: Cost
    disk_mb: float


def measure(program: str, folder: Path, gmail: EmulatorProcess) -> Cost:
    """Run a program once against the emulator.

    Raises:
        RuntimeError: It failed; the message is the end of its output.
    """
    gmail.reset_usage()
    with WireCounter(gmail.url) as wire, EmulatorLoad(gmail) as load:
        environment = {key: value.replace(gmail.url, wire.url) for key, value in gmail.environment().items()}
        # No quota: the time that a program needs under Gmail's quota is computed from its units.
        environment |= {"GMAIL_QUOTA": "1200000", "PATH": os.environ.get("PATH", "")}
        environment |= {key: os.environ[key] for key in ("HOME", "PEER", "PYTHONPATH") if key in os.environ}
        command = [sys.executable, "-m", "benchmarks.comparison.programs", program, str(folder)]
        log = folder / "output.txt"
        started = time.perf_counter()
        with log.open("w") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
            _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        passed = wire.bytes
    if process.returncode:
        raise RuntimeError(f"{program} ended with {process.returncode}: {log.read_text()[-2000:]}")
    usage = gmail.usage()
    return Cost(
        units=usage["totalUnits"],
        calls=usage["totalCalls"],
        requests=usage["httpRequests"],
        wire_mb=passed / 1e6,
        cpu=used.ru_utime + used.ru_stime,
        memory_mb=float((folder / PEAK_FILE).read_text()),
        seconds=seconds,
        emulator_share=load.share,
    )


def mistakes(folder: Path, gmail: EmulatorProcess) -> tuple[int, int]:
    """Compare both tables with the mailbox.

    Returns:
        The number of missing rows, and of wrong ones: different content or labels, duplicates, deleted messages.
    """
    counts = [
        count_mistakes(_stored(folder / name), typed_rows(name, gmail.truth(name)))
        for name in ("messages", "threads")
    ]
    return sum(missing for missing, _ in counts), sum(wrong for _, wrong in counts)


def count_mistakes(stored: Sequence[dict[str, Any]], true: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """Missing and wrong rows of a table; both in the table's schema."""
    expected = {row["id"]: _comparable(row) for row in true}
    found = {row["id"]: _comparable(row) for row in stored}
    wrong = len(stored) - len(found) + sum(expected.get(key) != row for key, row in found.items())
    return len(expected.keys() - found.keys()), wrong


def _stored(table: Path) -> list[dict[str, Any]]:
    from deltalake import DeltaTable

    if not DeltaTable.is_deltatable(str(table)):
        return []
    return list(DeltaTable(str(table)).to_pyarrow_table().to_pylist())


def typed_rows(name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the API in the schema of a table."""
    from gmail_client.schema import to_batch

    return list(to_batch(name, rows).to_pylist())


# History ids may lag if only history records were read, attachment ids differ from read to read, and the snippet of a
# thread depends on its messages in spam and trash.
_IGNORED = {"mailbox", "historyId", "historySequence", "attachmentId", "snippet"}
_HIDDEN = {"SPAM", "TRASH"}


def _comparable(row: Any) -> str:
    return json.dumps(_kept(row), sort_keys=True)


def _kept(value: Any) -> Any:
    """A value of a row without permitted differences: labels sorted, threads without messages in spam and trash."""
    if isinstance(value, dict):
        return {key: _field(key, item) for key, item in value.items() if key not in _IGNORED}
    if isinstance(value, list):
        return [_kept(item) for item in value]
    return value


def _field(key: str, value: Any) -> Any:
    if key == "labelIds":
        return sorted(value or ())
    if key == "partsJson" and value:
        return _kept(json.loads(value))
    if key == "messages":
        visible = [message for message in value or () if not _HIDDEN & set(message["labelIds"] or ())]
        return sorted(map(_comparable, visible))
    return _kept(value)
