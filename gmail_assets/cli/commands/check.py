"""`gmail-assets check`: try to read each table and to write to the lake; explain what fails."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from gmail_assets.cli.error_groups import grouped_errors
from gmail_assets.cli.exit_codes import ExitCode, exit_code_of, most_severe
from gmail_assets.cli.options import mailbox_option, output_options
from gmail_assets.cli.output import Output

if TYPE_CHECKING:
    from gmail_assets.operations.access_check import LakeAccess, MailboxAccess
    from gmail_client.errors import GmailError

__all__ = ["check"]


@click.command
@mailbox_option
@output_options
def check(mailboxes: tuple[str, ...], out: Output) -> int:
    """Check the access to Gmail and to the lake.

    Requests the first item of each of the ten tables and prints whether it can be read; if not, why, and how to fix
    it. Writes a small file to the lake and removes it. Warns of files and folders with mail or secrets that other users
    of this machine have access to. Prints the installed versions. Costs 31 quota units per mailbox.

    `delegates` can be read by service accounts with domain-wide delegation only. With your own login, a refusal of
    that table is expected and not an error.
    """
    from gmail_assets.cli.environment import Environment
    from gmail_assets.operations.access_check import check_lake, check_mailbox, open_to_others_of, versions
    from gmail_client.errors import GmailError

    environment = Environment.load()
    checked: list[MailboxAccess] = []
    problem: GmailError | None = None
    try:
        client = environment.client()
        names = environment.mailboxes(mailboxes)
        for name in names:
            with out.status(f"{name}: reading the ten tables"):
                checked.append(check_mailbox(client, name, environment.spec, environment.lake))
    except GmailError as error:
        problem = error
    lake = check_lake(environment.lake, environment.spec)
    exposed = open_to_others_of(environment.settings, environment.lake)
    installed = versions()

    if problem is not None:
        out.print(str(problem), style="red")
    for access in checked:
        if not access.common_error:
            _print_mailbox(out, access)
    unreadable = [access for access in checked if access.common_error]
    for text in grouped_errors(
        (_label(access), f"No table can be read. {access.common_error}") for access in unreadable
    ):
        out.print(f"{text}\n", style="red")
    _print_lake(out, lake)
    for path, mode in exposed.items():
        fix = f"chmod go-rwx {shlex.quote(path)}"
        out.print(f"Other users have access to {path} (mode {mode}). Fix: {fix}", style="yellow")
    out.print("\nVersions: " + ", ".join(f"{name} {number}" for name, number in installed.items()))
    out.print_json(
        {
            "problem": None if problem is None else _error_as_json(problem),
            "mailboxes": [_mailbox_as_json(access) for access in checked],
            "lake": _lake_as_json(lake),
            "open_to_others": exposed,
            "versions": installed,
        }
    )
    return _exit_code(problem, checked, lake, {entry.source_table for entry in environment.spec.tables})


def _exit_code(
    problem: GmailError | None, mailboxes: list[MailboxAccess], lake: LakeAccess, used: set[str]
) -> ExitCode:
    errors = [
        table.error
        for access in mailboxes
        for name, table in access.tables.items()
        if name in used and not (table.readable or table.expected)
    ]
    problems = [problem, lake.problem, *(access.problem for access in mailboxes)]
    errors += [type(found).__name__ for found in problems if found is not None]
    return most_severe(exit_code_of(error) for error in errors)


def _print_mailbox(out: Output, access: MailboxAccess) -> None:
    out.print(_label(access), style="bold")
    _print_tables(out, access)
    if access.problem is not None:
        out.print(str(access.problem), style="red")
    out.print(f"Quota units spent: {access.units}\n")


def _label(access: MailboxAccess) -> str:
    named_by_address = access.address in (access.name, "")
    return access.name if named_by_address else f"{access.address} (as {access.name!r})"


def _print_tables(out: Output, access: MailboxAccess) -> None:
    for name, table in access.tables.items():
        line = f"  {name:<21} {'yes' if table.readable else 'no':<4} "
        if table.readable:
            out.print(f"{line}{table.message}".rstrip())
        elif table.expected:
            out.print(f"{line}expected without a service account: {table.message}", style="yellow")
        else:
            out.print(f"{line}{table.message}\n  {'':<26} Fix: {table.fix}", style="red")


def _print_lake(out: Output, lake: LakeAccess) -> None:
    out.print(f"Lake {lake.uri}", style="bold")
    if lake.problem is not None:
        out.print(str(lake.problem), style="red")
        return
    newest = max((table["writer"] for table in lake.tables.values()), default=None)
    tables = f"{len(lake.tables)} tables" if lake.tables else "no tables yet"
    out.print(f"Writable; {tables}{f', Delta writer protocol {newest}' if newest else ''}.")


def _error_as_json(error: GmailError) -> dict[str, Any]:
    return {"error": type(error).__name__, "message": error.what, "fix": error.fix}


def _mailbox_as_json(access: MailboxAccess) -> dict[str, Any]:
    return {
        "mailbox": access.name,
        "address": access.address or None,
        "units": access.units,
        "problem": None if access.problem is None else _error_as_json(access.problem),
        "tables": {
            name: {
                "readable": table.readable,
                "expected": table.readable or table.expected,
                "message": table.message,
                "fix": table.fix,
                "error": table.error or None,
            }
            for name, table in access.tables.items()
        },
    }


def _lake_as_json(lake: LakeAccess) -> dict[str, Any]:
    return {
        "uri": lake.uri,
        "writable": lake.writable,
        "problem": None if lake.problem is None else _error_as_json(lake.problem),
        "tables": lake.tables,
    }
