"""The processes of deploy/compose.yaml on loopback, without containers: `Deployment`."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from support.dagster_server import DagsterServer
from support.pages import ROOT

__all__ = ["Deployment", "wait_until"]

_SERVICES = ("code", "daemon", "webserver")
_OURS = ("GMAIL_", "GOOGLE_", "AWS_", "DAGSTER_")


def wait_until(
    condition: Callable[[], bool], what: str, *, explain: Callable[[], str] = str, seconds: float = 420.0
) -> None:
    """Wait for a condition; the limit only ends a test that would hang."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"{what}: not within {seconds:.0f} s\n{explain()}"
        time.sleep(0.5)


class Deployment:
    """Code server, daemon and webserver, with the commands and settings of `deploy/`. Use it as a context manager.

    Args:
        home: DAGSTER_HOME; made here.
        environment: Variables of all processes, instead of those in compose.yaml.
    """

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self._home = home
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
        self._environment = {
            **kept,
            "PYTHONPATH": str(ROOT),
            "GMAIL_CREDENTIALS_FILE": str(home / "no-login.json"),
            **environment,
            "DAGSTER_HOME": str(home),
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Deployment:
        self._home.mkdir()
        settings = (ROOT / "deploy" / "dagster.yaml").read_text("utf-8")
        (self._home / "dagster.yaml").write_text(
            settings.replace("poll_interval_seconds: 60", "poll_interval_seconds: 5")
        )
        self._ports = {name: str(_free_port()) for name in ("code", "webserver")}
        workspace = yaml.safe_load((ROOT / "deploy" / "workspace.yaml").read_text("utf-8"))
        (entry,) = workspace["load_from"]
        entry["grpc_server"] |= {"host": "127.0.0.1", "port": int(self._ports["code"])}
        (self._home / "workspace.yaml").write_text(yaml.safe_dump(workspace))
        self.server = DagsterServer(int(self._ports["webserver"]), self._home)
        try:
            for name in _SERVICES:
                self._start(name)
                if name in self._ports:
                    wait_until(lambda name=name: self._listens(name), f"{name} listens")  # type: ignore[misc]
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)

    def alive(self) -> list[str]:
        """The services that still run."""
        return [name for name, process in self._processes.items() if process.poll() is None]

    def run_processes(self) -> list[int]:
        """The process ids of the runs in progress: children of the code server."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                    command = (folder / "cmdline").read_bytes()
                except (OSError, ValueError):
                    continue
                if parent == self._processes["code"].pid and b"spawn_main" in command:
                    found.append(int(folder.name))
        return found

    def log(self, name: str) -> str:
        """The end of what a service has written."""
        return (self._home / f"{name}.log").read_text("utf-8", "replace")[-6_000:]

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition; the error has the logs of code server and daemon."""
        wait_until(condition, what, explain=lambda: f"{self.log('code')}\n---\n{self.log('daemon')}")

    def _start(self, name: str) -> None:
        compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))
        command: list[Any] = compose["services"][name]["command"]
        program, *arguments = ["127.0.0.1" if word == "0.0.0.0" else word for word in command]
        if name in self._ports:
            arguments[arguments.index("-p") + 1] = self._ports[name]
        with (self._home / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [Path(sys.executable).parent / program, *arguments],
                env=self._environment,
                cwd=self._home,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _listens(self, name: str) -> bool:
        assert self._processes[name].poll() is None, self.log(name)
        with socket.socket() as client:
            client.settimeout(1)
            return client.connect_ex(("127.0.0.1", int(self._ports[name]))) == 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
