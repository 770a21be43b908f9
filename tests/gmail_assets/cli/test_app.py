"""The console script itself: help, exit codes, and how little it imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gmail_assets.cli import main
from gmail_assets.cli.commands import COMMANDS
from gmail_assets.cli.exit_codes import ExitCode, exit_code_of

HEAVY = ("dagster", "pyarrow", "deltalake", "pyspark", "rich", "requests", "google", "pydantic", "starlette")


def imported_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nsys.stderr.write('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.partition(".")[0] for name in done.stderr.split()}


OWN_HELP = [[], *([command.NAME] for command in COMMANDS if not command.PASSES_ON)]


@pytest.mark.parametrize("command", OWN_HELP, ids=str)
def test_help_imports_nothing_heavy(command):
    statement = (
        "import contextlib\nfrom gmail_assets.cli import main\n"
        f"with contextlib.suppress(SystemExit): main({[*command, '--help']!r})"
    )
    assert not imported_by(statement).intersection(HEAVY)


def test_nothing_of_the_main_job_imports_spark():
    assert "pyspark" not in imported_by("import gmail_assets.definitions")


def test_help_names_every_command_and_exit_code(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert command.NAME in text
        assert command.HELP in " ".join(text.split())
    for code in ExitCode:
        assert f"\n  {code.value} " in text


def test_help_of_sync_lists_the_ten_tables():
    from gmail_assets.cli.commands import sync
    from gmail_client.tables import CATALOGUE

    assert f"tables: {' '.join(CATALOGUE)}" in sync.DESCRIPTION


def test_no_command_is_a_mistake(capsys):
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == ExitCode.INVALID_INPUT
    assert "usage: gmail-assets" in capsys.readouterr().err


def test_the_emulator_reads_its_own_arguments(capsys):
    with pytest.raises(SystemExit) as end:
        main(["emulator", "--help"])
    assert end.value.code == 0
    assert "--mailboxes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("OptionError", ExitCode.INVALID_INPUT),
        ("CredentialsError", ExitCode.NO_ACCESS),
        ("DelegationError", ExitCode.NO_ACCESS),
        ("DailyLimitError", ExitCode.INCOMPLETE),
        ("UnavailableError", ExitCode.FAILURE),
        ("LakeError", ExitCode.FAILURE),
        ("ZeroDivisionError", ExitCode.FAILURE),
        ("annotations", ExitCode.FAILURE),
    ],
)
def test_exit_codes(error, code):
    assert exit_code_of(error) is code
