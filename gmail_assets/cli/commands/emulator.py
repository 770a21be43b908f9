"""`gmail-assets emulator`: run the Gmail emulator."""

from __future__ import annotations

import argparse

__all__ = ["DESCRIPTION", "HELP", "NAME", "PASSES_ON", "add_arguments", "run"]

NAME = "emulator"
HELP = "run a Gmail API emulator on this machine, to try things without an account"
DESCRIPTION = HELP
PASSES_ON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing: the emulator parses its own arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Pass the arguments to the emulator's own command line."""
    from gmail_client.emulator.__main__ import main

    return int(main(arguments.rest) or 0)
