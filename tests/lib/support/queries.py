"""The queries of docs/querying.md: taken from the page, and run against a lake of a generated mailbox."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

from rich.cells import cell_len

from gmail_assets.delta.lake import Lake
from gmail_assets.syncing import snapshot, sync
from gmail_assets.views import ViewSources, derive
from gmail_client.client import GmailClient
from gmail_client.emulator import Emulator
from gmail_client.settings import Settings
from gmail_client.spec import Spec

__all__ = [
    "PAGE",
    "Question",
    "engine_blocks",
    "evaluate",
    "make_lake",
    "questions",
    "rendered",
    "setup_blocks",
]

PAGE = Path(__file__).resolve().parents[3] / "docs" / "querying.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

Rows = tuple[list[str], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Question:
    """One question of the page: its heading, the SQL, the Python blocks (Polars first), the result as text."""

    heading: str
    sql: str
    python: list[str]
    result: str


def setup_blocks(page: str) -> list[str]:
    """The Python blocks before the first question."""
    return [code for kind, code in _BLOCK.findall(page.split("\n## 1.")[0]) if kind == "python"]


def questions(page: str) -> list[Question]:
    """The questions, in their order."""
    found = []
    for section in re.split(r"^## (?=\d+\.)", page, flags=re.MULTILINE)[1:]:
        section = section.split("\n## ")[0]
        blocks = _BLOCK.findall(section)
        (sql,) = (code for kind, code in blocks if kind == "sql")
        (result,) = (code for kind, code in blocks if kind == "text")
        python = [code for kind, code in blocks if kind == "python"]
        found.append(Question(section.partition("\n")[0], sql, python, result))
    return found


def engine_blocks(page: str) -> list[str]:
    """The Python blocks of the section on other engines."""
    section = page.split("\n## Other engines\n")[1]
    return [code for kind, code in _BLOCK.findall(section) if kind == "python"]


def make_lake(folder: Path) -> None:
    """Write `messages`, `labels` and the derived tables of a generated mailbox."""
    with Emulator(messages=300, seed=1) as gmail, mock.patch.dict(os.environ):
        for name in [name for name in os.environ if name.startswith("GMAIL_")]:
            del os.environ[name]
        os.environ.update(gmail.environment())
        mailbox = GmailClient.from_settings(Settings(quota="1200000")).mailbox("me")
        spec, lake = Spec.default(), Lake(str(folder))
        messages, labels = spec.table("messages"), spec.table("labels")
        assert messages is not None
        assert labels is not None
        sync(mailbox, lake, [messages])
        snapshot(mailbox, lake, labels)
        derive(lake, mailbox.address, ViewSources.of(spec))


def evaluate(code: str, names: dict[str, Any]) -> Any:
    """Run a block and return the value of its last expression."""
    tree = ast.parse(code)
    last = tree.body.pop()
    exec(compile(tree, "<block>", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "<block>", "eval"), names)
    exec(compile(ast.Module([last], []), "<block>", "exec"), names)
    return None


def rendered(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A result as aligned text."""
    cells = [list(columns), *([_text(value) for value in row] for row in rows)]
    widths = [max(cell_len(row[n]) for row in cells) for n in range(len(columns))]
    numeric = [bool(rows) and isinstance(rows[0][n], int | float | Decimal) for n in range(len(columns))]
    lines = []
    for row in cells:
        padded = []
        for text, width, right in zip(row, widths, numeric, strict=True):
            space = " " * (width - cell_len(text))
            padded.append(space + text if right else text + space)
        lines.append("  ".join(padded).rstrip())
    return "\n".join([*lines, ""])


def _text(value: Any) -> str:
    if isinstance(value, timedelta):
        value = timedelta(seconds=round(value.total_seconds()))
    return " ".join(str("" if value is None else value).split())
