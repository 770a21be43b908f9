"""The demo's second half: the mailbox changes, and Dagster's own daemon and sensor bring the changes."""

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
_ARRIVALS = 3
_RELABELLED = 5
_DELETED = 2


def show_changes(console: Console, gmail: Emulator, lake: Lake, workspace: Path, log: Path) -> None:
    """Change the mailbox, start the daemon with the sensor on, and wait until the tables have caught up.

    Args:
        console: Where to tell it.
        gmail: The emulator.
        lake: The demo's lake, loaded.
        workspace: The workspace file that the daemon loads.
        log: File for the daemon's output.
    """
    mailbox = gmail.mailbox()
    ids = mailbox.message_ids()
    console.print(
        f"\nNow the mailbox changes: {_ARRIVALS} mails arrive, {_RELABELLED} are starred, {_DELETED} are deleted.\n"
        "Dagster's daemon runs the sensor gmail_changes, which notices and asks for a run ...",
        soft_wrap=True,
    )
    for _ in range(_ARRIVALS):
        mailbox.insert(mailbox.random_mail(), ["INBOX", "UNREAD"])
    for message_id in ids[:_RELABELLED]:
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
        while not (_caught_up(lake, gmail.addresses[0], head) and _runs_ended(instance)):
            if time.monotonic() - started > _WAIT_SECONDS:
                console.print(f"The changes did not arrive within {_WAIT_SECONDS:.0f} s; see {log}.")
                return
            time.sleep(0.5)
        rows = _brought(instance)
    console.print(f"They arrived after {time.monotonic() - started:.0f} s, start of the daemon included:\n")
    console.print(summary_table(["table", "rows", "new", "changed", "removed", "units"], rows))


def _caught_up(lake: Lake, address: str, head: int) -> bool:
    changing = [entry for entry in Spec.default().tables if entry.source_table in CHANGE_TABLES]
    statuses = partition_statuses(lake, address, changing).values()
    return all((status.cursor or 0) >= head for status in statuses)


def _runs_ended(instance: dg.DagsterInstance) -> bool:
    unfinished = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    return not instance.get_runs(filters=dg.RunsFilter(statuses=unfinished), limit=1)


def _brought(instance: dg.DagsterInstance) -> list[dict[str, Any]]:
    """What the last materializations say they did; messages and threads share their units."""
    rows: list[dict[str, Any]] = []
    for table in CHANGE_TABLES:
        event = instance.get_latest_materialization_event(dg.AssetKey(["gmail", table]))
        if event is None or event.asset_materialization is None:
            continue
        said = {name: value.value for name, value in event.asset_materialization.metadata.items()}
        rows.append(
            {
                "table": table,
                "rows": said["dagster/partition_row_count"],
                "new": said["rows_written"],
                "changed": said["rows_updated"],
                "removed": said["rows_deleted"],
                "units": "same run" if rows else said["units"],
            }
        )
    return rows
