"""Refusals while a snapshot is read: an error, never fewer or poorer rows than the stored ones."""

from __future__ import annotations

from typing import Any

import pytest
from support.fake_gmail import error_response
from support.hostile import recorded, serve

from gmail_client.errors import ForbiddenError
from gmail_client.options import TableOptions
from gmail_client.snapshots import SETTINGS_PARTS, read_snapshot

PARTS = [f"settings/{part}" for part in SETTINGS_PARTS]


def rows_of(table: str, refused: set[str], warnings: list[str] | None = None) -> list[dict[str, Any]]:
    """The rows of a table if these paths are forbidden."""
    mailbox = serve(lambda path, document: error_response(403, "forbidden") if path in refused else document)
    note = (lambda text: None) if warnings is None else warnings.append
    return [row for page in read_snapshot(mailbox.api, table, TableOptions(), note) for row in page]


def items(table: str) -> list[str]:
    return sorted(path for path in recorded() if path.startswith(f"{table}/"))


@pytest.mark.parametrize("table", ["labels", "drafts"])
def test_an_account_that_may_read_no_item_may_not_read_the_table(table: str) -> None:
    assert len(items(table)) > 1
    with pytest.raises(ForbiddenError):
        rows_of(table, set(items(table)))


@pytest.mark.parametrize("table", ["labels", "drafts"])
def test_one_item_that_can_be_read_is_enough(table: str) -> None:
    warnings: list[str] = []
    rows = rows_of(table, set(items(table)[1:]), warnings)
    assert [row["id"] for row in rows] == [row["id"] for row in recorded()[table][table]]
    assert len(warnings) == len(rows) - 1


def test_settings_without_any_part_are_refused() -> None:
    with pytest.raises(ForbiddenError):
        rows_of("settings", set(PARTS))
    (row,) = rows_of("settings", set(PARTS[1:]))
    assert [part for part in SETTINGS_PARTS if row[part] is not None] == [SETTINGS_PARTS[0]]
