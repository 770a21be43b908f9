"""`gmail-assets forget`: erase a mailbox, or single messages, from the lake permanently."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from gmail_assets.cli.exit_codes import ExitCode
from gmail_assets.cli.options import output_options
from gmail_assets.cli.output import Output, write_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gmail_assets.cli.environment import Environment
    from gmail_assets.operations.forget import Forgotten

__all__ = ["forget"]


@click.command
@click.argument("mailbox")
@click.option(
    "--message",
    "messages",
    multiple=True,
    metavar="ID",
    help="Erase only this message; repeatable. It has to be deleted in Gmail first.",
)
@click.option(
    "--clean-log",
    is_flag=True,
    help="Also remove the history of the tables, which names the mailbox. No table can be read as of an earlier "
    "time then, for any mailbox. No other run may be in progress.",
)
@click.option("--undo", is_flag=True, help="Allow a forgotten mailbox again. The next sync loads it.")
@click.option(
    "--deleted-in-gmail", is_flag=True, help="With --message: do not check in Gmail that they are deleted."
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@output_options
def forget(
    mailbox: str,
    messages: tuple[str, ...],
    clean_log: bool,
    undo: bool,
    deleted_in_gmail: bool,
    yes: bool,
    out: Output,
) -> int:
    """Erase a mailbox or single messages from the lake.

    Blocks the mailbox, so that no sync loads it again; deletes its rows from every table, its sync state, and the files
    of old versions; removes its cursors and its finished runs from Dagster (if DAGSTER_HOME is set). Other mailboxes
    keep their rows and old versions. Prints what remains. If it is interrupted, run it again.

    MAILBOX is an address, or a name such as `me` under which the lake stores the mailbox.
    """
    from gmail_assets.cli.environment import Environment
    from gmail_assets.operations.forget import forget_mailbox, forget_messages, resolve
    from gmail_assets.operations.forget import undo as undo_forget
    from gmail_client.discovery import discover

    if (undo and (messages or clean_log)) or (deleted_in_gmail and not messages):
        raise click.UsageError("--undo accepts no other option; --deleted-in-gmail requires --message.")
    environment = Environment.load()
    address = resolve(environment.lake, mailbox)
    if undo:
        user_ids = discover(environment.settings).user_ids if environment.settings.directory else {}
        undone = undo_forget(environment.lake, address, user_ids.get(address))
        out.print(f"{address} may be loaded again." if undone else f"{address} was not forgotten.")
        out.print_json({"mailbox": address, "undone": undone})
        return ExitCode.SUCCESS
    if messages and not deleted_in_gmail:
        _refuse_present(environment, mailbox, address, messages)
    _confirm(address, messages, clean_log, environment.lake.uri, yes)

    def step(done: str) -> None:
        out.print(f"  {done}")

    if messages:
        result = forget_messages(environment.lake, address, messages, clean_log=clean_log, step=step)
    else:
        result = forget_mailbox(environment.lake, address, clean_log=clean_log, step=step)
        if address in environment.settings.mailbox_names:
            result.remaining.insert(0, "GMAIL_MAILBOXES or GMAIL_USER_ID names the mailbox: remove it there.")
    _print_result(out, result, messages)
    return ExitCode.SUCCESS


def _confirm(address: str, messages: Sequence[str], clean_log: bool, lake: str, yes: bool) -> None:
    if yes:
        return
    what = f"{len(messages)} messages of {address}" if messages else f"the mailbox {address}"
    if not sys.stdin.isatty():
        raise click.UsageError(f"Erasing {what} can't be undone: add --yes to confirm it.")
    write_error(f"This erases {what} from the lake {lake}, with all old versions. It can't be undone.")
    if clean_log:
        write_error("No table can be read as of an earlier time afterwards, for any mailbox.")
    click.confirm("Erase?", abort=True, err=True)


def _refuse_present(environment: Environment, name: str, address: str, messages: Sequence[str]) -> None:
    """Refuse to erase messages that Gmail still has: the next reconciliation would load them again."""
    from gmail_assets.delta.registry import MailboxRegistry
    from gmail_client.errors import ConfigurationError, GmailError, NotFoundError

    def unknown(why: str) -> ConfigurationError:
        return ConfigurationError(
            f"It is unknown whether the messages are deleted in Gmail. {why}",
            fix="Restore the access to the mailbox; or, if they are deleted in Gmail, add --deleted-in-gmail.",
        )

    try:
        mailbox = environment.client().mailbox(name)
        owner = MailboxRegistry(environment.lake).address_of(mailbox.address) or mailbox.address
        calls = [mailbox.api.message_call(message_id, "minimal") for message_id in messages]
        errors = [result.error for result in mailbox.api.get_many(calls)]
    except GmailError as error:
        raise unknown(error.what) from None
    if owner != address:
        raise unknown(f"The credentials are those of {owner}.")
    for found in errors:
        if found is not None and not isinstance(found, NotFoundError):
            raise unknown(found.what)
    present = errors.count(None)
    if present:
        raise ConfigurationError(
            f"Gmail still has {present} of the messages.",
            fix="Delete them in Gmail permanently (from Trash too) and run the command again.",
        )


def _print_result(out: Output, result: Forgotten, messages: Sequence[str]) -> None:
    rows = sum(result.rows.values())
    out.print(
        f"Erased {rows:,} rows and {result.files:,} files of old versions of {result.address}.", style="bold"
    )
    if not rows and not messages:
        out.note(
            f"The lake had no rows of {result.address}. If it was not erased before, check the address: the column "
            "`mailbox` of the tables has the stored ones. The given address is blocked now; "
            f"`gmail-assets forget --undo {result.address}` allows it again."
        )
    out.print("What remains:")
    for text in result.remaining:
        out.print(f"- {text}")
    document: dict[str, Any] = {
        "mailbox": result.address,
        "messages": list(messages),
        "rows": result.rows,
        "files": result.files,
        "log_files": result.log_files,
        "dagster": {"cursors": result.traces.cursors, "runs": result.traces.runs},
        "remaining": result.remaining,
    }
    out.print_json(document)
