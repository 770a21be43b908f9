"""Terminal output of a sync: a live progress line and one line for each finished table.

Totals come from the mailbox's counts (getProfile) and from its listings, never from `resultSizeEstimate`. Without a
terminal, only the lines of finished tables are written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from gmail_client.printable import printable_line

if TYPE_CHECKING:
    from gmail_assets.syncing.results import Progress as SyncProgress
    from gmail_assets.syncing.results import SyncResult

__all__ = ["SyncDisplay", "size_text", "summary_table", "terminal_console"]


class _Console(Console):
    """A console whose reader may close the pipe (`2>&1 | head`): the sync continues without output.

    Rich would end the thread that prints, which is the thread of the mailbox.
    """

    def on_broken_pipe(self) -> None:
        """Print nothing more."""
        self.quiet = True


class _Count(ProgressColumn):
    """Completed and total items, and items per second: `1,240/2,000  310/s`."""

    def render(self, task: Task) -> Text:
        """Render the column."""
        done = f"{task.completed:,.0f}"
        text = f"{done}/{task.total:,.0f}" if task.total else done
        return Text(f"{text}  {task.speed:,.0f}/s" if task.speed else text)


class SyncDisplay:
    """A `Reporter` that draws progress on a console. Use it as a context manager.

    Args:
        console: The console; usually standard error, so that results can be piped.
        quiet: Draw nothing.
        lines: Write a line for each mailbox and finished table. False: only the live line and warnings.
    """

    def __init__(self, console: Console, *, quiet: bool = False, lines: bool = True) -> None:
        self._quiet = quiet
        self._lines = lines and not quiet
        self._live = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            _Count(),
            TextColumn("{task.fields[units]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._live.add_task("", total=None, units="", visible=False)

    def __enter__(self) -> SyncDisplay:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def start_mailbox(self, name: str) -> None:
        """Show that work on this mailbox starts."""
        self.start(f"{name}: connecting to Gmail")
        if self._lines:
            self._print(name, style="bold")

    def start(self, text: str) -> None:
        """Show a phase without a known total."""
        self._live.reset(self._task, description=printable_line(text), total=None, units="", visible=True)

    def progress(self, progress: SyncProgress) -> None:
        """Update the live line (`Reporter.progress`)."""
        if progress.phase == "stopping":
            self._print("Stopping after the fetched data is written. Press Ctrl-C again to stop immediately.")
            return
        self._live.update(
            self._task,
            description=printable_line(progress.phase),
            completed=progress.done,
            total=progress.total,
            units=f"{progress.units:,} units",
            visible=True,
        )

    def finished(self, table: str, result: SyncResult) -> None:
        """Write the line of a finished table (`Reporter.finished`)."""
        if self._lines:
            self._print(f"  {table:<21} {result.rows_total:>10,} rows   {_changes([result])}")
        for warning in result.warnings:
            text = warning.splitlines()[0]
            self._print(text if text.startswith(table) else f"{table}: {text}", style="yellow")

    def mailbox_finished(
        self, mailbox: str, results: Mapping[str, SyncResult], error: Exception | None
    ) -> None:
        """Write the line of a finished mailbox (`Reporter.mailbox_finished`)."""
        rows = sum(result.rows_total for result in results.values())
        if self._lines:
            outcome = "failed" if error is not None else _changes(results.values())
            self._print(f"{mailbox:<40} {rows:>10,} rows   {outcome}", style="red" if error else "")
        for table, result in results.items():
            for warning in result.warnings:
                self._print(f"{mailbox}: {table}: {warning.splitlines()[0]}", style="yellow")

    def _print(self, line: str, style: str = "") -> None:
        if not self._quiet:
            self._live.console.print(Text(printable_line(line), style=style), soft_wrap=True)


def _changes(results: Iterable[SyncResult]) -> str:
    """New, changed and deleted rows, for example `3 new, 1 deleted`."""
    found = list(results)
    counts = {
        "new": sum(result.rows_written for result in found),
        "changed": sum(result.rows_updated for result in found),
        "deleted": sum(result.rows_deleted for result in found),
    }
    return ", ".join(f"{count:,} {word}" for word, count in counts.items() if count) or "no changes"


def terminal_console(stream: TextIO) -> Console:
    """A console that writes to the terminal of `stream` through a separate file descriptor.

    While a step runs, Dagster redirects the process's standard output and error to the step's log. A live line would
    fill that log and appear late on the terminal.
    """
    if not stream.isatty():
        return _Console(file=stream)
    return _Console(file=os.fdopen(os.dup(stream.fileno()), "w", encoding="utf-8", buffering=1))


def size_text(size: float) -> str:
    """Format a size in bytes, for example `3.1 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def summary_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, text: int = 1) -> Table:
    """A table without borders: the first `text` columns left-aligned, the others right-aligned, thousands separated."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < text else "right")
    for row in rows:
        table.add_row(*[_cell(row.get(column)) for column in columns])
    return table


def _cell(value: Any) -> Text:
    if isinstance(value, Text):
        value.plain = printable_line(value.plain)
        return value
    if isinstance(value, int | float):
        return Text(f"{value:,.1f}" if isinstance(value, float) else f"{value:,}")
    # Text, not a string: rich would read markup in it.
    return Text("" if value is None else printable_line(str(value)))
