"""The documentation site (`make docs`): built without warnings, with search; broken links fail the build."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.pages import ROOT

pytestmark = pytest.mark.slow


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)],
        cwd=source,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_all_pages_exist_and_are_searchable(tmp_path: Path) -> None:
    done = build(ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    index = json.loads((tmp_path / "search" / "search_index.json").read_text("utf-8"))
    locations = {entry["location"].partition("#")[0].strip("/") for entry in index["docs"]}
    assert locations >= {path.stem for path in (ROOT / "docs").glob("*.md")} | {
        "contributing",
        "changelog",
        "",
    }
    home = (tmp_path / "index.html").read_text("utf-8")
    assert "make demo" in home
    assert 'href="dagster/"' in home
    assert 'src="screenshots/report.png"' in home
    assert (tmp_path / "files" / "examples" / "mailbox_report.py").is_file()
    outside = [name for name in ("googleapis", "cdn.", "unpkg") if name in home]
    assert outside == []


@pytest.mark.parametrize(
    ("line", "warning"),
    [("[gone](nowhere.md)", "nowhere.md"), ("[gone](dagster.md#no-such-heading)", "no-such-heading")],
)
def test_a_broken_link_fails_the_build(tmp_path: Path, line: str, warning: str) -> None:
    copy = tmp_path / "copy"
    for name in ("docs", "scripts", "examples", "pipeline-spec"):
        shutil.copytree(ROOT / name, copy / name)
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE", "mkdocs.yml"):
        shutil.copy(ROOT / name, copy / name)
    with (copy / "docs" / "quota.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{line}\n")
    done = build(copy, tmp_path / "site")
    assert done.returncode != 0
    assert warning in done.stderr
