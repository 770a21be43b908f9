"""The daily schedule of the snapshot tables: runs over ranges of mailboxes."""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
import dagster as dg

from gmail_assets.mailbox_partitions import MailboxPartitions, range_arguments, ranges

__all__ = ["DAILY", "snapshot_schedule"]

DAILY = "17 4 * * *"
"""04:17 UTC: not on the full hour, when many other schedules start."""


def snapshot_schedule(
    name: str,
    job_name: str,
    partitions: MailboxPartitions,
    *,
    cron: str = DAILY,
    running: bool = False,
    mailboxes_per_run: int = 100,
) -> dg.ScheduleDefinition:
    """The schedule that requests runs of the job over all mailboxes at each tick.

    Args:
        name: Name of the schedule.
        job_name: The job of the snapshot tables.
        partitions: The mailboxes.
        cron: Cron expression, in UTC.
        running: Start switched on; otherwise it has to be switched on in the UI.
        mailboxes_per_run: Mailboxes of one run.
    """

    @dg.schedule(
        name=name,
        job_name=job_name,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED,
        description="Refreshes the snapshot tables (labels, drafts, settings ...) of every mailbox once a day.",
    )
    def snapshots(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        tick = context.scheduled_execution_time.isoformat()
        return [
            dg.RunRequest(run_key=f"{tick} {names[0]}", **range_arguments(names))
            for names in ranges(partitions.names(context), mailboxes_per_run)
        ]

    return snapshots
