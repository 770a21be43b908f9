"""`gmail-assets verify`: are the tables equal to the mailbox, and if not, does anything explain it?"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gmail_assets.cli.exit_codes import ExitCode, exit_code_of, worst
from gmail_assets.cli.output import Output, add_mailbox_argument, add_output_arguments

if TYPE_CHECKING:
    from gmail_assets.operations.verify import MailboxVerdict

__all__ = ["DESCRIPTION", "HELP", "NAME", "PASSES_ON", "add_arguments", "run"]

NAME = "verify"
HELP = "compare messages and threads with the mailbox"
DESCRIPTION = """\
Compare the tables of messages and threads with Gmail: every id with a listing, every label with Gmail's counts, and a
random sample of rows field by field. What the options leave out (spam, trash, filters) and what changed since the last
sync is explained; what is left over is a difference, and the exit code is 5.

It costs 5 units for 500 messages, one for each label, 20 for each message of the sample and 40 for each thread of it
(a quarter as many). Exit code 4: a table is not loaded to the end, or its last sync is too long ago; sync it first.
"""
PASSES_ON = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_mailbox_argument(parser)
    parser.add_argument(
        "--sample", type=int, default=20, metavar="N", help="messages to compare field by field (default: 20)"
    )
    parser.add_argument(
        "--thorough",
        action="store_true",
        help="list the messages of every label, also where the counts agree",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="choose the same sample each time")
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Verify each mailbox; one that can't be asked hides no other."""
    import random

    from gmail_assets.cli.setting import Setting
    from gmail_assets.operations.verify import MailboxVerdict, verify_mailbox
    from gmail_client.errors import ConfigurationError, GmailError

    out = Output(arguments)
    if arguments.sample < 0:
        raise ConfigurationError(
            f"--sample {arguments.sample} is no number of messages.", fix="Give 0 or more."
        )
    setting = Setting.load()
    client = setting.client()
    chance = random.Random(arguments.seed)  # noqa: S311 - no secret hangs on it
    verdicts: list[MailboxVerdict] = []
    for name in arguments.mailbox or setting.settings.mailbox_names:
        try:
            with out.working(f"{name}: comparing with the mailbox") as progress:
                verdict = verify_mailbox(
                    client.mailbox(name),
                    setting.lake,
                    setting.spec,
                    sample=arguments.sample,
                    chance=chance,
                    thorough=arguments.thorough,
                    progress=progress,
                )
            verdicts.append(verdict)
        except GmailError as error:
            verdicts.append(MailboxVerdict(name, error=error))
        _show(out, verdicts[-1])
    code = worst(_exit_code(verdict) for verdict in verdicts)
    out.result({"exit_code": int(code), "mailboxes": [_as_json(verdict) for verdict in verdicts]})
    return code


def _exit_code(verdict: MailboxVerdict) -> ExitCode:
    if verdict.error is not None:
        return exit_code_of(type(verdict.error).__name__)
    if verdict.unexplained:
        return ExitCode.DIFFERS
    return ExitCode.WORK_LEFT if verdict.unfinished else ExitCode.DONE


def _show(out: Output, verdict: MailboxVerdict) -> None:
    if verdict.error is not None:
        out.remark(f"{verdict.name}: {verdict.error}")
        return
    out.say(verdict.address, style="bold")
    judged = {name: table for name, table in verdict.tables.items() if not table.unfinished}
    if judged:
        names = {
            "rows": "rows",
            "in_gmail": "in Gmail",
            "left_out": "left out",
            "since_sync": "since sync",
            "not_fetched": "not fetched",
            "kept": "kept",
            "missing": "missing",
            "extra": "too many",
            "sampled": "sampled",
            "differing": "differing",
        }
        rows = [
            {"table": name, **{text: getattr(table, key) for key, text in names.items()}}
            for name, table in judged.items()
        ]
        always = ("rows", "in_gmail", "left_out", "missing", "extra", "sampled", "differing")
        shown = [text for key, text in names.items() if key in always or any(row[text] for row in rows)]
        out.table(["table", *shown], rows)
    for name, table in verdict.tables.items():
        if table.unfinished:
            out.say(
                f"{name} can't be judged: {table.unfinished}. Run `gmail-assets sync` first.", style="yellow"
            )
    _show_labels(out, verdict)
    for remark in verdict.remarks:
        out.say(remark, style="yellow")
    for example in verdict.examples:
        out.say(f"{example.table} {example.id} {example.what}", style="red")
    if verdict.unexplained:
        out.say(
            f"{verdict.unexplained:,} differences that nothing explains. A run with `reconcile: true` "
            "(docs/operations.md) mends them; please report it.",
            style="red",
        )
    elif judged:
        out.say("Equal to the mailbox: nothing is unexplained.", style="green")
    out.say(f"{verdict.units:,} units spent.\n")


def _show_labels(out: Output, verdict: MailboxVerdict) -> None:
    wrong = [label for label in verdict.labels if label.unexplained]
    shown = verdict.labels if out.verbose else wrong
    if verdict.labels:
        out.say(f"{len(verdict.labels)} labels compared, {len(wrong)} differ.")
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
        "equal": not verdict.unexplained and not verdict.unfinished,
        "unexplained": verdict.unexplained,
        "tables": {
            name: {**asdict(table), "unexplained": table.unexplained}
            for name, table in verdict.tables.items()
        },
        "labels": [asdict(label) for label in verdict.labels],
        "examples": [asdict(example) for example in verdict.examples],
        "remarks": verdict.remarks,
        "units": verdict.units,
    }
