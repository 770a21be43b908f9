"""Listings report their progress, with totals from Gmail's counts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from support.chaos import client_of

from gmail_assets.delta.lake import Lake
from gmail_assets.operations.plan import plan_mailbox
from gmail_assets.operations.verify import verify_mailbox
from gmail_assets.syncing import sync
from gmail_assets.syncing.results import Progress
from gmail_client.emulator import Emulator
from gmail_client.spec import Spec

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
