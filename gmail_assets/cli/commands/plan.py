"""`gmail-assets plan`: what the next sync fetches and costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gmail_assets.cli.error_groups import grouped_errors
from gmail_assets.cli.exit_codes import ExitCode, exit_code_of, most_severe
from gmail_assets.cli.options import mailbox_option, output_options
from gmail_assets.cli.output import Output

if TYPE_CHECKING:
    from gmail_assets.operations.plan import MailboxPlan

__all__ = ["plan"]

_CONTENTS = "attachment_contents"

_SHORT_MODES = {
    "unfinished load": "resume",
    "reconciliation": "reconcile",
    "changes since the last sync": "incremental",
}
"""Modes of `TableCost` that are too long for a table of 80 columns."""


@click.command
@mailbox_option
@output_options
def plan(mailboxes: tuple[str, ...], out: Output) -> int:
    """Show what the next sync fetches, in quota units and hours.

    Shows for each mailbox the cost in quota units, and the time that Gmail's quota imposes: for a first load, a
    resumed load, an incremental sync or a reconciliation. Fetches no content and writes nothing. The plan itself costs
    the listings (5 units per 500 messages) and about 10 units.
    """
    from gmail_assets.cli.environment import Environment
    from gmail_assets.operations.plan import MailboxPlan, plan_mailbox
    from gmail_assets.operations.table_selection import TableSelection
    from gmail_assets.run_settings import RunSettings
    from gmail_client.errors import GmailError

    environment = Environment.load()
    client = environment.client()
    plans: list[MailboxPlan] = []
    names = environment.mailboxes(mailboxes)
    unchanged = environment.unchanged(names, TableSelection(environment.spec).tables(()), RunSettings())
    for name in names:
        try:
            with out.status(f"{name}: listing the mailbox") as progress:
                mailbox = client.mailbox(name)
                plans.append(plan_mailbox(mailbox, environment.lake, environment.spec, progress=progress))
                if name in unchanged:
                    plans[-1].skip()
        except GmailError as error:
            plans.append(MailboxPlan(name, client.plan, error=error))
    made = [plan for plan in plans if plan.error is None]
    if made:
        _print_plans(out, made)
    for text in grouped_errors((plan.name, str(plan.error)) for plan in plans if plan.error is not None):
        out.note(text)
    out.print_json(
        {
            "mailboxes": [_as_json(plan) for plan in plans],
            "units": sum(plan.units for plan in made),
            "minutes_one_by_one": round(sum(plan.minutes for plan in made), 2),
        }
    )
    errors = [type(plan.error).__name__ for plan in plans if plan.error is not None]
    return most_severe(exit_code_of(error) for error in errors) if errors else ExitCode.SUCCESS


def _print_plans(out: Output, plans: list[MailboxPlan]) -> None:
    rows = [_row(plan.address, _modes(plan), [plan]) for plan in plans]
    if len(plans) > 1:
        rows.append(_row("total", "", plans))
    out.table(list(rows[0]), rows, text=2)
    quota = plans[0].quota
    out.print(f"\nThe time is a lower bound, at {quota.user_per_minute:,} units per minute and user.")
    if len(plans) > 1:
        out.print("The total is for one mailbox after the other; mailboxes can load in parallel.")
    if quota.project_per_day is not None:
        share = sum(plan.units for plan in plans) / quota.project_per_day
        out.print(f"That is {_percent(share)} of the project's {quota.project_per_day:,} units per day.")
    out.print(f"This plan cost {sum(plan.asked_units for plan in plans):,} units.")
    stored = sum(
        table.from_lake for plan in plans for name, table in plan.tables.items() if name != _CONTENTS
    )
    if stored:
        out.print(
            f"{stored:,} messages are stored in another table: they are taken from there and cost nothing."
        )
    contents = [table for plan in plans if (table := plan.tables.get(_CONTENTS)) is not None]
    if contents:
        attachments = sum(table.fetch or 0 for table in contents)
        out.print(
            f"{attachments:,} attachments are fetched for {sum(table.units for table in contents):,} of these units; "
            "those of messages that are not stored yet are not counted."
        )
    if out.verbose:
        for plan in plans:
            _print_details(out, plan)


def _row(mailbox: str, mode: str, plans: list[MailboxPlan]) -> dict[str, Any]:
    return {
        "mailbox": mailbox,
        "mode": mode,
        "messages": sum(plan.messages for plan in plans),
        "to fetch": sum(_to_fetch(plan) for plan in plans),
        "units": sum(plan.units for plan in plans),
        "time": duration_text(sum(plan.minutes for plan in plans)),
    }


def _print_details(out: Output, plan: MailboxPlan) -> None:
    out.print(
        f"\n{plan.address}: content {plan.content_units:,}, listings {plan.listing_units:,}, "
        f"snapshots {plan.snapshot_units:,}, attachments {plan.attachment_units:,} units"
    )
    rows = [
        {
            "table": name,
            "mode": _SHORT_MODES.get(table.mode, table.mode),
            "rows": table.rows,
            "to fetch": table.fetch,
            "from lake": table.from_lake or None,
            "units": table.units or None,
        }
        for name, table in plan.tables.items()
    ]
    out.table(["table", "mode", "rows", "to fetch", "from lake", "units"], rows, text=2)


def _modes(plan: MailboxPlan) -> str:
    if plan.up_to_date:
        return "up to date"
    modes = dict.fromkeys(
        table.mode for table in plan.tables.values() if table.mode not in ("snapshot", "contents")
    )
    return ", ".join(_SHORT_MODES.get(mode, mode) for mode in modes) or "snapshots"


def _to_fetch(plan: MailboxPlan) -> int:
    """Messages to fetch; without `messages` in the spec, threads."""
    messages = plan.tables.get("messages") or plan.tables.get("threads")
    return (messages.fetch or 0) if messages else 0


def duration_text(minutes: float) -> str:
    """Format minutes: `< 1 min`, `12 min` or `3.4 h`."""
    if minutes < 1:
        return "< 1 min"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _percent(share: float) -> str:
    return "less than 0.1 %" if share < 0.001 else f"{share * 100:.1f} %"


def _as_json(plan: MailboxPlan) -> dict[str, Any]:
    if plan.error is not None:
        problem = {"error": type(plan.error).__name__, "message": plan.error.what, "fix": plan.error.fix}
        return {"mailbox": plan.name, "problem": problem}
    return {
        "mailbox": plan.name,
        "address": plan.address,
        "problem": None,
        "messages": plan.messages,
        "threads": plan.threads,
        "tables": {
            name: {
                "mode": table.mode,
                "rows": table.rows,
                "fetch": table.fetch,
                "from_lake": table.from_lake,
            }
            for name, table in plan.tables.items()
        },
        "units": {
            "content": plan.content_units,
            "listings": plan.listing_units,
            "snapshots": plan.snapshot_units,
            "attachments": plan.attachment_units,
            "total": plan.units,
        },
        "up_to_date": plan.up_to_date,
        "minutes": round(plan.minutes, 2),
        "share_of_day": plan.share_of_day,
        "asked_units": plan.asked_units,
    }
