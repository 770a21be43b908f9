"""Discovery for Dagster: `found_mailboxes`, and `discovery_sensor`, which registers new mailboxes as partitions.

A mailbox that is no longer found keeps its partition and its rows. It is reported, because an administrator has to
decide what happens to its mail.
"""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
import json
from collections.abc import Mapping, Sequence
from typing import cast

import dagster as dg

from gmail_assets.delta.forgotten import ForgottenMailboxes
from gmail_assets.delta.lake import Lake
from gmail_assets.mailbox_partitions import MailboxPartitions
from gmail_assets.renamed import find_renamed
from gmail_assets.resources import ResourceKeys
from gmail_client.client import GmailClient
from gmail_client.discovery import Discovery, discover
from gmail_client.errors import GmailError
from gmail_client.printable import printable_line
from gmail_client.settings import Settings

__all__ = ["NOT_FOUND", "discovery_sensor", "found_mailboxes", "no_longer_found"]

_ERASED = "erased with `gmail-assets forget`"
NOT_FOUND = "not found any more"
_MAX_NAMES = 20


def found_mailboxes(settings: Settings, lake: Lake, client: GmailClient | None = None) -> Discovery:
    """The mailboxes of the settings, their file and their directory; those that were erased are left out.

    Args:
        settings: The settings.
        lake: The lake, which knows the erased mailboxes.
        client: Reads the directory. Default: a client of these settings.

    Raises:
        GmailError: The directory can't be read to its end, a setting is invalid, or the lake can't be read.
    """
    found = discover(settings, client)
    forgotten = ForgottenMailboxes(lake)
    return found.without({name: _ERASED for name in found.mailboxes if forgotten.includes(name)})


def no_longer_found(registered: Sequence[str], found: Discovery) -> dict[str, str]:
    """The registered mailboxes that are not found any more, with the reason."""
    present = {name.lower() for name in found.mailboxes}
    return {
        name: found.left_out.get(name.lower(), NOT_FOUND)
        for name in registered
        if name.lower() not in present
    }


def discovery_sensor(
    name: str,
    partitions: MailboxPartitions,
    *,
    interval_seconds: int = 600,
    running: bool = False,
    resources: ResourceKeys | None = None,
) -> dg.SensorDefinition:
    """The sensor that registers new mailboxes.

    Args:
        name: Name of the sensor.
        partitions: The partitions that it adds to.
        interval_seconds: Minimum interval between ticks.
        running: Start switched on; otherwise it has to be switched on in the UI.
        resources: Names of the resources.
    """
    resources = resources or ResourceKeys()
    definition = cast(dg.DynamicPartitionsDefinition, partitions.definition)

    @dg.sensor(
        name=name,
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        description="Reads the file GMAIL_MAILBOXES_FILE and the Workspace directory (GMAIL_DIRECTORY), and adds a "
        "partition for each new mailbox. A mailbox that is no longer found keeps its partition and rows, and is "
        "reported here.",
        required_resource_keys=resources.required,
    )
    def gmail_mailboxes(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        gmail, gmail_lake = resources.of_run(context.resources)
        failure: str | None = None
        try:
            found = found_mailboxes(gmail.access.settings(), gmail_lake.lake(), gmail.client())
            renames = find_renamed(gmail_lake.lake(), gmail.mailbox, found.mailboxes, found.user_ids)
        except GmailError as error:
            failure = str(error)
        if failure is not None:
            # Nothing is added or reported as missing, because a truncated response is not a shorter list.
            raise dg.Failure(f"The mailboxes could not be listed. {failure}", allow_retries=False)
        registered = partitions.names(context)
        known = {mailbox.lower() for mailbox in registered}
        renamed, undecided = renames.present, renames.undecided
        for mailbox, reason in undecided.items():
            context.log.warning(printable_line(f"{mailbox} is not registered yet: {reason}"))
        new = [
            mailbox
            for mailbox in found.mailboxes
            if mailbox.lower() not in known and mailbox not in undecided
        ]
        replaced = [mailbox for mailbox in registered if mailbox in renamed]
        missing = no_longer_found([mailbox for mailbox in registered if mailbox not in renamed], found)
        reported = _reported(context.cursor)
        for mailbox in (mailbox for mailbox in missing if mailbox not in reported):
            context.log.warning(printable_line(f"{mailbox}: {missing[mailbox]}. Its rows are kept."))
        if new:
            context.log.info(printable_line(f"Registered: {_names(new)}."))
        for mailbox in replaced:
            text = (
                f"{mailbox} is {renamed[mailbox]} now: its partition has the new name, and its rows are kept."
            )
            context.log.info(printable_line(text))
        added = [definition.build_add_request(new)] if new else []
        return dg.SensorResult(
            dynamic_partitions_requests=[
                *added,
                *([definition.build_delete_request(replaced)] if replaced else []),
            ],
            skip_reason=printable_line(_summary(new, missing, found)),
            cursor=json.dumps({"missing": missing}, ensure_ascii=False),
        )

    return gmail_mailboxes


def _reported(cursor: str | None) -> set[str]:
    try:
        missing = json.loads(cursor or "{}")["missing"]
    except (ValueError, KeyError, TypeError):
        return set()
    return set(missing) if isinstance(missing, dict) else set()


def _summary(new: Sequence[str], missing: Mapping[str, str], found: Discovery) -> str:
    parts = [f"{len(found.mailboxes):,} mailboxes found, {len(new):,} new."]
    if missing:
        named = [f"{mailbox} ({reason})" for mailbox, reason in missing.items()]
        parts.append(f"Registered, but not to be read any more; the rows are kept: {_names(named)}.")
    if found.left_out:
        left_out = [f"{mailbox} ({reason})" for mailbox, reason in found.left_out.items()]
        parts.append(f"Left out: {_names(left_out)}.")
    return " ".join(parts)


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES:,} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more
