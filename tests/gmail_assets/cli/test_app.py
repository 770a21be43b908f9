"""The console script: help, exit codes, errors, and the few imports of `--help`."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from gmail_assets.cli import main
from gmail_assets.cli.app import cli
from gmail_assets.cli.commands import COMMANDS
from gmail_assets.cli.exit_codes import MEANINGS, ExitCode, exit_code_of
from gmail_assets.cli.options import DERIVED_TABLES, TABLES
from gmail_client.tables import CATALOGUE
from gmail_client.views import CONTENTS, VIEWS

SLOW_IMPORTS = {
    "dagster",
    "deltalake",
    "google",
    "pyarrow",
    "pydantic",
    "pyspark",
    "requests",
    "rich",
    "starlette",
}
WITH_OUTPUT_OPTIONS = [
    "check",
    "conformance",
    "doctor",
    "login",
    "logout",
    "plan",
    "status",
    "sync",
    "verify",
]


def imported_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nsys.stderr.write('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.partition(".")[0] for name in done.stderr.split()}


def test_help_imports_nothing_slow() -> None:
    commands = [[], *([name] for name in cli.commands if name != "emulator")]
    calls = "\n".join(f"main({[*command, '--help']!r})" for command in commands)
    assert not imported_by(f"from gmail_assets.cli import main\n{calls}") & SLOW_IMPORTS


def test_nothing_of_the_main_job_imports_spark() -> None:
    assert "pyspark" not in imported_by("import gmail_assets.definitions")


def test_help_names_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == ExitCode.SUCCESS
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n  {command.name} " in text
        assert "..." not in command.get_short_help_str(limit=60), (
            "the first sentence is too long for the list"
        )
    for code in ExitCode:
        assert f"\n  {code.value} " in text
    assert list(MEANINGS) == list(ExitCode)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_help_in_80_columns(command, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    try:
        code = main([command.name, "--help"])
    except SystemExit as end:  # the emulator parses its own arguments
        code = int(end.code or 0)
    assert code == 0
    text = capsys.readouterr().out
    assert f"usage: gmail-assets {command.name}" in text.replace("Usage:", "usage:")
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("command", WITH_OUTPUT_OPTIONS)
def test_the_output_options_are_where_they_are_promised(command: str) -> None:
    options = {option for parameter in cli.commands[command].params for option in parameter.opts}
    assert {"--json", "--quiet", "--verbose"} <= options


def test_the_tables_are_the_catalogue() -> None:
    assert tuple(CATALOGUE) == TABLES
    assert (*VIEWS, CONTENTS) == DERIVED_TABLES
    assert all(table in str(cli.commands["sync"].help) for table in TABLES + DERIVED_TABLES)


def test_no_command_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == ExitCode.INVALID_INPUT
    text = capsys.readouterr().err
    assert text.startswith("Usage: gmail-assets")
    assert "Commands:" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == ExitCode.SUCCESS
    assert capsys.readouterr().out == f"gmail-assets {version('gmail-assets')}\n"


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["sycn"], "'sync'"),
        (["sync", "--mailboxes", "me"], "'--mailbox'"),
        (["sync", "mesages"], "'messages'"),
        (["verify", "--samples", "3"], "'--sample'"),
    ],
    ids=" ".join,
)
def test_mistyped_words_get_a_suggestion(
    arguments: list[str], suggestion: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == ExitCode.INVALID_INPUT
    error = capsys.readouterr().err
    assert suggestion in error
    assert "Try 'gmail-assets" in error


def test_quiet_and_verbose_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--quiet", "--verbose"]) == ExitCode.INVALID_INPUT
    assert "mutually exclusive" in capsys.readouterr().err


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
def test_exit_codes(error: str, code: ExitCode) -> None:
    assert exit_code_of(error) is code


@pytest.mark.parametrize("command", ["check", "doctor", "plan", "status", "verify"])
def test_no_colors_outside_a_terminal(command: str, run) -> None:  # type: ignore[no-untyped-def]
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
