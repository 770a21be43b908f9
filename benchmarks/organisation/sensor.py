"""The change sensor in a separate process, and the runs that it requests: `Sensor`.

python -m benchmarks.organisation.sensor ticks      reads lines from standard input: a tick each
python -m benchmarks.organisation.sensor run JSON   one requested run
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["Sensor"]


class Sensor:
    """A process that holds the sensor's state, as a code server does. Use it as a context manager."""

    def __init__(self, environment: dict[str, str], notes: Path) -> None:
        self._environment = environment
        self._notes = notes

    def __enter__(self) -> Sensor:
        command = [sys.executable, "-m", "benchmarks.organisation.sensor", "ticks"]
        with self._notes.open("w") as notes:
            self._process = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=notes,
                text=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=60)

    def tick(self) -> dict[str, Any]:
        """One tick: `cpu` and `seconds`, `peak_mb` of the process, and `runs`, the arguments of the runs."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("tick\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the sensor ended: {self._notes.read_text()[-2000:]}")
        return dict(json.loads(line))


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _ticks() -> None:
    import dagster as dg

    from gmail_assets import gmail_definitions

    definitions = gmail_definitions(mailboxes=os.environ["GMAIL_MAILBOXES"].split(","))
    sensor = definitions.get_repository_def().get_sensor_def("gmail_changes")
    cursor: str | None = None
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in sys.stdin:
            began, started = _cpu(), time.monotonic()
            with dg.build_sensor_context(
                instance=instance, cursor=cursor, definitions=definitions, resources=definitions.resources
            ) as context:
                found = sensor.evaluate_tick(context)
            cursor = found.cursor
            runs = [
                {
                    "partition": request.partition_key,
                    "assets": [list(key.path) for key in request.asset_selection or ()],
                    "config": request.run_config,
                }
                for request in found.run_requests or ()
            ]
            measured = {"cpu": _cpu() - began, "seconds": time.monotonic() - started, "runs": runs}
            sys.stdout.write(json.dumps(measured) + "\n")
            sys.stdout.flush()


def _run(request: dict[str, Any]) -> None:
    import dagster as dg

    from gmail_assets import gmail_definitions

    definitions = gmail_definitions(mailboxes=os.environ["GMAIL_MAILBOXES"].split(","))
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("gmail_sync").execute_in_process(
            asset_selection=[dg.AssetKey(path) for path in request["assets"]],
            partition_key=request["partition"],
            run_config=request["config"],
            instance=instance,
            raise_on_error=False,
        )
    sys.stdout.write(json.dumps({"success": result.success}))


if __name__ == "__main__":
    if sys.argv[1] == "run":
        _run(json.loads(sys.argv[2]))
    else:
        _ticks()
