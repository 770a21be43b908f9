"""How commands print: results on standard output, notes on standard error, JSON with `--json`.

Colors appear only on a terminal, and not with NO_COLOR set.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gmail_client.printable import PrintableFormatter, printable, printable_json

if TYPE_CHECKING:
    from rich.console import Console

    from gmail_assets.syncing.results import Progress

__all__ = ["Output", "logged_calls", "write_error"]

_WIDTH_WITHOUT_TERMINAL = 200
"""Columns of output to a file or pipe: wide enough that no table cell is cut off."""


@contextmanager
def logged_calls() -> Iterator[None]:
    """Log the Gmail API calls to standard error."""
    logger = logging.getLogger("gmail_client")
    level = logger.level
    # A separate file descriptor: during a run, Dagster redirects standard error to a log file.
    with os.fdopen(os.dup(2), "w", encoding="utf-8", buffering=1) as stream:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(PrintableFormatter("%(name)s: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


def write_error(text: str) -> None:
    """Write a line to standard error, also with --quiet."""
    sys.stderr.write(f"{printable(text)}\n")


class Output:
    """The output of one command.

    Args:
        json: Print the result as JSON instead of text.
        quiet: Print errors only.
        verbose: Print more details.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self.verbose = verbose

    def print(self, text: str = "", style: str | None = None) -> None:
        """Print a line of the human-readable result."""
        if not (self.json or self.quiet):
            self._console(stderr=False).print(
                printable(text), style=style, highlight=False, soft_wrap=True, markup=False
            )

    def table(self, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, text: int = 1) -> None:
        """Print a table: the first `text` columns left-aligned, the others as numbers."""
        from gmail_assets.cli.display import summary_table

        table = summary_table(columns, rows)
        for column in table.columns[:text]:
            column.justify = "left"
        if not (self.json or self.quiet):
            self._console(stderr=False).print(table)

    def note(self, text: str) -> None:
        """Print a line that is not part of the result, on standard error; also with --json."""
        if not self.quiet:
            self._console(stderr=True).print(printable(text), highlight=False, soft_wrap=True, markup=False)

    @contextmanager
    def status(self, text: str) -> Iterator[Callable[[Progress], None]]:
        """Show a live status line on a terminal; yields the progress callback."""
        from gmail_assets.cli.display import SyncDisplay

        with SyncDisplay(self._console(stderr=True), quiet=self.quiet, lines=False) as display:
            display.start(text)
            yield display.progress

    def print_json(self, document: Mapping[str, Any]) -> None:
        """Print the result as JSON, with --json only."""
        if self.json:
            sys.stdout.write(f"{printable_json(json.dumps(document, indent=2, ensure_ascii=False))}\n")

    def _console(self, *, stderr: bool) -> Console:
        from rich.console import Console

        stream = sys.stderr if stderr else sys.stdout
        return Console(file=stream, width=None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL)
