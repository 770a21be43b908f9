"""The completion scripts are valid for their shells and complete commands, options and tables."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gmail_assets.cli import main
from gmail_assets.cli.app import cli


def _script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """`gmail-assets` as an executable of these sources."""
    path = tmp_path / "gmail-assets"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gmail_assets.cli "$@"\n', "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["ver"], {"verify"}),
        ([""], set(cli.commands)),
        (["login", "--no"], {"--no-browser"}),
        (["sync", "th"], {"threads"}),
        (["completion", "z"], {"zsh"}),
    ],
)
def test_bash_completes(
    typed: list[str], offered: set[str], program: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = " ".join(f"'{word}'" for word in ["gmail-assets", *typed])
    script = _script("bash", capsys)
    request = (
        f"{script}\nCOMP_WORDS=({words}); COMP_CWORD={len(typed)}\n"
        "_gmail_assets_completion gmail-assets; echo ${COMPREPLY[@]}"
    )
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(
        ["bash", "-c", request], capture_output=True, text=True, check=True, env=environment, timeout=60
    )
    assert set(result.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_accepts_its_script(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = _script(shell, capsys)
    assert "_GMAIL_ASSETS_COMPLETE" in script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(script, "utf-8")
    subprocess.run([shell, "-n", str(path)], check=True)
