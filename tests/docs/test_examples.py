"""The examples run on the tables of a generated mailbox."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.queries import make_lake

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.slow
def test_the_report_is_a_picture(tmp_path: Path) -> None:
    make_lake(tmp_path / "lake")
    subprocess.run(
        [sys.executable, str(EXAMPLES / "mailbox_report.py"), "lake", "report.png"],
        cwd=tmp_path,
        check=True,
        timeout=120,
    )
    picture = (tmp_path / "report.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n")
    assert len(picture) > 20_000
