"""Whether each table can be read and the lake be written: tried with the cheapest calls, nothing is loaded.

`check_mailbox` asks Gmail for the first item of each of the ten tables (at most 40 quota units), `check_lake` writes
and removes a small file, `versions` names what is installed.
"""

from __future__ import annotations

import platform
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gmail_assets.delta.errors import LakeError, unwritable
from gmail_assets.delta.lake import Lake
from gmail_assets.delta.registry import MailboxRegistry
from gmail_client.api import GmailApi
from gmail_client.client import Mailbox
from gmail_client.errors import ForbiddenError, GmailError
from gmail_client.options import TableOptions
from gmail_client.snapshots import SETTINGS_PARTS
from gmail_client.spec import Spec
from gmail_client.tables import CATALOGUE

__all__ = ["Finding", "LakeFinding", "MailboxFinding", "check_lake", "check_mailbox", "versions"]

_ANYTHING = "in:anywhere"
"""A search that lets everything in: a token that may read headers only (gmail.metadata) is refused any search."""

_PACKAGES = ("gmail-assets", "dagster", "deltalake", "pyarrow", "pyspark")


@dataclass(frozen=True, slots=True)
class Finding:
    """One table.

    Attributes:
        readable: Whether it was read.
        expected: Whether it is no surprise that it was not: `delegates`, with a user's own credentials.
        says: What there is to say: why not, or a remark.
        fix: How to mend it.
        error: Class name of the error.
    """

    readable: bool
    expected: bool = False
    says: str = ""
    fix: str = ""
    error: str = ""

    @classmethod
    def of(cls, error: GmailError, *, expected: bool = False) -> Finding:
        """What an error says of a table."""
        return cls(False, expected, error.what, error.fix, type(error).__name__)


@dataclass(slots=True)
class MailboxFinding:
    """One mailbox.

    Attributes:
        name: As it is configured.
        address: Its real address; empty when not even that could be asked.
        tables: A finding for each of the ten.
        problem: What is wrong between the mailbox and the lake; None for nothing.
        units: Quota units that the check cost.
    """

    name: str
    address: str = ""
    tables: dict[str, Finding] = field(default_factory=dict)
    problem: GmailError | None = None
    units: int = 0


@dataclass(slots=True)
class LakeFinding:
    """The lake.

    Attributes:
        uri: Where it is.
        writable: Whether a file could be written and removed.
        problem: Why not, or which table can't be read.
        tables: Delta version, rows and protocol of each table that is there, by its name in the lake.
    """

    uri: str
    writable: bool = False
    problem: LakeError | None = None
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)


def check_mailbox(mailbox: Mailbox, spec: Spec, lake: Lake) -> MailboxFinding:
    """Try each of the ten tables.

    Args:
        mailbox: Which.
        spec: With which options.
        lake: The lake that is meant: its names must stand for the same addresses.
    """
    found = MailboxFinding(mailbox.user_id)
    before = mailbox.api.usage.snapshot().total_units
    options = {entry.source_table: entry.options for entry in spec.tables}
    try:
        found.address = mailbox.address
    except GmailError as error:
        # Whatever stands in the way of the profile stands in the way of all.
        found.tables = dict.fromkeys(CATALOGUE, Finding.of(error))
    else:
        found.problem = _name_problem(mailbox, lake)
        for name in CATALOGUE:
            found.tables[name] = _try(mailbox, name, options.get(name, TableOptions()))
    found.units = mailbox.api.usage.snapshot().total_units - before
    return found


def _name_problem(mailbox: Mailbox, lake: Lake) -> GmailError | None:
    try:
        MailboxRegistry(lake).refuse_other(mailbox.user_id, mailbox.address)
    except GmailError as error:
        return error
    return None


def _try(mailbox: Mailbox, name: str, options: TableOptions) -> Finding:
    try:
        return Finding(True, says=_READS[name](mailbox.api, options))
    except GmailError as error:
        own = mailbox.client.credentials.kind != "service account"
        return Finding.of(error, expected=name == "delegates" and own and isinstance(error, ForbiddenError))


def _listed(pages: Iterable[list[Any]], options: TableOptions) -> str:
    """Read the first page; an empty one is worth a remark."""
    for page in pages:
        if page:
            return ""
        break
    return "nothing matches its filters" if options.filtered else "empty"


def _filters(options: TableOptions) -> dict[str, Any]:
    return {
        "q": options.q or _ANYTHING,
        "label_ids": options.label_ids,
        "include_spam_trash": options.include_spam_trash,
        "page_size": 1,
    }


def _settings(api: GmailApi, options: TableOptions) -> str:
    closed = []
    for part in SETTINGS_PARTS:
        try:
            api.settings_part(part)
        except ForbiddenError:
            closed.append(part)
    if len(closed) == len(SETTINGS_PARTS):
        api.settings_part(closed[0])
    return f"{', '.join(closed)} may not be read and stay null" if closed else ""


def _whole(read: Callable[[GmailApi], object]) -> Callable[[GmailApi, TableOptions], str]:
    def try_it(api: GmailApi, options: TableOptions) -> str:
        return "" if read(api) else "empty"

    return try_it


_READS: Mapping[str, Callable[[GmailApi, TableOptions], str]] = {
    "messages": lambda api, options: _listed(api.list_messages(**_filters(options)), options),
    "threads": lambda api, options: _listed(api.list_threads(**_filters(options)), options),
    "labels": _whole(GmailApi.labels),
    "drafts": lambda api, options: _listed(api.list_drafts(page_size=1), options),
    # Its address was asked for with the same call.
    "profile": lambda api, options: "",
    "settings": _settings,
    "filters": _whole(GmailApi.filters),
    "forwarding_addresses": _whole(GmailApi.forwarding_addresses),
    "send_as": _whole(GmailApi.send_as),
    "delegates": _whole(GmailApi.delegates),
}


def check_lake(lake: Lake, spec: Spec) -> LakeFinding:
    """Write and remove a small file, and open the tables that are there."""
    found = LakeFinding(lake.uri)
    try:
        _write_and_remove(lake)
        found.writable = True
        for entry in spec.tables:
            delta = lake.find(entry.table_name)
            if delta is not None:
                protocol = delta.protocol()
                found.tables[entry.table_name] = {
                    "version": delta.version(),
                    "reader": protocol.min_reader_version,
                    "writer": protocol.min_writer_version,
                }
    except LakeError as error:
        found.problem = error
    return found


def _write_and_remove(lake: Lake) -> None:
    name = f"_gmail_check_{secrets.token_hex(4)}"
    try:
        if "://" in lake.uri:
            from deltalake.fs import DeltaStorageHandler
            from pyarrow.fs import PyFileSystem

            store = PyFileSystem(DeltaStorageHandler(lake.uri, lake.options))
            with store.open_output_stream(name) as stream:
                stream.write(b"check")
            store.delete_file(name)
            return
        folder = Path(lake.uri)
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        try:
            (folder / name).write_bytes(b"check")
            (folder / name).unlink()
        finally:
            for path in made:
                path.rmdir()
    except Exception as error:  # object stores raise errors of many kinds
        raise unwritable(lake.uri, error) from error


def versions() -> dict[str, str]:
    """What is installed, by name; pyspark only where it is."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
