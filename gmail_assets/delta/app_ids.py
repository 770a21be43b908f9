"""Names of a mailbox's transactions in a Delta log: `gmail/<keyed hash of the address>/<table>/<field>`.

A transaction id can't be removed from a log by an ordinary commit, so it holds no address. The hash is an HMAC whose
key is the id of the Delta table: 122 random bits that never change, even if the table is written, restored or moved. A
user who can read the table can test an address against the hash, but can also read the addresses of its rows; once the
rows are erased, the log alone does not reveal the address.

Earlier releases wrote the address itself (`legacy_base`). `StateReader` reads both. `migration` returns additional
transactions for the first commit, with which such a release refuses the mailbox from then on.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable

from deltalake import DeltaTable, Transaction

__all__ = ["MIGRATED", "StateReader", "app_base", "keyed_hash", "legacy_base"]

MIGRATED = 3
"""State version under the address: a release that knows only addresses reads up to 2, and reports this version."""

_FIELD_WRITER = "writer"
_FIELD_VERSION = "version"


def keyed_hash(delta: DeltaTable, address: str) -> str:
    """The 32 hex digits that replace an address in this table's log."""
    key = str(delta.metadata().id).encode()
    return hmac.new(key, address.encode(), hashlib.sha256).hexdigest()[:32]


def app_base(delta: DeltaTable, address: str, source: str) -> str:
    """Prefix of the transaction ids of one mailbox in one table."""
    return f"gmail/{keyed_hash(delta, address)}/{source}"


def legacy_base(address: str, source: str) -> str:
    """Prefix of the ids that releases with state version 2 and below wrote."""
    return f"gmail/{address}/{source}"


class StateReader:
    """Transaction versions of one mailbox in one table, each looked up once.

    Called with a hashed id, it gives its version, or None; where nothing was written under hashed ids yet, that of
    the id with the address in it.

    Args:
        delta: The table, at the version to read.
        address: The mailbox's real address.
        source: The table's Gmail name.
        transactions: Returns the look-up of the transactions under these beginnings; default: from `delta`.

    Attributes:
        base: Beginning of the ids.
        legacy: Only ids with the address in them were written.
    """

    def __init__(
        self,
        delta: DeltaTable,
        address: str,
        source: str,
        transactions: Callable[[list[str]], Callable[[str], int | None]] | None = None,
    ) -> None:
        self._known: dict[str, int | None] = {}
        self._legacy_base = legacy_base(address, source)
        self.base = app_base(delta, address, source)
        bases = [self.base, self._legacy_base]
        self._look_up = delta.transaction_version if transactions is None else transactions(bases)
        writer = self._find(f"{self.base}/{_FIELD_WRITER}")
        self.legacy = writer is None and bool(self._find(f"{self._legacy_base}/{_FIELD_WRITER}"))

    def __call__(self, app_id: str) -> int | None:
        """The version of a hashed id, or of the id with the address that stands for it."""
        if self.legacy and app_id.startswith(self.base):
            app_id = self._legacy_base + app_id[len(self.base) :]
        return self._find(app_id)

    def hashed(self, app_id: str) -> int | None:
        """The version of a hashed id alone."""
        return self._find(app_id)

    def migration(
        self, fence: int, *, carried: Iterable[str] = (), ended: Iterable[str] = ()
    ) -> list[Transaction]:
        """What the first commit under hashed ids adds; nothing for the later ones.

        Releases that know only addresses refuse the mailbox from then on, and a run of theirs that is under way has its
        next commit refused.

        Args:
            fence: Number of this commit.
            carried: Fields that keep their version under hashed ids.
            ended: Fields of state version 1, whose releases don't look at version numbers: set to 0.
        """
        if not self.legacy:
            return []
        old, new = self._legacy_base, self.base
        kept = {f"{new}/{field}": self._find(f"{old}/{field}") for field in carried}
        zero = [f"{old}/{field}" for field in ended if self._find(f"{old}/{field}")]
        return [
            Transaction(f"{old}/{_FIELD_VERSION}", MIGRATED),
            Transaction(f"{old}/{_FIELD_WRITER}", fence),
            *(Transaction(app_id, version) for app_id, version in kept.items() if version is not None),
            *(Transaction(app_id, 0) for app_id in zero),
        ]

    def _find(self, app_id: str) -> int | None:
        if app_id not in self._known:
            self._known[app_id] = self._look_up(app_id)
        return self._known[app_id]
