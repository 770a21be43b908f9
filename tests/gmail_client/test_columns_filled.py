"""Every declared column, at any depth, has a value in some row of the emulator's richest mailbox."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pytest
from support.rich_mailbox import enrich

from gmail_client.auth.credentials import Credentials
from gmail_client.client import GmailClient, Mailbox
from gmail_client.emulator import Emulator
from gmail_client.options import TableOptions
from gmail_client.quota import preset
from gmail_client.reads import read_pages
from gmail_client.schema import json_row
from gmail_client.tables import CATALOGUE
from gmail_client.unknown_fields import COLUMN

NEVER = {
    # One type for a message in all tables; Gmail's threads.get has no format raw.
    "threads": {"messages.raw"},
}
"""Columns that Gmail never fills, besides the one for fields that it may add in the future."""


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with Emulator(messages=60, seed=3, mean_json_kb=3.0) as gmail:
        enrich(gmail)
        token = gmail.access_token(delegated=True)  # without delegation, `delegates` can't be read
        client = GmailClient(Credentials.of(access_token=token), quota=preset("1200000"), api_root=gmail.url)
        yield client.mailbox()


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_column_is_filled(mailbox: Mailbox, name: str) -> None:
    formats = ("full", "raw") if name in ("messages", "drafts") else ("full",)
    found: set[str] = set()
    for form in formats:
        options = TableOptions(format=form)
        for page in read_pages(mailbox.api, name, options):
            for row in page:
                found |= set(_filled(json_row(name, row)))
    declared = set(_declared(CATALOGUE[name].schema))
    assert declared - found == {COLUMN} | NEVER.get(name, set())


def _declared(fields: Iterable[pa.Field], before: str = "") -> Iterator[str]:
    for field in fields:
        yield f"{before}{field.name}"
        kind = field.type
        while pa.types.is_list(kind):
            kind = kind.value_type
        if pa.types.is_struct(kind):
            yield from _declared([kind.field(at) for at in range(kind.num_fields)], f"{before}{field.name}.")


def _filled(row: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in row.items():
        if value is None or value == []:
            continue
        yield f"{before}{name}"
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Mapping):
                yield from _filled(item, f"{before}{name}.")
