"""Tables fit into a terminal of 80 columns, even for a mailbox of a million messages."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta
from types import ModuleType

import click
import pytest

from gmail_assets.cli.commands import plan, status, verify
from gmail_assets.cli.output import Output
from gmail_assets.operations.plan import MailboxPlan, TableCost
from gmail_assets.operations.status import MailboxStatus, TableStatus
from gmail_assets.operations.verdicts import LabelVerdict, MailboxVerdict, TableVerdict
from gmail_client.quota import preset
from gmail_client.tables import CATALOGUE

ADDRESS = "ada.lovelace@example.com"
MANY = 1_234_567


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    found = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert len(found) > 3
    return found


def module(command: click.Command) -> ModuleType:
    return importlib.import_module(f"gmail_assets.cli.commands.{command.name}")


@pytest.mark.parametrize(
    "mode", ["first load", "unfinished load", "reconciliation", "changes since the last sync"]
)
def test_plan(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = MailboxPlan(
        ADDRESS,
        preset("current"),
        address=ADDRESS,
        messages=MANY,
        threads=MANY,
        tables={name: TableCost(mode, MANY, MANY, MANY, MANY) for name in CATALOGUE},
        content_units=20 * MANY,
    )
    module(plan)._print_plans(Output(verbose=False), [made, made])
    assert max(map(len, lines(capsys)[:4])) <= 80
    module(plan)._print_details(Output(), made)
    assert max(map(len, lines(capsys)[2:])) <= 80


def test_status(capsys: pytest.CaptureFixture[str]) -> None:
    changed = datetime.now(UTC) - timedelta(minutes=59)
    table = TableStatus(MANY, MANY, 12_345_678_901, MANY, changed=changed, materialized=changed)
    found = MailboxStatus("me", ADDRESS, ADDRESS, MANY, tables=dict.fromkeys(CATALOGUE, table))
    module(status)._print_status(Output(), found, alone=True)
    assert max(len(line) for line in lines(capsys) if "  " in line) <= 80


def test_verify(capsys: pytest.CaptureFixture[str]) -> None:
    table = TableVerdict(MANY, MANY, MANY, MANY, MANY, MANY, MANY, MANY, MANY, MANY)
    label = LabelVerdict("Label_1", "A label with a rather long name", MANY, MANY, MANY, MANY)
    verdict = MailboxVerdict("me", ADDRESS, {"messages": table, "threads": table}, [label])
    module(verify)._print_verdict(Output(), verdict)
    tables = [line for line in lines(capsys) if "  " in line]
    assert max(map(len, tables)) <= 80
    assert any(line.startswith("unfetched") for line in tables)
