"""`gmail-assets emulator`: serve the Gmail emulator by itself."""

from __future__ import annotations

import argparse

__all__ = ["DESCRIPTION", "HELP", "NAME", "PASSES_ON", "add_arguments", "run"]

NAME = "emulator"
HELP = "serve a Gmail emulator on this machine, for trying things without an account"
DESCRIPTION = HELP
PASSES_ON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The emulator declares its own."""


def run(arguments: argparse.Namespace) -> int:
    """Hand the arguments over to the emulator's own command line."""
    from gmail_client.emulator.__main__ import main

    return int(main(arguments.rest) or 0)
