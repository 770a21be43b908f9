"""`gmail-assets check`: can each table be read and the lake be written, and if not, why, and what helps?"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from gmail_assets.cli.exit_codes import ExitCode, exit_code_of, worst
from gmail_assets.cli.output import Output, add_mailbox_argument, add_output_arguments

if TYPE_CHECKING:
    from gmail_assets.operations.access_check import LakeFinding, MailboxFinding
    from gmail_client.errors import GmailError

__all__ = ["DESCRIPTION", "HELP", "NAME", "PASSES_ON", "add_arguments", "run"]

NAME = "check"
HELP = "see whether each table can be read and the lake be written"
DESCRIPTION = """\
Ask Gmail for the first item of each of the ten tables and say for each whether it can be read, and if not, why and
what helps. Write a small file into the lake and remove it. Name the versions. It costs 31 quota units a mailbox.

`delegates` answers only to service accounts with domain-wide delegation: with your own login it is no fault.
"""
PASSES_ON = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_mailbox_argument(parser)
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check everything; one fault hides no other."""
    from gmail_assets.cli.setting import Setting
    from gmail_assets.operations.access_check import check_lake, check_mailbox, versions
    from gmail_client.errors import GmailError

    out = Output(arguments)
    setting = Setting.load()
    mailboxes: list[MailboxFinding] = []
    fault: GmailError | None = None
    try:
        client = setting.client()
        names = arguments.mailbox or setting.settings.mailbox_names
        for name in names:
            with out.working(f"{name}: trying the ten tables"):
                mailboxes.append(check_mailbox(client.mailbox(name), setting.spec, setting.lake))
    except GmailError as error:
        fault = error
    lake = check_lake(setting.lake, setting.spec)
    installed = versions()

    if fault is not None:
        out.say(str(fault), style="red")
    for found in mailboxes:
        _show_mailbox(out, found)
    _show_lake(out, lake)
    out.say("\nVersions: " + ", ".join(f"{name} {number}" for name, number in installed.items()))
    out.result(
        {
            "problem": None if fault is None else _error_as_json(fault),
            "mailboxes": [_mailbox_as_json(found) for found in mailboxes],
            "lake": _lake_as_json(lake),
            "versions": installed,
        }
    )
    return _exit_code(fault, mailboxes, lake, {entry.source_table for entry in setting.spec.tables})


def _exit_code(
    fault: GmailError | None, mailboxes: list[MailboxFinding], lake: LakeFinding, used: set[str]
) -> ExitCode:
    errors = [
        finding.error
        for found in mailboxes
        for table, finding in found.tables.items()
        if table in used and not (finding.readable or finding.expected)
    ]
    problems = [fault, lake.problem, *(found.problem for found in mailboxes)]
    errors += [type(problem).__name__ for problem in problems if problem is not None]
    return worst(exit_code_of(error) for error in errors)


def _show_mailbox(out: Output, found: MailboxFinding) -> None:
    same = found.address == found.name
    out.say(found.name if same or not found.address else f"{found.address} (as {found.name!r})", style="bold")
    reasons = {finding.says for finding in found.tables.values() if not finding.readable}
    if len(reasons) == 1 and not any(finding.readable for finding in found.tables.values()):
        finding = next(iter(found.tables.values()))
        out.say(f"No table can be read. {finding.says}\nFix: {finding.fix}", style="red")
    else:
        _show_tables(out, found)
    if found.problem is not None:
        out.say(str(found.problem), style="red")
    out.say(f"{found.units} units spent.\n")


def _show_tables(out: Output, found: MailboxFinding) -> None:
    for table, finding in found.tables.items():
        line = f"  {table:<21} {'yes' if finding.readable else 'no':<4} "
        if finding.readable:
            out.say(f"{line}{finding.says}".rstrip())
        elif finding.expected:
            out.say(f"{line}as it must be without a service account: {finding.says}", style="yellow")
        else:
            out.say(f"{line}{finding.says}\n  {'':<26} Fix: {finding.fix}", style="red")


def _show_lake(out: Output, lake: LakeFinding) -> None:
    out.say(f"Lake {lake.uri}", style="bold")
    if lake.problem is not None:
        out.say(str(lake.problem), style="red")
        return
    newest = max((table["writer"] for table in lake.tables.values()), default=None)
    tables = f"{len(lake.tables)} tables" if lake.tables else "no tables yet"
    out.say(f"It can be written; {tables}{f', Delta writer protocol {newest}' if newest else ''}.")


def _error_as_json(error: GmailError) -> dict[str, Any]:
    return {"error": type(error).__name__, "message": error.what, "fix": error.fix}


def _mailbox_as_json(found: MailboxFinding) -> dict[str, Any]:
    return {
        "mailbox": found.name,
        "address": found.address or None,
        "units": found.units,
        "problem": None if found.problem is None else _error_as_json(found.problem),
        "tables": {
            table: {
                "readable": finding.readable,
                "expected": finding.readable or finding.expected,
                "says": finding.says,
                "fix": finding.fix,
                "error": finding.error or None,
            }
            for table, finding in found.tables.items()
        },
    }


def _lake_as_json(lake: LakeFinding) -> dict[str, Any]:
    return {
        "uri": lake.uri,
        "writable": lake.writable,
        "problem": None if lake.problem is None else _error_as_json(lake.problem),
        "tables": lake.tables,
    }
