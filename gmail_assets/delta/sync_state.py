"""The sync state of one mailbox in one table: a small value, kept as transactions in the Delta log.

`SyncState` is frozen; its methods are the transitions that a sync makes. `read_state` and `transactions` are its form
in the log: one transaction id per field, written in the same commit as the rows that make it true. The ids are those
of `gmail_assets.delta.app_ids`.

Version 1 (before version ids were written) kept the cursor and the start of a load under the options' fingerprint;
versions 1 and 2 had the mailbox's address in the ids, where version 3 has a keyed hash. Until version 2, rows that
entered under `q` stayed until their messages were deleted: such a table is reconciled once. Both are migrated by the
first commit: nothing is loaded again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from deltalake import Transaction

from gmail_assets.delta.app_ids import MIGRATED
from gmail_assets.delta.errors import LakeError

__all__ = [
    "STATE_FIELDS",
    "STATE_VERSION",
    "LabelReread",
    "NewerStateError",
    "SyncState",
    "erased",
    "number_of",
    "read_state",
    "transactions",
]

STATE_VERSION = MIGRATED


class NewerStateError(LakeError):
    """The table was written by a newer version of this product."""


@dataclass(frozen=True, slots=True)
class LabelReread:
    """A re-reading of all labels in progress (see `gmail_assets.syncing.labels`).

    Attributes:
        since: History id after which it began.
        last: Position (`number_of` its id) of the last thread whose labels were read.
    """

    since: int
    last: int


@dataclass(frozen=True, slots=True)
class SyncState:
    """Sync state of one mailbox in one table.

    Attributes:
        options: Number of the options' fingerprint that the state belongs to.
        format: Number of the format in which messages are stored.
        cursor: History id that the table is synced through; None when it has to be reconciled or loaded.
        load_start: History id from which an unfinished load has to be replayed.
        rows_through: History id through which every stored row is correct, for any options, although rows may be
            missing: only later changes have to be read again. 0 if unknown.
        rows_match: Every stored row matched the options when it was written.
        reread: The re-reading of all labels in progress, if any.
        unexplained: Surplus (negative: missing) rows that a check found; the next run reconciles.
        accepted: A difference that remained after a reconciliation; it is reported and not reconciled again.
        search_applied: Stored rows were matched against `q` whenever their labels changed; false for rows of versions 1
            and 2.
        synced_at: Epoch seconds at which the history up to the cursor was read, or a snapshot; None if unknown.
        recheck: History id after which messages arrived that did not match `q`: they are matched again, because
            Gmail's search may find them late. None for none.
        recheck_at: Epoch seconds; these messages arrived after this. None if unknown, or if that is `synced_at`.
        names: Of a snapshot of labels, a number for their names and types; 0 if unknown.
    """

    options: int
    format: int
    cursor: int | None = None
    load_start: int | None = None
    rows_through: int = 0
    rows_match: bool = True
    reread: LabelReread | None = None
    unexplained: int = 0
    accepted: int = 0
    search_applied: bool = True
    synced_at: int | None = None
    recheck: int | None = None
    recheck_at: int | None = None
    names: int = 0

    @property
    def arrivals_since(self) -> int | None:
        """Epoch seconds after which all messages arrived that the next run treats as arrivals; None if unknown."""
        if self.recheck is None or self.recheck_at is None or self.synced_at is None:
            return self.synced_at
        return min(self.recheck_at, self.synced_at)

    def loading(self, start: int) -> SyncState:
        """A load is in progress; all its rows are read after `start`."""
        return replace(
            self,
            cursor=None,
            load_start=start,
            rows_through=start,
            rows_match=True,
            reread=None,
            unexplained=0,
            search_applied=True,
            synced_at=None,
            recheck=None,
            recheck_at=None,
        )

    def synced(
        self,
        cursor: int,
        at: int | None = None,
        recheck: int | None = None,
        recheck_at: int | None = None,
    ) -> SyncState:
        """Everything through `cursor` is applied.

        Args:
            cursor: The history id.
            at: Epoch seconds at which the history was read.
            recheck: History id after which messages arrived that are matched again.
            recheck_at: Epoch seconds after which they arrived.
        """
        return replace(
            self,
            cursor=cursor,
            load_start=None,
            rows_through=cursor,
            rows_match=True,
            reread=None,
            search_applied=True,
            # A run that finds nothing new commits nothing.
            synced_at=at if cursor != self.cursor else self.synced_at,
            recheck=recheck,
            recheck_at=recheck_at,
        )

    def read_at(self, at: int, names: int | None = None) -> SyncState:
        """A snapshot was read.

        Args:
            at: Epoch seconds.
            names: See `names`; None if the rows are kept.
        """
        return replace(self, synced_at=at, names=self.names if names is None else names)

    def unsynced(self, head: int) -> SyncState:
        """The table has to be reconciled.

        Args:
            head: The mailbox's head: rows can't be correct through a later id.
        """
        known = self.rows_through <= head
        return replace(
            self,
            cursor=None,
            load_start=None,
            rows_through=self.rows_through if known else 0,
            reread=self.reread if known else None,
            unexplained=0,
            accepted=self.unexplained or self.accepted,
            synced_at=None,
            recheck=None,
            recheck_at=None,
        )

    def labels_through(self, history_id: int) -> SyncState:
        """Every stored row is correct through `history_id`."""
        return replace(self, rows_through=history_id)

    def rereading(self, since: int, last: int) -> SyncState:
        """The labels of all threads up to the position `last` were read after `since`."""
        return replace(self, reread=LabelReread(since, last))

    def counted(self, difference: int) -> SyncState:
        """A check found this many surplus (negative: missing) rows; 0 for none.

        A difference that remained after a reconciliation is not reconciled again.
        """
        if difference in (0, self.accepted):
            return replace(self, unexplained=0, accepted=difference)
        return replace(self, unexplained=difference)


def number_of(text: str) -> int:
    """A positive 60-bit number for a text: transaction versions are numbers."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:15], 16) + 1


def read_state(
    read: Callable[[str], int | None], base: str, fingerprint: str, format_: str
) -> tuple[SyncState, int | None]:
    """The state as the log has it, for these options.

    Args:
        read: Returns a transaction's version, or None.
        base: Beginning of the ids.
        fingerprint: Fingerprint of the options: of other options there is neither cursor nor load.
        format_: Format of messages.

    Returns:
        The state, and its version; None when nothing was ever written.

    Raises:
        NewerStateError: A later version of this product wrote it.
    """
    wanted = SyncState(number_of(fingerprint), number_of(format_))
    if not read(f"{base}/writer"):
        return wanted, None
    version = read(f"{base}/version") or 1
    if version > STATE_VERSION:
        raise NewerStateError(
            f"The lake's sync state has version {version}; this release reads up to {STATE_VERSION}.",
            fix="Upgrade gmail-assets: a newer release wrote this lake.",
        )
    named = base if version > 1 else f"{base}/{fingerprint}"
    cursor_id, load_id = ("cursor", "load_start") if version > 1 else ("history", "load")
    same = read(f"{base}/options") == wanted.options and read(f"{base}/format") == wanted.format
    cursor = read(f"{named}/{cursor_id}") or None if same else None
    load_start = read(f"{named}/{load_id}") or None if same else None
    since, last = read(f"{base}/reread/since"), read(f"{base}/reread/last")
    return (
        replace(
            wanted,
            cursor=cursor,
            load_start=load_start,
            rows_through=read(f"{base}/applied") or 0,
            rows_match=bool(cursor or load_start) or read(f"{base}/entered") == wanted.options,
            reread=LabelReread(since, last) if since and last else None,
            unexplained=_signed(read(f"{base}/unexplained")),
            accepted=_signed(read(f"{base}/accepted")),
            search_applied=version >= 3 and bool(read(f"{base}/judged")),
            synced_at=read(f"{base}/synced_at") or None if same else None,
            recheck=read(f"{base}/recheck") or None if cursor else None,
            recheck_at=read(f"{base}/recheck_at") or None if cursor else None,
            names=read(f"{base}/names") or 0,
        ),
        version,
    )


def transactions(
    state: SyncState, read: Callable[[str], int | None], base: str, fence: int
) -> list[Transaction]:
    """The transactions that a commit needs to store `state`.

    Args:
        state: The new state.
        read: Returns the present version of a transaction.
        base: Beginning of the ids.
        fence: Number of this commit: it refuses a second writer's.
    """
    reread = state.reread or LabelReread(0, 0)
    fields = {
        f"{base}/version": STATE_VERSION,
        f"{base}/options": state.options,
        f"{base}/format": state.format,
        f"{base}/cursor": state.cursor or 0,
        f"{base}/load_start": state.load_start or 0,
        f"{base}/applied": state.rows_through,
        f"{base}/entered": state.options if state.rows_match else 0,
        f"{base}/reread/since": reread.since,
        f"{base}/reread/last": reread.last,
        f"{base}/unexplained": _unsigned(state.unexplained),
        f"{base}/accepted": _unsigned(state.accepted),
        f"{base}/judged": int(state.search_applied),
        f"{base}/synced_at": state.synced_at or 0,
        f"{base}/recheck": state.recheck or 0,
        f"{base}/recheck_at": state.recheck_at or 0,
        f"{base}/names": state.names,
    }
    return [Transaction(f"{base}/writer", fence), *_changed(fields, read)]


STATE_FIELDS = (
    "version",
    "options",
    "format",
    "cursor",
    "load_start",
    "applied",
    "entered",
    "reread/since",
    "reread/last",
    "unexplained",
    "accepted",
    "judged",
    "synced_at",
    "recheck",
    "recheck_at",
    "names",
)
"""The last part of the ids."""


def erased(
    read: Callable[[str], int | None], base: str, fence: int, more: Iterable[str] = ()
) -> list[Transaction]:
    """What a commit has to carry, so that nothing of a state is left; `more` names other fields to set to 0."""
    fields = dict.fromkeys((f"{base}/{field}" for field in (*STATE_FIELDS, *more)), 0)
    fields[f"{base}/version"] = STATE_VERSION
    return [Transaction(f"{base}/writer", fence), *_changed(fields, read)]


def _changed(fields: dict[str, int], read: Callable[[str], int | None]) -> Iterator[Transaction]:
    """The entries that differ; an id that was never written counts as 0."""
    for app_id, number in fields.items():
        if (read(app_id) or 0) != number:
            yield Transaction(app_id, number)


def _unsigned(number: int) -> int:
    """Transaction versions are kept at 0 and above: twice the amount, one less for a negative one."""
    return 2 * abs(number) - (number < 0)


def _signed(number: int | None) -> int:
    return (-(number + 1) if number % 2 else number) // 2 if number else 0
