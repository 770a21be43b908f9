"""Sync the tables of one mailbox from Gmail to Delta, without Dagster.

`sync` is for messages and threads, together or one of them; `snapshot` for each of the other eight tables.

A sync makes a plan and applies it. If a table has a cursor, the plan comes from Gmail's history (incremental). If it
has none (full load, changed options, a restored table) or the history has expired, a listing is reconciled with the
stored rows: missing messages are fetched, deleted ones are removed, and labels of threads whose history id changed are
read again. Then the history is replayed from the time before the listing. Everything is committed in chunks, the cursor
with the last one, so that the run after a crash continues.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa

from gmail_assets.delta.derived_state import names_number
from gmail_assets.delta.forgotten import refuse_forgotten
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.maintenance import DEFAULT_UPKEEP, Upkeep, keep_up
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.quota_ledger import share_quota
from gmail_assets.syncing.gc_tuning import collected_seldom
from gmail_assets.syncing.identity import stored_address
from gmail_assets.syncing.results import Progress, SyncResult
from gmail_assets.syncing.stopping import RunGroup, TimeUpError
from gmail_assets.syncing.sync_run import SyncRun
from gmail_client.client import Mailbox
from gmail_client.errors import ForbiddenError
from gmail_client.http.calls import UsageSnapshot
from gmail_client.schema import SCHEMAS, to_batch
from gmail_client.snapshots import read_snapshot
from gmail_client.spec import SpecTable
from gmail_client.views import labels_of

__all__ = ["Progress", "ReadSnapshot", "SyncResult", "read_here", "snapshot", "sync"]


ReadSnapshot = Callable[[Mailbox, SpecTable, SyncResult], pa.Table]
"""Reads the rows of a snapshot table; adds its warnings, and the usage of other processes, to the result."""


def read_here(mailbox: Mailbox, spec: SpecTable, result: SyncResult) -> pa.Table:
    """The rows of one of the eight snapshot tables, read in this process.

    Raises:
        ForbiddenError: This account is not allowed to read the table.
        GmailError: The read can't be completed.
    """
    pages = read_snapshot(mailbox.api, spec.source_table, spec.options, result.warnings.append)
    batches = [to_batch(spec.source_table, rows) for rows in pages]
    return pa.Table.from_batches(batches, SCHEMAS[spec.source_table])


def snapshot(
    mailbox: Mailbox,
    lake: Lake,
    spec: SpecTable,
    *,
    read: ReadSnapshot = read_here,
    upkeep: Upkeep = DEFAULT_UPKEEP,
    record_every: float = 0,
) -> SyncResult:
    """Read one of the eight snapshot tables and replace the mailbox's rows in one commit, if they differ.

    A table that this account is not allowed to read keeps its rows, and the result has a warning.

    Args:
        mailbox: The source.
        lake: The destination.
        spec: Name and options of the table.
        read: Reads the rows: in this process, or on Spark's workers.
        upkeep: When small files are compacted and old ones removed.
        record_every: Seconds. A read that finds no difference is not recorded if another one was less than this ago.

    Raises:
        GmailError: The read or the write failed; the stored rows are unchanged.
    """
    share_quota(mailbox.client, lake)
    lake = lake.session()
    started, before = time.monotonic(), mailbox.api.usage.snapshot()
    address = stored_address(mailbox, lake, record=True)
    table = lake.table(spec.source_table, name=spec.table_name)
    part = MailboxPartition(table, address, spec.options.fingerprint, spec.options.content_format)
    if not part.has_state:
        refuse_forgotten(lake, address)
    result = SyncResult(spec.source_table, address, "snapshot")
    try:
        rows = read(mailbox, spec, result)
        result.keys = frozenset(rows[table.key].to_pylist())
        names = _names_of(rows) if spec.source_table == "labels" else 0
        if part.replace(rows, names=names, record_every=record_every):
            result.rows_written = rows.num_rows
    except ForbiddenError as error:
        part.record_read(record_every=record_every)
        result.mode = "refused"
        result.warnings = [f"This account is not allowed to read the table; its rows are kept. {error}"]
    result.upkeep = keep_up(table, address, upkeep)
    result.rows_total = part.count()
    _account(result, mailbox, before, started)
    return result


def sync(
    mailbox: Mailbox,
    lake: Lake,
    tables: Iterable[SpecTable],
    *,
    pipeline: Iterable[SpecTable] = (),
    full_refresh: bool = False,
    reconcile: bool = False,
    replay_from: int | None = None,
    allow_mass_delete: bool = False,
    deadline: float | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
    sample: random.Random | None = None,
    upkeep: Upkeep = DEFAULT_UPKEEP,
    group: RunGroup | None = None,
) -> dict[str, SyncResult]:
    """Make messages and threads (or one of them) equal to the mailbox.

    Args:
        mailbox: The source.
        lake: The destination.
        tables: Name and options of each table.
        pipeline: All tables of the pipeline: content that one of them stores is not fetched again. Default: the tables
            of the lake with the default names.
        full_refresh: Delete the mailbox's rows and load them again.
        reconcile: Reconcile with a listing although there is a cursor.
        replay_from: Replay the history from this earlier id; never later than a table's own cursor.
        allow_mass_delete: Allow a reconciliation to delete more than a fifth of the rows.
        deadline: `time.monotonic()` at which to stop cleanly; commits stay and the next run continues.
        progress: Progress callback; called in this thread, and from another with the phase `stopping`.
        sample: Chooses the sampled unchanged threads of a reconciliation.
        upkeep: When small files are compacted and old ones removed, at the end of the run.
        group: The runs of other mailboxes: they stop together, cleanly, and share their memory.

    Returns:
        A result for each table.

    Raises:
        MassDeletionError: See `allow_mass_delete`; nothing was deleted.
        MailboxBusyError: Another run loads or reconciles the same tables of the mailbox; nothing was spent.
        WriterConflictError: Another run writes the same mailbox; this run's commit was refused.
        IncompleteReadError: A requested message has no outcome (a bug); the cursor is not moved.
        GmailError: A request failed; committed data is kept, and the next run continues from there.
    """
    share_quota(mailbox.client, lake)
    lake = lake.session()
    run = SyncRun(mailbox, lake, allow_mass_delete, deadline, progress, sample, group)
    started, before = time.monotonic(), mailbox.api.usage.snapshot()
    complete = True
    try:
        with run.leases(), collected_seldom():
            run.open(
                list(tables),
                pipeline=list(pipeline),
                full_refresh=full_refresh,
                reconcile=reconcile,
                replay_from=replay_from,
            )
            with _in_background(mailbox, any(table.mode != "incremental" for table in run.tables)):
                run.run()
    except TimeUpError:
        complete = False
    results = {}
    for table in run.tables:
        result = SyncResult(
            table.name,
            run.address,
            table.mode,
            rows_written=table.written,
            rows_updated=table.updated,
            rows_deleted=table.deleted,
            rows_total=table.partition.count(),
            history_id=table.partition.state.cursor,
            synced_before=table.synced_before,
            complete=complete,
            unfetched=len(table.failed),
            warnings=list(run.warnings),
            upkeep=keep_up(table.partition.table, run.address, upkeep),
            changes=table.partition.changes,
        )
        _account(result, mailbox, before, started)
        results[table.name] = result
    return results


def _names_of(labels: pa.Table) -> int:
    return names_number(labels_of(labels.select(["id", "name", "type"]).to_pylist()))


@contextmanager
def _in_background(mailbox: Mailbox, background: bool) -> Iterator[None]:
    """Let the changes of other mailboxes go first."""
    mailbox.api.background = background
    try:
        yield
    finally:
        mailbox.api.background = False


def _account(result: SyncResult, mailbox: Mailbox, before: UsageSnapshot, started: float) -> None:
    spent = mailbox.api.usage.since(before)
    result.units += spent.total_units
    result.calls += spent.total_calls
    result.bytes += spent.total_bytes
    result.seconds = time.monotonic() - started
