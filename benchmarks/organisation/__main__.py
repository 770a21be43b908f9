"""Measure a whole organization: first loads, idle mailboxes, changes, failing mailboxes, use of the quota.

    python -m benchmarks.organisation [PHASE ...] [--mailboxes 200] [--messages 100] [--idle 500] [--project 60000]

The emulator runs in a separate process, with Gmail's limits per user and in flight, in real time. The project's units
per minute are scaled down to what emulator and program can serve on the same machine. After each phase, all rows of
messages and threads are compared with the emulator; the exit code is 1 if they differ or a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from datetime import UTC, datetime

from benchmarks.organisation.phases import PHASES, Sizes


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.organisation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("phases", nargs="*", metavar="PHASE", help=f"{', '.join(PHASES)}; default: all")
    sizes = Sizes()
    parser.add_argument("--mailboxes", type=int, default=sizes.mailboxes)
    parser.add_argument("--messages", type=int, default=sizes.messages)
    parser.add_argument("--idle", type=int, default=sizes.idle)
    parser.add_argument("--project", type=int, default=sizes.project)
    parser.add_argument("--minutes", type=float, default=sizes.minutes)
    given = parser.parse_args()
    if unknown := set(given.phases) - PHASES.keys():
        parser.error(f"unknown phase: {', '.join(sorted(unknown))}")
    sizes = Sizes(given.mailboxes, given.messages, given.idle, given.project, given.minutes)
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}, {sizes}"
    )
    missed = False
    for name in given.phases or PHASES:
        print(f"\n| {name} | measured | goal |\n|---|---|---|", flush=True)
        for figure in PHASES[name](sizes):
            goal = figure.goal + ("" if figure.reached is not False else " **missed**")
            print(f"| {figure.name} | {figure.value} | {goal} |", flush=True)
            missed |= figure.reached is False
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
