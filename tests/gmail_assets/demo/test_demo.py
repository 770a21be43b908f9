"""`make demo`: a complete run, and invalid arguments."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

from gmail_assets.cli.exit_codes import ExitCode
from gmail_assets.demo.__main__ import main

COMMAND = [sys.executable, "-m", "gmail_assets.demo"]


def processes_in(folder: Path) -> list[str]:
    """Command lines of processes with this working directory."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal() or int(process.name) == os.getpid():
            continue
        try:
            if (process / "cwd").readlink() == folder:
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("times", [1, 2])
def test_the_demo_loads_ten_tables_then_changes_and_leaves_nothing_running(
    clean_environment: Path, times: int
):
    for _ in range(times):
        done = subprocess.run(
            [*COMMAND, "run", "--messages", "60"], capture_output=True, text=True, check=False, timeout=280
        )
        assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout
    assert "Asset checks: 39 of 39 passed." in text
    assert "forwarding_addresses" in text
    assert "quota units" in text
    assert "Synced after" in text
    last = text[text.index("Synced after") :].split()
    assert last[last.index("messages") :][2:5] == ["3", "5", "2"]
    assert processes_in(clean_environment) == []
    assert {path.name for path in clean_environment.iterdir()} >= {"lake", ".demo", ".dagster"}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("sign", ["Dagster loads", "Now the mailbox changes"])
def test_a_demo_stopped_at_any_point_leaves_nothing_running(clean_environment: Path, number: int, sign: str):
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*COMMAND, "run", "--messages", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    alarm = threading.Timer(120, process.kill)
    alarm.start()
    try:
        assert process.stdout is not None
        while sign not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(2)
        process.send_signal(number)
        _, printed = process.communicate()
    finally:
        alarm.cancel()
    assert process.returncode == ExitCode.INTERRUPTED
    assert "Stopped." in printed
    assert "Traceback" not in printed
    assert processes_in(clean_environment) == []


def test_another_lake_is_not_replaced(clean_environment: Path, capsys):
    (clean_environment / "lake").mkdir()
    (clean_environment / "lake" / "precious").write_text("mine")
    assert main(["run"]) == ExitCode.INVALID_INPUT
    assert "would replace it" in capsys.readouterr().err
    assert (clean_environment / "lake" / "precious").read_text() == "mine"


def test_real_mail_in_the_demos_lake_is_not_removed(clean_environment: Path, capsys):
    real = clean_environment / "lake" / "messages" / "mailbox=someone%40example.com"
    real.mkdir(parents=True)
    (clean_environment / "lake" / ".made-by-make-demo").touch()
    assert main(["run"]) == ExitCode.INVALID_INPUT
    assert "would replace it" in capsys.readouterr().err
    assert real.exists()


@pytest.mark.usefixtures("clean_environment")
def test_a_missing_mbox_is_reported(capsys):
    assert main(["run", "--mbox", "takeout.mbox"]) == ExitCode.INVALID_INPUT
    assert "MBOX='takeout.mbox' is not a file" in capsys.readouterr().err


@pytest.mark.usefixtures("clean_environment")
def test_the_ui_needs_a_demo(capsys):
    assert main(["ui", "--port", "0"]) == ExitCode.INVALID_INPUT
    assert "make demo" in capsys.readouterr().err


@pytest.mark.usefixtures("clean_environment")
def test_a_port_in_use_is_reported(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["ui", "--port", str(port)]) == ExitCode.INVALID_INPUT
    assert f"Port {port} is in use" in capsys.readouterr().err


@pytest.mark.slow
def test_dagster_for_your_mailbox_starts_without_warnings(
    clean_environment: Path,
):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = clean_environment / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*COMMAND, "dagster", "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.monotonic() + 120
        while "Ready: " not in log.read_text("utf-8"):
            assert process.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < until, log.read_text("utf-8")
            time.sleep(0.5)
        query = "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }"
        answer = requests.post(f"http://127.0.0.1:{port}/graphql", json={"query": query}, timeout=60).json()
        assert answer["data"]["workspaceOrError"]["locationEntries"] == [
            {"name": "gmail", "loadStatus": "LOADED"}
        ]
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == ExitCode.INTERRUPTED
    shown = log.read_text("utf-8")
    assert "warning" not in shown.lower()
    assert shown.startswith("No Gmail credentials are set.\nFix: Run `gmail-assets login`")
