"""`gmail-assets verify`: compare the tables messages and threads with the mailbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from gmail_assets.cli.error_groups import grouped_errors
from gmail_assets.cli.exit_codes import ExitCode, exit_code_of, most_severe
from gmail_assets.cli.options import mailbox_option, output_options
from gmail_assets.cli.output import Output

if TYPE_CHECKING:
    from gmail_assets.operations.verdicts import MailboxVerdict, TableVerdict

__all__ = ["verify"]

_COUNTS = {
    "rows": "rows",
    "in_gmail": "in Gmail",
    "left_out": "excluded by options",
    "since_sync": "changed since sync",
    "not_fetched": "unfetched",
    "kept": "kept",
    "missing": "missing",
    "extra": "extra",
    "sampled": "sampled",
    "differing": "differing",
}
"""Counts of a table, by attribute of `TableVerdict`, in the order of the output."""

_SHOWN_IF_NOT_ZERO = ("changed since sync", "unfetched", "kept")


@click.command
@mailbox_option
@click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    metavar="N",
    help="Number of messages to compare field by field.",
)
@click.option("--thorough", is_flag=True, help="List the messages of every label, even if its counts agree.")
@click.option("--seed", type=int, metavar="N", help="Seed of the random sample, to repeat it.")
@output_options
def verify(mailboxes: tuple[str, ...], sample: int, thorough: bool, seed: int | None, out: Output) -> int:
    """Compare messages and threads with the mailbox.

    Compares every id with a listing, every label with Gmail's counts, and a random sample of rows field by field.
    Table options (spam, trash, filters) and changes since the last sync explain some differences. With unexplained
    differences, the exit code is 5. Derived tables are compared with the messages and labels of the lake.

    Costs 5 units per 500 messages, 1 per label, 20 per message in the sample, and 40 per thread in the sample (a
    quarter as many). Exit code 4: a load is not finished, or the last sync is too old; run `sync` first.
    """
    import random

    from gmail_assets.cli.environment import Environment
    from gmail_assets.operations.verdicts import MailboxVerdict
    from gmail_assets.operations.verify import verify_mailbox
    from gmail_client.errors import GmailError

    environment = Environment.load()
    client = environment.client()
    chance = random.Random(seed)  # noqa: S311 - not a secret
    verdicts: list[MailboxVerdict] = []
    for name in environment.mailboxes(mailboxes):
        try:
            with out.status(f"{name}: comparing with the mailbox") as progress:
                verdict = verify_mailbox(
                    client.mailbox(name),
                    environment.lake,
                    environment.spec,
                    sample=sample,
                    chance=chance,
                    thorough=thorough,
                    progress=progress,
                )
            verdicts.append(verdict)
        except GmailError as error:
            verdicts.append(MailboxVerdict(name, error=error))
        if verdicts[-1].error is None:
            _print_verdict(out, verdicts[-1])
    for text in grouped_errors((one.name, str(one.error)) for one in verdicts if one.error is not None):
        out.note(text)
    code = most_severe(_exit_code(verdict) for verdict in verdicts)
    out.print_json({"exit_code": int(code), "mailboxes": [_as_json(verdict) for verdict in verdicts]})
    return code


def _exit_code(verdict: MailboxVerdict) -> ExitCode:
    if verdict.error is not None:
        return exit_code_of(type(verdict.error).__name__)
    if verdict.unexplained:
        return ExitCode.DIFFERENCES
    return ExitCode.INCOMPLETE if verdict.unfinished else ExitCode.SUCCESS


def _print_verdict(out: Output, verdict: MailboxVerdict) -> None:
    out.print(verdict.address, style="bold")
    verified = {name: table for name, table in verdict.tables.items() if not table.unfinished}
    if verified:
        rows = [
            {"": text, **{name: getattr(table, key) for name, table in verified.items()}}
            for key, text in _COUNTS.items()
        ]
        shown = [
            row for row in rows if row[""] not in _SHOWN_IF_NOT_ZERO or any(row[name] for name in verified)
        ]
        out.table(["", *verified], shown)
    for name, table in verdict.tables.items():
        if table.unfinished:
            out.print(
                f"{name} can't be verified: {table.unfinished}. Run `gmail-assets sync` first.",
                style="yellow",
            )
    _print_labels(out, verdict)
    _print_views(out, verdict)
    for remark in verdict.remarks:
        out.print(remark, style="yellow")
    for example in verdict.examples:
        out.print(f"{example.table} {example.id} {example.what}", style="red")
    if verdict.unexplained:
        out.print(
            f"{verdict.unexplained:,} unexplained differences. A run with `reconcile: true` (docs/operations.md) "
            "repairs them; please report this as a bug.",
            style="red",
        )
    elif verified:
        out.print(_agreement(verified), style="green")
    out.print(f"Quota units spent: {verdict.units:,}")


def _agreement(verified: Mapping[str, TableVerdict]) -> str:
    """The last line of a mailbox without unexplained differences."""
    names = " and ".join(verified)
    apart = []
    if any(table.since_sync for table in verified.values()):
        apart.append("changes since the last sync")
    if any(table.not_fetched for table in verified.values()):
        apart.append("messages that Gmail refused")
    text = f"{names} {'match' if len(verified) > 1 else 'matches'} the mailbox"
    return f"{text}, apart from {' and '.join(apart)}." if apart else f"{text}."


def _print_labels(out: Output, verdict: MailboxVerdict) -> None:
    wrong = [label for label in verdict.labels if label.unexplained]
    shown = verdict.labels if out.verbose else wrong
    if verdict.labels:
        out.print(f"{len(verdict.labels)} labels compared, {len(wrong)} differ.")
    if shown:
        rows = [
            {
                "label": label.name or label.id,
                "rows": label.rows,
                "in Gmail": label.in_gmail,
                "since sync": label.since_sync,
                "differing": label.unexplained,
            }
            for label in shown
        ]
        out.table(["label", "rows", "in Gmail", "since sync", "differing"], rows)


def _print_views(out: Output, verdict: MailboxVerdict) -> None:
    if not verdict.views:
        return
    rows = [
        {
            "derived table": name,
            "rows": view.rows,
            "outdated": view.outdated,
            "sampled": view.sampled,
            "differing": view.differing,
        }
        for name, view in verdict.views.items()
    ]
    out.table(list(rows[0]), rows)
    outdated = [name for name, view in verdict.views.items() if view.outdated]
    if outdated:
        out.print(
            f"{', '.join(outdated)}: not up to date with messages and labels. Run `gmail-assets sync` first. "
            "If another program changed the rows, compare them all, at no quota: "
            f"`gmail-assets sync {' '.join(outdated)} --full-refresh`.",
            style="yellow",
        )


def _as_json(verdict: MailboxVerdict) -> dict[str, Any]:
    if verdict.error is not None:
        problem = {
            "error": type(verdict.error).__name__,
            "message": verdict.error.what,
            "fix": verdict.error.fix,
        }
        return {"mailbox": verdict.name, "problem": problem}
    return {
        "mailbox": verdict.name,
        "address": verdict.address,
        "problem": None,
        "equal": not verdict.unexplained and not verdict.unfinished and not verdict.incomplete,
        "unexplained": verdict.unexplained,
        "tables": {
            name: {**asdict(table), "unexplained": table.unexplained}
            for name, table in verdict.tables.items()
        },
        "labels": [asdict(label) for label in verdict.labels],
        "views": {name: asdict(view) for name, view in verdict.views.items()},
        "examples": [asdict(example) for example in verdict.examples],
        "remarks": verdict.remarks,
        "units": verdict.units,
    }
