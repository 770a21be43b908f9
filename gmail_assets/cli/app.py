"""The console script `gmail-assets`: a Click group of the modules in `gmail_assets/cli/commands`.

A command imports what it needs beyond Click when it runs, so `--help` is fast. Errors are printed as two lines: what
happened, and the fix.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import TextIO

import click

from gmail_assets.arrow_memory import use_system_allocator
from gmail_assets.cli.commands import COMMANDS
from gmail_assets.cli.exit_codes import MEANINGS, ExitCode, exit_code_of
from gmail_assets.cli.output import write_error
from gmail_assets.cli.unused_modules import refuse_unused_modules
from gmail_assets.process_end import ProcessEnd
from gmail_assets.syncing.gc_tuning import collected_seldom
from gmail_client.errors import GmailError
from gmail_client.project_quota import release_all

__all__ = ["cli", "main"]

PROGRAM = "gmail-assets"


class _Group(click.Group):
    """Lists commands in the order of COMMANDS, and the exit codes after them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), meaning) for code, meaning in MEANINGS.items()])
        with formatter.section("Environment"):
            formatter.write_text(
                "Credentials come from the environment, from .env, or from the file that `login` writes: "
                "GMAIL_CLIENT_ID, GMAIL_CLIENT_SECRET and GMAIL_REFRESH_TOKEN; or GMAIL_ACCESS_TOKEN; or "
                "GMAIL_SERVICE_ACCOUNT_FILE. GMAIL_LAKE is the location of the Delta tables: a folder, or an "
                "s3://, gs:// or abfss:// URI."
            )


@click.group(cls=_Group, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=PROGRAM, message="%(prog)s %(version)s")
def cli() -> None:
    """Load Gmail into Delta Lake and keep it in sync: ten tables, each a Dagster asset."""


for _command in COMMANDS:
    cli.add_command(_command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments after the program name. None: the arguments of this process.

    Returns:
        The exit code; 2 for invalid arguments.
    """
    if argv is None:
        end = ProcessEnd()
        use_system_allocator()
        warnings.showwarning = _show_warning
        refuse_unused_modules()
        with collected_seldom():
            return end.with_code(_run_and_release(argv))
    return _run_and_release(argv)


def _run_and_release(argv: Sequence[str] | None) -> int:
    try:
        return _run(argv)
    finally:
        release_all()  # a program that runs several commands in one process would keep the shares of all of them


def _run(argv: Sequence[str] | None) -> int:
    try:
        return int(cli.main(argv, PROGRAM, standalone_mode=False) or 0)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        write_error(shown.getvalue().rstrip("\n"))
        return error.exit_code
    except GmailError as error:
        write_error(str(error))
        return exit_code_of(type(error).__name__)
    except (KeyboardInterrupt, click.Abort):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of the output (`| head`) has closed the pipe; without this, the final flush prints a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILURE
    except Exception:
        # The interpreter would write the message of the exception, which may quote mail, as it is.
        write_error(traceback.format_exc().rstrip())
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
    write_error(f"Warning: {message}")
