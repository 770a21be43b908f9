"""README and docs are correct: links have targets, commands are accepted, examples are valid."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.pages import PAGES, ROOT, blocks, commands, name, prose

from gmail_assets import GmailComponent
from gmail_assets.automation_settings import AutomationSettings
from gmail_assets.cli.app import cli
from gmail_assets.cli.exit_codes import ExitCode
from gmail_assets.run_settings import RunSettings
from gmail_assets.sensor_cursor import parse_cursor
from gmail_assets.spark_engine import EngineSettings
from gmail_client.emulator.__main__ import make_parser
from gmail_client.settings import Settings
from gmail_client.spec import Spec, SpecTable
from gmail_client.tables import CATALOGUE

FOREIGN = {
    "gcloud",
    "community-connector",
    "curl",
    "ssh",
    "export",
    "pip",
    "docker",
    "git",
    "cd",
    "databricks",
    "dg",
    "ls",
    "mkdir",
    "cp",
}
"""Programs whose options are not checked."""


def _slugs(path: Path) -> set[str]:
    """Anchors of headings, as GitHub generates them."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


LINKS = [(path, target) for path in PAGES for target in re.findall(r"\]\(([^)\s]+)\)", prose(path))]


@pytest.mark.parametrize(("page", "target"), LINKS, ids=[f"{name(page)}:{target}" for page, target in LINKS])
def test_links_have_targets(page: Path, target: str) -> None:
    if target.startswith(("https://", "mailto:")):
        return
    assert not target.startswith("http://"), "plain http"
    file, _, anchor = target.partition("#")
    there = (page.parent / file).resolve() if file else page
    assert there.exists(), f"{target} does not exist"
    if anchor:
        assert anchor in _slugs(there), f"{name(there)} has no heading {anchor!r}"


@pytest.mark.parametrize("page", [path for path in PAGES if path.parent.name == "docs"], ids=name)
def test_every_page_can_be_reached_from_the_readme(page: Path) -> None:
    assert name(page) in (ROOT / "README.md").read_text("utf-8")


SHOWN = [(path, words) for path in PAGES for words in commands(path)]


def test_there_are_commands_to_check() -> None:
    assert len(SHOWN) > 30


def _shown(page: Path, words: list[str]) -> Any:
    """A parameter of a test; Dagster's commands take more than a second each to print their help."""
    marks = [pytest.mark.slow] if words[0].startswith("dagster") else []
    return pytest.param(page, words, id=f"{name(page)}:{' '.join(words)[:60]}", marks=marks)


@pytest.mark.parametrize(("page", "words"), [_shown(page, words) for page, words in SHOWN])
def test_commands_are_understood(page: Path, words: list[str]) -> None:
    program, *arguments = words
    if program == "gmail-assets":
        _parse(arguments)
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        assert [word for word in arguments if "=" not in word and word not in targets] == []
    elif program in ("python", ".venv/bin/python", "python3"):
        assert arguments[0] == "-m" or (ROOT / arguments[0]).exists()
    elif program.startswith("dagster"):
        _check_options(program, arguments)
    else:
        assert program in FOREIGN or (ROOT / program).exists(), f"{program}?"


def _parse(arguments: list[str]) -> None:
    if arguments[0] in ("--help", "-h", "--version"):
        return
    assert arguments[0] in cli.commands, f"no command {arguments[0]!r}"
    rest = [word for word in arguments[1:] if word not in (">", "|", "source", "--help")]
    if arguments[0] == "emulator":
        make_parser().parse_args(rest)
    else:
        cli.commands[arguments[0]].make_context(arguments[0], rest)


@cache
def _help(*program: str) -> str:
    tool = Path(sys.executable).parent / program[0]
    answer = subprocess.run(
        [str(tool), *program[1:], "--help"], capture_output=True, text=True, check=True, timeout=120
    )
    return answer.stdout


def _check_options(program: str, arguments: list[str]) -> None:
    subcommands = []
    for word in arguments:
        if word.startswith("-"):
            break
        subcommands.append(word)
    help_text = _help(program, *subcommands)
    for word in arguments:
        if word.startswith("-"):
            assert re.search(rf"(?<![\w-]){word}(?![\w-])", help_text), f"{program} knows no {word}"


EXAMPLES = [(path, language, text) for path in PAGES for language, text in blocks(path)]


@pytest.mark.parametrize(
    ("page", "language", "text"),
    EXAMPLES,
    ids=[f"{name(page)}:{language or 'text'}:{text[:30]!r}" for page, language, text in EXAMPLES],
)
def test_examples_are_valid(page: Path, language: str, text: str) -> None:
    if language == "yaml":
        value = yaml.safe_load(text)
        if "objects" in value:
            Spec.parse(value)
        elif "ops" in value:
            _check_run_config(value)
        elif "attributes" in value:
            GmailComponent.get_model_cls().model_validate(value["attributes"])
    elif language == "json":
        json.loads(text)
    elif language == "python":
        compile(text, f"{page}", "exec")


def _check_run_config(value: dict[str, object]) -> None:
    import dagster as dg

    from gmail_assets.factory import gmail_definitions

    job = gmail_definitions(mailboxes=["me"]).resolve_job_def("gmail_sync")
    assert dg.validate_run_config(job, value)


def test_the_documented_sensor_cursor_is_valid() -> None:
    (cursor,) = [text for language, text in blocks(ROOT / "docs" / "dagster.md") if language == "json"]
    entries, problems = parse_cursor(cursor)
    assert entries
    assert not problems


def test_embedding_works_as_shown() -> None:
    keys, resources = [], []
    for language, text in blocks(ROOT / "docs" / "dagster.md"):
        if language == "python":
            scope: dict[str, Any] = {}
            exec(compile(text, "docs/dagster.md", "exec"), scope)
            keys.append({tuple(spec.key.path[:2]) for spec in scope["defs"].resolve_all_asset_specs()})
            resources.append(set(scope["defs"].resources))
    assert keys[0] == {("raw", "gmail")}
    assert ("reports", "top_domains") in keys[1]
    assert keys[2] == {("gmail", "home"), ("gmail", "work")}
    named = [
        {f"{name}{suffix}" for suffix in ("", "_lake", "_tables")}
        for name in ("mail", "gmail", "home", "work")
    ]
    assert resources == [named[0], named[1], named[2] | named[3]]


def test_every_variable_is_documented_and_no_other() -> None:
    settings = (Settings, AutomationSettings, EngineSettings, RunSettings)
    fields = {*(name for kind in settings for name in kind.model_fields), "credentials_file", "hash_key"}
    expected = {f"GMAIL_{name.upper()}" for name in fields}
    table = (ROOT / "docs" / "options.md").read_text("utf-8").partition("## Environment variables")[2]
    rows = [line for line in table.splitlines() if line.startswith("| `GMAIL_")]
    assert {name for row in rows for name in re.findall(r"`(GMAIL_\w+)`", row.split("|")[1])} == expected


def test_every_option_and_key_of_the_spec_is_documented() -> None:
    page = (ROOT / "docs" / "options.md").read_text("utf-8")
    options = {option for entry in CATALOGUE.values() for option in entry.options}
    for key in options | (set(SpecTable.model_fields) - {"options"}):
        assert f"`{key}`" in page, key


def test_every_command_and_exit_code_is_documented() -> None:
    page = (ROOT / "docs" / "options.md").read_text("utf-8")
    for command in cli.commands:
        assert f"`gmail-assets {command}" in page, command
    codes = page.partition("Exit codes:")[2]
    for code in ExitCode:
        assert re.search(rf"\b{int(code)} ", codes), code


def test_every_asset_check_is_documented() -> None:
    from gmail_assets.factory import gmail_definitions

    page = (ROOT / "docs" / "dagster.md").read_text("utf-8")
    names = {
        key.name
        for checks in gmail_definitions(mailboxes=["me"]).asset_checks or ()
        for key in checks.check_keys
    }
    assert len(names) > 5
    assert [name for name in names if f"`{name}`" not in page] == []


def test_tables_are_fresh() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "tables_doc.py")], capture_output=True, check=True, cwd=ROOT
    )
    assert made.stdout.decode() == (ROOT / "docs" / "tables.md").read_text("utf-8"), (
        "run `python scripts/tables_doc.py > docs/tables.md`"
    )


def test_the_benchmark_of_the_readme_is_that_of_its_page() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    start = page.index("| quota units |")
    table = page[start : page.index("![", start)].strip()
    assert table in (ROOT / "README.md").read_text("utf-8")
