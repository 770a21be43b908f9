"""`python -m gmail_client.emulator`: serve the Gmail API on loopback and print its URL and credentials."""

from __future__ import annotations

import argparse
import gc
import json
import sys
import threading
from collections.abc import Sequence

from gmail_client.emulator.behavior import Behavior
from gmail_client.emulator.emulator import Emulator
from gmail_client.emulator.http.server import PortTakenError
from gmail_client.emulator.quota import Quota
from gmail_client.http.clock import SYSTEM_CLOCK, ScaledClock

__all__ = ["main", "make_parser"]


def make_parser(prog: str = "python -m gmail_client.emulator") -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description="A Gmail API server on loopback. It runs until it is interrupted."
    )
    add = parser.add_argument
    add("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free port)")
    add("--mailboxes", type=int, default=1, metavar="N", help="number of mailboxes (default: 1)")
    add("--messages", type=int, default=200, metavar="N", help="messages in each mailbox (default: 200)")
    add(
        "--seed",
        type=int,
        default=1,
        metavar="S",
        help="seed of the mailboxes; the same seed gives the same mailboxes (default: 1)",
    )
    add(
        "--mean-kb",
        type=float,
        default=15.0,
        metavar="K",
        help="mean kilobytes of JSON per message (default: 15)",
    )
    add(
        "--quota",
        default="current",
        help="current, legacy, none, or units per minute and user (default: current)",
    )
    add(
        "--project-quota",
        type=int,
        metavar="U",
        help="units per minute of all mailboxes together (default: that of --quota)",
    )
    add(
        "--latency-ms",
        type=float,
        default=0.0,
        metavar="L",
        help="minimum duration of an API request (default: 0)",
    )
    add(
        "--time-scale",
        type=float,
        default=1.0,
        metavar="X",
        help="speed of the emulator's clock (default: 1)",
    )
    add(
        "--journal",
        metavar="FILE",
        help="file that stores the writes, for the next start with the same arguments",
    )
    add(
        "--mbox",
        action="append",
        default=[],
        metavar="FILE",
        help="add the mail of an mbox file (Takeout export)",
    )
    add("--maildir", action="append", default=[], metavar="DIR", help="add the mail of a Maildir folder")
    add("--eml", action="append", default=[], metavar="DIR", help="add the .eml files in a folder")
    add(
        "--behavior",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="undocumented behavior of Gmail, see docs/emulator.md",
    )
    add("--service-account-file", metavar="FILE", help="write the key file of a service account")
    add("--json", action="store_true", help="print one JSON object instead of shell assignments")
    add(
        "--end-with-input",
        action="store_true",
        help="stop at the end of standard input, and so with the parent process",
    )
    return parser


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m gmail_client.emulator") -> int:
    """Serve until interrupted; returns 0, or 1 when the emulator cannot start. Invalid arguments exit with 2."""
    options = make_parser(prog).parse_args(arguments)
    try:
        emulator = Emulator(
            options.mailboxes,
            options.messages,
            options.seed,
            mean_json_kb=options.mean_kb,
            quota=Quota.named(options.quota).with_project(options.project_quota),
            latency_ms=options.latency_ms,
            clock=SYSTEM_CLOCK if options.time_scale == 1 else ScaledClock(options.time_scale),
            behavior=Behavior.parse(options.behavior),
            journal=options.journal,
            eml=options.eml,
            mbox=options.mbox,
            maildir=options.maildir,
            port=options.port,
        )
    except (PortTakenError, ValueError, OSError) as error:
        sys.stderr.write(f"gmail emulator: {error}\n")
        return 1
    environment = emulator.environment()
    if options.service_account_file:
        path = emulator.service_account_file(options.service_account_file)
        environment["GMAIL_SERVICE_ACCOUNT_FILE"] = str(path.resolve())
    if options.json:
        announcement = {"url": emulator.url, "addresses": emulator.addresses, "environment": environment}
        sys.stdout.write(json.dumps(announcement) + "\n")
    else:
        more = ", ..." if len(emulator.addresses) > 5 else ""
        sys.stdout.write(f"# Mailboxes: {', '.join(emulator.addresses[:5])}{more}\n")
        sys.stdout.writelines(f"export {name}={value}\n" for name, value in environment.items())
    sys.stdout.flush()
    # The initial mailboxes live as long as the process, so the garbage collector does not have to traverse them.
    gc.collect()
    gc.freeze()
    if options.end_with_input:
        threading.Thread(target=_end_with_input, args=(emulator,), daemon=True).start()
    try:
        emulator.serve()
    except KeyboardInterrupt:
        pass
    finally:
        emulator.stop()
    return 0


def _end_with_input(emulator: Emulator) -> None:
    while sys.stdin.buffer.read(1024):
        pass
    emulator.interrupt()


if __name__ == "__main__":
    sys.exit(main())
