"""`gmail-assets completion`: print a shell completion script."""

from __future__ import annotations

import sys

import click
from click.shell_completion import get_completion_class

from gmail_assets.cli.exit_codes import ExitCode

__all__ = ["completion"]


@click.command
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print a completion script for bash, zsh or fish.

    It completes commands, options and table names. Load it in the startup file of your shell:

    \b
      bash   eval "$(gmail-assets completion bash)"
      zsh    eval "$(gmail-assets completion zsh)"
      fish   gmail-assets completion fish | source
    """
    group = ctx.find_root()
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - Click has these three
    name = str(group.info_name)
    variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
    sys.stdout.write(kind(group.command, {}, name, variable).source())
    return ExitCode.SUCCESS
