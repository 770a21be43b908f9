"""The interface of a command module: `Command`."""

from __future__ import annotations

import argparse
from typing import Protocol

__all__ = ["Command"]


class Command(Protocol):
    """A module in `gmail_assets/cli/commands`."""

    NAME: str
    HELP: str
    DESCRIPTION: str
    PASSES_ON: bool

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare arguments and options."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Run the command and return the exit code; the caller prints errors of `gmail_client.errors`."""
        ...
