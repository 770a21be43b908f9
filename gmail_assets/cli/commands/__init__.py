"""The commands of `gmail-assets`: one module each, in the order of `--help`.

A command module has NAME, HELP (one line), DESCRIPTION (paragraphs), PASSES_ON (whether it parses its arguments
itself, from `arguments.rest`), `add_arguments(parser)` and `run(arguments) -> exit code`. `run` imports whatever is
slow to import.
"""

from __future__ import annotations

from typing import cast

from gmail_assets.cli.command import Command
from gmail_assets.cli.commands import (
    bundle,
    check,
    completion,
    emulator,
    login,
    logout,
    plan,
    status,
    sync,
    verify,
)

__all__ = ["COMMANDS"]

COMMANDS: tuple[Command, ...] = tuple(
    cast(Command, module)
    for module in (login, check, plan, sync, status, verify, logout, emulator, bundle, completion)
)
