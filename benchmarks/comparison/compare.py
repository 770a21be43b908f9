"""Runs the programs against one emulator: `compare` through all phases, `first_loads` for several mailbox sizes.

All programs run against the same mailbox, one after the other, after each change to it.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.comparison.measure import Cost, FirstLoad, measure, mistakes
from benchmarks.comparison.report import NAMES
from benchmarks.comparison.scenario import PHASES
from gmail_client.emulator import EmulatorProcess

__all__ = ["compare", "first_loads"]


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


def first_loads(programs: Sequence[str], messages: int, repeats: int) -> dict[str, list[FirstLoad]]:
    """First loads of one mailbox by all programs in turn.

    Args:
        programs: Names from `PROGRAMS`.
        messages: Size of the mailbox.
        repeats: Number of repetitions, each with its own mailbox.

    Returns:
        The loads by program.
    """
    loads: dict[str, list[FirstLoad]] = {name: [] for name in programs}
    for repeat in range(repeats):
        with EmulatorProcess(messages=messages, seed=1 + repeat) as gmail:
            for name in programs:
                with tempfile.TemporaryDirectory() as folder:
                    cost = measure(name, Path(folder), gmail)
                    stored = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
                loads[name].append(FirstLoad(cost, stored / 1e6))
                print(
                    f"first load of {messages:,} messages  {NAMES[name]:<32} {cost.units:>9,} units "
                    f"{cost.cpu:>6.1f} CPU s {cost.memory_mb:>6.0f} MB {cost.seconds:>7.1f} s",
                    flush=True,
                )
    return loads
