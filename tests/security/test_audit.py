"""The audit of the dependencies: packages that could not be looked up fail it, and CI reports them."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CLEAN = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "no index"}
VULNERABLE = {"name": "c", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}


@pytest.mark.parametrize(
    ("packages", "code", "expected"),
    [
        ([CLEAN], 0, "1 of 1 packages looked up, 0 advisories"),
        ([CLEAN, VULNERABLE], 1, "c 2: PYSEC-1, fixed in 3"),
        ([CLEAN, SKIPPED], 1, "b could not be looked up"),
        ([SKIPPED], 3, ""),
        ([], 3, ""),
    ],
)
def test_the_verdict(
    packages: list[dict[str, Any]], code: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = runpy.run_path(str(ROOT / "scripts" / "audit"))["verdict"]
    assert verdict("x.lock", packages) == code
    assert expected in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("tests_pass", [True, False])
@pytest.mark.parametrize(("audit", "expected"), [(3, "NOT audited"), (0, ""), (1, "failed: scripts/audit")])
def test_ci_says_that_nothing_was_audited(
    tmp_path: Path, tests_pass: bool, audit: int, expected: str
) -> None:
    for name, text in {
        "bin/make": f"exit {0 if tests_pass else 1}",
        "bin/java": "",
        "bin/chromedriver": "",
        "bin/nginx": "",
        ".venv/bin/python": f'case "$1" in scripts/audit) exit {audit};; esac; exit 1',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    done = subprocess.run(
        ["bash", tmp_path / ".ci" / "run"],
        env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SLOW_TESTS_SECONDS": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode == 0) == (tests_pass and audit != 1), done.stderr
    output = done.stdout + done.stderr
    assert expected in output
    assert ("NOT audited" in output) == (audit == 3)


def test_every_dependency_has_an_upper_bound_and_ruff_looks_for_security() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"].get("optional-dependencies", {}).values()
    groups = project.get("dependency-groups", {}).values()
    listed = [*project["project"]["dependencies"], *(one for group in (*extras, *groups) for one in group)]
    own = project["project"]["name"]
    open_ended = [
        one
        for one in listed
        if isinstance(one, str) and not one.startswith(own) and "<" not in one and "==" not in one
    ]
    assert len(listed) > 20
    assert open_ended == []
    assert "S" in project["tool"]["ruff"]["lint"]["select"]
