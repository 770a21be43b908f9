"""The console script `gmail-assets`: finds the command, runs it, turns errors into two plain lines and an exit code.

Each command is one module in `gmail_assets/cli/commands`; what it needs beyond the standard library is imported when
it runs, so that help stays quick. The exit codes are `gmail_assets.cli.exit_codes.ExitCode`.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

from gmail_assets.cli.commands import COMMANDS
from gmail_assets.cli.exit_codes import ExitCode, exit_code_of
from gmail_client.errors import GmailError

__all__ = ["main"]

_EPILOG = """\
exit codes:
  0    done: everything asked for is in the tables
  1    failed: unexpected, or something that a later try may mend
  2    a mistake in the command line, the settings or the spec
  3    no access: credentials, scope, delegation, or the API is not enabled
  4    stopped cleanly with work left: run it again
  5    verify: the tables differ from the mailbox, and nothing explains it
  130  interrupted with Ctrl-C; what was committed stays, run it again

The account comes from the environment, from .env or from the file that `login` wrote:
GMAIL_CLIENT_ID, GMAIL_CLIENT_SECRET, GMAIL_REFRESH_TOKEN; or GMAIL_ACCESS_TOKEN; or GMAIL_SERVICE_ACCOUNT_FILE.
The tables go to GMAIL_LAKE: a folder, or an s3://, gs:// or abfss:// address.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gmail-assets",
        description="Gmail into a lakehouse: ten tables as Dagster assets in Delta Lake.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        subparser = commands.add_parser(
            command.NAME,
            help=command.HELP,
            description=command.DESCRIPTION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=not command.PASSES_ON,
        )
        if not command.PASSES_ON:
            command.add_arguments(subparser)
        subparser.set_defaults(run=command.run, commands=COMMANDS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments after the program's name; the process's own when None.

    Returns:
        The exit code; a mistake on the command line raises SystemExit(2) as argparse does.
    """
    if argv is None:
        warnings.showwarning = _show_warning
    given = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    passing_on = {command.NAME: command for command in COMMANDS if command.PASSES_ON}
    if given and given[0] in passing_on:
        arguments = argparse.Namespace(run=passing_on[given[0]].run, rest=given[1:])
    else:
        arguments = parser.parse_args(given)
    try:
        return int(arguments.run(arguments))
    except GmailError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code_of(type(error).__name__)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (`| head`) has gone; the interpreter must not complain while it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """One plain line, without the place in our code that raised it."""
    sys.stderr.write(f"Warning: {message}\n")
