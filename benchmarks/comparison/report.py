"""The results as sections of Markdown tables, and as pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.comparison.measure import Cost, FirstLoad
from benchmarks.emulator_load import LIMITING_SHARE

__all__ = [
    "NAMES",
    "Results",
    "comparison_lines",
    "draw_comparison",
    "draw_growth",
    "growth_lines",
    "headline",
    "latency_lines",
]

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


def comparison_lines(results: Results, messages: int, repeats: int, picture: str) -> list[str]:
    """The section of the comparison in Markdown.

    Args:
        results: What was measured.
        messages: Size of the mailbox.
        repeats: Number of repetitions.
        picture: The picture's path, relative to the page.
    """
    times = "once" if repeats == 1 else f"{repeats} repetitions, each with another mailbox"
    lines = [
        "Each program keeps the same two Delta tables, `messages` and `threads`, equal to the same mailbox of the "
        f"emulator ({messages:,} messages, {times}), while the mailbox changes. `gmail-assets` is the command "
        "`gmail-assets sync messages threads`. The programs with Google's client are scripts as a careful user would "
        "write them: they follow the history, get changed messages and threads again, and load everything again after "
        "the history expired (`benchmarks/comparison/programs.py`). The Lakeflow community connector is the published "
        "one; `make bench PEER=folder`, with a clone of its repository, includes it.",
        "",
        headline(results),
        "",
        f"![Quota units and CPU by phase]({picture})",
        "",
        "How to read it:",
        "",
        "- Units are counted by the emulator at Gmail's prices. Minutes of quota: at 6,000 units a minute, the limit "
        "of one user. The limit is off in the measurement.",
        "- CPU (user and system) and memory are those of the whole process, start-up included.",
        "- Rows missing or wrong: after each run, both tables are compared with the mailbox, field by field, without "
        "history ids and without messages in spam and trash. The Lakeflow connector reads no label changes from the "
        "history, and it loses the rows of its batches, because it searches the response for the boundary of "
        "its request, but Gmail uses a different one.",
        "- A figure is the median of the repetitions, with the lowest and the highest one in brackets.",
        "",
        "Where `gmail-assets` needs at least a tenth more than the best other program:",
        "",
        *_worse(results),
        "",
    ]
    for phase, rows in results.items():
        lines += [f"### {phase[0].upper()}{phase[1:]}", "", *_table(rows)]
    return lines


_REASONS = {
    "units": "a program that does not read a change does not pay for it, either.",
    "requests": "a batch has at most 20 calls, because Gmail refuses larger ones; the scripts send 50.",
    "MB on the wire": "",
    "CPU s": "each sync also checks leases, sync states and commits of other writers. Programs that write nothing, or "
    "that miss rows, need less.",
    "peak MB": "a chunk of up to 1,000 messages or 16 MB of JSON is held parsed and as Arrow.",
}
"""Why this product may need more than another program, by column."""

_VISIBLE = 1.1
"""Ratio from which a figure counts as worse."""


def _worse(results: Results) -> list[str]:
    """Where this product needs visibly more than another program."""
    lines = []
    for name, reason in _REASONS.items():
        column = _COLUMNS[name]
        found = []
        for phase, rows in results.items():
            medians = {program: median([column(cost) for cost in costs]) for program, costs in rows.items()}
            own = medians.pop("product", 0.0)
            best = min(medians, key=lambda program: medians[program], default=None)
            if best is not None and own > _VISIBLE * medians[best]:
                found.append(f"{phase} {_number(own)} ({NAMES[best]}: {_number(medians[best])})")
        if found:
            lines.append(f"- **{name}**: {'; '.join(found)}." + (f" Why: {reason}" if reason else ""))
    return lines or ["- Nowhere by more than a tenth."]


def growth_lines(
    loads: Mapping[int, Mapping[str, Sequence[FirstLoad]]], picture: str, largest_of_others: int
) -> list[str]:
    """The section of larger mailboxes in Markdown: first loads by size and program.

    Args:
        loads: First loads by number of messages and program.
        picture: The picture's path, relative to the page.
        largest_of_others: The largest mailbox that other programs load.
    """
    lines = [
        "First loads, start-up included. MB on disk: both tables. "
        f"Above {largest_of_others:,} messages, only `gmail-assets` is measured. Median, lowest and highest of "
        + ", ".join(f"{len(rows['product'])} loads of {size:,}" for size, rows in loads.items())
        + ".",
        "",
        "| messages | | units | CPU s | CPU ms a message | peak MB | MB on disk |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    for size, rows in loads.items():
        for program, found in rows.items():
            costs = [load.cost for load in found]
            figures = (
                _figure([cost.units for cost in costs]),
                _figure([cost.cpu for cost in costs]),
                _figure([cost.cpu / size * 1000 for cost in costs]),
                _figure([cost.memory_mb for cost in costs]),
                _figure([load.disk_mb for load in found]),
            )
            lines.append(f"| {size:,} | {NAMES[program]} | {' | '.join(figures)} |")
    return [*lines, "", f"![CPU and memory by size of the mailbox]({picture})"]


def latency_lines(by_latency: Mapping[float, Results], messages: int) -> list[str]:
    """The section of wall-clock times in Markdown: one table for each latency.

    Args:
        by_latency: Results by the minimum milliseconds of a request.
        messages: Size of the mailbox.
    """
    lines = [
        f"Wall-clock seconds without a quota, for a mailbox of {messages:,} messages, start-up included. Under Gmail's "
        "quota, the minutes of quota above are the lower bound of everybody.",
    ]
    for latency_ms, results in by_latency.items():
        programs = list(next(iter(results.values())))
        lines += [
            "",
            f"Each request takes at least {latency_ms:g} ms:",
            "",
            "| | " + " | ".join(NAMES[name] for name in programs) + " |",
            "|---|" + "---:|" * len(programs),
        ]
        for phase, rows in results.items():
            cells = (
                _figure([cost.seconds for cost in rows[name]]) + _limited(rows[name]) for name in programs
            )
            lines.append(f"| {phase} | " + " | ".join(cells) + " |")
    every = [
        cost
        for results in by_latency.values()
        for rows in results.values()
        for c in rows.values()
        for cost in c
    ]
    most = max(cost.emulator_share for cost in every)
    lines += [
        "",
        f"The emulator used at most {most:.0%} of a core during a run"
        + (
            f"; \\* marks runs with more than {LIMITING_SHARE:.0%}, in which it may have been the bottleneck."
            if most > LIMITING_SHARE
            else ", so it was not the bottleneck."
        ),
        "",
        "`gmail-assets` sends batches of at most 20 calls, two at a time, because Gmail refuses more calls in flight "
        "([quota](quota.md)). The script sends 50, one batch at a time; the emulator has no such limit here.",
    ]
    return lines


def _limited(costs: Sequence[Cost]) -> str:
    return " \\*" if max(cost.emulator_share for cost in costs) > LIMITING_SHARE else ""


def draw_comparison(picture: Path, results: Results) -> None:
    """Draw units and CPU by phase and program into a PNG file."""
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


def draw_growth(picture: Path, loads: Mapping[int, Mapping[str, Sequence[FirstLoad]]]) -> None:
    """Draw CPU and memory of first loads by the size of the mailbox into a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
    panels: tuple[tuple[str, Callable[[Cost], float]], ...] = (
        ("CPU seconds of a first load", lambda cost: cost.cpu),
        ("Peak memory in MB", lambda cost: cost.memory_mb),
    )
    programs = list(dict.fromkeys(program for rows in loads.values() for program in rows))
    for axis, (title, value) in zip(axes, panels, strict=True):
        for program in programs:
            sizes = [size for size, rows in loads.items() if program in rows]
            values = [median([value(load.cost) for load in loads[size][program]]) for size in sizes]
            axis.plot(sizes, values, marker="o", label=NAMES[program])
        axis.set_title(title)
        axis.set_xlabel("messages")
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)
        axis.xaxis.set_major_formatter(lambda number, _: f"{number:,.0f}")
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(programs), frameon=False
    )
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=120)
    plt.close(figure)
