"""The commands of `gmail-assets`, one module each, in the order in which help lists them.

A command is a module with NAME, HELP (one line), DESCRIPTION (paragraphs), PASSES_ON (whether it reads its arguments
itself, from `arguments.rest`), `add_arguments(parser)` and `run(arguments) -> exit code`. Anything slow to import is
imported in `run`.
"""

from __future__ import annotations

import argparse
from typing import Protocol, cast

from gmail_assets.commands import (
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

__all__ = ["COMMANDS", "Command"]


class Command(Protocol):
    """What a command's module offers."""

    NAME: str
    HELP: str
    DESCRIPTION: str
    PASSES_ON: bool

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; errors of `gmail_client.errors` are printed by the caller."""
        ...


COMMANDS: tuple[Command, ...] = tuple(
    cast(Command, module)
    for module in (login, check, plan, sync, status, verify, logout, emulator, bundle, completion)
)
