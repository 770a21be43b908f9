"""Check access with the cheapest calls: which tables can be read, and whether the lake can be written.

`check_mailbox` requests the first item of each of the ten tables (at most 40 quota units), `check_lake` writes and
removes a small file (in an object store: a small Delta table), `versions` returns the versions of installed packages.
"""

from __future__ import annotations

import os
import platform
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileSelector, PyFileSystem

from gmail_assets.delta.errors import LakeError, unwritable
from gmail_assets.delta.lake import Lake
from gmail_assets.syncing.identity import stored_address
from gmail_client.api import GmailApi
from gmail_client.client import GmailClient, Mailbox
from gmail_client.errors import ForbiddenError, GmailError
from gmail_client.options import TableOptions
from gmail_client.private_files import make_private_folder, open_to_others
from gmail_client.settings import Settings, credentials_file
from gmail_client.snapshots import SETTINGS_PARTS
from gmail_client.spec import Spec
from gmail_client.tables import CATALOGUE

__all__ = [
    "LakeAccess",
    "MailboxAccess",
    "TableAccess",
    "check_lake",
    "check_mailbox",
    "open_to_others_of",
    "versions",
]

_ANYTHING = "in:anywhere"
"""A search that matches everything. Gmail refuses any search to a token that may read headers only (gmail.metadata)."""

_PACKAGES = ("gmail-assets", "dagster", "deltalake", "pyarrow", "pyspark")


@dataclass(frozen=True, slots=True)
class TableAccess:
    """Access to one table.

    Attributes:
        readable: Whether it can be read.
        expected: Whether the refusal is normal: `delegates`, with a user's own credentials.
        message: Why it can't be read; or a note, for example that it is empty.
        fix: How to fix it.
        error: Class name of the error.
    """

    readable: bool
    expected: bool = False
    message: str = ""
    fix: str = ""
    error: str = ""

    @classmethod
    def refused(cls, error: GmailError, *, expected: bool = False) -> TableAccess:
        """The table can't be read because of this error."""
        return cls(False, expected, error.what, error.fix, type(error).__name__)


@dataclass(slots=True)
class MailboxAccess:
    """Access to one mailbox.

    Attributes:
        name: Configured name of the mailbox.
        address: Its real address; empty if the profile can't be read.
        tables: Access to each of the ten tables.
        problem: A conflict between mailbox and lake, or None.
        units: Quota units that the check cost.
    """

    name: str
    address: str = ""
    tables: dict[str, TableAccess] = field(default_factory=dict)
    problem: GmailError | None = None
    units: int = 0

    @property
    def common_error(self) -> str:
        """The error and its fix, if all tables have the same one; else empty."""
        found = {(table.readable, table.message, table.fix) for table in self.tables.values()}
        if len(found) != 1 or self.problem is not None:
            return ""
        readable, message, fix = found.pop()
        return "" if readable else f"{message}\nFix: {fix}"


@dataclass(slots=True)
class LakeAccess:
    """Access to the lake.

    Attributes:
        uri: Location of the lake.
        writable: Whether a file could be written and removed.
        problem: Why it can't be written, or which table can't be read; None without a problem.
        tables: Delta version and protocol of each existing table, by its name in the lake.
    """

    uri: str
    writable: bool = False
    problem: LakeError | None = None
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)


def check_mailbox(client: GmailClient, name: str, spec: Spec, lake: Lake) -> MailboxAccess:
    """Try to read each of the ten tables.

    Args:
        client: The access to Gmail.
        name: The mailbox: `me` or an address.
        spec: Table options.
        lake: The lake, whose mailbox names must belong to the same addresses.
    """
    access = MailboxAccess(name)
    try:
        mailbox = client.mailbox(name)
    except GmailError as error:
        access.tables = dict.fromkeys(CATALOGUE, TableAccess.refused(error))
        return access
    before = mailbox.api.usage.snapshot().total_units
    options = {entry.source_table: entry.options for entry in spec.tables}
    try:
        access.address = mailbox.address
    except GmailError as error:
        # An error of the profile affects every table.
        access.tables = dict.fromkeys(CATALOGUE, TableAccess.refused(error))
    else:
        access.problem = _registry_problem(mailbox, lake)
        for name in CATALOGUE:
            access.tables[name] = _table_access(mailbox, name, options.get(name, TableOptions()))
    access.units = mailbox.api.usage.snapshot().total_units - before
    return access


def _registry_problem(mailbox: Mailbox, lake: Lake) -> GmailError | None:
    try:
        stored_address(mailbox, lake)
    except GmailError as error:
        return error
    return None


def _table_access(mailbox: Mailbox, name: str, options: TableOptions) -> TableAccess:
    try:
        return TableAccess(True, message=_READS[name](mailbox.api, options))
    except GmailError as error:
        own = mailbox.client.credentials.kind != "service account"
        return TableAccess.refused(
            error, expected=name == "delegates" and own and isinstance(error, ForbiddenError)
        )


def _listed(pages: Iterable[list[Any]], options: TableOptions) -> str:
    """Read the first page; returns a note if it is empty."""
    for page in pages:
        if page:
            return ""
        break
    return "nothing matches its filters" if options.filtered else "empty"


def _filters(options: TableOptions) -> dict[str, Any]:
    return {
        "q": options.search or _ANYTHING,
        "label_ids": options.label_ids,
        "include_spam_trash": options.include_spam_trash,
        "page_size": 1,
    }


def _settings(api: GmailApi, options: TableOptions) -> str:
    refused = []
    for part in SETTINGS_PARTS:
        try:
            api.settings_part(part)
        except ForbiddenError:
            refused.append(part)
    if len(refused) == len(SETTINGS_PARTS):
        api.settings_part(refused[0])
    return f"{', '.join(refused)} can't be read and stay null" if refused else ""


def _note_if_empty(read: Callable[[GmailApi], object]) -> Callable[[GmailApi, TableOptions], str]:
    def read_table(api: GmailApi, options: TableOptions) -> str:
        return "" if read(api) else "empty"

    return read_table


_READS: Mapping[str, Callable[[GmailApi, TableOptions], str]] = {
    "messages": lambda api, options: _listed(api.list_messages(**_filters(options)), options),
    "threads": lambda api, options: _listed(api.list_threads(**_filters(options)), options),
    "labels": _note_if_empty(GmailApi.labels),
    "drafts": lambda api, options: _listed(api.list_drafts(page_size=1), options),
    # The address of the mailbox has been read with the same call.
    "profile": lambda api, options: "",
    "settings": _settings,
    "filters": _note_if_empty(GmailApi.filters),
    "forwarding_addresses": _note_if_empty(GmailApi.forwarding_addresses),
    "send_as": _note_if_empty(GmailApi.send_as),
    "delegates": _note_if_empty(GmailApi.delegates),
}


def check_lake(lake: Lake, spec: Spec) -> LakeAccess:
    """Write and remove a small file or Delta table, and open the existing tables."""
    access = LakeAccess(lake.uri)
    try:
        _write_and_remove(lake)
        access.writable = True
        for entry in spec.tables:
            delta = lake.find(entry.table_name)
            if delta is not None:
                protocol = delta.protocol()
                access.tables[entry.table_name] = {
                    "version": delta.version(),
                    "reader": protocol.min_reader_version,
                    "writer": protocol.min_writer_version,
                }
    except LakeError as error:
        access.problem = error
    return access


def _write_and_remove(lake: Lake) -> None:
    name = f"_gmail_check_{secrets.token_hex(4)}"
    try:
        if lake.folder is None:
            _commit_and_remove(lake, name)
        else:
            _write_to_folder(lake.folder / name)
    except Exception as error:  # object stores raise many kinds of errors
        raise unwritable(lake.uri, error) from error


def _commit_and_remove(lake: Lake, name: str) -> None:
    """Create a Delta table as a sync does, with the conditional write of its commit, and remove its files."""
    location = lake.location(name)
    DeltaTable.create(
        location, schema=pa.schema([("check", pa.bool_())]), mode="error", storage_options=lake.options
    )
    store = PyFileSystem(DeltaStorageHandler(location, lake.options))
    for entry in store.get_file_info(FileSelector("", recursive=True)):
        if entry.is_file:
            store.delete_file(entry.path)


def _write_to_folder(path: Path) -> None:
    created = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    make_private_folder(path.parent)
    try:
        path.write_bytes(b"check")
        path.unlink()
    finally:
        for folder in created:
            folder.rmdir()


def open_to_others_of(settings: Settings, lake: Lake) -> dict[str, str]:
    """Files and folders with mail or secrets that other users can access: mode by path, such as `{"lake": "0755"}`."""
    places = [
        lake.folder,
        os.environ.get("DAGSTER_HOME"),
        credentials_file(),
        settings.service_account_file,
        settings.logins,
        os.environ.get("GMAIL_CONNECTIONS_FILE"),
        Path(".env"),
    ]
    modes = {str(place): open_to_others(place) for place in places if place}
    return {place: mode for place, mode in modes.items() if mode is not None}


def versions() -> dict[str, str]:
    """Installed versions by package name; pyspark only if it is installed."""
    installed = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed
