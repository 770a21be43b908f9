"""Take the screenshots in docs/screenshots: `python scripts/screenshots.py` (needs Chromium and chromedriver).

It runs `make demo` and `make ui` in a temporary folder and captures the terminal and pages of the Dagster UI: assets,
one asset with columns, plots and checks, the sensor with its cursor. `report.png` is what examples/mailbox_report.py
draws.
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "lib"))

from rich.console import Console  # noqa: E402
from rich.text import Text  # noqa: E402
from support.chromium import Chromium, why_not  # noqa: E402

COLUMNS = 110
REPOSITORY = "__repository__@gmail"


def _terminal(command: list[str], folder: Path) -> str:
    """Run a command in a pseudo-terminal and return its output with color codes."""
    parent, child = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "LINES": "60", "TERM": "xterm-256color"}
    with subprocess.Popen(  # noqa: S603 - our own command
        command, cwd=folder, stdout=child, stderr=child, env=environment
    ) as process:
        os.close(child)
        written = b""
        while True:
            try:
                data = os.read(parent, 65536)
            except OSError:  # Linux: the other end is closed
                break
            if not data:
                break
            written += data
    os.close(parent)
    if process.returncode:
        raise SystemExit(_shown(written.decode()).plain)
    return written.decode()


def _shown(output: str) -> Text:
    """The final content of the terminal, without lines that a live display overwrote."""
    lines = [""]
    row = 0
    for piece in re.split(r"(\x1b\[\d*A|\x1b\[2K|\x1b\[\?25[lh]|\r|\n)", output.replace("\r\n", "\n")):
        if piece == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif piece.endswith("A") and piece.startswith("\x1b["):
            row = max(row - int(piece[2:-1] or 1), 0)
        elif piece in ("\x1b[2K", "\r"):
            lines[row] = ""
        elif not piece.startswith("\x1b[?25"):
            lines[row] += piece
    return Text.from_ansi("\n".join(lines).strip("\n"))


def _capture_terminal(browser: Chromium, prompt: str, output: str, target: Path) -> None:
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115, PTH123
    console.print(Text.assemble(("$ ", "bold green"), prompt))
    console.print(_shown(output))
    console.print()  # otherwise the last line is cut off
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "terminal.svg"
        page.write_text(console.export_svg(title="gmail-assets"), "utf-8")
        browser.open(page.as_uri())
        width, height = browser.run(
            "const box = document.documentElement.viewBox.baseVal; return [box.width, box.height]"
        )
        browser.resize(int(width) + 1, int(height) + 1)
        browser.save(target)


def main() -> int:
    """Take all screenshots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", default="2000", help="messages in the mailbox of the demo")
    parser.add_argument("--target", type=Path, default=ROOT / "docs" / "screenshots", help="output folder")
    parser.add_argument("--port", default="3123", help="port of the Dagster UI")
    arguments = parser.parse_args()
    if why_not():
        raise SystemExit(why_not())
    arguments.target.mkdir(parents=True, exist_ok=True)
    demo = [sys.executable, "-m", "gmail_assets.demo"]
    with tempfile.TemporaryDirectory(prefix="gmail-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        output = _terminal([*demo, "run", "--messages", arguments.messages], folder)
        subprocess.run(  # noqa: S603 - our own command
            [
                sys.executable,
                ROOT / "examples" / "mailbox_report.py",
                folder / "lake",
                arguments.target / "report.png",
            ],
            check=True,
        )
        with Chromium(1680, 1050) as browser:
            _capture_terminal(browser, "make demo", output, arguments.target / "demo.png")
        ui = subprocess.Popen(  # noqa: S603 - our own command
            [*demo, "ui", "--port", arguments.port], cwd=folder, stdout=subprocess.PIPE, text=True
        )
        try:
            if not any(line.startswith("Ready") for line in ui.stdout or ()):
                raise SystemExit("Dagster did not start.")
            with Chromium(1680, 1050) as browser:
                _capture_dagster(browser, f"http://127.0.0.1:{arguments.port}", arguments.target)
        finally:
            ui.send_signal(signal.SIGINT)
            ui.wait(timeout=60)
    return 0


def _capture_dagster(browser: Chromium, root: str, target: Path) -> None:
    location = f"{root}/locations/{REPOSITORY}"
    pages = {
        "assets": (f"{location}/asset-groups/gmail/list", "forwarding_addresses"),
        "asset": (f"{root}/assets/gmail/messages?view=overview", "Latest check results"),
        "materialization": (f"{root}/assets/gmail/messages?view=events", "rows_written"),
        "checks": (
            f"{root}/assets/gmail/messages?view=checks&checkDetail=row_count",
            "TableSync materialization",
        ),
        "sensor": (f"{location}/sensors/gmail_changes", "Cursor"),
    }
    for name, (url, text) in pages.items():
        browser.open(url)
        browser.wait_for(text, 60)
        browser.wait_while("Loading")
        time.sleep(2)  # plots are drawn after the text
        browser.save(target / f"{name}.png")


if __name__ == "__main__":
    sys.exit(main())
