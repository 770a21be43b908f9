"""`attachment_contents`: the bytes of attachments, fetched once, stored once per distinct content.

Two tables. `attachment_links` has a row per attachment with the hash of its content, `attachment_contents` a row per
distinct content. A content is in the partition of the mailbox that it was fetched for first; links of every mailbox
refer to it by its hash.

A run compares `attachments` with the links and fetches missing contents, in slices. For each slice, the links are
written first, then the new contents: a link without its content (because the run was killed between the two, or the
mailbox that it was fetched for is forgotten) counts as missing. Stored contents are never fetched again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from gmail_assets.delta.forgotten import refuse_forgotten
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.maintenance import DEFAULT_UPKEEP, Upkeep, keep_up
from gmail_assets.delta.quota_ledger import share_quota
from gmail_assets.delta.scan import read_columns
from gmail_assets.delta.writer import PartitionWriter
from gmail_assets.syncing.identity import stored_address
from gmail_assets.syncing.memory import ByteBudget, ByteShare
from gmail_assets.syncing.results import Progress, SyncResult
from gmail_assets.views.pending_contents import (
    ContentSources,
    Key,
    PendingContents,
    pending_contents,
    stored_hashes,
    values_where,
)
from gmail_assets.views.source import MessageSource
from gmail_client.api import GmailApi
from gmail_client.client import Mailbox
from gmail_client.errors import GmailError, ResponseError
from gmail_client.printable import printable
from gmail_client.views import CONTENT_VIEWS, CONTENTS, LINKS, attachment_sources
from gmail_client.views.text import decode_base64url

__all__ = ["fetch_contents"]

Row = dict[str, Any]

_SLICE_BYTES = 32 * 2**20
"""Content of one commit, or one attachment; it limits the memory ..."""
_SLICE_ATTACHMENTS = 500
_GROUP_BYTES = 8 * 2**20
"""Content that is requested together, so that no response is too large for a batch."""
_LONGEST_ERROR = 300


def fetch_contents(
    mailbox: Mailbox,
    lake: Lake,
    sources: ContentSources,
    *,
    deadline: float | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
    upkeep: Upkeep = DEFAULT_UPKEEP,
    stopped: Callable[[], bool] = lambda: False,
    memory: ByteBudget | None = None,
) -> SyncResult:
    """Fetch and store missing contents, and delete those without an attachment.

    Args:
        mailbox: The mailbox.
        lake: The lake.
        sources: The tables that they are synced with.
        deadline: `time.monotonic()` at which to stop cleanly; the next run continues.
        progress: Progress callback, called from this thread.
        upkeep: When small files are compacted and old ones removed, at the end.
        stopped: Whether to stop cleanly now, as at the deadline.
        memory: The bytes that all runs of the process hold together.

    Raises:
        ConfigurationError: The mailbox is forgotten.
        WriterConflictError: Another run writes the same tables of this mailbox.
        GmailError: Requests fail, not that of a single attachment.
        LakeError: A table can't be read or written.
    """
    started = time.monotonic()
    address = stored_address(mailbox, lake)
    result = SyncResult(CONTENTS, address, "contents")
    if lake.opened(sources.views.names["attachments"]) is None:
        result.warnings.append("There is no table of attachments yet, whose contents could be fetched.")
        return result
    share_quota(mailbox.client, lake)
    before = mailbox.api.usage.snapshot()

    def stop() -> bool:
        return stopped() or (deadline is not None and time.monotonic() > deadline)

    run = _Run(mailbox, lake, sources, result, stop, progress, ByteShare(memory))
    # In a session, it may have been forgotten before the tables were opened; afterwards, their commits are refused.
    refuse_forgotten(lake, address)
    run.run()
    for table in run.tables.values():
        done = keep_up(table, address, upkeep)
        result.upkeep = result.upkeep or done
    spent = mailbox.api.usage.since(before)
    result.units, result.calls, result.bytes = spent.total_units, spent.total_calls, spent.total_bytes
    result.rows_total = run.tables[CONTENTS].count(address)
    result.seconds = time.monotonic() - started
    return result


@dataclass(slots=True)
class _Wanted:
    """One attachment to store: its bytes, or the id for fetching them; neither if Gmail does not return them."""

    key: Key
    size: int | None
    attachment_id: str | None
    content: bytes | None


@dataclass(slots=True)
class _Slice:
    """Attachments whose contents are written together."""

    wanted: list[_Wanted] = field(default_factory=list)
    size: int = 0

    def add(self, wanted: _Wanted) -> int:
        """Add an attachment; returns its size in bytes."""
        size = len(wanted.content) if wanted.content is not None else wanted.size or 0
        self.wanted.append(wanted)
        self.size += size
        return size

    @property
    def is_full(self) -> bool:
        return self.size >= _SLICE_BYTES or len(self.wanted) >= _SLICE_ATTACHMENTS


class _Run:
    """One run over one mailbox."""

    def __init__(
        self,
        mailbox: Mailbox,
        lake: Lake,
        sources: ContentSources,
        result: SyncResult,
        stop: Callable[[], bool],
        progress: Callable[[Progress], None],
        memory: ByteShare,
    ) -> None:
        self._api: GmailApi = mailbox.api
        self._memory = memory
        self._address = result.address
        self._sources = sources
        self._result = result
        self._stop = stop
        self._progress = progress
        self._messages = MessageSource(sources.views.open_messages(lake), self._address)
        self.tables = {name: sources.open(lake, name) for name in (LINKS, CONTENTS)}
        self._writers = {
            name: PartitionWriter(table, self._address, CONTENT_VIEWS[name].primary_key)
            for name, table in self.tables.items()
        }
        self._pending: PendingContents = pending_contents(lake, self._address, sources)
        links = self._own(LINKS, "message_id", "part_id")
        self._has_row = {(row["message_id"], row["part_id"]) for row in links}

    def run(self) -> None:
        """Do the pending work."""
        pending = self._pending
        self._remove_links(pending.obsolete)
        sizes = pending.missing
        self._write_links([self._link(key, sizes[key], sha256) for key, sha256 in pending.shared.items()])
        missing = {key: size for key, size in sizes.items() if key not in pending.shared}
        done = 0
        self._progress(Progress("fetching", 0, len(missing)))
        for batch in self._slices(missing):
            try:
                self._store(batch)
            finally:
                self._memory.release()
            done += len(batch.wanted)
            self._progress(Progress("fetching", done, len(missing), rows=self._result.rows_written))
            if done < len(missing) and self._stop():
                self._result.complete = False
                break
        self._remove_unused()

    # What is to be stored

    def _slices(self, missing: Mapping[Key, int | None]) -> Iterator[_Slice]:
        batch = _Slice()
        for messages in self._messages.contents({message_id for message_id, _ in missing}):
            for message in messages:
                for source in attachment_sources(message):
                    key = (message["id"], source.part_id)
                    if key not in missing:
                        continue
                    wanted = _Wanted(key, missing[key], source.attachment_id, source.content)
                    self._memory.take(batch.add(wanted))
                    if batch.is_full or self._memory.must_write():
                        yield batch
                        batch = _Slice()
        if batch.wanted:
            yield batch

    # Contents

    def _store(self, batch: _Slice) -> None:
        contents: dict[str, bytes] = {}
        links: list[Row] = []
        for wanted, found in self._contents(batch.wanted):
            if found is None:
                links.append(self._link(wanted.key, wanted.size, None))
                continue
            if isinstance(found, GmailError):
                self._result.unfetched += 1
                links.append(self._link(wanted.key, wanted.size, None, found))
                continue
            sha256 = hashlib.sha256(found).hexdigest()
            contents[sha256] = found
            links.append(self._link(wanted.key, wanted.size, sha256))
        self._write_links(links)
        new = contents.keys() - stored_hashes(self.tables[CONTENTS].delta, contents.keys())
        if new:
            rows = [
                {"sha256": sha256, "size_bytes": len(contents[sha256]), "content": contents[sha256]}
                for sha256 in sorted(new)
            ]
            self._writers[CONTENTS].append(pa.Table.from_pylist(rows, CONTENT_VIEWS[CONTENTS].schema))
            self._result.rows_written += len(new)

    def _contents(self, wanted: Iterable[_Wanted]) -> Iterator[tuple[_Wanted, bytes | GmailError | None]]:
        group: list[_Wanted] = []
        size = 0
        for one in wanted:
            if one.content is not None or one.attachment_id is None:
                yield one, one.content
                continue
            grown = size + (one.size or 0) * 4 // 3
            if group and grown > _GROUP_BYTES:
                yield from self._fetched(group)
                group, grown = [], (one.size or 0) * 4 // 3
            group.append(one)
            size = grown
        if group:
            yield from self._fetched(group)

    def _fetched(self, group: list[_Wanted]) -> Iterator[tuple[_Wanted, bytes | GmailError]]:
        """The bytes of a group, from Gmail."""
        ids = self._renewed({one.key for one in group} & self._pending.failed)
        calls = [
            self._api.attachment_call(
                one.key[0],
                ids.get(one.key) or str(one.attachment_id),
                str(number),
                retried=one.key in self._pending.failed,
            )
            for number, one in enumerate(group)
        ]
        for answer in self._api.get_many(calls):
            one = group[int(answer.call.key)]
            try:
                yield one, _bytes_of(answer.json, answer.error, one.size)
            except GmailError as error:
                yield one, error

    def _renewed(self, keys: Set[Key]) -> dict[Key, str]:
        """New ids of refused attachments, because Gmail's ids differ between reads and may expire."""
        calls = [self._api.message_call(message_id) for message_id in sorted({key[0] for key in keys})]
        found: dict[Key, str] = {}
        for answer in self._api.get_many(calls) if calls else ():
            for source in attachment_sources(answer.json) if answer.json is not None else ():
                if source.attachment_id is not None:
                    found[answer.call.item_id, source.part_id] = source.attachment_id
        return found

    # Rows

    def _link(self, key: Key, size: int | None, sha256: str | None, error: GmailError | None = None) -> Row:
        return {
            "message_id": key[0],
            "part_id": key[1],
            "sha256": sha256,
            "size_bytes": size,
            "rfc822_message_id": self._pending.rfc822_ids.get(key[0]),
            "status": "failed" if error is not None else "absent" if sha256 is None else "stored",
            "error": None if error is None else printable(error.what)[:_LONGEST_ERROR],
            "mail_key": self._pending.mail_keys.get(key[0]),
        }

    def _write_links(self, links: list[Row]) -> None:
        schema = CONTENT_VIEWS[LINKS].schema
        changed = [row for row in links if (row["message_id"], row["part_id"]) in self._has_row]
        new = [row for row in links if (row["message_id"], row["part_id"]) not in self._has_row]
        if changed:
            self._writers[LINKS].merge(pa.Table.from_pylist(changed, schema))
        if new:
            self._writers[LINKS].append(pa.Table.from_pylist(new, schema))
            self._has_row |= {(row["message_id"], row["part_id"]) for row in new}

    def _remove_links(self, keys: Set[Key]) -> None:
        if keys:
            rows = [{"message_id": message_id, "part_id": part_id} for message_id, part_id in sorted(keys)]
            removed = pa.Table.from_pylist(rows, CONTENT_VIEWS[LINKS].columns(["message_id", "part_id"]))
            self._writers[LINKS].merge(removed.slice(0, 0), removed)

    def _own(self, name: str, *columns: str) -> list[Row]:
        schema = CONTENT_VIEWS[name].columns(columns)
        rows: list[Row] = read_columns(self.tables[name], self._address, columns, schema).to_pylist()
        return rows

    def _remove_unused(self) -> None:
        """Delete this mailbox's contents that no link of any mailbox refers to."""
        own = {row["sha256"] for row in self._own(CONTENTS, "sha256")}
        unused = own - {row["sha256"] for row in self._own(LINKS, "sha256")}
        unused -= {
            row["sha256"] for row in values_where(self.tables[LINKS].delta, "sha256", unused, "sha256")
        }
        if unused:
            removed = pa.table({"sha256": pa.array(sorted(unused), pa.string())})
            self._writers[CONTENTS].merge(removed.slice(0, 0), removed)
            self._result.rows_deleted += len(unused)


def _bytes_of(
    document: Mapping[str, Any] | None, error: GmailError | None, expected: int | None = None
) -> bytes:
    """The bytes in a response.

    Args:
        document: The response.
        error: The error of the request.
        expected: The attachment's size according to its message; a response without bytes must not replace them.

    Raises:
        GmailError: The error, or the number of bytes differs from the response's size.
    """
    if error is not None:
        raise error
    content = decode_base64url((document or {}).get("data") or "")
    size = (document or {}).get("size") or (None if content else expected)
    if size is not None and size != len(content):
        raise ResponseError(
            f"messages.attachments.get: the response has {len(content):,} bytes, not the {size:,} that it names.",
            fix="Try again later; if it persists, check the proxy and GMAIL_API_ROOT.",
            status=200,
            method="messages.attachments.get",
        )
    return content
