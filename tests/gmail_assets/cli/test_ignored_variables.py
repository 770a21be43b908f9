"""Misspelled variables and lines of `.env` cause a warning."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

from gmail_assets.cli.ignored_variables import warn_of_ignored_variables


@pytest.fixture(autouse=True)
def empty_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GMAIL_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("in_file", [True, False])
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GMAIL_MAILBOX", "GMAIL_MAILBOXES"),
        ("GMAIL_UNITS_A_DAY", "GMAIL_UNITS_PER_DAY"),
        ("GMAIL_SPARK_MASTERS", "GMAIL_SPARK_MASTER"),
        ("GMAIL_SENSORS", "GMAIL_SENSOR"),
        ("GMAIL_CREDENTIAL_FILE", "GMAIL_CREDENTIALS_FILE"),
    ],
)
def test_a_misspelled_name(monkeypatch: pytest.MonkeyPatch, name: str, meant: str, in_file: bool) -> None:
    if in_file:
        Path(".env").write_text(f"{name}=secret\n", "utf-8")
    else:
        monkeypatch.setenv(name, "secret")
    with pytest.warns(UserWarning, match=f"^{name} is not a setting. Did you mean {meant}\\?$"):
        warn_of_ignored_variables()


def test_a_line_without_assignment_is_named_and_not_quoted() -> None:
    Path(".env").write_text("GMAIL_JOBS=4\nhush hush\n", "utf-8")
    with pytest.warns(UserWarning, match=r"^\.env: line 2 is not of the form NAME=value and is ignored\.$"):
        warn_of_ignored_variables()


def test_settings_and_names_of_others_cause_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "GMAIL_JOBS",
        "GMAIL_SENSOR",
        "GMAIL_REFRESH_TOKEN_ADA",
        "GMAIL_HASH_KEY",
        "GMAIL_WEBHOOK_PORT",
    ):
        monkeypatch.setenv(name, "1")
    Path(".env").write_text("# a comment\n\nexport GMAIL_LAKE=here\nOTHER=x\n", "utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_ignored_variables()
