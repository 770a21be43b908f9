"""Minimization in a sync: excluded values are in no file of the lake; changed exclusions and labels take effect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.chaos import client_of
from support.lake import assert_lake_equals_mailbox, stored_rows
from support.matrix import slow_except
from support.traces import files_naming

from gmail_assets.delta.lake import Lake
from gmail_assets.operations.plan import plan_mailbox
from gmail_assets.operations.verify import verify_mailbox
from gmail_assets.syncing import SyncResult, snapshot, sync
from gmail_assets.views import ViewSources, derive
from gmail_client.emulator import Emulator
from gmail_client.minimize import HASH_KEY
from gmail_client.spec import Spec, SpecTable

SENDER = "mallory@shady.example"
MAIL = (
    b"From: Mallory <mallory@shady.example>\r\nTo: ada.ashdown@gmail.test\r\nSubject: hello\r\n"
    b"Message-ID: <%d@shady.example>\r\n\r\nUNIQUE-BODY-%d"
)

CONFIGURATIONS: list[dict[str, Any]] = [
    {"excludeColumns": "snippet, payload.body"},
    {"excludeColumns": "payload"},
    {"excludeFrom": SENDER},
    {"excludeFrom": "@shady.example", "hash": "addresses"},
    {"excludeLabels": "UNREAD, STARRED"},
    {"excludeLabels": "UNREAD", "labelIds": "INBOX", "excludeColumns": "snippet"},
]


def specs(**configuration: Any) -> list[SpecTable]:
    return [
        SpecTable.parse({"source_table": table, "table_configuration": configuration})
        for table in ("messages", "threads")
    ]


@pytest.fixture
def gmail(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    monkeypatch.setenv(HASH_KEY, "k" * 32)
    with Emulator(messages=40, seed=5) as emulator:
        for number in range(3):
            emulator.mailbox().insert(MAIL % (number, number), ["INBOX"])
        yield emulator


def run(gmail: Emulator, lake: Lake, tables: list[SpecTable], **named: Any) -> dict[str, SyncResult]:
    return sync(client_of(gmail).mailbox(), lake, tables, pipeline=tables, **named)


def assert_verified(gmail: Emulator, lake: Lake, tables: list[SpecTable]) -> None:
    assert_lake_equals_mailbox(lake, gmail, tables)
    spec = Spec.default().model_copy(update={"tables": tuple(tables), "views": ()})
    verdict = verify_mailbox(client_of(gmail).mailbox(), lake, spec, sample=60, thorough=True)
    assert not verdict.examples
    assert all(table.missing == table.extra == table.differing == 0 for table in verdict.tables.values())


@pytest.mark.parametrize("configuration", slow_except(CONFIGURATIONS, CONFIGURATIONS[:1]))
def test_a_load_and_its_changes(gmail: Emulator, lake: Lake, configuration: dict[str, Any]) -> None:
    tables = specs(**configuration)
    run(gmail, lake, tables)
    assert_verified(gmail, lake, tables)
    mailbox = gmail.mailbox()
    first, second, *_ = [row["id"] for row in gmail.truth("messages")]
    mailbox.insert(MAIL % (9, 9), ["INBOX"])
    mailbox.insert(mailbox.random_mail(), ["INBOX", "UNREAD"])
    mailbox.modify(first, add=["STARRED", "UNREAD"])
    mailbox.modify(second, add=["STARRED"], remove=["UNREAD"])
    results = run(gmail, lake, tables)
    assert {result.mode for result in results.values()} == {"incremental"}
    assert_verified(gmail, lake, tables)
    mailbox.modify(first, remove=["STARRED", "UNREAD"])
    run(gmail, lake, tables)
    assert_verified(gmail, lake, tables)
    results = run(gmail, lake, tables, reconcile=True)
    assert sum(result.rows_written + result.rows_deleted for result in results.values()) == 0
    assert_verified(gmail, lake, tables)


def test_excluded_values_are_in_no_file(gmail: Emulator, lake: Lake) -> None:
    folder = Path(lake.uri)
    data = "VU5JUVVFLUJPRFkt"  # base64 of UNIQUE-BODY-
    tables = specs(excludeColumns="snippet, payload.body")
    run(gmail, lake, tables)
    assert files_naming(folder, data) == files_naming(folder, "UNIQUE-BODY") == []
    assert files_naming(folder, SENDER)
    derive(lake, gmail.addresses[0], ViewSources.of(Spec.default()))
    emails = [row for row in stored_rows(lake, "emails") if row["from_email"] == SENDER]
    assert len(emails) == 3
    assert all(row["body_text"] is None and row["snippet"] is None for row in emails)


def test_hashed_addresses_join_across_tables_and_are_in_no_file(gmail: Emulator, lake: Lake) -> None:
    tables = specs(hash="addresses", excludeColumns="snippet, payload.body")
    run(gmail, lake, tables)
    for table in ("send_as", "settings", "profile"):
        options = {"hash": "addresses", **({"excludeColumns": "signature"} if table == "send_as" else {})}
        spec = SpecTable.parse({"source_table": table, "table_configuration": options})
        snapshot(client_of(gmail).mailbox(), lake, spec)
    assert files_naming(Path(lake.uri), SENDER) == []
    address = gmail.addresses[0]
    derive(lake, address, ViewSources.of(Spec.default()))
    (profile,) = stored_rows(lake, "profile")
    (settings,) = stored_rows(lake, "settings")
    own = profile["emailAddress"]
    assert own == settings["emailAddress"]
    assert own.endswith("@hashed.invalid")
    senders = {row["from_email"] for row in stored_rows(lake, "emails")}
    assert own in senders
    assert all(sender is None or sender.endswith("@hashed.invalid") for sender in senders)


def test_changed_exclusions_take_effect(gmail: Emulator, lake: Lake) -> None:
    run(gmail, lake, specs())
    for configuration, fetched in (
        ({"excludeLabels": "UNREAD"}, False),
        ({"excludeColumns": "snippet"}, True),
        ({"excludeFrom": SENDER}, True),
        ({}, True),
    ):
        tables = specs(**configuration)
        results = run(gmail, lake, tables)
        assert "incremental" not in {result.mode for result in results.values()}
        assert bool(results["messages"].rows_written) is fetched, configuration
        assert_verified(gmail, lake, tables)


def test_tables_with_and_without_exclusions_share_no_content(gmail: Emulator, lake: Lake) -> None:
    messages, _ = specs(excludeColumns="snippet, payload.body")
    _, threads = specs()
    run(gmail, lake, [messages])
    gmail.usage.reset()
    run(gmail, lake, [messages, threads])
    assert gmail.usage.units["threads.get"] + gmail.usage.units["messages.get"] > 40
    assert_lake_equals_mailbox(lake, gmail, [messages, threads])
    # With the same exclusions, the tables share content.
    _, threads = specs(excludeColumns="payload.body, snippet")
    run(gmail, lake, [messages, threads])
    gmail.usage.reset()
    run(gmail, lake, [messages, threads], full_refresh=False)
    assert not gmail.usage.units["messages.get"]


def test_a_plan_prices_what_the_sync_then_costs(gmail: Emulator, lake: Lake) -> None:
    tables = specs(excludeFrom=SENDER, excludeLabels="STARRED", excludeColumns="snippet")
    mailbox = client_of(gmail).mailbox()
    spec = Spec.default().model_copy(update={"tables": tuple(tables), "views": ()})
    plan = plan_mailbox(mailbox, lake, spec)
    gmail.usage.reset()
    run(gmail, lake, tables)
    fetched = gmail.usage.units["messages.get"] + gmail.usage.units["threads.get"]
    assert 0 < fetched <= plan.content_units
    assert_lake_equals_mailbox(lake, gmail, tables)
