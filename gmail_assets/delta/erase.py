"""Erase one mailbox, or one message, from a Delta table permanently: rows, sync state, files of old versions, the log.

Each function is one idempotent step. `gmail_assets.operations.forget` calls them in order, asks for confirmation and
reports progress.

The files of a mailbox are in a separate folder (`mailbox=<address>`), so its old versions can be removed without a
vacuum of the whole table. Old versions of other mailboxes and files that another run is writing are not touched. The
log is shared: cleaning it ends the time travel of all mailboxes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.fs import DeltaStorageHandler

from gmail_assets.delta.app_ids import StateReader, legacy_base
from gmail_assets.delta.errors import LakeError, unreadable, unwritable
from gmail_assets.delta.lake import MAILBOX, Lake
from gmail_assets.delta.lease import LEASE_FIELDS
from gmail_assets.delta.maintenance import vacuum
from gmail_assets.delta.parquet_files import WRITER_PROPERTIES
from gmail_assets.delta.sync_state import STATE_FIELDS, erased
from gmail_client.sql import equals
from gmail_client.tables import CATALOGUE
from gmail_client.views import CONTENT_VIEWS, VIEWS

__all__ = [
    "clean_log",
    "delta_tables",
    "erase_rows",
    "log_names",
    "mailboxes_of",
    "opened",
    "own_tables",
    "remove_old_files",
    "source_of",
    "vacuum_shared",
]

SOURCES = (*CATALOGUE, *VIEWS, *CONTENT_VIEWS)
_ATTEMPTS = 20
_WRITER = "writer"
_DERIVED_FIELDS = ("formula", "sources")
_CLOCK_DIFFERENCE = timedelta(minutes=2)
"""By which the clocks of this machine and of the storage may differ."""


def delta_tables(lake: Lake) -> list[str]:
    """Names of all Delta tables in the lake, this product's and others.

    Raises:
        LakeError: The lake can't be listed.
    """
    if lake.folder is not None:
        if not lake.folder.exists():
            return []
        return sorted(path.parent.name for path in lake.folder.glob("*/_delta_log"))
    folders = [name for name, is_folder, _ in _entries(lake.uri, lake.options, "") if is_folder]
    return sorted(name for name in folders if lake.find(name) is not None)


def source_of(table: DeltaTable) -> str | None:
    """The catalogue or derived table that a Delta table stores; None for a foreign table."""
    described = {entry.description: name for name, entry in CATALOGUE.items()}
    described |= {view.description: name for name, view in {**VIEWS, **CONTENT_VIEWS}.items()}
    return described.get(table.metadata().description or "")


def own_tables(lake: Lake) -> list[tuple[str, str, DeltaTable]]:
    """This product's tables as (name, source, table); sources come before the tables derived from them."""
    found = []
    for name in delta_tables(lake):
        table = lake.find(name)
        if table is not None and table.metadata().partition_columns == [MAILBOX]:
            source = source_of(table)
            if source is not None:
                found.append((name, source, table))
    return sorted(found, key=lambda entry: (SOURCES.index(entry[1]), entry[0]))


def mailboxes_of(table: DeltaTable) -> set[str]:
    """Addresses that have rows in a table; none if it has no column for them."""
    if table.metadata().partition_columns == [MAILBOX]:
        return {partition[MAILBOX] for partition in table.partitions()}
    if MAILBOX not in _columns(table):
        return set()
    found = table.to_pyarrow_dataset().to_table(columns=[MAILBOX])[MAILBOX]
    return set(pc.unique(found).to_pylist()) - {None}


def _columns(table: DeltaTable) -> list[str]:
    return list(pa.schema(table.schema().to_arrow()).names)


# Rows


def erase_rows(lake: Lake, name: str, address: str, condition: str | None = None) -> int:
    """Delete a mailbox's rows, or those that match a condition, in one commit, and move its fence.

    The next commit of a run that has the mailbox open is refused. Without a condition, the sync state is deleted too.
    A table without a column for mailboxes is not changed.

    Returns:
        Number of deleted rows.

    Raises:
        LakeError: The table can't be written.
    """
    for attempt in range(_ATTEMPTS):
        table = lake.find(name)
        if table is None or MAILBOX not in _columns(table):
            return 0
        where = equals(MAILBOX, address) + (f" AND {condition}" if condition else "")
        transactions = _fences(table, name, address, whole=condition is None)
        properties = CommitProperties(app_transactions=transactions)
        version = table.version()
        stored = None if condition else _row_count(table, address)
        try:
            done = table.delete(where, writer_properties=WRITER_PROPERTIES, commit_properties=properties)
            # Without rows to delete there is no commit. Those of other mailboxes are not seen yet.
            if table.version() == version and transactions:
                _commit_alone(table, transactions)
        except CommitFailedError as error:
            if attempt == _ATTEMPTS - 1:
                raise unwritable(lake.location(name), error) from error
            continue
        except (DeltaError, OSError) as error:
            raise unwritable(lake.location(name), error) from error
        return int(done.get("num_deleted_rows") or 0) if stored is None else stored
    return 0


def _row_count(table: DeltaTable, address: str) -> int | None:
    """Rows of a mailbox, from the log; None if it does not say."""
    if table.metadata().partition_columns != [MAILBOX]:
        return None
    actions = pa.table(table.get_add_actions(flatten=True))
    if not actions.num_rows:
        return 0
    own = actions.filter(pc.equal(actions[f"partition.{MAILBOX}"], address))
    return int(pc.sum(own["num_records"]).as_py() or 0)


def _fences(table: DeltaTable, name: str, address: str, *, whole: bool) -> list[Transaction]:
    """The transactions of the commit: they move every fence of the mailbox; with `whole` they erase its state."""
    own = {source_of(table), name}
    transactions: list[Transaction] = []
    for source in SOURCES:
        read = StateReader(table, address, source)
        writer = read(f"{read.base}/{_WRITER}")
        if writer is None and source not in own:
            continue
        fence = max(table.version() + 1, (writer or 0) + 1)
        fields = [*STATE_FIELDS, *_DERIVED_FIELDS]
        transactions += read.migration(fence, carried=() if whole else fields)
        if whole:
            transactions += erased(read.hashed, read.base, fence, (*_DERIVED_FIELDS, *LEASE_FIELDS))
        else:
            transactions.append(Transaction(f"{read.base}/{_WRITER}", fence))
    return transactions


def _commit_alone(table: DeltaTable, transactions: Sequence[Transaction]) -> None:
    table.create_write_transaction(
        [],
        "append",
        table.schema(),
        partition_by=table.metadata().partition_columns,
        commit_properties=CommitProperties(app_transactions=list(transactions)),
    )


# Files of old versions


def remove_old_files(lake: Lake, name: str, address: str, *, erased_at: datetime | None) -> int:
    """Remove files of a mailbox that the table's current version does not need.

    Afterwards, earlier versions of the table can be read for other mailboxes only.

    Args:
        lake: The lake.
        name: Name of the table.
        address: The mailbox.
        erased_at: When the rows were erased. Newer files that are in no commit are kept: a run that began afterwards
            may be about to commit them. None: they are removed too, which requires that no run writes the mailbox.

    Returns:
        Number of removed files.

    Raises:
        LakeError: The table can't be read, or a file can't be removed.
    """
    table = lake.find(name)
    if table is None:
        return 0
    location = lake.location(name)
    if table.metadata().partition_columns != [MAILBOX]:
        return _vacuumed(table, location) if MAILBOX in _columns(table) else 0
    present = _present_files(table)
    committed = set(_removed_files(table))
    newest = None if erased_at is None else erased_at - _CLOCK_DIFFERENCE
    removed = 0
    files = pa_fs.PyFileSystem(DeltaStorageHandler(location, options=lake.options))
    for folder in _folders_of(lake, name, address):
        kept = False
        for path, is_folder, modified in _entries(location, lake.options, folder):
            may_be_committed = newest is not None and modified > newest and path not in committed
            if is_folder or path in present or may_be_committed:
                kept = True
                continue
            with suppress(FileNotFoundError):
                files.delete_file(path)
            removed += 1
        if lake.folder is not None and not kept:
            with suppress(OSError):
                (lake.folder / name / folder).rmdir()
    return removed


def _folders_of(lake: Lake, name: str, address: str) -> list[str]:
    """Delta writes a partition's value percent-encoded, `%` included."""
    entries = _entries(lake.location(name), lake.options, "")
    return [path for path, is_folder, _ in entries if is_folder and unquote(path) == f"{MAILBOX}={address}"]


def _present_files(table: DeltaTable) -> set[str]:
    """Paths of the current version's files in the file system (decoded)."""
    actions = pa.table(table.get_add_actions(flatten=True))
    return {unquote(path) for path in actions["path"].to_pylist()}


def _removed_files(table: DeltaTable) -> Iterator[str]:
    """Paths of files that commits removed, if the log still contains those commits."""
    for path in table.vacuum(0, dry_run=True, enforce_retention_duration=False):
        yield unquote(path)
        yield path


def vacuum_shared(lake: Lake, name: str) -> int:
    """Remove all old versions of one of the lake's internal tables; returns the number of removed files."""
    table = lake.find(name)
    return 0 if table is None else _vacuumed(table, lake.location(name))


def opened(lake: Lake, name: str) -> DeltaTable:
    """Open an existing table.

    Raises:
        LakeError: It does not exist.
    """
    table = lake.find(name)
    if table is None:
        raise unreadable(lake.location(name), FileNotFoundError("there is no such table"))
    return table


def _vacuumed(table: DeltaTable, location: str) -> int:
    """Remove the files that commits removed from a table that is not partitioned by mailbox."""
    try:
        return vacuum(table, timedelta(0))
    except (DeltaError, OSError) as error:
        raise unwritable(location, error) from error


def _entries(
    location: str, options: dict[str, str] | None, folder: str
) -> Iterator[tuple[str, bool, datetime]]:
    """Entries of a folder (one level): path, whether it is a folder, time of the last write."""
    files = pa_fs.PyFileSystem(DeltaStorageHandler(location, options=options))
    try:
        found = files.get_file_info(pa_fs.FileSelector(folder, recursive=False, allow_not_found=True))
    except (DeltaError, OSError) as error:
        raise unreadable(location, error) from error
    for entry in found:
        modified = entry.mtime or datetime.now(UTC)
        yield entry.path.rstrip("/"), entry.type == pa_fs.FileType.Directory, modified


# The log

_NEVER = "interval 0 days"
_RETENTION = {
    "delta.logRetentionDuration": "interval 30 days",
    "delta.deletedFileRetentionDuration": "interval 1 week",
}
"""Table properties that are set to zero while the log is cleaned, with Delta's defaults."""

_TRANSACTIONS = "delta.setTransactionRetentionDuration"
_LONG = "interval 10000 days"
"""A checkpoint omits transactions with an older timestamp; transactions of a sync have no timestamp."""


def clean_log(lake: Lake, name: str, address: str | None) -> int:
    """Write a checkpoint at the end of a table's log and remove all older entries, which contain addresses.

    Afterwards, no earlier version of the table can be read. No other run may write the table meanwhile.

    Args:
        lake: The lake.
        name: Name of the table.
        address: A mailbox whose transaction ids of earlier releases are removed too.

    Returns:
        Number of removed log files.

    Raises:
        LakeError: The table can't be written; or it was restored, and not all mailboxes were synced since then.
    """
    table = lake.find(name)
    if table is None:
        return 0
    location = lake.location(name)
    try:
        _check_restores(lake, name, table)
    except (DeltaError, OSError) as error:
        raise unwritable(location, error) from error
    before = dict(table.metadata().configuration)
    kept = {
        key: default if before.get(key, default) == _NEVER else before.get(key, default)
        for key, default in _RETENTION.items()
    }
    logged = len(list(_log_files(lake, name)))
    try:
        _expire_transactions(table, lake, name, address)
        short = dict.fromkeys(_RETENTION, _NEVER) | {_TRANSACTIONS: _LONG}
        if MAILBOX not in (table.metadata().partition_columns or ()):
            short["delta.dataSkippingNumIndexedCols"] = "0"
        table.alter.set_table_properties(short)
        table = DeltaTable(location, storage_options=lake.options)
        table.create_checkpoint()
        table.cleanup_metadata()
        table.alter.set_table_properties(kept)
    except (DeltaError, OSError) as error:
        raise unwritable(location, error) from error
    return max(logged - len(list(_log_files(lake, name))), 0)


def _check_restores(lake: Lake, name: str, table: DeltaTable) -> None:
    """Refuse to remove a restore from the log that the next sync of a mailbox would have to find there.

    Raises:
        LakeError: There is one.
    """
    source = source_of(table)
    if source not in CATALOGUE or table.metadata().partition_columns != [MAILBOX]:
        return
    restored = max((c["version"] for c in table.history() if c.get("operation") == "RESTORE"), default=0)
    if not restored:
        return
    table.create_checkpoint()
    written = _checkpointed(lake, name, table.version())
    bases = [
        app_id.removesuffix(f"/{_WRITER}") for app_id in written if app_id.endswith(f"/{source}/{_WRITER}")
    ]
    behind = [
        base
        for base in bases
        if "@" not in base  # from an earlier release: its state is under a hashed id since the first sync
        and written[f"{base}/{_WRITER}"] <= restored
        and any(written.get(f"{base}/{field}") for field in ("cursor", "load_start", "synced_at"))
    ]
    if behind:
        raise LakeError(
            f"The table {name!r} was restored, and {len(behind)} mailboxes were not synced since then.",
            fix="Run `gmail-assets sync` for all mailboxes, forget those that are not synced any more, "
            "and run this command again.",
        )


def _expire_transactions(table: DeltaTable, lake: Lake, name: str, address: str | None) -> None:
    """Set an old timestamp for transaction ids that contain the address, so that the next checkpoint omits them."""
    if address is None or not any(
        table.transaction_version(f"{legacy_base(address, source)}/{_WRITER}") for source in SOURCES
    ):
        return
    table.create_checkpoint()
    begin = f"gmail/{address}/"
    ids = [app_id for app_id in _checkpointed(lake, name, table.version()) if app_id.startswith(begin)]
    if ids:
        _commit_alone(table, [Transaction(app_id, 0, last_updated=1) for app_id in ids])
        table.update_incremental()


def _checkpointed(lake: Lake, name: str, version: int) -> dict[str, int]:
    """The transactions of a checkpoint."""
    files = pa_fs.PyFileSystem(DeltaStorageHandler(lake.location(name), options=lake.options))
    path = f"_delta_log/{version:020}.checkpoint.parquet"
    with files.open_input_file(path) as file:
        column: Any = pq.ParquetFile(file).read(columns=["txn"])["txn"]
    found = [entry for entry in column.to_pylist() if entry and entry.get("appId")]
    return {entry["appId"]: entry["version"] for entry in found}


def _log_files(lake: Lake, name: str) -> Iterator[str]:
    yield from (path for path, _, _ in _entries(lake.location(name), lake.options, "_delta_log"))


def log_names(lake: Lake, name: str, address: str) -> bool:
    """Whether a table's log contains an address.

    Raises:
        LakeError: The log can't be read.
    """
    if lake.find(name) is None:
        return False
    files = pa_fs.PyFileSystem(DeltaStorageHandler(lake.location(name), options=lake.options))
    for path in _log_files(lake, name):
        try:
            with files.open_input_file(path) as file:
                if path.endswith(".parquet"):
                    text = str(pq.ParquetFile(file).read().to_pylist())
                else:
                    text = file.read().decode(errors="replace")
        except FileNotFoundError:
            continue  # another program cleaned the log meanwhile
        except (DeltaError, OSError) as error:
            raise unreadable(lake.location(name), error) from error
        # Paths are encoded once or twice.
        if address in text or address in unquote(text) or address in unquote(unquote(text)):
            return True
    return False
