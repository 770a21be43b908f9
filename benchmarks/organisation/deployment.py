"""An emulated organization with a lake: `Organization`; commands that are measured (`Command`); the spent units."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

from gmail_client.emulator import EmulatorProcess

__all__ = ["Command", "Meter", "Organization", "Sample"]

_LONGEST_GAP = 5.0
"""Seconds between two samples, above which nothing can have run in between."""


@dataclass(frozen=True)
class Sample:
    """The emulator's counters at one moment.

    Attributes:
        at: Seconds, monotonic.
        units: Units of all mailboxes.
        mailboxes: Units by mailbox.
        calls: Calls, refused ones included.
        refused: Calls that were refused because of a rate limit (403 and 429).
    """

    at: float
    units: int
    mailboxes: dict[str, int]
    calls: int
    refused: int


class Meter:
    """Reads the emulator's counters once a second, from now until the end of a `with` block.

    Attributes:
        samples: What it read, in order; the first one before the block, the last one after it.
    """

    def __init__(self, gmail: EmulatorProcess, seconds: float = 1.0) -> None:
        self._gmail = gmail
        self._seconds = seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: list[Sample] = []

    def __enter__(self) -> Meter:
        self._gmail.reset_usage()
        self._add()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        self._add()

    @property
    def last(self) -> Sample:
        """The latest counters."""
        return self.samples[-1]

    @property
    def stopped(self) -> float:
        """Seconds in which nothing ran, this program included: the machine was suspended or the processes stopped."""
        return self._stopped_between(self.samples[0].at, self.last.at)

    def busy(self, mailbox: str | None = None) -> tuple[int, float]:
        """Units of a mailbox, or of all, and the seconds between its first and its last unit, without `stopped`."""
        spent = [
            (sample.at, sample.units if mailbox is None else sample.mailboxes.get(mailbox, 0))
            for sample in self.samples
        ]
        began = max((at for at, units in spent if units == 0), default=spent[0][0])
        ended = next(at for at, units in spent if units == spent[-1][1])
        return spent[-1][1], ended - began - self._stopped_between(began, ended)

    def busy_until(self, mailbox: str) -> float:
        """Seconds from the first sample until the last unit of a mailbox, without `stopped`."""
        final = self.last.mailboxes.get(mailbox, 0)
        ended = next(sample.at for sample in self.samples if sample.mailboxes.get(mailbox, 0) == final)
        return ended - self.samples[0].at - self._stopped_between(self.samples[0].at, ended)

    def _stopped_between(self, began: float, ended: float) -> float:
        within = [sample.at for sample in self.samples if began <= sample.at <= ended]
        gaps = [after - before for before, after in pairwise(within)]
        return sum(gap - self._seconds for gap in gaps if gap > _LONGEST_GAP)

    def _run(self) -> None:
        while not self._end.wait(self._seconds):
            self._add()

    def _add(self) -> None:
        usage = self._gmail.usage()
        errors = usage["errors"].values()
        refused = sum(by_status.get(status, 0) for by_status in errors for status in ("403", "429"))
        self.samples.append(
            Sample(time.monotonic(), usage["totalUnits"], usage["mailboxUnits"], usage["totalCalls"], refused)
        )


class Command:
    """A process that is measured until it ends; its standard output is JSON.

    Attributes:
        code: Its exit code.
        cpu: Seconds of CPU, user and system, start-up included.
        seconds: Seconds of time.
        peak_mb: Peak resident memory in MB.
        output: The JSON object.
    """

    def __init__(self, arguments: Sequence[str], environment: dict[str, str], log: Path) -> None:
        started = time.monotonic()
        with log.open("w") as notes:
            process = subprocess.Popen(
                [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, stderr=notes
            )
        self.peak_mb = 0.0
        ended = threading.Event()
        watch = threading.Thread(target=self._watch, args=(process.pid, ended), daemon=True)
        watch.start()
        assert process.stdout is not None
        with process.stdout as output:
            text = output.read()
        _, status, used = os.wait4(process.pid, 0)
        ended.set()
        watch.join()
        process.returncode = self.code = os.waitstatus_to_exitcode(status)
        self.seconds = time.monotonic() - started
        self.cpu = used.ru_utime + used.ru_stime
        if not text:
            raise RuntimeError(f"{' '.join(arguments)} ended with {self.code}: {log.read_text()[-2000:]}")
        self.output: dict[str, Any] = json.loads(text)

    def _watch(self, pid: int, ended: threading.Event) -> None:
        # Not `ru_maxrss`: it includes the memory of the process that started this one.
        while not ended.wait(0.1):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                return
            found = re.search(r"VmHWM:\s+(\d+)", status)
            if found:
                self.peak_mb = max(self.peak_mb, int(found.group(1)) / 1024)


class Organization:
    """An emulator in a separate process, and an empty lake in a temporary folder. Use it as a context manager.

    Args:
        mailboxes: Number of mailboxes.
        messages: Messages of each.
        quota: `current`: Gmail's limits per user and in flight; `none`.
        project_quota: Units per minute of all mailboxes together, of the emulator and of the measured programs.

    Attributes:
        gmail: The emulator.
        folder: A temporary folder.
        lake: Folder of the lake.
        environment: The variables with which programs read it all, with a service account.
    """

    def __init__(
        self, mailboxes: int, messages: int, *, quota: str = "current", project_quota: int | None = None
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)
        self.lake = self.folder / "lake"
        key = self.folder / "key.json"
        self.gmail = EmulatorProcess(
            mailboxes, messages, quota=quota, project_quota=project_quota, service_account_file=key
        )
        kept = ("PATH", "HOME", "PYTHONPATH", "LANG", "TMPDIR")
        self.environment = {name: os.environ[name] for name in kept if name in os.environ} | {
            "GMAIL_SERVICE_ACCOUNT_FILE": str(key),
            "GMAIL_API_ROOT": self.gmail.url,
            "GMAIL_OAUTH_ROOT": self.gmail.url,
            "GMAIL_MAILBOXES": ",".join(self.gmail.addresses),
            "GMAIL_LAKE": str(self.lake),
            "GMAIL_CREDENTIALS_FILE": str(self.folder / "none.json"),
            "GMAIL_DOTENV": "",
            "GMAIL_QUOTA": "1200000" if quota == "none" else quota,
        }
        if project_quota is not None:
            self.environment["GMAIL_UNITS_PER_MINUTE"] = str(project_quota)

    def __enter__(self) -> Organization:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gmail.stop()
        self._temporary.cleanup()

    def sync(self, *more: str) -> Command:
        """Run `gmail-assets sync messages threads`."""
        return self.run("-m", "gmail_assets.cli", "sync", "messages", "threads", "--json", "--quiet", *more)

    def run(self, *arguments: str) -> Command:
        """Run Python with these arguments."""
        return Command(arguments, self.environment, self.folder / "notes.txt")
