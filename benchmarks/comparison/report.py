"""The results as a page of Markdown tables and a picture: `write_page`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.comparison.measure import Cost
from benchmarks.comparison.scenario import PHASES

__all__ = ["NAMES", "PAGE", "Results", "headline", "replace_section", "write_page"]

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"

Results = Mapping[str, Mapping[str, Sequence[Cost]]]
"""Costs by phase and program, one for each repetition."""

UNITS_PER_MINUTE = 6_000

NAMES = {
    "product": "gmail-assets",
    "google_single": "Google's client, single gets",
    "google_batch": "Google's client, batches of 50",
    "peer": "Lakeflow community connector",
}

_COLUMNS: dict[str, Callable[[Cost], float]] = {
    "units": lambda cost: cost.units,
    "minutes of quota": lambda cost: cost.units / UNITS_PER_MINUTE,
    "requests": lambda cost: cost.requests,
    "MB on the wire": lambda cost: cost.wire_mb,
    "CPU s": lambda cost: cost.cpu,
    "peak MB": lambda cost: cost.memory_mb,
    "rows missing": lambda cost: cost.missing,
    "rows wrong": lambda cost: cost.wrong,
}


def _figure(values: Sequence[float]) -> str:
    """The median, with the lowest and the highest value if they differ visibly."""
    middle, low, high = median(values), min(values), max(values)
    text = _number(middle)
    return text if _number(low) == _number(high) else f"{text} ({_number(low)}–{_number(high)})"


def _number(value: float) -> str:
    return (
        f"{value:,.0f}"
        if value >= 100 or value == int(value)
        else f"{value:.1f}"
        if value >= 1
        else f"{value:.2f}"
    )


def _table(rows: Mapping[str, Sequence[Cost]]) -> list[str]:
    lines = ["| | " + " | ".join(_COLUMNS) + " |", "|---" * (len(_COLUMNS) + 1) + "|"]
    for program, costs in rows.items():
        figures = [_figure([column(cost) for cost in costs]) for column in _COLUMNS.values()]
        lines.append(f"| {NAMES[program]} | " + " | ".join(figures) + " |")
    return [*lines, ""]


def headline(results: Results) -> str:
    """The table for the README: units by phase and program, and the mistakes of the worst phase."""
    programs = list(dict.fromkeys(program for rows in results.values() for program in rows))
    lines = ["| quota units | " + " | ".join(NAMES[program] for program in programs) + " |"]
    lines.append("|---|" + "---:|" * len(programs))
    for phase, rows in results.items():
        lines.append(
            f"| {phase} | " + " | ".join(_figure([c.units for c in rows[p]]) for p in programs) + " |"
        )
    mistakes = [
        median([max(cost.missing + cost.wrong for cost in costs) for costs in zip(*runs, strict=True)])
        for runs in ([rows[program] for rows in results.values()] for program in programs)
    ]
    lines.append("| **rows missing or wrong, worst phase** | " + " | ".join(map(_number, mistakes)) + " |")
    return "\n".join(lines)


def write_page(
    page: Path,
    picture: Path,
    results: Results,
    about: Mapping[str, Any],
    sections: Mapping[str, Sequence[str]],
) -> None:
    """Write the page and its picture; sections of the old page that were not measured stay.

    Args:
        page: The Markdown file.
        picture: The PNG file, in a subfolder of the page's folder.
        results: What was measured.
        about: Facts about the run: date, machine, versions, mailbox size, repetitions.
        sections: Further sections: lines by title.
    """
    _draw(picture, results)
    lines = [
        "# Benchmarks",
        "",
        "<!-- Written by `make bench`: do not edit. -->",
        "",
        f"`make bench` wrote this page on {about['date']}: {about['machine']}, {about['versions']}.",
        "",
        "Each program keeps the same two Delta tables, `messages` and `threads`, equal to the same mailbox of the "
        f"emulator ({about['messages']} messages, {about['repeats']}). `gmail-assets` is the command "
        "`gmail-assets sync messages threads`. The programs with Google's client are scripts as a careful user would "
        "write them: they follow the history, get changed messages and threads again, and load everything again after "
        "the history expired (`benchmarks/comparison/programs.py`). The Lakeflow community connector is the published "
        "one; `make bench PEER=folder`, with a clone of its repository, includes it.",
        "",
        "- Units are counted by the emulator at Gmail's prices. Minutes of quota: at 6,000 units a minute, the limit "
        "of one user. The limit was off in the measurement.",
        "- CPU (user and system) and memory are those of the whole process, start-up included.",
        "- Rows missing or wrong: after each run, both tables are compared with the mailbox, field by field, without "
        "history ids and without messages in spam and trash. The Lakeflow connector reads no label changes from the "
        "history, and it loses the rows of its batches, because it searches the response for the boundary of "
        "its request, but Gmail uses a different one.",
        "- A figure is the median of the repetitions, with the lowest and the highest one in brackets.",
        "",
        headline(results),
        "",
        f"![Quota units and CPU by phase]({picture.relative_to(page.parent)})",
        "",
    ]
    for phase, rows in results.items():
        lines += [f"## {phase[0].upper()}{phase[1:]}", "", *_table(rows)]
    for title, text in sections.items():
        lines += [f"## {title}", "", *text, ""]
    new = "\n".join(lines).rstrip() + "\n"
    measured = set(_sections(new))
    old = _sections(page.read_text("utf-8")) if page.exists() else {}
    phases = {f"{phase[0].upper()}{phase[1:]}" for phase in PHASES}
    page.write_text(new, "utf-8")
    for title, text in old.items():
        if title not in measured | phases:
            replace_section(page, title, [text])


def replace_section(page: Path, title: str, lines: Sequence[str]) -> None:
    """Replace one section of a page, or add it at the end."""
    text = page.read_text("utf-8")
    section = "\n".join([f"## {title}", "", *lines]).rstrip() + "\n"
    old = _sections(text).get(title)
    if old is None:
        text = f"{text.rstrip()}\n\n{section}"
    else:
        text = text.replace(f"## {title}\n{old}", section + ("\n" if old.endswith("\n\n") else ""))
    page.write_text(text, "utf-8")


def _sections(text: str) -> dict[str, str]:
    """The text below each second-level title."""
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _draw(picture: Path, results: Results) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    programs = list(dict.fromkeys(program for rows in results.values() for program in rows))
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
    panels = (
        ("Quota units (log scale)", _COLUMNS["units"], "log"),
        ("CPU seconds", _COLUMNS["CPU s"], "linear"),
    )
    for axis, (title, value, scale) in zip(axes, panels, strict=True):
        height = 0.8 / len(programs)
        for number, program in enumerate(programs):
            places = [place + number * height for place in range(len(results))]
            values = [median([value(cost) for cost in rows[program]]) for rows in results.values()]
            bars = axis.barh(places, values, height * 0.92, label=NAMES[program])
            axis.bar_label(bars, [_number(v) for v in values], fontsize=7, padding=2)
        axis.set_xscale(scale)
        axis.margins(x=0.18)
        axis.set_title(title)
        axis.set_yticks([p + 0.4 - height / 2 for p in range(len(results))], list(results))
        axis.invert_yaxis()
        axis.spines[["top", "right"]].set_visible(False)
    axes[1].set_yticklabels([])
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(programs), frameon=False
    )
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=120)
    plt.close(figure)
