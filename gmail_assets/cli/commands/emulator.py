"""`gmail-assets emulator`: run the Gmail emulator."""

from __future__ import annotations

import click

__all__ = ["emulator"]


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
    short_help="Run a Gmail API emulator on this machine.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def emulator(arguments: tuple[str, ...]) -> int:
    """Run the emulator, which parses its own arguments."""
    from gmail_client.emulator.__main__ import main

    return main(arguments, prog="gmail-assets emulator")
