"""What all commands have in common: help that is quick and plain, documented exit codes, no colours in pipes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gmail_assets.cli import main
from gmail_assets.cli.commands import COMMANDS
from gmail_assets.cli.exit_codes import ExitCode

SLOW_IMPORTS = ("dagster", "deltalake", "pyarrow", "pydantic", "requests", "rich", "pyspark")


def test_help_imports_nothing_slow() -> None:
    code = (
        "import sys, contextlib\n"
        "from gmail_assets.cli import main\n"
        "for words in (['--help'], ['login', '--help'], ['verify', '--help']):\n"
        "    with contextlib.suppress(SystemExit): main(words)\n"
        f"print([name for name in {SLOW_IMPORTS!r} if name in sys.modules])\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.NAME)
def test_every_command_explains_itself(command, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    assert command.HELP[0].islower()
    assert not command.HELP.endswith(".")
    with pytest.raises(SystemExit) as end:
        main([command.NAME, "--help"])
    assert not end.value.code
    result = capsys.readouterr().out
    assert "usage:" in result


def test_every_exit_code_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    result = capsys.readouterr().out
    for code in ExitCode:
        assert f"\n  {int(code):<4} " in result


@pytest.mark.parametrize("command", ["check", "plan", "status", "verify"])
def test_no_colours_outside_a_terminal(command: str, run) -> None:  # type: ignore[no-untyped-def]
    result = run(command)
    assert "\x1b" not in result.out + result.err


@pytest.mark.parametrize("command", ["check", "plan", "status", "verify"])
def test_a_bad_setting_is_one_plain_error(command: str, run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("GMAIL_QUOTA", "plenty")
    result = run(command)
    assert result.code == 2
    assert "plenty" in result.err
    assert result.err.count("Fix:") == 1
    assert "Traceback" not in result.err
