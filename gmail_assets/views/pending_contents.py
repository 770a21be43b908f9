"""Which attachments' contents are missing in the lake: `pending_contents`, used by `fetch_contents` and `plan`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from deltalake import DeltaTable

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.delta.scan import open_files, read_columns
from gmail_assets.views.source import MessageSource, ViewSources
from gmail_client.quota import QuotaPlan
from gmail_client.spec import Spec, SpecView
from gmail_client.views import CONTENT_VIEWS, CONTENTS, LINKS, VIEWS, View

__all__ = [
    "ContentSources",
    "Key",
    "PendingContents",
    "mail_keys",
    "pending_contents",
    "stored_hashes",
    "values_where",
]

Row = dict[str, Any]
Key = tuple[str, str]
"""Message id and part id."""

_MAIL_COLUMNS = ("rfc822_message_id", "from_email", "sent_at", "subject")
_PART_COLUMNS = ("part_id", "filename", "mime_type", "size_bytes", "content_id")
_BODY_PATHS = frozenset(
    ("payload", "payload.body", "payload.body.data", "payload.body.attachmentId", "payload.parts")
)
"""Excluding one of these from `messages` excludes the contents of attachments."""


@dataclass(frozen=True, slots=True)
class ContentSources:
    """The tables that contents follow, and the names of all in the lake.

    Attributes:
        views: Names of `messages` and of the derived tables.
        contents: The spec's entry.
    """

    views: ViewSources
    contents: SpecView

    @classmethod
    def of(cls, spec: Spec) -> ContentSources | None:
        """Those of a spec; None if it does not list `attachment_contents`."""
        return None if spec.contents is None else cls(ViewSources.of(spec), spec.contents)

    def open(self, lake: Lake, name: str) -> LakeTable:
        """One of the two tables; it is created if it is missing."""
        in_lake = self.contents.table_name if name == CONTENTS else self.contents.links_name
        return lake.view(CONTENT_VIEWS[name], name=in_lake)

    def allow(self, mime_type: str | None, size_bytes: int | None) -> bool:
        """Whether the content of such an attachment is stored.

        Content that is excluded from `messages` is not stored here either: bodies, and with `hash` the headers of
        attached messages.
        """
        policy = self.views.messages.options.policy
        hashed = policy is not None and policy.hashed and (mime_type or "").startswith("message/")
        return not (self.excluded or hashed) and self.contents.options.allow(mime_type, size_bytes)

    @property
    def excluded(self) -> bool:
        """Whether `messages` excludes the bodies of all parts."""
        policy = self.views.messages.options.policy
        return policy is not None and not _BODY_PATHS.isdisjoint(policy.columns)


@dataclass(frozen=True, slots=True)
class PendingContents:
    """The work of the next run.

    Attributes:
        missing: Attachments whose content is not stored, with their sizes in bytes.
        inline: Those of them whose bytes are in `messages`.
        shared: Those of them that another mailbox has, with the hash of the content.
        failed: Those of them that Gmail refused before.
        obsolete: Links of attachments that no longer exist, or that the options exclude now.
        rfc822_ids: Message-ID by message id.
        mail_keys: `mail_keys` of the messages with missing contents.
    """

    missing: Mapping[Key, int | None]
    inline: frozenset[Key]
    shared: Mapping[Key, str]
    failed: frozenset[Key]
    obsolete: frozenset[Key]
    rfc822_ids: Mapping[str, str | None]
    mail_keys: Mapping[str, str]

    @property
    def to_fetch(self) -> int:
        """Attachments to request; Gmail may not return the bytes of some."""
        return len(self.missing.keys() - self.inline - self.shared.keys())

    def units(self, quota: QuotaPlan) -> int:
        """Quota units of `to_fetch`. For those that failed, the message is read again: it has their new ids."""
        again = {message_id for message_id, _ in self.failed - self.inline - self.shared.keys()}
        fetched = self.to_fetch * quota.price("messages.attachments.get")
        return fetched + len(again) * quota.price("messages.get")


def pending_contents(lake: Lake, address: str, sources: ContentSources) -> PendingContents:
    """Compare `attachments` with the stored contents; reads the lake only.

    Raises:
        LakeError: A table can't be read.
    """
    names = sources.views.names
    attachments = _rows(
        lake,
        names["attachments"],
        address,
        VIEWS["attachments"],
        ("message_id", "part_id", "filename", "mime_type", "size_bytes", "content_id", "sha256"),
    )
    emails = _rows(
        lake,
        names["emails"],
        address,
        VIEWS["emails"],
        ("message_id", "attachment_count", *_MAIL_COLUMNS),
    )
    links = _rows(
        lake,
        sources.contents.links_name,
        address,
        CONTENT_VIEWS[LINKS],
        ("message_id", "part_id", "sha256", "status"),
    )
    found = {_key(row): row for row in attachments}
    linked = {_key(row): row for row in links}
    wanted = {key: row for key, row in found.items() if sources.allow(row["mime_type"], row["size_bytes"])}
    contents = lake.find(sources.contents.table_name)
    stored = stored_hashes(contents, {row["sha256"] for row in links} - {None})
    done = {
        key
        for key, row in linked.items()
        if row["sha256"] in stored or (row["status"] == "absent" and not _in_messages(found.get(key)))
    }
    missing = {key: row["size_bytes"] for key, row in wanted.items() if key not in done}
    waiting = {message_id for message_id, _ in missing}
    keys = mail_keys(
        (row for row in emails if row["message_id"] in waiting),
        (row for row in attachments if row["message_id"] in waiting),
    )
    absent = linked.keys() - found.keys()
    gone = absent if sources.excluded else _gone(lake, address, sources, absent, found, emails)
    return PendingContents(
        missing,
        frozenset(key for key in missing if _in_messages(wanted[key])),
        _shared(lake, sources, missing, keys) if sources.contents.options.shared else {},
        frozenset(key for key in missing if key in linked and linked[key]["status"] == "failed"),
        frozenset(gone | {key for key in linked if key in found and key not in wanted}),
        {row["message_id"]: row["rfc822_message_id"] for row in emails},
        keys,
    )


def mail_keys(emails: Iterable[Row], attachments: Iterable[Row]) -> dict[str, str]:
    """A hash by message id of what all recipients of a mail have in common, without the text and the bytes.

    Messages without Message-ID have none. Everything in it is the sender's choice: equal hashes are no proof that the
    bytes are equal.

    Args:
        emails: Rows of `emails`.
        attachments: Rows of `attachments`: all of each message.
    """
    parts: dict[str, list[str]] = {}
    for row in attachments:
        parts.setdefault(row["message_id"], []).append(repr([row[name] for name in _PART_COLUMNS]))
    found = {}
    for row in emails:
        if row["rfc822_message_id"] is not None:
            mail = [*(str(row[name]) for name in _MAIL_COLUMNS), *sorted(parts.get(row["message_id"], []))]
            found[row["message_id"]] = hashlib.sha256(repr(mail).encode()).hexdigest()
    return found


def _key(row: Row) -> Key:
    return row["message_id"], row["part_id"]


def _in_messages(attachment: Row | None) -> bool:
    """Whether `messages` holds the bytes: it may have been read again in `format: raw`."""
    return attachment is not None and attachment["sha256"] is not None


def _gone(
    lake: Lake,
    address: str,
    sources: ContentSources,
    absent: Set[Key],
    found: Mapping[Key, Row],
    emails: list[Row],
) -> set[Key]:
    """Links whose attachment certainly no longer exists: a restored `attachments` can be older than `messages`."""
    if not absent:
        return set()
    present: set[str] = set()
    if lake.opened(sources.views.messages.table_name) is not None:
        states = MessageSource(sources.views.open_messages(lake), address).states()
        present = set(states["id"].to_pylist())
    counted = {row["message_id"]: row["attachment_count"] for row in emails}
    rows: dict[str, int] = {}
    for message_id, _ in found:
        rows[message_id] = rows.get(message_id, 0) + 1
    return {key for key in absent if key[0] not in present or counted.get(key[0], -1) == rows.get(key[0], 0)}


def _shared(
    lake: Lake,
    sources: ContentSources,
    missing: Mapping[Key, int | None],
    keys: Mapping[str, str],
) -> dict[Key, str]:
    """Contents of the same part of the same mail, in any mailbox; none where two mailboxes have different ones."""
    links = lake.find(sources.contents.links_name)
    there: dict[tuple[str, str], set[str]] = {}
    for row in values_where(links, "mail_key", set(keys.values()), "part_id", "sha256"):
        if row["sha256"] is not None:
            there.setdefault((row["mail_key"], row["part_id"]), set()).add(row["sha256"])
    found = {
        key: next(iter(hashes))
        for key, size in missing.items()
        if size is not None and len(hashes := there.get((keys.get(key[0], ""), key[1]), set())) == 1
    }
    stored = stored_hashes(lake.find(sources.contents.table_name), set(found.values()))
    return {key: sha256 for key, sha256 in found.items() if sha256 in stored}


def _rows(lake: Lake, in_lake: str, address: str, view: View, names: tuple[str, ...]) -> list[Row]:
    """Some columns of the mailbox's rows of a derived table."""
    if lake.opened(in_lake) is None:
        return []
    schema = view.columns(names)
    rows: list[Row] = read_columns(lake.view(view, name=in_lake), address, names, schema).to_pylist()
    return rows


def stored_hashes(contents: DeltaTable | None, hashes: Set[str]) -> set[str]:
    """Which of these contents are stored, for any mailbox."""
    return {row["sha256"] for row in values_where(contents, "sha256", hashes, "sha256")}


def values_where(table: DeltaTable | None, column: str, among: Set[str], *columns: str) -> list[Row]:
    """Some columns of the rows, of every mailbox, whose `column` is one of a set. Reads no other column."""
    if table is None or not among:
        return []
    found: list[Row] = []
    names = list(dict.fromkeys((column, *columns)))
    for file in open_files(table):
        if column not in file.schema_arrow.names:
            continue  # the file is older than the column
        for batch in file.iter_batches(columns=names):
            # Rows of merges have strings that pyarrow can't filter.
            found += [row for row in batch.to_pylist() if row[column] in among]
    return found
