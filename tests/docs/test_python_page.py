"""The programs of docs/python.md run unchanged against an emulator."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.pages import PAGES, ROOT, blocks

import gmail_assets
import gmail_client
import gmail_client.emulator
from gmail_assets import Lake
from gmail_client.emulator import Emulator
from gmail_client.labels import HIDDEN_LABELS

PAGE = ROOT / "docs" / "python.md"
PROGRAMS = [text for language, text in blocks(PAGE) if language == "python"]


@pytest.fixture
def gmail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    for name in [name for name in os.environ if name.startswith(("GMAIL_", "DAGSTER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GMAIL_CREDENTIALS_FILE", str(tmp_path / "none.json"))
    monkeypatch.setenv("GMAIL_QUOTA", "1200000")
    with Emulator(messages=30, seed=7) as emulator:
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)
        yield emulator


def run(number: int) -> dict[str, Any]:
    scope: dict[str, Any] = {"__name__": "program"}
    exec(compile(PROGRAMS[number], f"docs/python.md, program {number + 1}", "exec"), scope)
    return scope


def test_there_are_four_short_programs() -> None:
    assert len(PROGRAMS) == 4
    assert all(sum(1 for line in text.splitlines() if line.strip()) <= 20 for text in PROGRAMS)


def test_read_a_table(gmail: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    scope = run(0)
    lines = capsys.readouterr().out.splitlines()
    labels, inbox = gmail.truth("labels"), [m for m in gmail.truth("messages") if "INBOX" in m["labelIds"]]
    assert len(lines) == len(labels) + len(inbox) + 1
    assert {line.split()[0] for line in lines[len(labels) : -1]} == {message["id"] for message in inbox}
    assert lines[-1].startswith(f"{scope['attachments'].num_rows} messages with attachments, ")


def test_follow_changes(gmail: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    run(1)
    assert capsys.readouterr().out == ""
    message = gmail.truth("messages")[0]["id"]
    gmail.mailbox().modify(message, add=["STARRED"])
    run(1)
    assert re.fullmatch(rf"updated {message} \(.*'STARRED'.*\)\n", capsys.readouterr().out)
    run(1)
    assert capsys.readouterr().out == ""
    gmail.mailbox().modify(message, remove=["STARRED"])
    gmail.expire_history()
    run(1)
    visible = [m for m in gmail.truth("messages") if HIDDEN_LABELS.isdisjoint(m["labelIds"])]
    assert capsys.readouterr().out == f"{len(visible)} messages to compare with\n"
    assert Path("history_id.txt").read_text() == gmail.mailbox().head


def test_sync_to_a_lake_without_dagster(gmail: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(2)["result"]
    assert result.complete
    assert f"{result.rows_total} messages, {result.rows_written} written" in capsys.readouterr().out
    table = Lake("lake").find("messages")
    assert table is not None
    assert table.to_pyarrow_table().num_rows == result.rows_total
    assert run(2)["result"].rows_written == 0


def test_embed_in_a_dagster_project(gmail: Emulator) -> None:
    scope = run(3)
    defs: dg.Definitions = scope["defs"]
    tables = defs.resolve_job_def("gmail_snapshots")
    with dg.DagsterInstance.ephemeral() as instance:
        assert tables.execute_in_process(instance=instance, partition_key="me").success
        derived = dg.materialize(
            [scope["unread_by_label"]], instance=instance, resources={"gmail_lake": scope["LakeResource"]()}
        )
    (event,) = derived.asset_materializations_for_node("unread_by_label")
    assert event.metadata["labels"].value == len(gmail.truth("labels"))


def public_names() -> dict[str, set[str]]:
    """The names that the page lists, by package."""
    listed = PAGE.read_text("utf-8").partition("## Public names")[2]
    return {
        package: set(re.findall(r"`(\w+)`", names))
        for package, names in re.findall(r"^- `([\w.]+)`: (.*?)(?=^- |\Z)", listed, re.DOTALL | re.MULTILINE)
    }


def test_the_page_lists_the_public_names_of_each_package_and_no_others() -> None:
    named = public_names()
    errors = set(gmail_client.errors.__all__) - {"GmailError"}
    assert named["gmail_client"] == set(gmail_client.__all__) - errors
    assert named["gmail_assets"] == set(gmail_assets.__all__)
    lakeflow = ast.parse((ROOT / "lakeflow_entry" / "__init__.py").read_text("utf-8"))
    assigned = next(node.value for node in lakeflow.body if isinstance(node, ast.Assign))
    assert named["lakeflow_entry"] == set(ast.literal_eval(assigned))
    assert named["gmail_client.emulator"] <= {*gmail_client.emulator.__all__, "__all__"}
    assert len(named) == 4


def test_pages_and_examples_import_public_names_only() -> None:
    named = public_names()
    texts = [text for page in PAGES for language, text in blocks(page) if language in ("python", "py")]
    texts += [path.read_text("utf-8") for path in sorted((ROOT / "examples").rglob("*.py"))]
    imported = [
        (node.module, alias.name)
        for text in texts
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if str(node.module).partition(".")[0] in ("gmail_client", "gmail_assets", "lakeflow_entry")
    ]
    errors = set(gmail_client.errors.__all__)
    assert len(imported) > 10
    for package, name in imported:
        assert name in named[str(package)] | (errors if package == "gmail_client" else set()), (package, name)
