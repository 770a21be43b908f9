"""Compare this product with other ways to copy a mailbox into Delta, and write docs/benchmarks.md.

    python -m benchmarks.comparison [--messages 5000] [--repeats 3] [--programs NAME ...] [--growth SIZE ...]

All programs run against the same mailbox of one emulator, one after the other, after each of six changes to it. With
PEER=<clone of the Lakeflow community connectors>, their Gmail connector is measured too.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.comparison.measure import Cost, measure, mistakes
from benchmarks.comparison.programs import PROGRAMS
from benchmarks.comparison.report import NAMES, PAGE, headline, replace_section, write_page
from benchmarks.comparison.scenario import PHASES
from gmail_client.emulator import EmulatorProcess

GROWTH = "Larger mailboxes"
_LARGEST_OF_OTHERS = 20_000


def compare(
    programs: Sequence[str], messages: int, repeats: int, latency_ms: float = 0.0
) -> dict[str, dict[str, list[Cost]]]:
    """Run all programs through all phases.

    Args:
        programs: Names from `PROGRAMS`.
        messages: Size of the mailbox.
        repeats: Number of repetitions, each with its own mailbox and lakes.
        latency_ms: Minimum milliseconds of each request.

    Returns:
        Costs by phase and program, one for each repetition.
    """
    results: dict[str, dict[str, list[Cost]]] = {phase: {name: [] for name in programs} for phase in PHASES}
    for repeat in range(repeats):
        with (
            EmulatorProcess(messages=messages, seed=1 + repeat, latency_ms=latency_ms) as gmail,
            tempfile.TemporaryDirectory() as lakes,
        ):
            chance = random.Random(repeat)
            for phase, change in PHASES.items():
                change(gmail, chance)
                for name in programs:
                    folder = Path(lakes) / name
                    folder.mkdir(exist_ok=True)
                    cost = measure(name, folder, gmail)
                    missing, wrong = mistakes(folder, gmail)
                    cost = replace(cost, missing=missing, wrong=wrong)
                    results[phase][name].append(cost)
                    print(
                        f"{phase:<30} {NAMES[name]:<32} {cost.units:>9,} units {cost.requests:>7,} requests "
                        f"{cost.wire_mb:>7.1f} MB {cost.cpu:>6.1f} CPU s {cost.memory_mb:>6.0f} MB "
                        f"{cost.seconds:>7.1f} s  missing {missing}, wrong {wrong}",
                        flush=True,
                    )
    return results


def growth_of(programs: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """First loads of larger mailboxes, once each, as a table; of the largest ones by this product alone."""
    lines = [
        f"First loads on {datetime.now(UTC):%Y-%m-%d}, start-up included. MB on disk: both tables.",
        "",
        "| first load | | units | CPU s | CPU ms a message | peak MB | MB on disk |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for size in sizes:
        with EmulatorProcess(messages=size, seed=1) as gmail:
            for name in programs:
                if name != "product" and size > _LARGEST_OF_OTHERS:
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    cost = measure(name, Path(folder), gmail)
                    stored = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
                lines.append(
                    f"| {size:,} messages | {NAMES[name]} | {cost.units:,} | {cost.cpu:.1f} | "
                    f"{cost.cpu / size * 1000:.2f} | {cost.memory_mb:,.0f} | {stored / 1e6:,.0f} |"
                )
                print(lines[-1], flush=True)
    return lines


def elapsed(
    results: Mapping[str, Mapping[str, Sequence[Cost]]], messages: int, latency_ms: float
) -> list[str]:
    """Wall-clock seconds at a latency, as a table."""
    programs = list(next(iter(results.values())))
    lines = [
        f"Wall-clock seconds without a quota, for a mailbox of {messages:,} messages, when each request takes "
        f"{latency_ms:g} ms at least. Under Gmail's quota, the minutes above are the lower bound.",
        "",
        "| | " + " | ".join(NAMES[name] for name in programs) + " |",
        "|---|" + "---:|" * len(programs),
    ]
    for phase, rows in results.items():
        lines.append(
            f"| {phase} | " + " | ".join(f"{rows[name][0].seconds:,.1f}" for name in programs) + " |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=5_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--latency-ms", type=float, default=30.0, help="0: do not measure it")
    parser.add_argument("--programs", nargs="*", choices=sorted(PROGRAMS))
    parser.add_argument("--growth", nargs="*", type=int, default=[5_000, 20_000, 80_000])
    parser.add_argument(
        "--only-growth", action="store_true", help="measure first loads only, replace their section"
    )
    parser.add_argument("--print-only", action="store_true", help="do not write docs/benchmarks.md")
    options = parser.parse_args()
    programs = options.programs or [name for name in PROGRAMS if name != "peer" or os.environ.get("PEER")]
    if options.only_growth:
        growth = growth_of([n for n in programs if n != "google_single"], options.growth)
        if not options.print_only:
            replace_section(PAGE, GROWTH, growth)
        return
    results = compare(programs, options.messages, options.repeats)
    sections: dict[str, list[str]] = {}
    if options.growth:
        sections[GROWTH] = growth_of([n for n in programs if n != "google_single"], options.growth)
    if options.latency_ms:
        small = options.messages // 5
        slow = compare(programs, small, 1, options.latency_ms)
        sections["Latency"] = elapsed(slow, small, options.latency_ms)
    print("\n" + headline(results))
    if options.print_only:
        return
    about = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "versions": ", ".join(
            f"{name} {version(name)}" for name in ("deltalake", "pyarrow", "google-api-python-client")
        ),
        "messages": f"{options.messages:,}",
        "repeats": "once"
        if options.repeats == 1
        else f"{options.repeats} repetitions, each with another mailbox",
    }
    write_page(PAGE, PAGE.parent / "screenshots" / "benchmarks.png", results, about, sections)
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
