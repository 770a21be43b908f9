"""`gmail-assets status`: what is stored, how far behind it is, and how the last run ended."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gmail_assets.cli.exit_codes import exit_code_of, worst
from gmail_assets.cli.output import Output, add_mailbox_argument, add_output_arguments

if TYPE_CHECKING:
    from gmail_assets.operations.status import MailboxStatus, TableStatus

__all__ = ["DESCRIPTION", "HELP", "NAME", "PASSES_ON", "add_arguments", "run"]

NAME = "status"
HELP = "show rows, cursors, lag and the last run of each mailbox"
DESCRIPTION = """\
Show for each mailbox and table how many rows are stored, up to which history id, how far that is behind the mailbox,
and how the last run ended (where DAGSTER_HOME names a Dagster instance). It costs one quota unit for each mailbox;
with `--offline` none.
"""
PASSES_ON = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_mailbox_argument(parser)
    parser.add_argument("--offline", action="store_true", help="ask the lake only, not Gmail")
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show the status; a mailbox that can't be asked is shown as the lake knows it."""
    from gmail_assets.cli.setting import Setting
    from gmail_assets.operations.status import overview
    from gmail_client.errors import GmailError

    out = Output(arguments)
    setting = Setting.load()
    client, problem = None, None
    if not arguments.offline:
        try:
            client = setting.client()
        except GmailError as error:
            problem = error
            out.remark(str(error))
    names = arguments.mailbox or setting.settings.mailbox_names
    found = []
    for name in names:
        status = overview(name, setting.lake, setting.spec, client)
        found.append(status)
        _show(out, status)
    out.result({"lake": setting.lake.uri, "mailboxes": [_as_json(status) for status in found]})
    errors = [problem, *(status.error for status in found)]
    return worst(exit_code_of(type(error).__name__) for error in errors if error is not None)


def _show(out: Output, status: MailboxStatus) -> None:
    known = f"{status.address or 'not loaded yet'} (as {status.name!r})"
    out.say(status.name if status.address == status.name else known, style="bold")
    if status.error is not None:
        out.remark(f"Gmail could not be asked. {status.error}")
    rows = [
        {
            "table": name,
            "state": _state(name, table),
            "rows": None if table is None else table.rows,
            "cursor": "" if table is None or table.cursor is None else str(table.cursor),
            "changed": _ago(None if table is None else table.changed),
            "materialized": _ago(None if table is None else table.materialized),
        }
        for name, table in status.tables.items()
    ]
    shown = [name for name in rows[0] if name != "materialized" or any(row["materialized"] for row in rows)]
    out.table(shown, rows, text=2)
    if status.unfetched:
        out.say(
            f"{status.unfetched:,} messages could not be fetched; they are in _gmail_unfetched.",
            style="yellow",
        )
    if status.last_run is not None:
        style = "red" if status.last_run.status == "failure" else None
        out.say(
            f"Last run {status.last_run.run_id}: {status.last_run.status} {_ago(status.last_run.ended)}",
            style,
        )
    out.say()


def _state(name: str, table: TableStatus | None) -> str:
    from gmail_client.tables import CATALOGUE

    if table is None:
        return "nothing stored"
    if table.loading:
        return "load not finished"
    if not CATALOGUE[name].cursor:
        return "snapshot"
    if table.behind is None:
        return "not compared"
    return f"{table.behind:,} history ids behind" if table.behind else "up to date"


def _ago(moment: datetime | None) -> str:
    """How long ago, in a unit that fits."""
    if moment is None:
        return ""
    seconds = max((datetime.now(UTC) - moment).total_seconds(), 0)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return "just now"


def _as_json(status: MailboxStatus) -> dict[str, Any]:
    run = status.last_run
    error = status.error
    return {
        "mailbox": status.name,
        "address": status.address or None,
        "head": None if status.head is None else str(status.head),
        "problem": error and {"error": type(error).__name__, "message": error.what, "fix": error.fix},
        "tables": {
            name: table
            and {
                "rows": table.rows,
                "bytes": table.bytes,
                "state": _state(name, table),
                "cursor": None if table.cursor is None else str(table.cursor),
                "behind": table.behind,
                "changed": _iso(table.changed),
                "materialized": _iso(table.materialized),
            }
            for name, table in status.tables.items()
        },
        "unfetched": status.unfetched,
        "last_run": run and {"run_id": run.run_id, "status": run.status, "ended": _iso(run.ended)},
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
