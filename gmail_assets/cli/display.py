"""What a sync shows in a terminal: a live line while it runs, a line for each finished table, a summary.

Totals come from the mailbox's own counts (getProfile) and the plan made from its listings, never from
`resultSizeEstimate`. Where the output is no terminal, only finished lines are written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
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

if TYPE_CHECKING:
    from gmail_assets.syncing.results import Progress as SyncProgress
    from gmail_assets.syncing.results import SyncResult

__all__ = ["SyncDisplay", "size_text", "summary_table", "undiverted"]


class _Count(ProgressColumn):
    """`1,240/2,000` and how many a second."""

    def render(self, task: Task) -> Text:
        """The column's text."""
        done = f"{task.completed:,.0f}"
        text = f"{done}/{task.total:,.0f}" if task.total else done
        return Text(f"{text}  {task.speed:,.0f}/s" if task.speed else text)


class SyncDisplay:
    """A `Reporter` that draws. Use it as a context manager; quiet, it draws nothing.

    Args:
        console: Where to (standard error, so that results can be piped).
        quiet: Show nothing.
        lines: Write a line for each mailbox and finished table; without it only warnings.
    """

    def __init__(self, console: Console, *, quiet: bool = False, lines: bool = True) -> None:
        self._quiet = quiet
        self._lines = lines and not quiet
        self._live = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
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

    def mailbox(self, name: str) -> None:
        """The next mailbox begins."""
        self.begin(f"{name}: asking Gmail")
        if self._lines:
            self._say(Text(name, style="bold"))

    def begin(self, text: str) -> None:
        """Something begins of which no number is known yet."""
        self._live.reset(self._task, description=text, total=None, units="", visible=True)

    def progress(self, progress: SyncProgress) -> None:
        """Messages and threads are so far."""
        self._live.update(
            self._task,
            description=progress.phase,
            completed=progress.done,
            total=progress.total,
            units=f"{progress.units:,} units",
            visible=True,
        )

    def finished(self, table: str, result: SyncResult) -> None:
        """One table is done."""
        counts = {"new": result.rows_written, "changed": result.rows_updated, "removed": result.rows_deleted}
        changes = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count) or "nothing new"
        if self._lines:
            self._say(f"  {table:<21} {result.rows_total:>10,} rows   {changes}")
        for warning in result.warnings:
            text = warning.splitlines()[0]
            self._say(Text(text if text.startswith(table) else f"{table}: {text}", style="yellow"))

    def _say(self, line: str | Text) -> None:
        if not self._quiet:
            self._live.console.print(line, highlight=False, soft_wrap=True)


def undiverted(stream: TextIO) -> Console:
    """A console on the terminal behind `stream`, by a descriptor of its own.

    While a step runs, Dagster diverts the process's own descriptors into the step's log and copies them back later:
    a live line would fill that log, and arrive out of order.
    """
    if not stream.isatty():
        return Console(file=stream)
    return Console(file=os.fdopen(os.dup(stream.fileno()), "w", encoding="utf-8", buffering=1))


def size_text(size: float) -> str:
    """Bytes in a unit that fits, for example `3.1 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def summary_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Table:
    """A plain table: the first column left, numbers right with thousands set apart."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*[_cell(row.get(column)) for column in columns])
    return table


def _cell(value: Any) -> str | Text:
    if value is None:
        return ""
    if isinstance(value, Text):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.1f}" if isinstance(value, float) else str(value)
