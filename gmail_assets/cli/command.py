"""What the module of a command offers: `Command`."""

from __future__ import annotations

import argparse
from typing import Protocol

__all__ = ["Command"]


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
