"""Every benchmark, one after the other, each in a separate process: `make bench-all`.

    python -m benchmarks [NAME ...]

One benchmark with other sizes: `python -m benchmarks.first_load --help`.
"""

from __future__ import annotations

import os
import pkgutil
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

_NO_BENCHMARK = {"__main__", "comparison", "emulator_load"}
"""Parts of others: `page` runs the comparison."""


def main() -> int:
    names = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])]
    names = [
        name for name in names if name not in _NO_BENCHMARK and (not sys.argv[1:] or name in sys.argv[1:])
    ]
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}",
        flush=True,
    )
    failed = []
    for name in names:
        print(f"\n== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
