"""The completion scripts are understood by their shells and offer what there is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gmail_assets.cli import main
from gmail_assets.cli.commands import COMMANDS


def _script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["gmail-assets", "ver"], {"verify"}),
        (["gmail-assets", ""], {command.NAME for command in COMMANDS}),
        (["gmail-assets", "login", "--no"], {"--no-browser"}),
        (["gmail-assets", "sync", "th"], {"threads"}),
        (["gmail-assets", "completion", "z"], {"zsh"}),
    ],
)
def test_bash_completes(typed: list[str], offered: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = " ".join(f"'{word}'" for word in typed)
    script = _script("bash", capsys)
    asked = (
        f"{script}\nCOMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; _gmail_assets; echo ${{COMPREPLY[@]}}"
    )
    answer = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert set(answer.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_reads_its_script(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = _script(shell, capsys)
    for command in COMMANDS:
        assert command.NAME in script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(script, "utf-8")
    subprocess.run([shell, "-n", str(path)], check=True)
