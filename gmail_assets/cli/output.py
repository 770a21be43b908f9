"""How the commands print: results on standard output, remarks on standard error, JSON where it is asked for.

Colours appear on a terminal only (and never with NO_COLOR set).
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from gmail_assets.syncing.results import Progress

__all__ = ["Output", "add_mailbox_argument", "add_output_arguments"]

_WIDTH_OF_FILES = 200
"""Columns where the output is no terminal: nothing is cut off for want of a window."""


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --json, --quiet and --verbose."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("--quiet", action="store_true", help="print errors only; the exit code tells")
    loudness.add_argument("--verbose", action="store_true", help="say more, and log what is asked of Gmail")


def add_mailbox_argument(parser: argparse.ArgumentParser) -> None:
    """Declare --mailbox."""
    parser.add_argument(
        "--mailbox",
        action="append",
        metavar="M",
        help="an address, or `me`; may be given more than once (default: GMAIL_MAILBOXES, else GMAIL_USER_ID)",
    )


class Output:
    """Where one command's words go.

    Args:
        arguments: Parsed, with `json`, `quiet` and `verbose`.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.json: bool = arguments.json
        self.quiet: bool = arguments.quiet
        self.verbose: bool = arguments.verbose
        if self.verbose:
            logging.basicConfig(stream=sys.stderr, format="%(name)s: %(message)s")
            logging.getLogger("gmail_client").setLevel(logging.DEBUG)

    def say(self, text: Any = "", style: str | None = None) -> None:
        """A line, or a rich table, of the result as people read it."""
        if not (self.json or self.quiet):
            self._console(stderr=False).print(
                text, style=style, highlight=False, soft_wrap=True, markup=False
            )

    def table(self, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, text: int = 1) -> None:
        """A table: the first `text` columns left, the others right with thousands set apart."""
        from gmail_assets.cli.display import summary_table

        table = summary_table(columns, rows)
        for column in table.columns[:text]:
            column.justify = "left"
        if not (self.json or self.quiet):
            self._console(stderr=False).print(table)

    def remark(self, text: str) -> None:
        """A remark on standard error: what is no result, also beside JSON."""
        if not self.quiet:
            self._console(stderr=True).print(text, highlight=False, soft_wrap=True, markup=False)

    def detail(self, text: str) -> None:
        """A remark for those who asked for more."""
        if self.verbose:
            self.remark(text)

    @contextmanager
    def working(self, text: str) -> Iterator[Callable[[Progress], None]]:
        """Show on a terminal that something is being done, and how far it is as far as that is told."""
        from gmail_assets.cli.display import SyncDisplay

        with SyncDisplay(self._console(stderr=True), quiet=self.quiet, lines=False) as display:
            display.begin(text)
            yield display.progress

    def result(self, document: Mapping[str, Any]) -> None:
        """The result as JSON, where it is asked for."""
        if self.json:
            json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
            sys.stdout.write("\n")

    def _console(self, *, stderr: bool) -> Console:
        from rich.console import Console

        stream = sys.stderr if stderr else sys.stdout
        return Console(file=stream, width=None if stream.isatty() else _WIDTH_OF_FILES)
