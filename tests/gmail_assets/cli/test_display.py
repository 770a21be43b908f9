"""The output of a sync in a terminal and in a pipe."""

from __future__ import annotations

import os
from contextlib import suppress
from io import StringIO

import pytest
from rich.console import Console

from gmail_assets.cli.display import SyncDisplay, size_text, summary_table, terminal_console
from gmail_assets.syncing import Progress, SyncResult
from gmail_assets.syncing.progress import current_reporter, reporting


def shown(*, terminal: bool, quiet: bool = False, lines: bool = True) -> str:
    out = StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, color_system=None)
    with SyncDisplay(console, quiet=quiet, lines=lines) as display:
        display.start_mailbox("ada@gmail.test")
        display.progress(Progress("fetching", done=1240, total=2000, rows=1240, units=24_800))
        display._live.refresh()
        display.finished(
            "messages",
            SyncResult(
                "messages",
                "ada@gmail.test",
                "full_load",
                rows_written=2000,
                rows_total=2000,
                warnings=["odd\nFix: x"],
            ),
        )
    return out.getvalue()


def test_a_terminal_shows_rows_total_units_and_then_the_result():
    text = shown(terminal=True)
    assert "1,240/2,000" in text
    assert "24,800 units" in text
    assert "2,000 new" in text


def test_a_pipe_gets_only_finished_lines():
    text = shown(terminal=False)
    assert "1,240" not in text
    assert text.splitlines()[0] == "ada@gmail.test"
    assert "2,000 new" in text
    assert "messages: odd" in text


def test_a_pipe_that_its_reader_closes_stops_nothing():
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w", buffering=1)
    with SyncDisplay(terminal_console(stream)) as display:
        display.start_mailbox("ada@gmail.test")
        display.finished("labels", SyncResult("labels", "ada@gmail.test", "snapshot"))
    with suppress(BrokenPipeError):
        stream.close()


def test_without_lines_only_warnings():
    assert shown(terminal=False, lines=False).strip() == "messages: odd"


@pytest.mark.parametrize("terminal", [True, False])
def test_an_interrupted_run_says_at_once_that_it_writes_what_it_has(terminal):
    out = StringIO()
    with SyncDisplay(Console(file=out, force_terminal=terminal, width=100, color_system=None)) as display:
        display.progress(Progress("stopping"))
        output = out.getvalue()
    assert "Stopping after the fetched data is written. Press Ctrl-C again to stop immediately." in output


def test_quiet_is_quiet():
    assert shown(terminal=True, quiet=True).strip() == ""


def test_text_from_outside_is_not_markup():
    out = StringIO()
    with SyncDisplay(Console(file=out, width=100)) as display:
        display.finished("labels", SyncResult("labels", "a@b", "snapshot", warnings=["[bold]x[/nonsense]"]))
    assert "[bold]x[/nonsense]" in out.getvalue()


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (3_080_002, "3.1 MB"), (5e12, "5000.0 GB")],
)
def test_sizes(size, text):
    assert size_text(size) == text


def test_a_summary_has_thousands_separators():
    out = StringIO()
    table = summary_table(
        ["table", "rows", "seconds"], [{"table": "messages", "rows": 12345, "seconds": 1.25}]
    )
    Console(file=out, width=80).print(table)
    assert out.getvalue().split() == ["table", "rows", "seconds", "messages", "12,345", "1.2"]


def test_a_reporter_exists_only_in_its_context():
    display = SyncDisplay(Console(file=StringIO()))
    assert current_reporter() is None
    with reporting(display):
        assert current_reporter() is display
    assert current_reporter() is None
