"""Options that several commands share, as decorators for Click commands."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from typing import Any

import click

from gmail_assets.cli.output import Output, logged_calls

__all__ = ["DERIVED_TABLES", "TABLES", "mailbox_option", "output_options"]

TABLES = (
    "messages",
    "threads",
    "labels",
    "drafts",
    "profile",
    "settings",
    "filters",
    "forwarding_addresses",
    "send_as",
    "delegates",
)
"""The names of `gmail_client.tables.CATALOGUE`, repeated here because importing the catalogue is slow."""

DERIVED_TABLES = ("emails", "message_labels", "attachments", "attachment_contents")
"""The names of `gmail_client.views.VIEWS`, and `attachment_contents`."""

mailbox_option = click.option(
    "--mailbox",
    "mailboxes",
    multiple=True,
    metavar="ADDRESS",
    help="Mailbox: an address or `me`; repeatable. Default: those that `gmail-assets mailboxes` lists.",
)


def output_options(command: Callable[..., int]) -> Callable[..., int]:
    """Declare --json, --quiet and --verbose, and pass them as one argument `out`."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
    @click.option("--quiet", is_flag=True, help="Print errors only.")
    @click.option("--verbose", is_flag=True, help="Print more details, and log the Gmail API calls.")
    @wraps(command)
    def with_output(*args: Any, as_json: bool, quiet: bool, verbose: bool, **named: Any) -> int:
        if quiet and verbose:
            raise click.UsageError("--quiet and --verbose are mutually exclusive.")
        with logged_calls() if verbose else nullcontext():
            return command(*args, out=Output(json=as_json, quiet=quiet, verbose=verbose), **named)

    return with_output
