"""Measure this product and other ways to copy a mailbox, and write docs/benchmarks.md: `make bench`.

    python -m benchmarks.page [SECTION ...] [--messages 2000] [--repeats 3] [--programs NAME ...] [--print-only]

Each section is written when it is measured, so that an interrupted run keeps the finished ones. The sections are:

{sections}

With PEER=<clone of the Lakeflow community connectors>, their Gmail connector is measured too. Spark needs Java.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.comparison.compare import compare, first_loads
from benchmarks.comparison.programs import PROGRAMS
from benchmarks.comparison.report import (
    comparison_lines,
    draw_comparison,
    draw_growth,
    growth_lines,
    latency_lines,
)

__all__ = [
    "INTRODUCTION",
    "README",
    "SECTIONS",
    "Measured",
    "Section",
    "Sizes",
    "measure",
    "update_page",
    "update_readme",
]

_ROOT = Path(__file__).parents[1]
README = _ROOT / "README.md"
_PAGE = "docs/benchmarks.md"
_PICTURES = "screenshots"

INTRODUCTION = """# Benchmarks

<!-- Written by `make bench`: do not edit. -->

What this product costs, compared with other ways to copy a mailbox: units of Gmail's quota, CPU, memory, traffic and
time, and how they grow. All of it is measured against [the emulator](emulator.md), not against Gmail. `make bench`
measures everything in about 35 minutes on two cores, `make bench SECTIONS="growth quota"` some sections
(`.venv/bin/python -m benchmarks.page --help` lists them). Each section says when and on what it was measured.
"""


@dataclass(frozen=True)
class Sizes:
    """Sizes of a run.

    Attributes:
        programs: Names from `PROGRAMS`.
        messages: Messages of the mailbox that is compared.
        repeats: Number of repetitions.
    """

    programs: Sequence[str]
    messages: int = 2_000
    repeats: int = 3


@dataclass(frozen=True)
class Measured:
    """The result of a section.

    Attributes:
        lines: Its text.
        pictures: Functions that draw its pictures into a PNG file, by path relative to the page.
    """

    lines: Sequence[str]
    pictures: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)


_GROWTH = {5_000: 3, 20_000: 2, 80_000: 2}
"""Number of first loads by messages."""
_LARGEST_OF_OTHERS = 20_000
_LATENCY_MESSAGES = 200
_LATENCIES_MS = (0.0, 30.0)


def _comparison(sizes: Sizes) -> Measured:
    results = compare(sizes.programs, sizes.messages, sizes.repeats)
    picture = f"{_PICTURES}/benchmarks.png"
    lines = comparison_lines(results, sizes.messages, sizes.repeats, picture)
    return Measured(lines, {picture: lambda path: draw_comparison(path, results)})


def _latency(sizes: Sizes) -> Measured:
    found = {
        latency: compare(sizes.programs, _LATENCY_MESSAGES, sizes.repeats, latency)
        for latency in _LATENCIES_MS
    }
    return Measured(latency_lines(found, _LATENCY_MESSAGES))


def _growth(sizes: Sizes) -> Measured:
    programs = [name for name in sizes.programs if name != "google_single"]
    loads = {
        messages: first_loads(
            [name for name in programs if name == "product" or messages <= _LARGEST_OF_OTHERS],
            messages,
            repeats,
        )
        for messages, repeats in _GROWTH.items()
    }
    picture = f"{_PICTURES}/benchmarks-growth.png"
    lines = growth_lines(loads, picture, _LARGEST_OF_OTHERS)
    return Measured(lines, {picture: lambda path: draw_growth(path, loads)})


def _changes(sizes: Sizes) -> Measured:
    from benchmarks.changes import section

    return Measured(section())


def _quota(sizes: Sizes) -> Measured:
    from benchmarks.organisation.phases import Sizes as OrganizationSizes
    from benchmarks.organisation.phases import quota

    figures = quota(OrganizationSizes(minutes=3.0))
    for figure in figures:
        print(f"{figure.name}: {figure.value}", flush=True)
    lines = [
        "Six mailboxes in one process, `gmail-assets sync messages threads`, against the emulator with Gmail's limits "
        "per user (6,000 units a minute, requests in flight), in real time: a large first load, small ones, and a "
        "mailbox that catches up with its history. The share is that of the units that the quota allowed from a "
        "mailbox's first unit to its last. Short loads are above 100 %, because Gmail allows a burst at their start.",
        "",
        "| | measured | goal |",
        "|---|---|---|",
        *(
            f"| {figure.name} | {figure.value} | {figure.goal}{' **missed**' if figure.reached is False else ''} |"
            for figure in figures
        ),
    ]
    return Measured(lines)


def _spark(sizes: Sizes) -> Measured:
    from benchmarks.spark import section

    return Measured(section())


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        title: Its heading.
        measure: Measures it.
        about: What is measured, and how long it takes.
    """

    title: str
    measure: Callable[[Sizes], Measured]
    about: str


SECTIONS = {
    "comparison": Section(
        "Compared with other programs", _comparison, "all programs through six phases (8 minutes)"
    ),
    "latency": Section("Latency", _latency, "their wall-clock times at 0 and 30 ms (6 minutes)"),
    "growth": Section("Larger mailboxes", _growth, "first loads of up to 80,000 messages (9 minutes)"),
    "changes": Section(
        "Changes in a large mailbox", _changes, "label changes in 100,000 messages (6 minutes)"
    ),
    "quota": Section("Use of the quota", _quota, "the share of the allowed units that is used (5 minutes)"),
    "spark": Section("Spark", _spark, "rows for Spark, compared with Row objects (2 minutes)"),
}
"""The sections by name, in the order of the page."""


def update_page(page: Path, title: str, lines: Sequence[str]) -> None:
    """Replace one section of the page; the others stay, in the order of `SECTIONS`, and unknown ones are dropped."""
    text = page.read_text("utf-8") if page.exists() else ""
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    bodies = dict(zip(parts[1::2], parts[2::2], strict=True)) | {title: "\n".join(lines)}
    known = [section.title for section in SECTIONS.values() if section.title in bodies]
    sections = [f"## {one}\n\n{bodies[one].strip()}\n" for one in known]
    page.write_text("\n".join([INTRODUCTION, *sections]), "utf-8")


def update_readme(readme: Path, lines: Sequence[str], messages: int) -> None:
    """Replace the table of units in the README, and the size of the mailbox above it."""
    text = readme.read_text("utf-8")
    table = "\n".join(line for line in _first_table(lines))
    text = re.sub(r"^\| quota units .*\n(\|.*\n)+", lambda _: f"{table}\n", text, count=1, flags=re.MULTILINE)
    text = re.sub(r"(of a mailbox of )[\d,]+(\s+messages in sync)", rf"\g<1>{messages:,}\g<2>", text, count=1)
    readme.write_text(text, "utf-8")


def _first_table(lines: Sequence[str]) -> list[str]:
    rows = "\n".join(lines).splitlines()
    start = next(number for number, row in enumerate(rows) if row.startswith("|"))
    end = next(number for number in range(start, len(rows)) if not rows[number].startswith("|"))
    return rows[start:end]


def _measured_on() -> str:
    """Date, machine and versions."""
    versions = ", ".join(
        f"{name} {version(name)}"
        for name in ("gmail-assets", "deltalake", "pyarrow", "google-api-python-client")
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=_ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    return (
        f"*Measured on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, {versions}{f', commit {commit}' if commit else ''}.*"
    )


def measure(sections: Mapping[str, Section], sizes: Sizes, root: Path | None) -> list[str]:
    """Measure sections and print each; write it, its pictures and the table of the README if there is a `root`.

    Args:
        sections: The sections by name.
        sizes: Sizes of the run.
        root: Root of the repository to write to; None: write no file.

    Returns:
        Names of the sections that failed; their errors are printed.
    """
    failed = []
    for name, section in sections.items():
        started = time.monotonic()
        print(f"\n== {name}: {section.about}", flush=True)
        try:
            measured = section.measure(sizes)
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        lines = [_measured_on(), "", *measured.lines]
        print("\n".join(["", *lines, "", f"{name}: {time.monotonic() - started:.0f} s"]), flush=True)
        if root is None:
            continue
        page = root / _PAGE
        for picture, draw in measured.pictures.items():
            draw(page.parent / picture)
        update_page(page, section.title, lines)
        if name == "comparison":
            update_readme(root / README.name, lines, sizes.messages)
    return failed


def main() -> int:
    listed = "\n".join(f"- {name}: {section.about}" for name, section in SECTIONS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.page",
        description=(__doc__ or "").format(sections=listed),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)}; default: all")
    parser.add_argument("--messages", type=int, default=Sizes.messages)
    parser.add_argument("--repeats", type=int, default=Sizes.repeats)
    parser.add_argument("--programs", nargs="*", choices=sorted(PROGRAMS), help="default: all")
    parser.add_argument(
        "--print-only",
        action="store_true",
        help="write no files: neither docs/benchmarks.md, its pictures nor README.md",
    )
    options = parser.parse_args()
    if unknown := set(options.sections) - SECTIONS.keys():
        parser.error(f"unknown section: {', '.join(sorted(unknown))}")
    programs = options.programs or [name for name in PROGRAMS if name != "peer" or os.environ.get("PEER")]
    sizes = Sizes(programs, options.messages, options.repeats)
    failed = measure(
        {name: SECTIONS[name] for name in options.sections or SECTIONS},
        sizes,
        None if options.print_only else _ROOT,
    )
    if failed:
        print(f"failed, their old sections stay: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
