"""The report of `make demo`: tables, an example query, the cost at Gmail's quota, next steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake import QueryBuilder
from rich.syntax import Syntax
from rich.text import Text

from gmail_assets.cli.display import size_text, summary_table
from gmail_assets.delta.lake import Lake
from gmail_client.printable import printable_line
from gmail_client.quota import preset
from gmail_client.tables import CHANGE_TABLES

if TYPE_CHECKING:
    from rich.console import Console

    from gmail_assets.operations.run_results import RunResult

__all__ = ["show_cost", "show_next_steps", "show_senders", "show_tables", "total_units"]

_SENDERS = """\
SELECT from_name, from_domain, count(*) AS mails, sum(size_bytes) AS bytes
FROM emails WHERE NOT is_sent
GROUP BY from_name, from_domain ORDER BY mails DESC, from_name LIMIT 5"""


def show_tables(console: Console, run: RunResult) -> None:
    """Print rows, bytes, quota units and seconds of each table; messages and threads share one fetch."""
    rows: list[dict[str, Any]] = []
    for table, metadata in run.tables.items():
        shares = table in CHANGE_TABLES and any(row["table"] in CHANGE_TABLES for row in rows)
        rows.append(
            {
                "table": table,
                "rows": metadata["dagster/partition_row_count"],
                "bytes in lake": size_text(metadata["bytes_in_lake"]),
                "units": "same fetch" if shares else metadata["quota_units"],
                "seconds": None if shares else metadata["duration_seconds"],
            }
        )
    console.print(summary_table(["table", "rows", "bytes in lake", "units", "seconds"], rows))
    passed = sum(check.passed for check in run.checks)
    console.print(f"\nAsset checks: {passed} of {len(run.checks)} passed.", soft_wrap=True)
    for check in run.checks:
        if check.check == "row_count" or not check.passed:
            console.print(Text(printable_line(f"  {check.table}: {check.message}")), soft_wrap=True)


def total_units(run: RunResult) -> int:
    """Quota units of a run; the shared units of messages and threads count once."""
    shared = [run.tables[table]["quota_units"] for table in CHANGE_TABLES if table in run.tables]
    others = sum(
        metadata["quota_units"] for table, metadata in run.tables.items() if table not in CHANGE_TABLES
    )
    return int(max(shared, default=0) + others)


def show_senders(console: Console, lake: Lake) -> None:
    """Run an example query on the table emails: the top senders."""
    delta = lake.find("emails")
    if delta is None:
        return
    answer = pa.table(QueryBuilder().register("emails", delta).execute(_SENDERS)).to_pylist()
    console.print("\n[bold]Who writes most?[/bold] A query on the table ./lake/emails:\n")
    console.print(Syntax(_SENDERS, "sql", background_color="default"))
    console.print()
    rows = [
        {
            # Text, not markup: a sender chooses these.
            "from_name": Text(row["from_name"] or "", overflow="ellipsis", no_wrap=True),
            "from_domain": Text(row["from_domain"] or "", overflow="ellipsis", no_wrap=True),
            "mails": row["mails"],
            "bytes": size_text(row["bytes"]),
        }
        for row in answer
    ]
    console.print(summary_table(["from_name", "from_domain", "mails", "bytes"], rows, text=2))
    console.print("\nMore questions: docs/querying.md", soft_wrap=True)


def show_cost(console: Console, run: RunResult, seconds: float) -> None:
    """Print the cost of the load, and its duration at Gmail's quota."""
    units = total_units(run)
    messages = run.tables.get("messages", {}).get("dagster/partition_row_count", 0)
    console.print(
        f"\nCost: {units:,} quota units for {messages:,} messages and their threads, in {seconds:.1f} s.\n"
        "The emulator enforces no quota here, so this is the speed of this machine.",
        soft_wrap=True,
    )
    plan = preset("current")
    console.print(
        f"Gmail allows {plan.user_per_minute:,} units per minute and user: the same load takes "
        f"{max(units / plan.user_per_minute, 0.1):.1f} minutes there.",
        soft_wrap=True,
    )


def show_next_steps(console: Console) -> None:
    """Print the next steps."""
    console.print(
        Text.from_markup(
            "\n[bold]Next[/bold]\n"
            "  make ui                             the Dagster UI on these tables\n"
            "  make demo MBOX=takeout.mbox         the demo with your own Google Takeout export\n"
            "  .venv/bin/gmail-assets login -h     connect your own Gmail account (see README.md)"
        ),
        soft_wrap=True,
    )
