"""Second part of the demo: the mailbox changes, and the Dagster daemon with its sensor syncs the changes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from gmail_assets.cli.display import summary_table
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition_status import partition_statuses
from gmail_assets.demo.children import child
from gmail_client.spec import Spec
from gmail_client.tables import CHANGE_TABLES

if TYPE_CHECKING:
    from rich.console import Console

    from gmail_client.emulator import Emulator

__all__ = ["show_changes"]

_WAIT_SECONDS = 120.0
_NEW = 3
_STARRED = 5
_DELETED = 2


def show_changes(console: Console, gmail: Emulator, lake: Lake, workspace: Path, log: Path) -> None:
    """Change the mailbox, start the daemon with the sensor switched on, and wait until the tables are up to date.

    Args:
        console: The console to print on.
        gmail: The emulator.
        lake: The lake of the demo, after the first load.
        workspace: The workspace file for the daemon.
        log: File for the output of the daemon.
    """
    mailbox = gmail.mailbox()
    ids = mailbox.message_ids()
    console.print(
        f"\nNow the mailbox changes: {_NEW} new messages, {_STARRED} starred, {_DELETED} deleted.\n"
        "The Dagster daemon runs the sensor gmail_changes, which detects this and requests a run ...",
        soft_wrap=True,
    )
    for _ in range(_NEW):
        mailbox.insert(mailbox.random_mail(), ["INBOX", "UNREAD"])
    for message_id in ids[:_STARRED]:
        mailbox.modify(message_id, ["STARRED"], [])
    for message_id in ids[-_DELETED:]:
        mailbox.delete(message_id)

    started = time.monotonic()
    head = int(mailbox.head)
    with (
        dg.DagsterInstance.get() as instance,
        log.open("wb") as output,
        child(["dagster-daemon", "run", "-w", str(workspace)], output=output),
    ):
        while not (_up_to_date(lake, gmail.addresses[0], head) and _runs_ended(instance)):
            if time.monotonic() - started > _WAIT_SECONDS:
                console.print(f"The tables were not up to date within {_WAIT_SECONDS:.0f} s; see {log}.")
                return
            time.sleep(0.5)
        rows = _last_materializations(instance)
    console.print(f"Synced after {time.monotonic() - started:.0f} s, including the start of the daemon:\n")
    console.print(summary_table(["table", "rows", "new", "changed", "deleted", "units"], rows))


def _up_to_date(lake: Lake, address: str, head: int) -> bool:
    changing = [entry for entry in Spec.default().tables if entry.source_table in CHANGE_TABLES]
    statuses = partition_statuses(lake, address, changing).values()
    return all((status.cursor or 0) >= head for status in statuses)


def _runs_ended(instance: dg.DagsterInstance) -> bool:
    unfinished = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    return not instance.get_runs(filters=dg.RunsFilter(statuses=unfinished), limit=1)


def _last_materializations(instance: dg.DagsterInstance) -> list[dict[str, Any]]:
    """Counts of the last materializations; messages and threads share their quota units."""
    rows: list[dict[str, Any]] = []
    for table in CHANGE_TABLES:
        event = instance.get_latest_materialization_event(dg.AssetKey(["gmail", table]))
        if event is None or event.asset_materialization is None:
            continue
        metadata = {name: value.value for name, value in event.asset_materialization.metadata.items()}
        rows.append(
            {
                "table": table,
                "rows": metadata["dagster/partition_row_count"],
                "new": metadata["rows_written"],
                "changed": metadata["rows_updated"],
                "deleted": metadata["rows_deleted"],
                "units": "same run" if rows else metadata["quota_units"],
            }
        )
    return rows
