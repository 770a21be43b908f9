"""`gmail-assets sync`: sync the tables in this process; as a Dagster run, if DAGSTER_HOME is set."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from gmail_assets.cli.error_groups import grouped_errors
from gmail_assets.cli.exit_codes import ExitCode, exit_code_of
from gmail_assets.cli.options import DERIVED_TABLES, TABLES, mailbox_option, output_options
from gmail_assets.cli.output import Output, write_error
from gmail_assets.operations.run_results import RunResult, StepFailure

if TYPE_CHECKING:
    from gmail_assets.cli.environment import Environment
    from gmail_assets.operations.table_selection import TableSelection
    from gmail_assets.run_settings import RunSettings

__all__ = ["sync"]


@click.command
@click.argument("tables", nargs=-1, metavar="[TABLE]...", type=click.Choice(TABLES + DERIVED_TABLES))
@mailbox_option
@click.option(
    "--q",
    metavar="SEARCH",
    help="Sync only messages and threads that match this Gmail search, for example newer_than:30d.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="ID",
    help="Sync only messages and threads with this label id, for example INBOX; repeatable.",
)
@click.option(
    "--start-date",
    metavar="DATE",
    help="Sync only messages since this date, for example 2025-01-31 (midnight UTC), or since epoch seconds.",
)
@click.option(
    "--full-refresh",
    is_flag=True,
    help="Fetch all messages and threads again; costs as much as a first load. Derived tables alone: compare all rows.",
)
@click.option(
    "--allow-mass-delete",
    is_flag=True,
    help="Allow a reconciliation to delete more than a fifth of the rows.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    help="Number of mailboxes to sync at the same time. Default: GMAIL_JOBS, else 32.",
)
@output_options
def sync(
    tables: tuple[str, ...],
    mailboxes: tuple[str, ...],
    q: str | None,
    labels: tuple[str, ...],
    start_date: str | None,
    full_refresh: bool,
    allow_mass_delete: bool,
    jobs: int | None,
    out: Output,
) -> int:
    """Load or update tables.

    The first run loads everything, later runs only what changed. A run that was stopped or killed resumes after its
    last commit. Ctrl-C writes what was fetched and stops; a second Ctrl-C stops at once. If DAGSTER_HOME is set, this
    is a Dagster run that is recorded there; otherwise Dagster is not loaded.

    A mailbox without changes costs one quota unit and is skipped: its history id is the cursor of every table, and its
    snapshots were read within the last hour (GMAIL_SNAPSHOT_MINUTES). To always read a snapshot table, name it.

    TABLE is one of: messages, threads, labels, drafts, profile, settings, filters, forwarding_addresses, send_as,
    delegates; or a derived table: emails, message_labels, attachments; or attachment_contents (the bytes of
    attachments, 20 quota units each). Default: all tables of the spec (GMAIL_SPEC), else all ten, and the derived
    tables, without attachment_contents.

    --q, --label and --start-date override the options of the spec for this run. A table that was synced with other
    options is reconciled: messages that do not match are deleted from it. To keep a filter, set it in a spec.
    """
    from gmail_assets.cli.environment import Environment
    from gmail_assets.operations.table_selection import TableSelection
    from gmail_assets.run_settings import RunSettings

    filters = _filters(q, labels, start_date)
    environment = Environment.load()
    selection = TableSelection(environment.spec, filters=filters)
    selected = selection.tables(tables)
    if filters and not any(table in ("messages", "threads") for table in selected):
        raise click.UsageError("--q, --label and --start-date apply to messages and threads only.")
    settings = RunSettings(**({} if jobs is None else {"jobs": jobs}))
    found = environment.discovery(mailboxes)
    names = list(dict.fromkeys(found.mailboxes))
    unchanged: set[str] = set()
    if not full_refresh and set(tables) <= {"messages", "threads", *DERIVED_TABLES}:
        unchanged = environment.unchanged(names, selected, settings, spec=selection.spec_with(selected))
    changed = [name for name in names if name not in unchanged]
    ran: dict[str, RunResult] = {}
    if changed:
        undecided = environment.renamed(names, found.user_ids).undecided
        ran |= {name: _failed(name, error) for name, error in undecided.items()}
        changed = [name for name in changed if name not in ran]
    if changed:
        config = {"full_refresh": full_refresh, "allow_mass_delete": allow_mass_delete}
        run_mailboxes = _runner(environment, selection, settings, sizes=out.json)
        ran |= _run(run_mailboxes, changed, selected, config, quiet=out.quiet)
    runs = [ran.get(name) or RunResult(name, None, unchanged=True) for name in names]
    if unchanged and not out.quiet:
        text = f"{len(unchanged):,} mailboxes are up to date" if len(unchanged) > 1 else "up to date"
        # Not with rich: importing it takes longer than checking a mailbox.
        click.echo(text if len(unchanged) > 1 else f"{min(unchanged)}: {text}", err=True)
    code = _exit_code(runs)
    if code == ExitCode.INTERRUPTED:
        sys.stderr.write("Interrupted; committed data is kept. Run the same command again to continue.\n")
    for text in grouped_errors(error for run in runs for error in _errors(run)):
        write_error(text)
    if not out.quiet:
        for run in runs:
            _print_failed_checks(run)
    if code == ExitCode.INCOMPLETE:
        sys.stderr.write(
            "Stopped before the end; committed data is kept. Run the same command again to continue.\n"
        )
    if code == ExitCode.DIFFERENCES:
        sys.stderr.write(
            "A check found rows missing or too many. The next sync reconciles the table with the mailbox, once; "
            "`gmail-assets verify` lists what differs.\n"
        )
    out.print_json({"exit_code": int(code), "mailboxes": [_as_json(run) for run in runs]})
    return code


def _runner(
    environment: Environment, selection: TableSelection, settings: RunSettings, *, sizes: bool
) -> Callable[..., list[RunResult]]:
    """The function that syncs mailboxes: as a Dagster run if there is an instance to record it in."""
    from gmail_assets.operations.dagster_instance import records_runs

    if records_runs():
        from gmail_assets.operations.run_in_process import Runner

        return Runner(selection, run_settings=settings).run_mailboxes
    from gmail_assets.operations.direct_run import DirectRunner

    runner = DirectRunner(selection, environment.settings, environment.lake, settings, sizes=sizes)
    return runner.run_mailboxes


def _run(
    run_mailboxes: Callable[..., list[RunResult]],
    names: Sequence[str],
    tables: Sequence[str],
    config: Mapping[str, Any],
    *,
    quiet: bool,
) -> dict[str, RunResult]:
    """Sync mailboxes and return the results by mailbox."""
    from gmail_assets.cli.display import SyncDisplay, terminal_console
    from gmail_assets.syncing.progress import reporting

    with SyncDisplay(terminal_console(sys.stderr), quiet=quiet) as display, reporting(display):
        if len(names) == 1:
            display.start_mailbox(names[0])
        else:
            display.start(f"{len(names):,} mailboxes: connecting to Gmail")
        return {run.mailbox: run for run in run_mailboxes(names, tables, mail_config=config)}


def _filters(q: str | None, labels: tuple[str, ...], start_date: str | None) -> dict[str, Any]:
    filters: dict[str, Any] = {}
    if q is not None:
        filters["q"] = q
    if labels:
        filters["labelIds"] = list(labels)
    if start_date is not None:
        filters["startDate"] = start_date
    return filters


_WHOLE_MAILBOX = "mailbox"
"""Name of the failed step if no table was tried."""

_COMPLETENESS = ("row_count", "threads_and_messages_agree")
"""Checks whose failure means that rows are missing or too many."""


def _failed(name: str, error: Exception) -> RunResult:
    """The result of a mailbox that was not tried."""
    return RunResult(name, None, failures={_WHOLE_MAILBOX: StepFailure(type(error).__name__, str(error))})


def _exit_code(runs: list[RunResult]) -> ExitCode:
    if any(run.interrupted for run in runs):
        return ExitCode.INTERRUPTED
    codes = [_code_of(failure.error) for run in runs for failure in run.failures.values()]
    if codes:
        return max(
            codes,
            key=[ExitCode.INCOMPLETE, ExitCode.FAILURE, ExitCode.INVALID_INPUT, ExitCode.NO_ACCESS].index,
        )
    if not all(run.complete for run in runs):
        return ExitCode.INCOMPLETE
    if any(check.check in _COMPLETENESS and not check.passed for run in runs for check in run.checks):
        return ExitCode.DIFFERENCES
    return ExitCode.SUCCESS


def _code_of(error: str) -> ExitCode:
    return ExitCode.INCOMPLETE if error == "OutOfTimeError" else exit_code_of(error)


def _errors(run: RunResult) -> Iterator[tuple[str, str]]:
    """Each distinct error of a mailbox once, after the mailbox and the tables that it concerns."""
    if run.interrupted:
        return
    steps: dict[str, list[str]] = {}
    for step, failure in run.failures.items():
        steps.setdefault(failure.message, []).append(step)
    for message, failed in steps.items():
        # An error of the whole mailbox fails the first table, and the others are skipped.
        whole = bool(run.skipped) or failed == [_WHOLE_MAILBOX]
        yield run.mailbox if whole else f"{run.mailbox} ({', '.join(failed)})", message


def _print_failed_checks(run: RunResult) -> None:
    """Print the failed checks."""
    for check in run.checks:
        if not check.passed:
            write_error(f"{run.mailbox}: check {check.check} of {check.table}: {check.message}")


def _as_json(run: RunResult) -> dict[str, Any]:
    return {
        "mailbox": run.mailbox,
        "run_id": run.run_id,
        "complete": run.complete and not run.failures and not run.skipped,
        "unchanged": run.unchanged,
        "tables": run.tables,
        "checks": [
            {"table": c.table, "check": c.check, "passed": c.passed, "message": c.message} for c in run.checks
        ],
        "skipped": run.skipped,
        "failures": {step: {"error": f.error, "message": f.message} for step, f in run.failures.items()},
    }
