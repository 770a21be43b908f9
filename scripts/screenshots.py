"""Take the screenshots in docs/screenshots: `python scripts/screenshots.py` (needs Chromium and chromedriver).

It runs `make demo` and `make ui` in a temporary folder and captures the pages of the Dagster UI that
tests/gmail_assets/test_dagster_ui.py checks. `report.png` is the output of examples/mailbox_report.py.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "lib"))

from support.chromium import Chromium, why_not  # noqa: E402
from support.dagster_pages import DEMO, PAGES, DagsterUi, demo_ui  # noqa: E402

WIDTH = 1600


def main() -> int:
    """Take all screenshots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", default="2000", help="messages in the mailbox of the demo")
    parser.add_argument("--target", type=Path, default=ROOT / "docs" / "screenshots", help="output folder")
    arguments = parser.parse_args()
    if why_not():
        raise SystemExit(why_not())
    arguments.target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gmail-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        subprocess.run(  # noqa: S603 - our own command
            [*DEMO, "run", "--messages", arguments.messages], cwd=folder, check=True
        )
        subprocess.run(  # noqa: S603 - our own command
            [
                sys.executable,
                ROOT / "examples" / "mailbox_report.py",
                folder / "lake",
                arguments.target / "report.png",
            ],
            check=True,
        )
        with demo_ui(folder) as ui, Chromium(WIDTH, 1000) as browser:
            _capture_dagster(browser, ui, arguments.target)
    return 0


def _capture_dagster(browser: Chromium, ui: DagsterUi, target: Path) -> None:
    for page in PAGES:
        browser.resize(WIDTH, page.height)
        page.open(browser, ui)
        time.sleep(2)  # plots are drawn after the text
        browser.save(target / f"{page.name}.png")


if __name__ == "__main__":
    sys.exit(main())
