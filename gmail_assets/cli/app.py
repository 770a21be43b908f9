"""The console script `gmail-assets`: parses arguments, runs one command, returns an exit code.

Each command is a module in `gmail_assets/cli/commands`. A command imports what it needs beyond the standard library
when it runs, so `--help` is fast. Errors are printed as two lines: what happened, and the fix.
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
  0    success: every requested table is up to date
  1    failure: an unexpected error, or one that may pass with a retry
  2    invalid arguments, settings or pipeline spec
  3    no access: credentials, scope, delegation, or the Gmail API is disabled
  4    stopped cleanly before the end: run the command again
  5    sync, verify: differences between tables and mailbox that nothing explains
  130  interrupted (Ctrl-C): committed data is kept, run the command again

Credentials come from the environment, from .env, or from the file that `login` writes:
GMAIL_CLIENT_ID, GMAIL_CLIENT_SECRET and GMAIL_REFRESH_TOKEN; or GMAIL_ACCESS_TOKEN; or GMAIL_SERVICE_ACCOUNT_FILE.
GMAIL_LAKE is the location of the Delta tables: a folder, or an s3://, gs:// or abfss:// URI.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gmail-assets",
        description="Load Gmail into Delta Lake and keep it in sync: ten tables, each a Dagster asset.",
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
        argv: The arguments after the program name. None: the arguments of this process.

    Returns:
        The exit code. Invalid arguments raise SystemExit(2), as argparse does.
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
        # The reader of the output (`| head`) has closed the pipe; without this, the final flush prints a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILURE


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a Python warning as one line, without source location."""
    sys.stderr.write(f"Warning: {message}\n")
