"""Transactions and restores of a Delta table, read in one pass over its log and kept for later versions.

`DeltaTable.transaction_version` reads every commit since the last checkpoint again at each call. A table that hundreds
of mailboxes share has about ten transactions per mailbox. This module therefore reads the log once per process: first
the checkpoint and the commits after it, and then only new commits.

The rest of the package uses `transactions_at` and `restores_after`. A log that can't be read in this way
(another kind of checkpoint, a very old snapshot) is read through deltalake.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler

__all__ = [
    "RESTORES",
    "Commit",
    "forget_all",
    "identify",
    "is_same_table",
    "restores_after",
    "restores_record",
    "transactions_at",
]

Commit = dict[str, Any]
"""A commit's entry in the log, as `DeltaTable.history` returns it."""

RESTORES = "restores"
"""Last part of a transaction id. Its number holds two versions, between which a run found no restore in the log.

Other runs skip those commits: otherwise, the run of a quiet mailbox would read a week of other mailboxes' commits.
"""

_LOG = "_delta_log"
_CONCURRENT_READS = 8
_MOST_COMMITS = 1_000
"""Maximum number of commits that are read one by one to update the kept state; beyond it, the checkpoint is read."""
_EARLIER_STATES = 3
"""Number of earlier states that are kept of one mailbox, for runs whose snapshot is slightly older."""
_SEARCHED_BITS = 31
_SEARCH_STEP = 64
_MOST_LOGS = 64
_RECORD_EVERY = 10

_Options = tuple[tuple[str, str], ...]
_Find = Callable[[str], int | None]


class _UnknownLogError(Exception):
    """The log has a form that this module does not read."""


_WINDOW = 500
_ANY_SIZE = 1 << 30
"""Bytes: stands for the unknown size of a commit. A store returns what there is."""
_FIRST_BYTES = 1 << 18
"""Of a file of unknown size, so much is read at first. Arrow allocates what is asked for, not what there is."""


class _TableLog:
    """Transactions of one table by mailbox, as of a version, and its restores."""

    def __init__(self, uri: str, options: _Options) -> None:
        self._uri, self._options = uri, options
        self._sized: pa_fs.FileSystem = pa_fs.PyFileSystem(DeltaStorageHandler(uri, dict(options) or None))
        self._files = self._sized
        self._window = -1
        self.lock = threading.RLock()
        self.version = -1
        self._loaded_at = 0
        """The version at which all transactions were read; earlier states are unknown."""
        self._identity: tuple[int, bytes | None] | None = None
        """A version, and the digest of its commit: a copy that takes the table's place has another one, or none."""
        self._digests: dict[int, bytes | None] = {}
        self._groups: dict[str, list[tuple[int, Mapping[str, int]]]] = {}
        self._restores: list[Commit] = []
        self._restores_from = 0
        """Restores after this version are known."""
        self.searched = (0, 0)
        """From a record (`RESTORES`): the log was read through the first version; no restore is after the second."""

    def identify(self, version: int) -> None:
        """Remember the digest of a commit, so that `is_same` recognizes the table."""
        if self._identity is None or self._identity[0] < version:
            self._open_window(version)
            if version not in self._digests:
                self._digests[version] = _digest(self._read(_commit_path(version)))
            self._identity = version, self._digests[version]
        self._digests.clear()

    def is_same(self, version: int) -> bool:
        """Whether the commit of this version or a later one is still the same: no other table replaced this one.

        False also if none of them is known: an older copy of the table has the earlier commits too.
        """
        known, digest = self._identity or (-1, None)
        return known >= version and digest is not None and digest == _digest(self._read(_commit_path(known)))

    def advance(self, version: int) -> None:
        """Read the missing commits up to `version`."""
        if version <= self.version:
            return
        self._open_window(version)
        if self.version < 0 or version - self.version > _MOST_COMMITS:
            self._load(version)
        else:
            self._apply(self._commits(range(self.version + 1, version + 1)))
        self.version = version
        self.identify(version)

    def find(self, version: int, bases: Iterable[str]) -> _Find | None:
        """Look-up of the transactions under `bases` as of a version; None if that state is no longer kept."""
        if version < self._loaded_at:
            return None
        known: dict[str, Mapping[str, int]] = {}
        for group in {_group(f"{base}/") for base in bases}:
            states = self._groups.get(group, [])
            state = next((fields for since, fields in reversed(states) if since <= version), None)
            if state is None and states:
                return None
            known[group] = state or {}
        return lambda app_id: known.get(_group(app_id), {}).get(app_id)

    def restores(self, after: int, version: int) -> list[Commit]:
        """Commits after a version that restored an earlier one, newest first."""
        if after < self._known_since():
            through, last = self.searched
            self._search_back(through if last <= after else after)
        return [entry for entry in self._restores if after < entry["version"] <= version]

    def record(self) -> int:
        """The number to write as `RESTORES`: there is no restore between its two versions."""
        if self._restores_from > self.searched[0] > self._restores_from - _MOST_COMMITS:
            self._search_back(self.searched[0])
        newest = max((entry["version"] for entry in self._restores), default=0)
        return self.version << _SEARCHED_BITS | max(newest, self._known_since(), 0)

    def _known_since(self) -> int:
        """All restores after this version are known."""
        through, last = self.searched
        return min(self._restores_from, last) if through >= self._restores_from else self._restores_from

    def _search_back(self, after: int) -> None:
        """Read older commits, newest first, until `after` or until the log was cleaned up."""
        while self._restores_from > after:
            low = max(after, self._restores_from - _SEARCH_STEP)
            found = self._commits(range(low + 1, self._restores_from + 1), missing_allowed=True)
            entries = [
                _restore(action, version)
                for version in sorted(found, reverse=True)
                for action in found[version]
            ]
            self._restores += filter(None, entries)
            complete = len(found) == self._restores_from - low
            self._restores_from = low if complete else min(after, low)

    def _load(self, version: int) -> None:
        """Read the last checkpoint and the commits after it."""
        self.forget()
        begin = 0
        last = self._read_json(f"{_LOG}/_last_checkpoint")
        if last is not None:
            begin = int(last["version"])
            if begin > version or last.get("v2Checkpoint"):
                raise _UnknownLogError
            self._load_checkpoint(begin, last.get("parts"))
        if version - begin > _MOST_COMMITS:
            raise _UnknownLogError
        first = begin + 1 if last is not None else 0
        self._restores_from = first - 1
        self._apply(self._commits(range(first, version + 1)))
        # Changes between the checkpoint and this version are not kept by version.
        self._loaded_at = version
        self._groups = {group: states[-1:] for group, states in self._groups.items()}

    def _load_checkpoint(self, version: int, parts: int | None) -> None:
        count = int(parts or 1)
        begin = f"{_LOG}/{version:020}.checkpoint"
        names = [f"{begin}.{part:010}.{count:010}.parquet" for part in range(1, count + 1)]
        groups: dict[str, dict[str, int]] = {}
        for name in names if parts else [f"{begin}.parquet"]:
            with self._files.open_input_file(name) as source:
                file = pq.ParquetFile(source)
                if "txn" not in file.schema_arrow.names:
                    raise _UnknownLogError
                txn = file.read(columns=["txn.appId", "txn.version"])["txn"].combine_chunks()
            ids = pc.struct_field(txn, "appId").to_pylist()
            for app_id, number in zip(ids, pc.struct_field(txn, "version").to_pylist(), strict=True):
                if app_id is not None:
                    groups.setdefault(_group(app_id), {})[app_id] = number
        for group, fields in groups.items():
            self._groups[group] = [(version, fields)]
            self._note_searched(fields)

    def _apply(self, commits: Mapping[int, list[dict[str, Any]]]) -> None:
        for version in sorted(commits):
            changed: dict[str, dict[str, int]] = {}
            for action in commits[version]:
                if (txn := action.get("txn")) is not None:
                    app_id, number = str(txn["appId"]), int(txn["version"])
                    changed.setdefault(_group(app_id), {})[app_id] = number
                elif entry := _restore(action, version):
                    self._restores.insert(0, entry)
            for group, fields in changed.items():
                states = self._groups.get(group, [])
                merged = {**states[-1][1], **fields} if states else fields
                self._groups[group] = [*states[-_EARLIER_STATES:], (version, merged)]
                self._note_searched(fields)

    def _note_searched(self, fields: Mapping[str, int]) -> None:
        for app_id, number in fields.items():
            if app_id.endswith(f"/{RESTORES}"):
                self.searched = max(self.searched, divmod(number, 1 << _SEARCHED_BITS))

    def _commits(self, versions: range, *, missing_allowed: bool = False) -> dict[int, list[dict[str, Any]]]:
        """Transactions and commit infos of commits."""
        if len(versions) <= 2:
            read = [self._commit(version) for version in versions]
        else:
            with ThreadPoolExecutor(_CONCURRENT_READS, thread_name_prefix="delta-log") as pool:
                read = list(pool.map(self._commit, versions))
        found = {
            version: actions for version, actions in zip(versions, read, strict=True) if actions is not None
        }
        if len(found) < len(versions) and not missing_allowed:
            raise _UnknownLogError
        return found

    def _open_window(self, version: int) -> None:
        """Let commits of about this version be read without a request for their size before."""
        window = version // _WINDOW
        if window != self._window:
            begin = window * _WINDOW
            sizes = {_commit_path(number): _ANY_SIZE for number in range(begin, begin + _WINDOW)}
            sizes[f"{_LOG}/_last_checkpoint"] = _ANY_SIZE
            handler = DeltaStorageHandler(self._uri, dict(self._options) or None, sizes)
            self._files, self._window = pa_fs.PyFileSystem(handler), window

    def _commit(self, version: int) -> list[dict[str, Any]] | None:
        data = self._read(_commit_path(version))
        self._digests[version] = _digest(data)
        if data is None:
            return None
        # Most lines are files with their statistics; only these two kinds are parsed.
        lines = [line for line in data.splitlines() if b'"txn"' in line or b'"commitInfo"' in line]
        return [json.loads(line) for line in lines]

    def _read_json(self, path: str) -> dict[str, Any] | None:
        data = self._read(path)
        if data is None:
            return None
        found = json.loads(data)
        if not isinstance(found, dict):
            raise _UnknownLogError
        return found

    def _read(self, path: str) -> bytes | None:
        try:
            with self._files.open_input_file(path) as source:
                data = bytes(source.read(_FIRST_BYTES))
            if len(data) < _FIRST_BYTES:
                return data
            with self._sized.open_input_file(path) as source:
                return bytes(source.read())
        except FileNotFoundError:
            return None

    def forget(self) -> None:
        """Forget everything, so that the log is read again."""
        self.version = -1
        self._identity = None
        self._groups = {}
        self._restores = []
        self._restores_from = 0
        self.searched = (0, 0)


def _commit_path(version: int) -> str:
    return f"{_LOG}/{version:020}.json"


def _digest(data: bytes | None) -> bytes | None:
    return None if data is None else hashlib.sha256(data).digest()


def _group(app_id: str) -> str:
    """The first three parts of a transaction id: those of one mailbox in one table share them."""
    return "/".join(app_id.split("/", 3)[:3])


def _restore(action: Mapping[str, Any], version: int) -> Commit | None:
    info = action.get("commitInfo")
    if not isinstance(info, dict) or info.get("operation") != "RESTORE":
        return None
    return {**info, "version": version}


_LOGS: dict[tuple[str, str, _Options], _TableLog] = {}
_LOGS_LOCK = threading.Lock()
_READ_ERRORS = (_UnknownLogError, OSError, ValueError, KeyError, TypeError, pa.ArrowException)


def forget_all() -> None:
    """Forget what was read of all tables, as in a new process."""
    with _LOGS_LOCK:
        _LOGS.clear()


def _log_of(delta: DeltaTable, options: _Options) -> _TableLog:
    key = (delta.table_uri, str(delta.metadata().id), options)
    with _LOGS_LOCK:
        if key not in _LOGS:
            if len(_LOGS) >= _MOST_LOGS:
                del _LOGS[next(iter(_LOGS))]
            _LOGS[key] = _TableLog(delta.table_uri, options)
        return _LOGS[key]


def transactions_at(delta: DeltaTable, options: _Options, bases: Iterable[str]) -> _Find:
    """Look-up of transaction versions as of the table's current snapshot.

    Args:
        delta: The table.
        options: Storage options of its lake.
        bases: Beginnings of the ids (`gmail/<hash>/<table>`) that will be looked up.

    Returns:
        A function from an id to its version, or None if there is none.
    """
    log, version = _log_of(delta, options), delta.version()
    with log.lock:
        try:
            log.advance(version)
            found = log.find(version, bases)
        except _READ_ERRORS:
            log.forget()
            found = None
    return found or delta.transaction_version


def restores_after(delta: DeltaTable, options: _Options, after: int) -> list[Commit]:
    """The commits after a version, up to the table's snapshot, that restored an earlier one, newest first."""
    log, version = _log_of(delta, options), delta.version()
    with log.lock:
        try:
            log.advance(version)
            return log.restores(after, version)
        except _READ_ERRORS:
            log.forget()
    if after >= version:
        return []
    return [entry for entry in delta.history(version - after) if entry.get("operation") == "RESTORE"]


def restores_record(delta: DeltaTable, options: _Options) -> int | None:
    """What the next commit should record about restores (see `RESTORES`); None if a recent record is there."""
    log, version = _log_of(delta, options), delta.version()
    with log.lock:
        try:
            log.advance(version)
            due = log.version == version and version - log.searched[0] >= _RECORD_EVERY
            return log.record() if due else None
        except _READ_ERRORS:
            log.forget()
            return None


def identify(delta: DeltaTable, options: _Options) -> None:
    """Remember the table's current version, so that `is_same_table` recognizes it, also if its log is not read."""
    log, version = _log_of(delta, options), delta.version()
    with log.lock, suppress(*_READ_ERRORS):
        log.identify(version)


def is_same_table(delta: DeltaTable, options: _Options) -> bool:
    """Whether it is still the table that was read or identified; costs a read of one commit.

    False if a copy or a new table replaced it: what is known of the log is dropped. Also if nothing is known.
    """
    log = _log_of(delta, options)
    with log.lock:
        with suppress(*_READ_ERRORS):
            if log.is_same(delta.version()):
                return True
        log.forget()
        return False
