"""`gmail-assets status`: stored rows, cursors, lag and the last run of each mailbox."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from gmail_assets.cli.error_groups import grouped_errors
from gmail_assets.cli.exit_codes import exit_code_of, most_severe
from gmail_assets.cli.options import mailbox_option, output_options
from gmail_assets.cli.output import Output, write_error

if TYPE_CHECKING:
    from gmail_assets.operations.status import MailboxStatus, TableStatus

__all__ = ["status"]

_AT_ONCE = 8
"""Mailboxes that are read at once."""

_MOST_IN_DETAIL = 5
"""With more mailboxes, each of them is one line."""


@click.command
@mailbox_option
@click.option("--offline", is_flag=True, help="Read the lake only, do not call Gmail.")
@output_options
def status(mailboxes: tuple[str, ...], offline: bool, out: Output) -> int:
    """Show rows, cursors, lag and the last run of each mailbox.

    Shows for each table the number of rows, the history id that it is synced through (cursor), how many history ids
    that is behind the mailbox, and the result of the last run (if DAGSTER_HOME is set). More than five mailboxes are
    one line each; --verbose and --json show all tables. Costs one quota unit per mailbox, none with --offline.
    """
    from gmail_assets.cli.environment import Environment
    from gmail_assets.operations.dagster_history import DagsterHistory
    from gmail_assets.operations.dagster_instance import dagster_instance
    from gmail_assets.operations.status import mailbox_status, quota_status
    from gmail_assets.run_settings import RunSettings
    from gmail_assets.syncing.many import run_mailboxes
    from gmail_client.errors import GmailError

    environment = Environment.load()
    settings = RunSettings()
    if offline and environment.settings.directory and not mailboxes:
        raise click.UsageError("--offline can't read the directory (GMAIL_DIRECTORY): add --mailbox.")
    names = environment.mailboxes(mailboxes)
    client, problem = None, None
    if not offline:
        try:
            client = environment.client_of_many(len(names), retry_seconds=settings.retry_seconds)
        except GmailError as error:
            problem = error
            out.note(str(error))
    lake = environment.lake.session()
    with dagster_instance() as instance:
        history = None if instance is None else DagsterHistory(instance, environment.spec, names)
        outcomes = run_mailboxes(
            names,
            lambda name: mailbox_status(name, lake, environment.spec, client, history),
            jobs=min(settings.jobs, _AT_ONCE),
            attempts=1,
        )
    found = []
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
        if outcome.value is not None:
            found.append(outcome.value)
    if len(found) > _MOST_IN_DETAIL and not out.verbose:
        _print_summary(out, found)
    else:
        for one in found:
            _print_status(out, one, alone=len(found) == 1)
    quota = quota_status(environment.lake, environment.settings.project_limits)
    limit = "" if quota.limit is None else f" of {quota.limit:,}"
    out.print(f"Quota of the project, today: {quota.spent:,}{limit} units.")
    out.print_json(
        {
            "lake": environment.lake.uri,
            "quota": {"spent": quota.spent, "limit": quota.limit},
            "mailboxes": [_as_json(status) for status in found],
        }
    )
    _print_sick(found)
    errors = [problem, *(status.error for status in found)]
    return most_severe(exit_code_of(type(error).__name__) for error in errors if error is not None)


def _print_sick(found: Sequence[MailboxStatus]) -> None:
    """Name the mailboxes that Gmail does not give, among many others."""
    sick = [status for status in found if status.error is not None]
    if not sick or len(found) < 2:
        return
    write_error(f"{len(sick):,} of {len(found):,} mailboxes can't be read:")
    for text in grouped_errors((status.name, str(status.error)) for status in sick):
        write_error(text)


def _print_summary(out: Output, found: Sequence[MailboxStatus]) -> None:
    """Print one line for each of many mailboxes, and what needs attention."""
    rows = []
    for status in found:
        changed = [table.changed for table in status.tables.values() if table and table.changed]
        row: dict[str, Any] = {"mailbox": status.name, "state": _mailbox_state(status)}
        for name in ("messages", "threads"):
            table = status.tables.get(name)
            row[name] = None if table is None else table.rows
        rows.append({**row, "changed": _ago(max(changed, default=None))})
    out.table(list(rows[0]), rows, text=2)
    for status in found:
        if status.stored_as != status.address:
            out.note(f"{status.name}: renamed, its rows have mailbox = {status.stored_as!r}.")
        if status.unfetched:
            out.print(f"{status.name}: {status.unfetched:,} messages could not be fetched.", style="yellow")
        run = status.last_run
        if run is not None and run.status == "failure":
            out.print(f"{status.name}: the last run {run.run_id} failed {_ago(run.ended)}.", style="red")
    out.print("All tables of a mailbox: `gmail-assets status --mailbox ADDRESS`, or --verbose for all.")


def _mailbox_state(status: MailboxStatus) -> str:
    """The state of `messages` and `threads` together: the first one that needs attention."""
    from gmail_client.tables import CATALOGUE

    if status.error is not None:
        return "can't be read"
    tables = {name: table for name, table in status.tables.items() if name in CATALOGUE}
    synced = {name: table for name, table in tables.items() if CATALOGUE[name].cursor}
    states = [_state(name, table) for name, table in (synced or tables).items()]
    return next((state for state in states if state not in ("up to date", "snapshot")), "up to date")


def _print_status(out: Output, status: MailboxStatus, *, alone: bool) -> None:
    known = f"{status.address or 'not loaded yet'} (as {status.name!r})"
    out.print(status.name if status.address == status.name else known, style="bold")
    if status.stored_as != status.address:
        out.note(f"Renamed: its rows have mailbox = {status.stored_as!r}.")
    if status.error is not None:
        out.note(f"{status.name} can't be read. {status.error}" if alone else f"{status.name} can't be read.")
    rows = [
        {
            "table": name,
            "state": _state(name, table),
            "rows": None if table is None else table.rows,
            "cursor": "" if table is None or table.cursor is None else str(table.cursor),
            "changed": _ago(None if table is None else table.changed),
        }
        for name, table in status.tables.items()
    ]
    out.table(["table", "state", "rows", "cursor", "changed"], rows, text=2)
    if any(table is not None and table.unexplained for table in status.tables.values()):
        out.print(
            "Unexplained: rows missing (-) or extra (+), compared with Gmail's count. The next sync reconciles.",
            style="yellow",
        )
    if status.unfetched:
        out.print(
            f"{status.unfetched:,} messages could not be fetched; the table _gmail_unfetched lists them.",
            style="yellow",
        )
    if status.last_run is not None:
        style = "red" if status.last_run.status == "failure" else None
        over = ", over several mailboxes" if status.last_run.several else ""
        out.print(
            f"Last run {status.last_run.run_id}{over}: {status.last_run.status} {_ago(status.last_run.ended)}",
            style,
        )
    out.print()


def _state(name: str, table: TableStatus | None) -> str:
    from gmail_client.tables import CATALOGUE

    if table is None:
        return "no rows"
    if name not in CATALOGUE:
        return "derived"
    if table.loading:
        return "load unfinished"
    if table.to_reconcile:
        return "to be reconciled"
    if not CATALOGUE[name].cursor:
        return "snapshot"
    if table.unexplained:
        return f"{table.unexplained:+,} unexplained"
    if table.behind is None:
        return "lag unknown"
    return f"{table.behind:,} behind" if table.behind else "up to date"


def _ago(moment: datetime | None) -> str:
    """Time since `moment`, for example `5 min ago`."""
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
        "stored_as": status.stored_as or None,
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
                "unexplained": table.unexplained,
                "changed": _iso(table.changed),
                "materialized": _iso(table.materialized),
            }
            for name, table in status.tables.items()
        },
        "unfetched": status.unfetched,
        "last_run": run
        and {
            "run_id": run.run_id,
            "status": run.status,
            "ended": _iso(run.ended),
            "several_mailboxes": run.several,
        },
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
