"""`Lake`, a location of Delta tables: a folder or an object-store URI.

`Lake.table` opens a table and creates it if it is missing. Rows are written to one mailbox's partition of a table: see
`gmail_assets.delta.partition`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from gmail_assets.delta.creation import add_columns, create_table
from gmail_assets.delta.errors import SchemaMismatchError, check_missing, unreadable, unwritable
from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.delta.protocol import check_features
from gmail_assets.delta.shared_tables import SharedTable, expire, find_shared
from gmail_assets.delta.table_files import MAILBOX
from gmail_client.deletion import DELETED_AT
from gmail_client.private_files import make_private_folder
from gmail_client.tables import CATALOGUE
from gmail_client.views import View

__all__ = [
    "CHECKPOINT_EVERY",
    "CHECKPOINT_INTERVAL",
    "CREATION",
    "DELETED_AT",
    "MAILBOX",
    "MAILBOX_FIELD",
    "TARGET_FILE_BYTES",
    "Lake",
    "with_mailbox",
]

MAILBOX_FIELD = pa.field(
    MAILBOX, pa.string(), metadata={"comment": "Address of the mailbox that the row belongs to."}
)
_DELETED_AT_FIELD = pa.field(
    DELETED_AT,
    pa.timestamp("us", tz="UTC"),
    metadata={
        "comment": "When a sync found that the row was deleted or no longer matches; null while it is in the mailbox."
    },
)
TARGET_FILE_BYTES = 2 * 2**20
"""About half of a chunk of a first load. A change rewrites whole files, so larger files make changes expensive."""


CHECKPOINT_INTERVAL = "delta.checkpointInterval"
CHECKPOINT_EVERY = "10"
"""Commits between checkpoints, the maximum that a reader has to read one by one (deltalake's default is 100)."""


CREATION = threading.Lock()
"""Held while a table is created or gets new columns, so that the threads of a process do it once."""


def with_mailbox(schema: pa.Schema, *, keep_deleted: bool = False) -> pa.Schema:
    """A table's schema in the lake: `mailbox` first, and `_deletedAt` last if deleted rows are kept."""
    fields = [MAILBOX_FIELD, *schema]
    return pa.schema([*fields, _DELETED_AT_FIELD] if keep_deleted else fields)


@dataclass(frozen=True, slots=True)
class Lake:
    """A location of Delta tables.

    Attributes:
        uri: A folder or an `s3://`, `gs://` or `abfss://` URI.
        storage_options: Credentials and settings of the object store, as deltalake expects them.
        since: See `session`; None outside of one.
    """

    uri: str
    storage_options: tuple[tuple[str, str], ...] = dataclass_field(default=(), repr=False)
    since: float | None = dataclass_field(default=None, repr=False, compare=False)

    def session(self) -> Lake:
        """This lake for one piece of work: the log of each table is read at its first use, and not again.

        The commits of this process are seen nevertheless. Commits of other processes are not, but they can't be
        overwritten either: Delta refuses a commit to a mailbox's partition that another run has written meanwhile.
        """
        return self if self.since is not None else replace(self, since=time.monotonic())

    def latest(self) -> Lake:
        """This lake outside of a session: each use of a table reads the newest part of its log."""
        return replace(self, since=None)

    @property
    def options(self) -> dict[str, str] | None:
        """The storage options as deltalake expects them."""
        return dict(self.storage_options) or None

    @property
    def folder(self) -> Path | None:
        """The folder on this machine; None for an object store."""
        if self.uri.startswith("file://"):
            return Path(url2pathname(urlsplit(self.uri).path))
        return None if "://" in self.uri else Path(self.uri)

    def make_folder(self) -> None:
        """Create the folder if it is missing, readable by its owner only because it will hold mail.

        Raises:
            LakeError: It can't be created.
        """
        if self.folder is None:
            return
        try:
            make_private_folder(self.folder)
        except OSError as error:
            raise unwritable(self.uri, error) from error

    def location(self, table_name: str) -> str:
        """URI of one table."""
        return f"{self.uri.rstrip('/')}/{table_name}"

    def opened(self, table_name: str) -> SharedTable | None:
        """The table of that name, which the threads of this process share; None if there is none.

        Raises:
            LakeError: The location can't be read, or the table has features that are not supported.
        """
        return find_shared(self._place(table_name), self.since)

    def expire(self, table_name: str) -> None:
        """Let the next use of a table read its log in any case, because it was written through another object."""
        expire(self._place(table_name))

    def _place(self, table_name: str) -> tuple[str, tuple[tuple[str, str], ...]]:
        location = self.location(table_name)
        if "://" not in location and not Path(location).is_absolute():
            location = f"{Path.cwd()}/{location}"  # the process may change its folder
        return location, tuple(sorted(self.storage_options))

    def find(self, table_name: str) -> DeltaTable | None:
        """The Delta table of that name, opened for the caller alone, or None if there is none.

        Raises:
            LakeError: The location can't be read, or the table has features that are not supported.
        """
        try:
            delta = DeltaTable(self.location(table_name), storage_options=self.options)
        except TableNotFoundError as error:
            check_missing(self.location(table_name), error)
            return None
        except (DeltaError, OSError) as error:
            raise unreadable(self.location(table_name), error) from error
        check_features(delta)
        return delta

    def table(
        self,
        source: str,
        *,
        name: str | None = None,
        keep_deleted: bool = False,
        found: SharedTable | None = None,
    ) -> LakeTable:
        """Open one of the ten tables; create it if it is missing.

        Args:
            source: One of the ten names.
            name: Name of the table in the lake; default: `source`.
            keep_deleted: Soft-delete rows (set `_deletedAt`) instead of deleting them.
            found: The result of `opened`, if it was just called.

        Raises:
            SchemaMismatchError: Another table has that name.
            LakeError: The lake can't be read or written.
        """
        entry = CATALOGUE[source]
        schema = with_mailbox(entry.schema, keep_deleted=keep_deleted)
        shared = self._open(name or source, schema, entry.primary_key, entry.description, found)
        return LakeTable(source, entry.primary_key[0], shared, keep_deleted)

    def view(self, view: View, *, name: str | None = None, found: SharedTable | None = None) -> LakeTable:
        """Open a derived table; create it if it is missing.

        Args:
            view: Which one.
            name: Name of the table in the lake; default: the view's name.
            found: The result of `opened`, if it was just called.

        Raises:
            SchemaMismatchError: Another table has that name.
            LakeError: The lake can't be read or written.
        """
        schema = with_mailbox(view.schema)
        shared = self._open(name or view.name, schema, view.primary_key, view.description, found)
        return LakeTable(view.name, view.primary_key[0], shared)

    def _open(
        self,
        name: str,
        schema: pa.Schema,
        key: Sequence[str],
        description: str,
        found: SharedTable | None = None,
    ) -> SharedTable:
        location = self.location(name)
        try:
            shared = found or self.opened(name) or self._created(name, schema, key, description)
            _fit_schema(shared, schema, location)
        except (DeltaError, OSError) as error:
            raise unwritable(location, error) from error
        return shared

    def _created(self, name: str, schema: pa.Schema, key: Sequence[str], description: str) -> SharedTable:
        with CREATION:
            self.expire(name)
            if self.opened(name) is None:
                self._create(name, schema, key, description)
                self.expire(name)
            shared = self.opened(name)
        if shared is None:
            raise unreadable(self.location(name), FileNotFoundError("it was removed"))
        return shared

    def _create(self, name: str, schema: pa.Schema, key: Sequence[str], description: str) -> None:
        self.make_folder()
        create_table(
            self.location(name),
            schema,
            self.options,
            partition_by=[MAILBOX],
            name=name,
            description=description,
            configuration={
                "delta.targetFileSize": str(TARGET_FILE_BYTES),
                "delta.dataSkippingStatsColumns": ",".join(key),
                CHECKPOINT_INTERVAL: CHECKPOINT_EVERY,
            },
        )


def _fit_schema(shared: SharedTable, schema: pa.Schema, location: str) -> None:
    """Add top-level columns that are missing in a table of an older version; refuse other types."""
    delta = shared.delta
    present = {field.name: field for field in shared.schema()}
    for field in schema:
        if field.name in present and not present[field.name].type.equals(field.type):
            raise SchemaMismatchError(
                f"The table {location!r} has a column {field.name!r} "
                f"of type {present[field.name].type!s:.100}, not {field.type!s:.100}.",
                fix="Point GMAIL_LAKE (or destination_table) to another location, or move that table away.",
            )
    missing = [field.name for field in schema if field.name not in present]
    if MAILBOX in missing or delta.metadata().partition_columns != [MAILBOX]:
        raise SchemaMismatchError(
            f"The table {location!r} is not partitioned by {MAILBOX!r}: it was not written by this product.",
            fix="Point GMAIL_LAKE (or destination_table) to another location, or move that table away.",
        )
    if missing:
        with shared.turn:
            delta.update_incremental()
            add_columns(delta, schema)
