"""`make demo` and `make ui`: the main job on a mailbox that an emulator of the Gmail API serves.

`run` starts the emulator, materializes the ten assets through Dagster into ./lake, shows what came and what it would
cost at Gmail's quota, then changes the mailbox and lets Dagster's daemon bring the changes. `ui` serves the same
mailbox again from its journal and opens Dagster on what `run` left. Both stop all that they started.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING
from urllib.parse import unquote

from gmail_assets.cli.exit_codes import ExitCode
from gmail_client.errors import ConfigurationError, GmailError

if TYPE_CHECKING:
    from rich.console import Console

    from gmail_client.emulator import Emulator

__all__ = ["main"]

_PROJECT = Path(__file__).resolve().parents[2]
_WORKSPACE = _PROJECT / "workspace.yaml"
_STATE = Path(".demo")
_SETUP = _STATE / "setup.json"
_JOURNAL = _STATE / "journal"
_LAKE = Path("lake")
_MARKER = _LAKE / ".made-by-make-demo"
_HOME = Path(".dagster")

_EMULATOR_DOMAIN = "@gmail.test"
_NO_LIMIT = "1200000"
"""The highest GMAIL_QUOTA: the emulator refuses nothing here, so the demo runs as fast as the machine."""


@dataclass(frozen=True, slots=True)
class _Setup:
    """What the mailbox was made from: kept, so that `ui` serves the same one."""

    messages: int
    mbox: str | None

    @classmethod
    def load(cls) -> _Setup:
        try:
            return cls(**json.loads(_SETUP.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            raise ConfigurationError("There is no demo here yet.", fix="Run `make demo` first.") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two.

    Returns:
        The exit code, as of `gmail-assets`.
    """
    from rich.console import Console

    parser = argparse.ArgumentParser(prog="python -m gmail_assets.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="what `make demo` runs")
    run.add_argument("--messages", type=int, default=2000, help="messages in the made-up mailbox")
    run.add_argument("--mbox", metavar="FILE", help="serve this mbox (a Google Takeout export) in its place")
    ui = commands.add_parser("ui", help="what `make ui` runs")
    ui.add_argument("--port", type=int, default=3000, help="port of Dagster's web page")
    arguments = parser.parse_args(argv)

    console = Console(highlight=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        if arguments.command == "ui":
            return _ui(console, arguments.port)
        return _run(console, _Setup(arguments.messages, arguments.mbox))
    except GmailError as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.MISTAKE if isinstance(error, ConfigurationError) else ExitCode.FAILED
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        return ExitCode.INTERRUPTED


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(console: Console, setup: _Setup) -> int:
    _start_afresh(setup)
    with _gmail(setup) as gmail:
        from gmail_assets.cli.display import SyncDisplay, undiverted
        from gmail_assets.delta.lake import Lake
        from gmail_assets.demo.changes import show_changes
        from gmail_assets.demo.report import show_cost, show_next_steps, show_senders, show_tables
        from gmail_assets.operations.run_in_process import Runner
        from gmail_assets.syncing.progress import reporting

        address = gmail.addresses[0]
        console.print(f"A Gmail emulator serves {address} at {gmail.url}.")
        console.print(f"Dagster fills ten Delta tables in ./{_LAKE} from it ...\n")
        started = time.monotonic()
        runner = Runner()
        with SyncDisplay(undiverted(sys.stdout), lines=False) as display, reporting(display):
            display.mailbox(address)
            run = runner.run_mailbox(address, runner.tables([]))
        if run.interrupted:
            raise KeyboardInterrupt
        if run.failures:
            for step, failure in run.failures.items():
                sys.stderr.write(f"{step}: {failure.message}\n")
            return ExitCode.FAILED
        seconds = time.monotonic() - started
        lake = Lake(str(_LAKE))
        console.print()
        show_tables(console, run)
        show_senders(console, lake)
        show_cost(console, run, seconds)
        show_changes(console, gmail, lake, _WORKSPACE, _STATE / "daemon.log")
        show_next_steps(console)
    return ExitCode.DONE


def _start_afresh(setup: _Setup) -> None:
    if setup.mbox is not None and not Path(setup.mbox).is_file():
        raise ConfigurationError(f"MBOX={setup.mbox!r} is no file.", fix="Give the path of an mbox file.")
    foreign = _LAKE.exists() and any(_LAKE.iterdir()) and not _MARKER.exists()
    if foreign or _has_real_mail():
        raise ConfigurationError(
            f"The folder ./{_LAKE} holds something that the demo did not make, and would be replaced.",
            fix="Move it away, or run the demo in another folder.",
        )
    for folder in (_LAKE, _STATE):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    _MARKER.write_text("Removed and made anew by `make demo`.\n", "utf-8")
    _SETUP.write_text(json.dumps(asdict(setup)), "utf-8")


def _has_real_mail() -> bool:
    """Whether someone synced an account of their own into the demo's lake."""
    parts = {unquote(folder.name.removeprefix("mailbox=")) for folder in _LAKE.glob("*/mailbox=*")}
    return any(not address.endswith(_EMULATOR_DOMAIN) for address in parts)


@contextmanager
def _gmail(setup: _Setup) -> Iterator[Emulator]:
    """The emulator, and an environment in which everything that Dagster starts talks to it."""
    from gmail_client.emulator import Emulator

    _HOME.mkdir(exist_ok=True)
    shutil.copyfile(_PROJECT / "dagster.yaml", _HOME / "dagster.yaml")
    try:
        emulator = Emulator(
            mailboxes=1,
            messages=0 if setup.mbox else setup.messages,
            mbox=(setup.mbox,) if setup.mbox else (),
            quota="none",
            journal=_JOURNAL,
        )
    except ValueError as error:
        raise ConfigurationError(
            f"The emulator can't serve this mailbox: {error}", fix="Run `make demo` again: it begins afresh."
        ) from None
    with emulator as gmail:
        for name in [name for name in os.environ if name.startswith("GMAIL_")]:
            del os.environ[name]  # the demo must not mix with the user's own account
        address = gmail.addresses[0]
        os.environ.update(gmail.environment(address))
        os.environ.update(
            GMAIL_USER_ID=address,
            GMAIL_LAKE=str(_LAKE.resolve()),
            GMAIL_QUOTA=_NO_LIMIT,
            GMAIL_SENSOR="true",
            DAGSTER_HOME=str(_HOME.resolve()),
        )
        yield gmail


def _ui(console: Console, port: int) -> int:
    from gmail_assets.demo.children import child

    _check_free(port)
    with _gmail(_Setup.load()) as gmail:
        workspace = ["-w", str(_WORKSPACE)]
        web = ["dagster-webserver", *workspace, "-h", "127.0.0.1", "-p", str(port)]
        daemon = ["dagster-daemon", "run", *workspace]
        console.print(
            f"A Gmail emulator serves {gmail.addresses[0]} again at {gmail.url}, as the demo left it.\n"
            f"Dagster starts at http://127.0.0.1:{port} ... Ctrl-C stops both; their log is in {_STATE}.",
            soft_wrap=True,
        )
        with (
            (_STATE / "ui.log").open("wb") as log,
            child(daemon, output=log) as daemon_process,
            child(web, output=log) as web_process,
        ):
            _wait_for_page(port, web_process)
            console.print(f"Ready: http://127.0.0.1:{port}/asset-groups", soft_wrap=True)
            while web_process.poll() is None and daemon_process.poll() is None:
                time.sleep(0.5)
    sys.stderr.write(f"Dagster stopped by itself; see {_STATE / 'ui.log'}.\n")
    return ExitCode.FAILED


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ConfigurationError(
                f"Port {port} is taken by another program.", fix="Choose another: make ui PORT=3001."
            ) from None


def _wait_for_page(port: int, process: subprocess.Popen[bytes]) -> None:
    import requests

    while process.poll() is None:
        try:
            requests.get(f"http://127.0.0.1:{port}/server_info", timeout=5)
            return
        except requests.RequestException:
            time.sleep(0.3)


if __name__ == "__main__":
    sys.exit(main())
