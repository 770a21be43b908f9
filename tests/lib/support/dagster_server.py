"""A Dagster web server on loopback, and the requests that any client can send to it: `DagsterServer`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

__all__ = ["DagsterServer", "serving"]

_SETTINGS = """\
telemetry: {enabled: false}
nux: {enabled: false}
run_coordinator: {module: dagster.core.run_coordinator, class: DefaultRunCoordinator}
"""

_LAUNCH = """
mutation($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PythonError { message }
    ... on UnauthorizedError { message }
  }
}
"""
_RUNS = "{ runsOrError { ... on Runs { results { runId status } } } }"
_EVENTS = """
query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
  __typename ... on MessageEvent { message }
  ... on ErrorEvent { error { message stack causes { message } } } } } } }
"""
_LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError {
    __typename ... on PythonError { message } } } } } }
"""


class DagsterServer:
    """Sends requests as a page of another site can without a CORS preflight: a POST of plain text with a foreign
    origin and host, without cookies, with everything in the URL.
    """

    def __init__(self, port: int, home: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.home = home
        self._session = requests.Session()
        self._session.trust_env = False

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """A GraphQL query or mutation."""
        response = self._session.post(
            f"{self.url}/graphql",
            params={"query": query, "variables": json.dumps(variables)},
            data="",
            headers={
                "Content-Type": "text/plain",
                "Origin": "https://evil.example",
                "Host": "evil.example",
                "Sec-Fetch-Site": "cross-site",
            },
            timeout=60,
        )
        document: dict[str, Any] = response.json()
        return document

    def launch(self, job: str, partition: str, run_config: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Launch a run; returns the response by its type."""
        params = {
            "selector": {
                "repositoryLocationName": "gmail_assets.definitions",
                "repositoryName": "__repository__",
                "pipelineName": job,
            },
            "runConfigData": run_config,
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
            **more,
        }
        answer: dict[str, Any] = self.ask(_LAUNCH, params=params)
        found: dict[str, Any] = answer["data"]["launchRun"]
        return found

    def wait_for_runs(self, seconds: float = 240.0) -> dict[str, str]:
        """The status of every run, once none is in progress."""
        until = time.monotonic() + seconds
        while True:
            results = self.ask(_RUNS)["data"]["runsOrError"]["results"]
            statuses = {run["runId"]: run["status"] for run in results}
            if all(status in ("SUCCESS", "FAILURE", "CANCELED") for status in statuses.values()):
                return statuses
            assert time.monotonic() < until, statuses
            time.sleep(0.5)

    def events(self, run_id: str) -> str:
        """The log of a run, as the UI gets it."""
        return json.dumps(self.ask(_EVENTS, id=run_id))


@contextmanager
def serving(
    home: Path, environment: Mapping[str, str], module: str = "gmail_assets.definitions"
) -> Iterator[DagsterServer]:
    """Serve the definitions of a module until the end of the block.

    Args:
        home: DAGSTER_HOME; created here.
        environment: Variables of the server and its subprocesses.
        module: The module with the definitions.
    """
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(_SETTINGS)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = Path(sys.executable).parent / "dagster-webserver"
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-m", module, "-h", "127.0.0.1", "-p", str(port)],
            env={**os.environ, **environment, "DAGSTER_HOME": str(home)},
            cwd=home,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            server = DagsterServer(port, home)
            _wait(server, process)
            yield server
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, number)
                    process.wait(10)
                except ProcessLookupError:
                    break
                except subprocess.TimeoutExpired:
                    continue


def _wait(server: DagsterServer, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 90
    while True:
        assert process.poll() is None, (server.home / "server.log").read_text()
        try:
            entries = server.ask(_LOCATIONS)["data"]["workspaceOrError"]["locationEntries"]
        except requests.ConnectionError:
            entries = []
        loaded = [entry["locationOrLoadError"] for entry in entries if entry["locationOrLoadError"]]
        if loaded:
            assert all(one["__typename"] != "PythonError" for one in loaded), loaded
            return
        assert time.monotonic() < until
        time.sleep(0.3)
