"""What `make demo` prints: tables, an answer, the cost at Gmail's quota, what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake import QueryBuilder
from rich.syntax import Syntax
from rich.text import Text

from gmail_assets.cli.display import size_text, summary_table
from gmail_assets.delta.lake import Lake
from gmail_client.quota import preset
from gmail_client.tables import CHANGE_TABLES

if TYPE_CHECKING:
    from rich.console import Console

    from gmail_assets.operations.run_in_process import SyncRun

__all__ = ["show_cost", "show_next_steps", "show_senders", "show_tables", "total_units"]

_SENDERS = """\
SELECT h['value'] AS sender, count(*) AS messages, sum(size) AS bytes
FROM (SELECT unnest(payload['headers']) AS h, "sizeEstimate" AS size
      FROM messages)
WHERE lower(h['name']) = 'from'
GROUP BY sender ORDER BY messages DESC, sender LIMIT 8"""


def show_tables(console: Console, run: SyncRun) -> None:
    """Rows, bytes, units and seconds of each table; messages and threads share their fetch."""
    rows: list[dict[str, Any]] = []
    for table, metadata in run.tables.items():
        shares = table in CHANGE_TABLES and any(row["table"] in CHANGE_TABLES for row in rows)
        rows.append(
            {
                "table": table,
                "rows": metadata["dagster/partition_row_count"],
                "bytes in lake": size_text(metadata["bytes_in_lake"]),
                "units": "same fetch" if shares else metadata["units"],
                "seconds": None if shares else metadata["seconds"],
            }
        )
    console.print(summary_table(["table", "rows", "bytes in lake", "units", "seconds"], rows))
    passed = sum(check.passed for check in run.checks)
    console.print(f"\nAsset checks: {passed} of {len(run.checks)} passed.", soft_wrap=True)
    for check in run.checks:
        if check.check == "row_count" or not check.passed:
            console.print(Text(f"  {check.table}: {check.says}"), soft_wrap=True)


def total_units(run: SyncRun) -> int:
    """Units of a run, what messages and threads share counted once."""
    shared = [run.tables[table]["units"] for table in CHANGE_TABLES if table in run.tables]
    others = sum(metadata["units"] for table, metadata in run.tables.items() if table not in CHANGE_TABLES)
    return int(max(shared, default=0) + others)


def show_senders(console: Console, lake: Lake) -> None:
    """One answer from the tables: who writes most."""
    delta = lake.find("messages")
    if delta is None:
        return
    answer = pa.table(QueryBuilder().register("messages", delta).execute(_SENDERS)).to_pylist()
    console.print("\nWho writes most? Asked of the table ./lake/messages:\n")
    console.print(Syntax(_SENDERS, "sql", background_color="default"))
    console.print()
    rows = [
        # Text, not markup: what a mail says is shown, never interpreted.
        {
            "sender": Text(row["sender"], overflow="ellipsis", no_wrap=True),
            "messages": row["messages"],
            "bytes": size_text(row["bytes"]),
        }
        for row in answer
    ]
    console.print(summary_table(["sender", "messages", "bytes"], rows))


def show_cost(console: Console, run: SyncRun, seconds: float) -> None:
    """What the load cost, and how long Gmail's own quota would make it take."""
    units = total_units(run)
    messages = run.tables.get("messages", {}).get("dagster/partition_row_count", 0)
    console.print(
        f"\nCost: {units:,} quota units for {messages:,} messages and their threads, in {seconds:.1f} s.\n"
        "The emulator was told to refuse nothing, so that was this machine's speed.",
        soft_wrap=True,
    )
    plan = preset("current")
    console.print(
        f"Gmail itself allows {plan.user_per_minute:,} units a minute and user: there it takes "
        f"{max(units / plan.user_per_minute, 0.1):.1f} minutes.",
        soft_wrap=True,
    )


def show_next_steps(console: Console) -> None:
    """What to try now."""
    console.print(
        Text.from_markup(
            "\n[bold]Next[/bold]\n"
            "  make ui                             the same assets in Dagster, with their history\n"
            "  make demo MBOX=takeout.mbox         the same with your own Google Takeout export\n"
            "  .venv/bin/gmail-assets sync -h      your own Gmail (README.md: how to get access)"
        ),
        soft_wrap=True,
    )
