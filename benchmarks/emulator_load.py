"""Whether the emulator, and not the measured program, limited the speed of a measurement: `EmulatorLoad`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType

from gmail_client.emulator import EmulatorProcess

__all__ = ["LIMITING_SHARE", "EmulatorLoad"]

LIMITING_SHARE = 0.8
"""Share of one core from which the emulator, a single Python process, may be the bottleneck."""


class EmulatorLoad:
    """The share of one core that an emulator uses within a `with` block.

    Args:
        gmail: The emulator, in a separate process.

    Attributes:
        share: CPU seconds per second; 0 before the end of the block.
    """

    def __init__(self, gmail: EmulatorProcess) -> None:
        self._pid = gmail.pid
        self.share = 0.0

    def __enter__(self) -> EmulatorLoad:
        self._started, self._cpu = time.monotonic(), _cpu_seconds(self._pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.share = (_cpu_seconds(self._pid) - self._cpu) / max(time.monotonic() - self._started, 1e-9)


def _cpu_seconds(pid: int) -> float:
    """CPU seconds of a process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
