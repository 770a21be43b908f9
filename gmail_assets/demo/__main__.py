"""`make demo`, `make ui` and `make dagster`: Dagster on a mailbox of the Gmail emulator, or on your own.

`run` starts the emulator, materializes the ten assets into ./lake, prints the tables and their cost at Gmail's quota,
then changes the mailbox and starts the Dagster daemon, whose sensor syncs the changes. `ui` serves the same mailbox
from its journal and starts the Dagster UI on the tables of `run`. `dagster` starts the Dagster UI for your own mailbox.
All of them stop every process that they started.
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
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote

from gmail_assets.arrow_memory import use_system_allocator
from gmail_assets.cli.exit_codes import ExitCode
from gmail_assets.operations.dagster_instance import dagster_instance
from gmail_assets.process_end import ProcessEnd
from gmail_client.errors import ConfigurationError, GmailError
from gmail_client.printable import printable
from gmail_client.private_files import make_private_folder

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
"""The highest GMAIL_QUOTA: the emulator enforces no quota in the demo, so the machine sets the speed."""


@dataclass(frozen=True, slots=True)
class _Setup:
    """What the mailbox was generated from; stored so that `ui` serves the same mailbox."""

    messages: int
    mbox: str | None

    @classmethod
    def load(cls) -> _Setup:
        try:
            return cls(**json.loads(_SETUP.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            raise ConfigurationError(
                "There is no demo in this folder.", fix="Run `make demo` first."
            ) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run `run`, `ui` or `dagster`.

    Returns:
        The exit code, as for `gmail-assets`.
    """
    from rich.console import Console

    parser = argparse.ArgumentParser(prog="python -m gmail_assets.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="what `make demo` runs")
    run.add_argument("--messages", type=int, default=2000, help="messages in the generated mailbox")
    run.add_argument("--mbox", metavar="FILE", help="serve this mbox file (a Google Takeout export) instead")
    for name in ("ui", "dagster"):
        servers = commands.add_parser(name, help=f"what `make {name}` runs")
        servers.add_argument("--port", type=int, default=3000, help="port of the Dagster UI")
    arguments = parser.parse_args(argv)

    console = Console(highlight=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        if arguments.command == "ui":
            return _ui(console, arguments.port)
        if arguments.command == "dagster":
            return _own(console, arguments.port)
        return _run(console, _Setup(arguments.messages, arguments.mbox))
    except GmailError as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.INVALID_INPUT if isinstance(error, ConfigurationError) else ExitCode.FAILURE
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        return ExitCode.INTERRUPTED


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(console: Console, setup: _Setup) -> int:
    _reset(setup)
    with _gmail(setup) as gmail:
        from gmail_assets.cli.display import SyncDisplay, terminal_console
        from gmail_assets.delta.lake import Lake
        from gmail_assets.demo.changes import show_changes
        from gmail_assets.demo.report import show_cost, show_next_steps, show_senders, show_tables
        from gmail_assets.operations.run_in_process import Runner
        from gmail_assets.syncing.progress import reporting

        address = gmail.addresses[0]
        console.print(f"A Gmail emulator serves {address} at {gmail.url}.")
        console.print(f"Dagster loads it into Delta tables in ./{_LAKE} ...\n")
        started = time.monotonic()
        runner = Runner()
        with SyncDisplay(terminal_console(sys.stdout), lines=False) as display, reporting(display):
            display.start_mailbox(address)
            run = runner.run_mailbox(address, runner.selection.tables([]))
        if run.interrupted:
            raise KeyboardInterrupt
        if run.failures:
            for step, failure in run.failures.items():
                sys.stderr.write(f"{printable(f'{step}: {failure.message}')}\n")
            return ExitCode.FAILURE
        seconds = time.monotonic() - started
        lake = Lake(str(_LAKE))
        console.print()
        show_tables(console, run)
        show_cost(console, run, seconds)
        show_changes(console, gmail, lake, _WORKSPACE, _STATE / "daemon.log")
        show_senders(console, lake)
        show_next_steps(console)
    return ExitCode.SUCCESS


def _reset(setup: _Setup) -> None:
    if setup.mbox is not None and not Path(setup.mbox).is_file():
        raise ConfigurationError(
            f"MBOX={setup.mbox!r} is not a file.", fix="Set it to the path of an mbox file."
        )
    foreign = _LAKE.exists() and any(_LAKE.iterdir()) and not _MARKER.exists()
    if foreign or _has_real_mail():
        raise ConfigurationError(
            f"The folder ./{_LAKE} contains data that is not from the demo, and the demo would replace it.",
            fix="Move it away, or run the demo in another folder.",
        )
    for folder in (_LAKE, _STATE):
        shutil.rmtree(folder, ignore_errors=True)
        make_private_folder(folder)
    _MARKER.write_text("`make demo` deletes and recreates this folder.\n", "utf-8")
    _SETUP.write_text(json.dumps(asdict(setup)), "utf-8")


def _has_real_mail() -> bool:
    """Whether the lake of the demo also contains a real account."""
    mailboxes = {unquote(folder.name.removeprefix("mailbox=")) for folder in _LAKE.glob("*/mailbox=*")}
    return any(not address.endswith(_EMULATOR_DOMAIN) for address in mailboxes)


@contextmanager
def _gmail(setup: _Setup) -> Iterator[Emulator]:
    """Run the emulator, with environment variables that connect every Dagster process to it."""
    from gmail_client.emulator import Emulator

    _make_home()
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
            f"The emulator can't serve this mailbox: {error}", fix="Run `make demo` again; it starts over."
        ) from None
    with emulator as gmail:
        for name in [name for name in os.environ if name.startswith("GMAIL_")]:
            del os.environ[name]  # the demo must not use the user's own account
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
    _check_free(port)
    with _gmail(_Setup.load()) as gmail, (_STATE / "ui.log").open("wb") as log:
        console.print(
            f"A Gmail emulator serves {gmail.addresses[0]} at {gmail.url}, in the state after the demo.\n"
            f"Dagster starts at http://127.0.0.1:{port} ... Ctrl-C stops both; the log is {_STATE / 'ui.log'}.",
            soft_wrap=True,
        )
        _serve(console, port, log)
    sys.stderr.write(f"Dagster stopped unexpectedly; see {_STATE / 'ui.log'}.\n")
    return ExitCode.FAILURE


def _own(console: Console, port: int) -> int:
    _check_free(port)
    _make_home()
    os.environ["DAGSTER_HOME"] = str(_HOME.resolve())
    _check_access()
    console.print(f"Dagster starts at http://127.0.0.1:{port} ... Ctrl-C stops it.", soft_wrap=True)
    _serve(console, port, sys.stderr.buffer)
    sys.stderr.write("Dagster stopped unexpectedly; see above.\n")
    return ExitCode.FAILURE


def _check_access() -> None:
    """Say at once if there are no usable credentials: the runs would only fail later."""
    from gmail_client.settings import Settings

    try:
        Settings().credentials()
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\nUntil then, every run fails.\n")


def _make_home() -> None:
    make_private_folder(_HOME)
    shutil.copyfile(_PROJECT / "dagster.yaml", _HOME / "dagster.yaml")


def _create_databases() -> None:
    """Create the SQLite files of a new Dagster home: processes that start together fail if they all create them."""
    with dagster_instance() as instance:
        if instance is not None:
            instance.get_runs(limit=1)
            instance.get_asset_keys()
            instance.all_instigator_state()


def _serve(console: Console, port: int, log: IO[bytes]) -> None:
    """Run webserver and daemon until one of them ends."""
    from gmail_assets.demo.children import child

    _create_databases()

    workspace = ["-w", str(_WORKSPACE)]
    web = ["dagster-webserver", *workspace, "-h", "127.0.0.1", "-p", str(port)]
    daemon = ["dagster-daemon", "run", *workspace]
    with child(daemon, output=log) as daemon_process, child(web, output=log) as web_process:
        _wait_for_page(port, web_process)
        console.print(f"Ready: http://127.0.0.1:{port}/asset-groups", soft_wrap=True)
        while web_process.poll() is None and daemon_process.poll() is None:
            time.sleep(0.5)


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ConfigurationError(
                f"Port {port} is in use by another program.", fix="Use another port: make ui PORT=3001."
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
    use_system_allocator()
    sys.exit(ProcessEnd().with_code(main()))
