"""One run over one mailbox: compare what has to be compared, replay the history, commit in chunks."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition import MailboxPartition, place
from gmail_assets.delta.registry import MailboxRegistry, Unfetched
from gmail_assets.syncing.chunk import Chunk
from gmail_assets.syncing.fetch_plan import FetchPlan
from gmail_assets.syncing.listing import Listing, ListingProgress
from gmail_assets.syncing.messages import MessagesSync
from gmail_assets.syncing.results import MassDeletionError, Progress
from gmail_assets.syncing.table import TableSync
from gmail_assets.syncing.threads import ThreadsSync
from gmail_client.changes import Changes, MessageChange, matching, read_changes
from gmail_client.client import Mailbox
from gmail_client.errors import GmailError, HistoryExpiredError, UnavailableError
from gmail_client.fetch import FetchedThread, FetchRequest, chunks, fetch
from gmail_client.spec import SpecTable

__all__ = ["SyncRun", "TimeUpError"]

_SAMPLE = 20
"""Unchanged threads that are read all the same, to test that the history id tells changes."""
_MASS_DELETE_ROWS = 100
_MASS_DELETE_SHARE = 0.2
_MOST_FAILURES = 100
"""Messages more than before that Gmail may refuse before a run takes it for an outage."""
_EXPIRIES = 3
_LABELS_AT_ONCE = 2_000
"""Threads whose labels are read and written at once."""
_TELL_SECONDS = 0.5


class TimeUpError(Exception):
    """The run's time budget is spent; what is committed stands."""


class SyncRun:
    """One run over one mailbox: `open` says what is to be done, `go` does it.

    Args:
        mailbox: Where from.
        lake: Where to.
        allow_mass_delete: Go on where a comparison would remove more than a fifth of the rows.
        deadline: `time.monotonic()` at which to stop.
        progress: Told how far the run is.
        sample: Chooses the threads that test the comparison.

    Attributes:
        targets: The tables, once opened.
        warnings: What a reader of the tables should know.
        address: The mailbox's real address.
        profile: What getProfile said when it was opened.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        lake: Lake,
        allow_mass_delete: bool,
        deadline: float | None,
        progress: Callable[[Progress], None],
        sample: random.Random,
    ) -> None:
        self.mailbox = mailbox
        self.api = mailbox.api
        self.lake = lake
        self.registry = MailboxRegistry(lake)
        self.allow_mass_delete = allow_mass_delete
        self.deadline = deadline
        self.tell = progress
        self.sample = sample
        self.targets: list[TableSync] = []
        self.warnings: list[str] = []
        self.address = ""
        self.profile: dict[str, Any] = {}
        self._units_before = self.api.usage.snapshot().total_units

    def open(
        self, tables: Iterable[SpecTable], *, full_refresh: bool, reconcile: bool, replay_from: int | None
    ) -> None:
        """Open the tables and say for each what is to be done."""
        self.address = self.mailbox.address
        self.registry.check_name(self.mailbox.user_id, self.address)
        self.profile = self.api.profile()
        head = int(self.profile["historyId"])
        for spec in tables:
            table = self.lake.table(
                spec.source_table, name=spec.table_name, keep_deleted=spec.deletes == "keep"
            )
            part = MailboxPartition(table, self.address, spec.options.fingerprint, spec.options.format)
            target = (MessagesSync if spec.source_table == "messages" else ThreadsSync)(spec, part)
            target.due = self.registry.unfetched(self.address, target.name)
            self.targets.append(target)
            known = max(part.cursor or 0, part.applied)
            if known > head and self._reaches(known):
                head = known  # the profile lags behind the history
            if part.restored:
                self._say(f"{target.name} was restored to an older version: it is compared with the mailbox.")
            if full_refresh or part.changed_format:
                part.clear(anchor=head)
                target.mode, target.start = "full_load", head
            elif part.cursor is not None and part.cursor > head:
                self._say(
                    f"{target.name}'s cursor {part.cursor} is past the mailbox's head {head}: compared."
                )
                part.forget(head)
                part.commit()  # now: a head that has passed it by the next run would make it look right
                target.mode, target.start = "reconcile", head
            elif part.cursor is not None and not reconcile:
                target.mode, target.start = "incremental", min(part.cursor, replay_from or part.cursor)
            elif part.anchor is not None and part.anchor <= head:
                target.mode, target.start = "full_load", part.anchor
            else:
                part.forget(head)
                target.mode, target.start = ("reconcile" if part.count() else "full_load"), head

    def _reaches(self, history_id: int) -> bool:
        """Whether the history has come as far as this id."""
        try:
            return int(next(iter(self.api.history(str(history_id)))).head) >= history_id
        except HistoryExpiredError:
            return False

    def go(self) -> None:
        """Compare what has to be compared, then replay the history, until the cursor is committed."""
        for _ in range(_EXPIRIES):
            self._compare([target for target in self.targets if target.mode != "incremental"])
            try:
                self._replay()
            except HistoryExpiredError:
                self._expired()
                continue
            self.tell(self._progress("done"))
            return
        raise UnavailableError(
            f"The history expired {_EXPIRIES} times while the mailbox was compared with it.",
            fix="Try again later.",
            method="history.list",
        )

    def _say(self, text: str) -> None:
        self.warnings.append(text)

    def _expired(self) -> None:
        head = int(self.api.profile()["historyId"])
        oldest = min(target.start for target in self.targets)
        for target in self.targets:
            if target.start == oldest:
                self._say(f"The history no longer reaches back to {oldest}: {target.name} is compared.")
                target.mode, target.start = "reconcile", head
            else:
                target.mode = "incremental"

    def _progress(self, phase: str, done: int = 0, total: int | None = None) -> Progress:
        rows = sum(target.written for target in self.targets)
        units = self.api.usage.snapshot().total_units - self._units_before
        return Progress(phase, done, total, rows, units)

    def _check_time(self) -> None:
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise TimeUpError

    # Comparing

    def _compare(self, targets: list[TableSync]) -> None:
        if not targets:
            return
        for target in targets:
            if target.mode == "full_load" and target.part.anchor is None:
                # Of both tables, before the first rows of either: wherever this run dies, the sensor goes on with both.
                target.part.commit(anchor=target.start)
        verifying = [target for target in targets if target.mode == "reconcile"]
        listing = Listing(
            self.api,
            self.targets[0].options,
            verifying=bool(verifying),
            progress=ListingProgress(self.api, self.profile, self.tell),
        )
        for target in targets:
            target.heads = listing.heads(target)
            target.load(None)
        held: dict[str, set[str]] = {}
        outside: dict[str, set[str]] = {}
        needs = FetchPlan()
        for target in targets:
            wanted = listing.wanted(target)
            if not target.part.fits:
                # The listing tells anew what is wanted; besides, labels that could not be read are still due.
                target.due = {
                    m: e for m, e in target.due.items() if m in wanted or target.labels_of(e.thread_id, [m])
                }
            target.wanted = set(wanted) if target.options.q else set()
            if target.mode == "reconcile" and not target.part.fits:
                target.narrow(wanted)
            if target.mode == "reconcile":
                # A row that entered under `q` stays whatever `q` names now; others go as their labels do.
                outside[target.name] = set() if target.options.q else target.outside(wanted)
            rows, entire = listing.members(target, wanted)
            whole = {thread_id for thread_id in entire if not target.holds(thread_id)}
            lacking = target.missing({**rows, **{m: t for m, t in wanted.items() if t in whole}})
            own = target.held()
            needs.add(target, lacking, whole, own)
            for thread_id, members in own.items():
                held.setdefault(thread_id, set()).update(members)
        if not held and not needs:
            self._say(
                f"{self._filters(targets)} match nothing in {self.address}."
                if self._filters(targets)
                else f"{self.address} holds no messages."
            )

        gone = Changes(start=0, head=0)
        recheck: dict[str, set[str]] = {}
        heads_tell = True
        if verifying:
            self._gone(gone, held, listing.present)
            self._guard(verifying, gone, outside)
            changed, heads_tell = self._changed(verifying, held, listing)
            for thread_id in changed:
                ids = {message_id for message_id in held[thread_id] if message_id in listing.present}
                if ids:
                    recheck[thread_id] = ids
            needs.tell_labels(recheck)
        told = self._fetch(needs, recheck)
        if gone.messages or any(target.narrowed for target in targets):
            for target in targets:
                target.finish(gone, cursor=None, unread=recheck.keys())
        self._relabel(targets, recheck, told, listing, heads_tell)

    def _relabel(
        self,
        targets: list[TableSync],
        recheck: Mapping[str, set[str]],
        told: Mapping[str, MessageChange],
        listing: Listing,
        heads_tell: bool,
    ) -> None:
        """Read and write the labels of stored messages, those first whose threads changed first.

        So all up to the next thread's history id is applied after each piece: a run that ends here is not in vain.
        """
        heads = {thread_id: head.history_id for thread_id, head in listing.everything.items()}
        threads = sorted(
            recheck,
            key=lambda thread_id: (heads.get(thread_id, 0) if heads_tell else place(thread_id), thread_id),
        )
        for at in range(0, len(threads), _LABELS_AT_ONCE):
            piece, rest = threads[at : at + _LABELS_AT_ONCE], threads[at + _LABELS_AT_ONCE :]
            ids = {thread_id: recheck[thread_id] for thread_id in piece}
            known = {m: told[m] for members in ids.values() for m in members if m in told}
            changes = Changes(start=0, head=0, messages=known)
            self._read_labels(
                {t: members for t, members in ids.items() if not members <= told.keys()}, changes
            )
            for target in targets:
                target.changed_heads.update((t, heads[t]) for t in piece if t in heads)
                target.finish(changes, cursor=None)
            if not rest:
                return
            for target in targets:
                if target.mode != "reconcile":
                    continue
                self._record_failures(target)
                applied = heads.get(rest[0], 0) - 1
                if not heads_tell and target.part.reread:
                    target.part.reread = (target.part.reread[0], place(piece[-1]))
                    target.part.commit()
                elif heads_tell and applied > target.part.applied:
                    target.part.commit(applied=applied)
            self._check_time()

    def _filters(self, targets: list[TableSync]) -> str:
        filters = [
            f"q={target.options.q!r} labelIds={','.join(target.options.label_ids)!r} of {target.name}"
            for target in targets
            if target.options.filtered
        ]
        return " and ".join(filters)

    def _gone(self, changes: Changes, held: Mapping[str, set[str]], present: Mapping[str, str]) -> None:
        for thread_id, members in held.items():
            for message_id in members:
                if message_id not in present:
                    changes.messages[message_id] = MessageChange(thread_id, 0, deleted=True)

    def _guard(self, targets: list[TableSync], changes: Changes, outside: Mapping[str, set[str]]) -> None:
        if self.allow_mass_delete:
            return
        for target in targets:
            gone, rows = len(target.would_remove(changes) | outside[target.name]), target.total()
            if gone > _MASS_DELETE_ROWS and gone > rows * _MASS_DELETE_SHARE:
                raise MassDeletionError(
                    f"A comparison of {target.name} with {self.address} would remove {gone} of {rows} rows.",
                    fix="See that it is the right mailbox and the right filters; then run once with "
                    "allow_mass_delete: true in the run config, or --allow-mass-delete.",
                )

    def _changed(
        self, targets: list[TableSync], held: Mapping[str, set[str]], listing: Listing
    ) -> tuple[set[str], bool]:
        """Stored threads whose labels have to be read again, and whether the history ids tell which they are."""
        heads = listing.everything
        if any(target.part.reread for target in targets):
            return self._unread(targets, held), False
        changed = {thread_id for target in targets for thread_id in target.moved(target.held(), heads)}
        unchanged = sorted(held.keys() - changed)
        tested = self.sample.sample(unchanged, min(_SAMPLE, len(unchanged)))
        told = Changes(start=0, head=0)
        self._read_labels(
            {t: {m for m in held[t] if m in listing.present} for t in tested}, told, noting=False
        )
        for target in targets:
            for thread_id in tested:
                for message_id, labels in target.labels_of(thread_id, held[thread_id]).items():
                    change = told.messages.get(message_id)
                    if change is None or change.deleted:
                        continue
                    if set(change.labels or ()) != set(labels) and change.history_id <= target.start:
                        self._say(
                            "A thread changed though its history id did not move: every thread is read again."
                        )
                        return self._unread(targets, held), False
        return changed, True

    def _unread(self, targets: list[TableSync], held: Mapping[str, set[str]]) -> set[str]:
        """Stored threads whose labels are yet to be read again: those of an earlier run that it goes on from are."""
        done: list[int] = []
        for target in targets:
            if target.part.reread and self._reaches(target.part.reread[0]):
                # What was read then is true up to that id: the history tells the rest.
                target.start = min(target.start, target.part.reread[0])
            else:
                target.part.reread = (target.start, 0)
            done.append(target.part.reread[1])
        return {thread_id for thread_id in held if place(thread_id) > min(done)}

    def _read_labels(self, threads: Mapping[str, set[str]], changes: Changes, *, noting: bool = True) -> None:
        """Read the labels of stored messages, without their content."""
        wants = [FetchRequest(thread_id, tuple(ids)) for thread_id, ids in threads.items() if ids]
        for fetched in fetch(self.api, wants, "minimal"):
            for message in fetched.messages:
                if message["id"] in threads[fetched.thread_id]:
                    changes.messages[message["id"]] = _as_change(message)
            for message_id in fetched.gone:
                changes.messages[message_id] = MessageChange(fetched.thread_id, 0, deleted=True)
            for message_id, error in fetched.failed.items() if noting else ():
                for target in self.targets:
                    if target.labels_of(fetched.thread_id, [message_id]):
                        self._note_failure(target, fetched.thread_id, message_id, error)

    # Fetching

    def _fetch(self, needs: FetchPlan, recheck: Mapping[str, set[str]]) -> dict[str, MessageChange]:
        """Bring what is lacked into the tables, chunk by chunk.

        Returns:
            What it told by the way of stored messages whose labels are in question.
        """
        relabelled: dict[str, MessageChange] = {}
        total = len(needs)
        done = 0
        self.tell(self._progress("fetching", 0, total))
        for targets, wants in needs.wants():
            arriving = self._telling(fetch(self.api, wants, targets[0].options.format), total)
            for chunk in chunks(arriving):
                mail = Chunk(chunk)
                for target in targets:
                    target.take(mail)
                for fetched in chunk:
                    for target in targets:
                        target.settle((*fetched.gone, *fetched.failed))
                    done += len(fetched.messages)
                    for message in fetched.messages:
                        if message["id"] in recheck.get(fetched.thread_id, ()):
                            relabelled[message["id"]] = _as_change(message)
                        for target in targets:
                            if message["id"] in target.sought:
                                target.due.pop(message["id"], None)
                    for message_id, error in fetched.failed.items():
                        for target in targets:
                            if message_id in target.sought:
                                self._note_failure(target, fetched.thread_id, message_id, error)
                self.tell(self._progress("fetching", done, max(total, done)))
                self._check_time()
        return relabelled

    def _telling(self, arriving: Iterator[FetchedThread], total: int) -> Iterator[FetchedThread]:
        """Pass on what arrives, and tell now and then how much it is: a chunk takes minutes at Gmail's pace."""
        done, due = 0, 0.0
        for fetched in arriving:
            done += len(fetched.messages)
            if time.monotonic() >= due:
                self.tell(self._progress("fetching", done, max(total, done)))
                due = time.monotonic() + _TELL_SECONDS
            yield fetched

    def _note_failure(self, target: TableSync, thread_id: str, message_id: str, error: GmailError) -> None:
        earlier = target.failed.get(message_id) or target.due.get(message_id)
        target.failed[message_id] = Unfetched(
            thread_id,
            error.what,
            (earlier.attempts if earlier else 0) + 1,
            earlier.first_failed if earlier else None,
        )
        if len(target.failed.keys() - target.due.keys()) > _MOST_FAILURES:
            for one in self.targets:
                self._record_failures(one)  # should it be no outage, the next run comes further
            raise error

    def _record_failures(self, target: TableSync) -> None:
        """Remember what failed besides what failed before, ahead of a commit that passes it."""
        if target.failed:
            self.registry.set_unfetched(self.address, target.name, {**target.due, **target.failed})

    # Replaying

    def _replay(self) -> None:
        changes = read_changes(self.api, min(target.start for target in self.targets))
        named = set(changes.messages)
        for target in self.targets:
            target.due, target.failed = {**target.due, **target.failed}, {}
            for message_id, entry in target.due.items():
                changes.messages.setdefault(message_id, MessageChange(entry.thread_id, 0, arrived=True))
        needs = FetchPlan()
        recheck: dict[str, set[str]] = {}
        for target in self.targets:
            target.load(changes)
            candidates = {
                message_id: thread_id
                for message_id, thread_id in target.candidates(changes).items()
                if message_id in named or message_id in target.due
            }
            entering = {m for m, t in candidates.items() if not target.holds(t) and m not in target.due}
            target.wanted |= target.due.keys() | matching(self.api, target.options, entering)
            lacking: dict[str, set[str]] = {}
            for message_id, thread_id in candidates.items():
                if message_id not in entering or message_id in target.wanted:
                    lacking.setdefault(thread_id, set()).add(message_id)
            whole = {thread_id for thread_id in lacking if target.whole(thread_id)}
            for message_id, thread_id in Listing.hidden(self.api, target, whole).items():
                lacking[thread_id].add(message_id)
            needs.add(target, lacking, whole, target.held())
            for message_id, entry in target.due.items():
                change = changes.messages[message_id]
                unknown = change.labels is None and not change.deleted
                if unknown and target.labels_of(entry.thread_id, [message_id]):
                    recheck.setdefault(entry.thread_id, set()).add(message_id)
        self._fetch(needs, {})
        self._read_labels(recheck, changes)
        self.tell(self._progress("applying"))
        for target in self.targets:
            # What failed is noted before the cursor passes it, and struck off only when that is committed.
            self._record_failures(target)
            target.check_conserved()
            target.finish(changes, cursor=changes.head)
            if not target.failed or not target.due.keys() <= target.failed.keys():
                self.registry.set_unfetched(self.address, target.name, target.failed)
        failed = {m: entry for target in self.targets for m, entry in target.failed.items()}
        if failed:
            self._say(
                f"{len(failed)} messages could not be fetched ({next(iter(failed.values())).error}); "
                "they are in _gmail_unfetched and every run tries them again."
            )


def _as_change(message: Mapping[str, Any]) -> MessageChange:
    return MessageChange(
        message["threadId"],
        int(message.get("historyId") or 0),
        labels=tuple(message.get("labelIds") or ()),
    )
