"""`gmail-assets sync`: bring tables up to date with the same Dagster assets, without a server."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from gmail_assets.cli.exit_codes import ExitCode, exit_code_of

if TYPE_CHECKING:
    from gmail_assets.operations.run_in_process import SyncRun

__all__ = ["DESCRIPTION", "HELP", "NAME", "PASSES_ON", "add_arguments", "run"]

NAME = "sync"
HELP = "bring tables up to date"
DESCRIPTION = """\
Bring tables of one or more mailboxes up to date: the first time everything is loaded, after that only what changed.
A sync that was stopped or killed goes on where it was. The runs are kept in DAGSTER_HOME, where that is set.

tables: messages threads labels drafts profile settings filters forwarding_addresses send_as delegates
"""
PASSES_ON = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "tables", nargs="*", metavar="TABLE", help="which tables; all of the spec when left out"
    )
    parser.add_argument(
        "--mailbox",
        action="append",
        metavar="M",
        help="an address, or `me`; may be given more than once (default: GMAIL_MAILBOXES, else GMAIL_USER_ID)",
    )
    parser.add_argument(
        "--full-refresh",
        action="store_true",
        help="fetch messages and threads anew, at the price of a first load",
    )
    parser.add_argument(
        "--allow-mass-delete",
        action="store_true",
        help="go on where a comparison would delete more than a fifth of the rows",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def run(arguments: argparse.Namespace) -> int:
    """Run the assets, mailbox by mailbox; one that fails holds no other up."""
    from gmail_assets.cli.display import SyncDisplay, undiverted
    from gmail_assets.operations.run_in_process import Runner
    from gmail_assets.syncing.progress import reporting

    runner = Runner()
    tables = runner.tables(arguments.tables)
    runs = []
    with SyncDisplay(undiverted(sys.stderr), quiet=arguments.quiet) as display, reporting(display):
        for mailbox in arguments.mailbox or runner.mailboxes:
            display.mailbox(mailbox)
            runs.append(
                runner.run_mailbox(
                    mailbox,
                    tables,
                    mail_config={
                        "full_refresh": arguments.full_refresh,
                        "allow_mass_delete": arguments.allow_mass_delete,
                    },
                )
            )
            if runs[-1].interrupted:
                break
    code = _exit_code(runs)
    for one in runs:
        _tell_failures(one)
        if not arguments.quiet:
            _tell_checks(one)
    if code == ExitCode.WORK_LEFT:
        sys.stderr.write("Stopped with work left; what was done is kept. Run the same command again.\n")
    if arguments.json:
        json.dump(
            {"exit_code": int(code), "mailboxes": [_as_json(one) for one in runs]}, sys.stdout, indent=2
        )
        sys.stdout.write("\n")
    return code


def _exit_code(runs: list[SyncRun]) -> ExitCode:
    if any(one.interrupted for one in runs):
        return ExitCode.INTERRUPTED
    codes = [exit_code_of(failure.error) for one in runs for failure in one.failures.values()]
    if codes:
        return max(
            codes, key=[ExitCode.WORK_LEFT, ExitCode.FAILED, ExitCode.MISTAKE, ExitCode.NO_ACCESS].index
        )
    return ExitCode.DONE if all(one.complete for one in runs) else ExitCode.WORK_LEFT


def _tell_failures(one: SyncRun) -> None:
    """Each distinct failure once, with the steps it hit: a revoked token fails all of them."""
    if one.interrupted:
        sys.stderr.write("Interrupted; what was committed is kept. Run the same command again.\n")
        return
    steps: dict[str, list[str]] = {}
    for step, failure in one.failures.items():
        steps.setdefault(failure.message, []).append(step)
    for message, hit in steps.items():
        sys.stderr.write(f"{one.mailbox} ({', '.join(hit)}): {message}\n")


def _tell_checks(one: SyncRun) -> None:
    """Only those that did not pass; a failed check is no failed sync."""
    for check in one.checks:
        if not check.passed:
            sys.stderr.write(f"{one.mailbox}: check {check.check} of {check.table}: {check.says}\n")


def _as_json(one: SyncRun) -> dict[str, Any]:
    return {
        "mailbox": one.mailbox,
        "run_id": one.run_id,
        "complete": one.complete and not one.failures,
        "tables": one.tables,
        "checks": [
            {"table": c.table, "check": c.check, "passed": c.passed, "says": c.says} for c in one.checks
        ],
        "failures": {step: {"error": f.error, "message": f.message} for step, f in one.failures.items()},
    }
