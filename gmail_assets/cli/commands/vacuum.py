"""`gmail-assets vacuum`: apply a retention to old versions and soft-deleted rows."""

from __future__ import annotations

from datetime import timedelta

import click

from gmail_assets.cli.exit_codes import ExitCode
from gmail_assets.cli.options import output_options
from gmail_assets.cli.output import Output

__all__ = ["vacuum"]

_MOST_DAYS = 36_500


@click.command
@click.option(
    "--keep-versions-days",
    type=click.IntRange(0, _MOST_DAYS),
    default=7,
    show_default=True,
    help="Remove files that only older versions of a table need.",
)
@click.option(
    "--keep-deleted-days",
    type=click.IntRange(0, _MOST_DAYS),
    help="Delete rows that were soft-deleted (`deletes: keep`) longer ago. Default: keep them.",
)
@output_options
def vacuum(keep_versions_days: int, keep_deleted_days: int | None, out: Output) -> int:
    """Remove old versions, and old soft-deleted rows.

    Runs do the same from time to time, with a retention of 7 days for versions and none for soft-deleted rows. Use this
    command, once a day for example, to keep a retention to the day or to choose another one. Deleted rows stay in old
    versions until these are removed.
    """
    from gmail_assets.cli.environment import Environment
    from gmail_assets.operations.retention import apply_retention

    done = []
    deleted = None if keep_deleted_days is None else timedelta(days=keep_deleted_days)
    lake = Environment.load().lake
    for table in apply_retention(lake, versions=timedelta(days=keep_versions_days), deleted=deleted):
        done.append(table)
        out.print(f"{table.table}: deleted {table.rows:,} rows, removed {table.files:,} files")
    if not done:
        out.print(f"No tables in the lake {lake.uri}.")
    out.print_json(
        {"lake": lake.uri, "tables": [{"table": t.table, "rows": t.rows, "files": t.files} for t in done]}
    )
    return ExitCode.SUCCESS
