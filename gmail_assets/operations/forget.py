"""Erase a mailbox, or single messages, from the lake and from Dagster permanently: `forget_mailbox`, `forget_messages`.

Every step is idempotent, and data that a later step needs is removed last: a run that is killed is completed by
the next one. The mailbox is blocked first, so that nothing loads it again meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa
from deltalake import QueryBuilder

from gmail_assets.delta import erase
from gmail_assets.delta.forgotten import FORGOTTEN, forget, remember, user_key
from gmail_assets.delta.lake import MAILBOX, Lake
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.delta.registry import MAILBOXES, MailboxRegistry
from gmail_assets.delta.sync_state import STATE_FIELDS
from gmail_assets.delta.unfetched import UNFETCHED
from gmail_assets.delta.writer import PartitionWriter
from gmail_assets.operations.dagster_traces import DagsterTraces, remove_traces, unfinished_runs
from gmail_assets.syncing.thread_rows import ThreadEdit, rebuild
from gmail_assets.views.pending_contents import values_where
from gmail_client.errors import ConfigurationError
from gmail_client.sql import equals, literal, one_of
from gmail_client.views import CONTENTS, LINKS, VIEWS

__all__ = ["Forgotten", "Step", "forget_mailbox", "forget_messages", "resolve", "undo"]

_REGISTRY = (MAILBOXES, UNFETCHED, FORGOTTEN)
_COPIES = "Backups, copies and object versions of the lake's storage, and tables that were created from it."

Step = Callable[[str], None]
"""Called after each step with what was done, in words."""


@dataclass(slots=True)
class Forgotten:
    """What was erased.

    Attributes:
        address: The mailbox.
        rows: Deleted rows by table.
        files: Removed files of old versions.
        log_files: Removed files of the tables' logs.
        traces: What was removed from Dagster.
        remaining: What still contains the mailbox's address or mail, and what to do about it.
    """

    address: str
    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    log_files: int = 0
    traces: DagsterTraces = field(default_factory=DagsterTraces)
    remaining: list[str] = field(default_factory=list)


def resolve(lake: Lake, name: str) -> str:
    """The address of a mailbox that the lake knows by `name`: a configured name, or an address in any case.

    Raises:
        ConfigurationError: It is not an address, and the lake has no mailbox of that name.
    """
    known = MailboxRegistry(lake).address_of(name)
    if known is not None:
        return known
    if "@" not in name:
        raise ConfigurationError(
            f"The lake has no mailbox {name!r}.",
            fix="Give the mailbox's address; `gmail-assets status --offline` shows it.",
        )
    stored = {address for _, _, table in erase.own_tables(lake) for address in erase.mailboxes_of(table)}
    return next((address for address in sorted(stored) if address.casefold() == name.casefold()), name)


def forget_mailbox(
    lake: Lake, address: str, *, clean_log: bool = False, step: Step = lambda done: None
) -> Forgotten:
    """Erase a mailbox and block it.

    Args:
        lake: The lake.
        address: The mailbox's real address.
        clean_log: Also clean the logs of its tables, which name it. It ends the time travel of all mailboxes, and no
            other run may write meanwhile.
        step: Progress callback.

    Raises:
        ConfigurationError: A run is in progress, and the logs were to be cleaned.
        LakeError: The lake can't be read or written.
    """
    result = Forgotten(address)
    with _cleaned_logs(lake, result, step, clean_log) as cleaned:
        registry = MailboxRegistry(lake)
        names = sorted({address, *registry.names_of(address)})
        for name in (name for name in names if "@" in name):  # an address that it had, too
            forget(lake, name)
        stored = registry.names().mailboxes.get(address)
        if stored is not None and stored.user_id is not None:  # the address may change afterwards
            forget(lake, user_key(stored.user_id))
        step("blocked the mailbox: no run loads it again")
        own = [name for name, _, _ in erase.own_tables(lake)]
        linked = _linked_contents(lake, address)
        for name in own:
            result.rows[name] = erase.erase_rows(lake, name, address)
            step(f"deleted {result.rows[name]:,} rows from {name}")
        _erase_unlinked(lake, linked, result, step)
        result.rows[UNFETCHED] = erase.erase_rows(lake, UNFETCHED, address)
        step("emptied the retry queue")
        for name in own:
            removed = erase.remove_old_files(lake, name, address, erased_at=None)
            result.files += removed
            step(f"removed {removed:,} files of old versions of {name}")
        result.traces = remove_traces(names)
        step("removed its cursor and its runs from Dagster")
        registry.remove_names(address)
        step("removed its names from the registry")
        for name in _REGISTRY:
            result.files += erase.vacuum_shared(lake, name)
            step(f"removed old versions of {name}")
        cleaned += [*own, *_REGISTRY]
    _note_remaining(lake, result, own)
    return result


def forget_messages(
    lake: Lake,
    address: str,
    ids: Sequence[str],
    *,
    clean_log: bool = False,
    step: Step = lambda done: None,
) -> Forgotten:
    """Erase messages of a mailbox, with their old versions. Where Gmail still has them, a sync reads them again.

    Args:
        lake: The lake.
        address: The mailbox's real address.
        ids: Ids of the messages.
        clean_log: As in `forget_mailbox`.
        step: Progress callback.

    Raises:
        ConfigurationError: A run is in progress, and the logs were to be cleaned.
        LakeError: The lake can't be read or written.
    """
    result, began = Forgotten(address), datetime.now(UTC)
    with _cleaned_logs(lake, result, step, clean_log) as cleaned:
        linked = _linked_contents(lake, address, ids)
        for name, source, _ in erase.own_tables(lake):
            if source == "threads":
                result.rows[name] = _out_of_threads(lake, name, address, ids)
            elif condition := _condition(lake, name, source, address, ids):
                result.rows[name] = erase.erase_rows(lake, name, address, condition)
            else:
                continue
            step(f"deleted {result.rows[name]:,} rows from {name}")
        _erase_unlinked(lake, linked, result, step)
        result.rows[UNFETCHED] = erase.erase_rows(lake, UNFETCHED, address, one_of("id", ids))
        step("removed them from the retry queue")
        for name in result.rows:
            result.files += erase.remove_old_files(lake, name, address, erased_at=began)
            step(f"removed files of old versions of {name}")
        cleaned += result.rows
    result.remaining.append(_COPIES)
    return result


def undo(lake: Lake, address: str, user_id: str | None = None) -> bool:
    """Allow a forgotten mailbox again; returns whether it was forgotten.

    Args:
        lake: The lake.
        address: Its address.
        user_id: The directory's id of the user that has this address now.
    """
    known = remember(lake, address)
    return (user_id is not None and remember(lake, user_key(user_id))) or known


def _condition(lake: Lake, name: str, source: str, address: str, ids: Sequence[str]) -> str | None:
    """Which rows of a table belong to the messages; None if its rows belong to none."""
    if source == "messages":
        return one_of("id", ids)
    if source in (*VIEWS, LINKS):
        return one_of("message_id", ids)
    if source == CONTENTS:
        return _unused_contents(lake, name, address)
    if source != "drafts":
        return None
    listed = ", ".join(map(literal, ids))
    query = f"SELECT id FROM t WHERE {equals(MAILBOX, address)} AND message['id'] IN ({listed})"  # noqa: S608 - quoted
    found = QueryBuilder().register("t", erase.opened(lake, name)).execute(query)
    return one_of("id", pa.table(found)["id"].to_pylist())


def _unused_contents(lake: Lake, name: str, address: str) -> str | None:
    """Which of a mailbox's attachment contents no link of any mailbox refers to any more; None if there are none."""
    query = f"SELECT sha256 FROM t WHERE {equals(MAILBOX, address)}"  # noqa: S608 - quoted
    found = QueryBuilder().register("t", erase.opened(lake, name)).execute(query)
    unused = set(pa.table(found)["sha256"].to_pylist())
    for _, source, table in erase.own_tables(lake):
        if source == LINKS and unused:
            unused -= {row["sha256"] for row in values_where(table, "sha256", unused, "sha256")}
    return one_of("sha256", sorted(unused)) if unused else None


def _linked_contents(lake: Lake, address: str, ids: Sequence[str] | None = None) -> set[str]:
    """Hashes of the attachment contents that a mailbox links to, or that these messages of it link to."""
    where = equals(MAILBOX, address) + ("" if ids is None else f" AND {one_of('message_id', ids)}")
    hashes: set[str] = set()
    for name, source, _ in erase.own_tables(lake):
        if source == LINKS:
            query = f"SELECT sha256 FROM t WHERE {where} AND sha256 IS NOT NULL"  # noqa: S608 - quoted
            found = QueryBuilder().register("t", erase.opened(lake, name)).execute(query)
            hashes.update(pa.table(found)["sha256"].to_pylist())
    return hashes


def _erase_unlinked(lake: Lake, hashes: set[str], result: Forgotten, step: Step) -> None:
    """Delete those of these contents that nothing links to any more, also from other mailboxes' partitions.

    A content is in the partition of the mailbox that it was fetched for first, which may not be synced any more.
    """
    tables = erase.own_tables(lake) if hashes else []
    for _, source, table in tables:
        if source == LINKS:
            hashes = hashes - {row["sha256"] for row in values_where(table, "sha256", hashes, "sha256")}
    for name, source, _ in tables:
        if source != CONTENTS or not hashes:
            continue
        query = f"SELECT DISTINCT {MAILBOX} FROM t WHERE {one_of('sha256', sorted(hashes))}"  # noqa: S608 - quoted
        found = QueryBuilder().register("t", erase.opened(lake, name)).execute(query)
        for holder in pa.table(found)[MAILBOX].to_pylist():
            began = datetime.now(UTC)
            count = erase.erase_rows(lake, name, holder, one_of("sha256", sorted(hashes)))
            result.rows[name] = result.rows.get(name, 0) + count
            result.files += erase.remove_old_files(lake, name, holder, erased_at=began)
            step(f"deleted {count:,} rows from {name} that were stored for another mailbox")


def _out_of_threads(lake: Lake, name: str, address: str, ids: Sequence[str]) -> int:
    """Take messages out of the rows of their threads; rows without a message left are deleted."""
    table = lake.table("threads", name=name)
    partition = MailboxPartition(table, address, "", "")
    wanted = set(ids)
    members = partition.members().select(["id", "messages"]).to_pylist()
    edits = [
        ThreadEdit(row["id"], drop={message["id"] for message in row["messages"] or ()} & wanted)
        for row in members
        if any(message["id"] in wanted for message in row["messages"] or ())
    ]
    writer = PartitionWriter(table, address, ("id",), carried=STATE_FIELDS)
    if not edits:
        writer.commit(())  # moves the fence: commits of a run that has read the messages are refused
        return 0
    rows, empty = rebuild(partition.rows([edit.thread_id for edit in edits]), edits)
    removed = pa.table({"id": pa.array(empty, pa.string())})
    writer.merge(rows.select([name for name in rows.column_names if name in table.schema.names]), removed)
    return len(edits)


@contextmanager
def _cleaned_logs(lake: Lake, result: Forgotten, step: Step, wanted: bool) -> Iterator[list[str]]:
    """Clean the logs of the tables that the block adds to the list, if wanted; refused while runs write."""
    running = unfinished_runs() if wanted else 0
    if running:
        raise ConfigurationError(
            f"{running} Dagster runs are queued or in progress, so the logs can't be cleaned now.",
            fix="Stop the sensor and the schedules, wait for the runs to end, and run the command again.",
        )
    names: list[str] = []
    yield names
    for name in names if wanted else ():
        result.log_files += erase.clean_log(lake, name, result.address)
        step(f"cleaned the log of {name}")


def _note_remaining(lake: Lake, result: Forgotten, own: Sequence[str]) -> None:
    named = [name for name in (*own, *_REGISTRY) if erase.log_names(lake, name, result.address)]
    if named:
        result.remaining.append(
            f"The logs of {', '.join(named)} name the address until Delta cleans them, by default after 30 days. "
            "To clean them now, stop all runs and use --clean-log: it ends the time travel of all mailboxes."
        )
    for name in erase.delta_tables(lake):
        table = lake.find(name)
        if name in own or name in _REGISTRY or table is None:
            continue
        if result.address in erase.mailboxes_of(table):
            result.remaining.append(
                f"The table {name} has rows of the mailbox; it was not created by gmail-assets."
            )
    result.remaining += result.traces.remaining
    result.remaining.append(_COPIES)
    result.remaining.append(
        "The access itself: `gmail-assets logout` revokes a login, and an administrator removes a service account's "
        "delegation."
    )
