"""Listings report their progress, with totals from Gmail's counts, and are read again if they are cut short."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.chaos import client_of

from gmail_assets.delta.lake import Lake
from gmail_assets.operations.plan import plan_mailbox
from gmail_assets.operations.verify import verify_mailbox
from gmail_assets.syncing import sync
from gmail_assets.syncing.results import Progress, SyncResult
from gmail_client.emulator import Emulator, Fault
from gmail_client.spec import Spec, SpecTable

PAGE = 10


@pytest.fixture
def gmail() -> Iterator[Emulator]:
    with Emulator(messages=90, seed=4) as emulator:
        yield emulator


def mail(**options: str) -> Spec:
    tables = [
        {"source_table": name, "table_configuration": {"maxResults": PAGE, **options}}
        for name in ("messages", "threads")
    ]
    return Spec.parse({"objects": [{"table": table} for table in tables]})


def assert_reported(reported: list[Progress], name: str, total: int | None) -> None:
    listed = [one for one in reported if one.phase == f"listing {name}"]
    assert len(listed) > 2
    for one, other in pairwise(listed):
        assert one.done < other.done
        assert one.units < other.units
    assert {one.total for one in listed} == {total}
    assert total is None or listed[-1].done <= total


def test_plan_sync_and_verify_report_their_progress(gmail: Emulator, tmp_path: Path) -> None:
    mailbox, lake, spec = client_of(gmail).mailbox(), Lake(str(tmp_path / "lake")), mail()
    profile = mailbox.api.profile()
    messages, threads = int(profile["messagesTotal"]), int(profile["threadsTotal"])
    reported: list[Progress] = []
    plan_mailbox(mailbox, lake, spec, progress=reported.append)
    assert_reported(reported, "messages", messages)
    reported.clear()
    sync(mailbox, lake, spec.tables, progress=reported.append)
    assert_reported(reported, "messages", messages)
    assert_reported(reported, "threads", threads)
    reported.clear()
    verify_mailbox(mailbox, lake, spec, progress=reported.append)
    assert_reported(
        [one for one in reported if one.total is not None], "messages", messages
    )  # others: by label


def test_a_filtered_listing_reports_no_total(gmail: Emulator, tmp_path: Path) -> None:
    reported: list[Progress] = []
    plan_mailbox(
        client_of(gmail).mailbox(),
        Lake(str(tmp_path / "lake")),
        mail(labelIds="INBOX"),
        progress=reported.append,
    )
    assert reported[0].done == PAGE
    assert reported[0].total is None


CUT_SHORT = Fault("messages.list", kind="patch", patch={"nextPageToken": None})


@pytest.fixture
def large() -> Iterator[Emulator]:
    with Emulator(messages=130, seed=4) as emulator:
        yield emulator


def minimal(lake: Path, gmail: Emulator, **arguments: Any) -> SyncResult:
    options = {"maxResults": PAGE, "format": "minimal"}
    table = SpecTable.parse({"source_table": "messages", "table_configuration": options})
    return sync(client_of(gmail).mailbox(), Lake(str(lake)), [table], **arguments)["messages"]


def listings(gmail: Emulator) -> int:
    return gmail.usage.calls["messages.list"]


@pytest.mark.parametrize("cut", [True, False])
def test_a_first_load_whose_listing_is_cut_short_lists_again(
    large: Emulator, tmp_path: Path, cut: bool
) -> None:
    if cut:
        large.faults.add(replace(CUT_SHORT, times=1))
    visible = len(large.truth("messages"))
    result = minimal(tmp_path, large)
    assert (result.rows_total, result.warnings) == (visible, [])
    pages = -(-visible // PAGE)
    assert listings(large) == pages + cut
    assert large.usage.calls.get("labels.get", 0) == 2 * cut


def test_a_first_load_whose_listing_stays_short_is_reconciled_by_the_next_run(
    large: Emulator, tmp_path: Path
) -> None:
    large.faults.add(CUT_SHORT)
    result = minimal(tmp_path, large)
    assert result.rows_total == PAGE
    assert any("missing in Gmail's listing" in warning for warning in result.warnings)
    large.faults.clear()
    result = minimal(tmp_path, large)
    assert (result.mode, result.rows_total) == ("reconcile", len(large.truth("messages")))
    assert minimal(tmp_path, large).mode == "incremental"


def test_a_count_that_stays_too_high_is_reconciled_once(large: Emulator, tmp_path: Path) -> None:
    large.faults.add(Fault("getProfile", kind="patch", patch={"messagesTotal": 5_000}))
    modes = [minimal(tmp_path, large).mode for _ in range(3)]
    assert modes == ["full_load", "reconcile", "incremental"]


def test_messages_in_the_trash_are_not_missed(large: Emulator, tmp_path: Path) -> None:
    mailbox = large.mailbox()
    for message_id in mailbox.message_ids()[:120]:
        mailbox.trash(message_id)
    visible = len(large.truth("messages"))
    large.usage.reset()
    result = minimal(tmp_path, large)
    assert (result.rows_total, result.warnings) == (visible, [])
    assert listings(large) == -(-visible // PAGE)


def test_a_reconciliation_whose_listing_is_cut_short_deletes_nothing(gmail: Emulator, tmp_path: Path) -> None:
    rows = minimal(tmp_path, gmail).rows_total
    gone = gmail.truth("messages")[-1]["id"]
    gmail.mailbox().delete(gone)
    gmail.faults.add(replace(CUT_SHORT, times=1))
    result = minimal(tmp_path, gmail, reconcile=True)
    assert (result.rows_total, result.rows_deleted) == (rows - 1, 1)
