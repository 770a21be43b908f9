"""`gmail-assets conformance`: test the product with a test mailbox, and remove what it created there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gmail_assets.cli.commands.doctor import (
    examination_as_json,
    print_examination,
    record_target,
    show_and_write,
    show_step,
)
from gmail_assets.cli.exit_codes import ExitCode
from gmail_assets.cli.options import output_options
from gmail_assets.cli.output import Output

if TYPE_CHECKING:
    from gmail_assets.operations.conformance import ConformanceRun

__all__ = ["conformance"]


@click.command
@click.option(
    "--mailbox", metavar="ADDRESS", help="Mailbox: an address or `me`. Default: GMAIL_USER_ID, else `me`."
)
@click.option("--force", is_flag=True, help="Run even if the mailbox has more than 500 messages.")
@click.option(
    "--record",
    "record_file",
    metavar="FILE",
    help="Write a record of the answers to a new file, as `doctor --record` does.",
)
@click.option("--yes", is_flag=True, help="Write the record without asking.")
@output_options
def conformance(mailbox: str | None, force: bool, record_file: str | None, yes: bool, out: Output) -> int:
    """Test a sync against a throw-away account.

    WRITES TO THE MAILBOX: it creates 31 messages, a draft and a label, loads them into a temporary lake, changes them,
    syncs, reconciles, verifies after each step, runs the checks of `doctor`, and removes what it created. It needs a
    login that may change mail (`gmail-assets login --scope modify`), and refuses a mailbox of more than 500 messages.

    It removes only what has its own label, Message-ID or draft subject. With the scope `modify`, messages are moved to
    the trash; with `full`, they are deleted. If it is killed, run it again: it first removes what that run left behind.

    The exit code is 5 if a step fails. It costs about 4,000 quota units.
    """
    from gmail_assets.cli.environment import Environment
    from gmail_assets.operations.conformance import run_conformance
    from gmail_client.conformance.record import make_record

    environment = Environment.load()
    name = mailbox or environment.settings.user_id
    target = record_target(record_file, [name])
    with out.status(f"{name}: running") as progress:
        run = run_conformance(
            environment.client().mailbox(name), force=force, progress=lambda step: show_step(progress, step)
        )
    _print(out, run)
    out.print_json(_as_json(name, run))
    if run.examination is not None:
        print_examination(out, name, run.examination)
        if target is not None:
            show_and_write(out, target, make_record(run.examination), yes)
    if run.interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.DIFFERENCES if run.failed else ExitCode.SUCCESS


def _print(out: Output, run: ConformanceRun) -> None:
    out.print(run.address, style="bold")
    if run.leftovers.labels:
        out.print(f"Removed the leftovers of {run.leftovers.labels} earlier runs.", style="yellow")
    for step in run.steps:
        if step.problem:
            out.print(f"  failed  {step.name}: {step.problem}\n          Fix: {step.fix}", style="red")
        else:
            out.print(f"  passed  {step.name}: {step.result}")
    if run.interrupted:
        out.note("Interrupted after the steps above.")
    cleaned = run.cleaned
    text = f"Removed {cleaned.deleted} messages and {cleaned.labels} labels"
    if cleaned.trashed:
        text += (
            f"; {cleaned.trashed} messages are in the trash, which Gmail empties after 30 days "
            "(with `login --scope full`, they are deleted)"
        )
    out.print(f"{text}. Quota units spent: {run.units:,}\n")


def _as_json(name: str, run: ConformanceRun) -> dict[str, Any]:
    return {
        "mailbox": name,
        "address": run.address,
        "passed": not run.failed and not run.interrupted,
        "interrupted": run.interrupted,
        "steps": [
            {"name": step.name, "result": step.result, "problem": step.problem or None, "fix": step.fix}
            for step in run.steps
        ],
        "removed": {
            "labels": run.cleaned.labels,
            "deleted": run.cleaned.deleted,
            "trashed": run.cleaned.trashed,
            "left_by_earlier_runs": run.leftovers.labels,
        },
        "units": run.units,
        "examination": None if run.examination is None else examination_as_json(name, run.examination),
    }
