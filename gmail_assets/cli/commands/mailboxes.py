"""`gmail-assets mailboxes`: list the mailboxes to read, and register them as Dagster partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gmail_assets.cli.exit_codes import ExitCode
from gmail_assets.cli.options import output_options
from gmail_assets.cli.output import Output

if TYPE_CHECKING:
    from gmail_assets.renamed import Renames
    from gmail_client.discovery import Discovery

__all__ = ["mailboxes"]


@click.command
@click.option("--register", is_flag=True, help="Register new mailboxes as partitions, in DAGSTER_HOME.")
@click.option(
    "--unregister",
    "removed",
    multiple=True,
    metavar="ADDRESS",
    help="Remove the partition of a mailbox in DAGSTER_HOME; its rows are kept. Repeatable.",
)
@click.option(
    "--group-name",
    default="gmail",
    show_default=True,
    metavar="NAME",
    help="The group name of the Dagster definitions.",
)
@output_options
def mailboxes(register: bool, removed: tuple[str, ...], group_name: str, out: Output) -> int:
    """List the mailboxes to read.

    They come from GMAIL_MAILBOXES, from the file GMAIL_MAILBOXES_FILE, and from the Workspace directory
    (GMAIL_DIRECTORY and GMAIL_DIRECTORY_ADMIN). Users without a mailbox, suspended and archived users, and mailboxes
    that are not in GMAIL_ALLOWED_MAILBOXES are left out, with the reason.

    A mailbox with a changed address is listed with its earlier one, under which its rows stay. Costs no quota units,
    unless a new mailbox is found and a loaded one is not: then the ids of their messages are compared, for 6 units.

    With DAGSTER_HOME, also lists registered mailboxes that are not found any more. They keep their partitions and rows.
    """
    from gmail_assets.cli.environment import Environment
    from gmail_assets.discovery import found_mailboxes, no_longer_found
    from gmail_client.errors import ConfigurationError

    environment = Environment.load()
    if (register or removed) and not environment.settings.discovers:
        raise ConfigurationError(
            "The mailboxes are fixed by GMAIL_MAILBOXES or GMAIL_USER_ID: there are no partitions to register.",
            fix="Set GMAIL_DIRECTORY or GMAIL_MAILBOXES_FILE; or after a change of these, reload the code location.",
        )
    with out.status("Reading the mailboxes"):
        found = found_mailboxes(environment.settings, environment.lake)
        if found.mailboxes == ("me",):
            environment.settings.credentials().for_mailbox("me")
        renames = environment.renamed(found.mailboxes, found.user_ids)
    renamed = renames.present
    new, registered = _registered(f"{group_name}_mailboxes", found, register, removed, renames)
    missing = no_longer_found([name for name in registered if name not in renamed], found)
    earlier = {present: old for old, present in renamed.items()}
    for name in found.mailboxes:
        notes = [f"renamed, was {earlier[name]}"] if name in earlier else []
        notes += ["registered now"] if name in new else []
        out.print(f"{name}  ({', '.join(notes)})" if notes else name)
    for name, error in renames.undecided.items():
        out.note(f"Not registered yet: {name}: {error}")
    for name, reason in found.left_out.items():
        out.note(f"Left out: {name}: {reason}.")
    for name, reason in missing.items():
        out.note(f"Registered, but not to be read any more: {name}: {reason}. Its rows are kept.")
    out.note(_summary(found, len(new)))
    out.print_json(
        {
            "mailboxes": list(found.mailboxes),
            "left_out": dict(found.left_out),
            "registered": new,
            "missing": missing,
            "renamed": renamed,
        }
    )
    return ExitCode.SUCCESS


def _registered(
    partitions: str, found: Discovery, register: bool, removed: tuple[str, ...], renames: Renames
) -> tuple[list[str], list[str]]:
    """The mailboxes that were registered now, and all that are registered in DAGSTER_HOME.

    With `register`, the partitions of earlier names are removed.

    Raises:
        ConfigurationError: Partitions are to be changed, and DAGSTER_HOME is not set.
    """
    from gmail_assets.operations.dagster_instance import dagster_instance
    from gmail_client.errors import ConfigurationError

    with dagster_instance() as instance:
        if instance is None:
            if register or removed:
                raise ConfigurationError(
                    "DAGSTER_HOME is not set: there is no instance to register mailboxes in.",
                    fix="Set it to the folder of the deployment's Dagster instance.",
                )
            return [], []
        known = list(instance.get_dynamic_partitions(partitions))
        for name in removed:
            if name not in known:
                raise click.UsageError(f"{name!r} is not registered.")
            instance.delete_dynamic_partition(partitions, name)
            known.remove(name)
        present = {name.lower() for name in known}
        dropped = {name.lower() for name in removed}
        new = [name for name in found.mailboxes if name.lower() not in present | dropped]
        new = [name for name in new if name not in renames.undecided]
        if not register:
            return [], known
        instance.add_dynamic_partitions(partitions, new)
        for name in [name for name in known if name in renames.present]:
            instance.delete_dynamic_partition(partitions, name)
            known.remove(name)
        return new, [*known, *new]


def _summary(found: Discovery, new: int) -> str:
    left_out = f", {len(found.left_out):,} left out" if found.left_out else ""
    count = f"{len(found.mailboxes):,} mailbox{'' if len(found.mailboxes) == 1 else 'es'}"
    return f"{count}{left_out}{f', {new:,} registered now' if new else ''}."
