"""Compares the tables with the mailbox: `verify_mailbox` reports differences and what explains them.

Ids are compared with a listing under the table's filters, labels where the counts differ, and a random sample of rows
is read again and compared field by field. The history since the last sync is read last and explains later changes, so
changes during the comparison do not count as differences.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition_status import PartitionStatus, partition_statuses
from gmail_assets.delta.unfetched import UnfetchedMessages
from gmail_assets.operations.row_samples import SampledRow, sample_messages, sample_threads
from gmail_assets.operations.snapshot_drift import snapshot_drift
from gmail_assets.operations.verdicts import Difference, LabelVerdict, MailboxVerdict, TableVerdict
from gmail_assets.syncing.identity import stored_address
from gmail_assets.syncing.listing import ListingProgress
from gmail_assets.syncing.messages import MessagesSync
from gmail_assets.syncing.results import Progress
from gmail_assets.syncing.threads import ThreadsSync
from gmail_assets.views import ContentSources, ViewSources
from gmail_assets.views.content_verification import verify_contents
from gmail_assets.views.verification import verify_views
from gmail_client.api import GmailApi
from gmail_client.changes import Changes, list_message_ids, read_changes
from gmail_client.client import Mailbox
from gmail_client.errors import HistoryExpiredError, NotFoundError
from gmail_client.labels import HIDDEN_LABELS
from gmail_client.options import TableOptions
from gmail_client.search import MARGIN, has_dates, without_dates
from gmail_client.spec import Spec
from gmail_client.tables import CHANGE_TABLES
from gmail_client.views import CONTENTS

__all__ = ["Difference", "LabelVerdict", "MailboxVerdict", "TableVerdict", "verify_mailbox"]

_EXAMPLES = 5
_MOST_DATES = 100
"""Messages near `startDate` whose dates are read."""


def verify_mailbox(
    mailbox: Mailbox,
    lake: Lake,
    spec: Spec,
    *,
    sample: int = 20,
    chance: random.Random | None = None,
    thorough: bool = False,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> MailboxVerdict:
    """Compare messages and threads of one mailbox with Gmail.

    Args:
        mailbox: The mailbox.
        lake: The lake.
        spec: The tables and their options.
        sample: Messages to compare field by field, and a quarter as many threads.
        chance: Chooses the sample.
        thorough: List the messages of every label, also if the counts are equal.
        progress: Progress callback, for the listings.

    Raises:
        GmailError: A request failed, or the lake can't be read.
    """
    before = mailbox.api.usage.snapshot().total_units
    verdict = MailboxVerdict(mailbox.user_id, stored_address(mailbox, lake))
    entries = [entry for entry in spec.tables if entry.source_table in CHANGE_TABLES]
    statuses = partition_statuses(lake, verdict.address, entries)
    chance = chance or random.Random()  # noqa: S311 - no secret hangs on it
    for entry in entries:
        table = verdict.tables[entry.source_table] = TableVerdict()
        table.unfinished = _unfinished(statuses.get(entry.source_table))
    comparable = {name: status for name, status in statuses.items() if not verdict.tables[name].unfinished}
    if comparable:
        work = _Verification(mailbox.api, verdict, lake, chance, thorough, progress)
        work.compare(comparable, sample)
    verdict.remarks += snapshot_drift(mailbox.api, lake, verdict.address, spec.tables)
    if spec.views:
        verdict.views = verify_views(lake, verdict.address, ViewSources.of(spec), sample=sample, rng=chance)
    contents = ContentSources.of(spec)
    if contents is not None:
        verdict.views[CONTENTS] = verify_contents(lake, verdict.address, contents, sample=sample, rng=chance)
    verdict.units = mailbox.api.usage.snapshot().total_units - before
    return verdict


def _unfinished(status: PartitionStatus | None) -> str:
    """Why a table can't be verified yet; empty if it can."""
    if status is None:
        return "no rows of it are stored yet"
    if status.partition.restored:
        return "it was restored to an older version"
    if status.cursor is not None:
        return ""
    if status.load_start is not None:
        return "its first load is not finished"
    return "its options changed or a reconciliation was interrupted, so it has to be reconciled first"


@dataclass(frozen=True, slots=True)
class _Moved:
    """Messages, and their threads, that changed since a table's last sync."""

    messages: frozenset[str]
    threads: frozenset[str]

    @classmethod
    def since(cls, cursor: int, changes: Changes) -> _Moved:
        moved = {m: change for m, change in changes.messages.items() if change.history_id > cursor}
        return cls(frozenset(moved), frozenset(change.thread_id for change in moved.values()))


class _Verification:
    """The comparison of one mailbox."""

    def __init__(
        self,
        api: GmailApi,
        verdict: MailboxVerdict,
        lake: Lake,
        chance: random.Random,
        thorough: bool,
        progress: Callable[[Progress], None],
    ) -> None:
        self._api = api
        self._thorough = thorough
        self._profile = api.profile()
        self._progress = ListingProgress(api, self._profile, progress)
        self._head = int(self._profile["historyId"])
        self._whole: dict[str, set[str]] = {name: set() for name in CHANGE_TABLES}
        self._verdict = verdict
        self._unfetched = UnfetchedMessages(lake)
        self._chance = chance
        self._listed: dict[tuple[object, ...], dict[str, str]] = {}

    def compare(self, statuses: Mapping[str, PartitionStatus], sample: int) -> None:
        """Compare everything."""
        wanted = {name: self._list(status.spec.options) for name, status in statuses.items()}
        messages = threads = None
        samples: list[SampledRow] = []
        if "messages" in statuses:
            status = statuses["messages"]
            messages = MessagesSync(status.spec, status.partition)
            messages.read_stored(None)
            wanted["messages"] = self._from_start(messages, wanted["messages"])
            samples += sample_messages(self._api, status, messages.stored, sample, self._chance)
        if "threads" in statuses:
            status = statuses["threads"]
            threads = ThreadsSync(status.spec, status.partition)
            threads.read_stored(None)
            wanted["threads"] = self._from_start(threads, wanted["threads"])
            count = max(1, sample // 4) if sample else 0
            samples += sample_threads(self._api, status, threads.stored, count, self._chance)
        label_ids = self._label_differences(messages) if messages is not None else []
        changes = self._changes(statuses)
        if changes is None:
            return
        moved = {
            name: _Moved.since(status.cursor or 0, changes)
            for name, status in statuses.items()
            if not self._verdict.tables[name].unfinished
        }
        if messages is not None and "messages" in moved:
            stored = set(messages.stored)
            table = self._verdict.tables["messages"]
            table.in_gmail = int(self._profile.get("messagesTotal") or 0)
            since = moved["messages"].messages
            self._compare("messages", stored, wanted["messages"].keys(), since, statuses["messages"])
            self._compare_labels(label_ids, since)
            if changes.head <= self._head:
                self._hidden_remark(table, statuses["messages"].spec.options)
        if threads is not None and "threads" in moved:
            held = threads.stored_messages()
            table = self._verdict.tables["threads"]
            table.in_gmail = int(self._profile.get("threadsTotal") or 0)
            listed = wanted["threads"]
            since = moved["threads"].threads
            self._compare("threads", held.keys(), set(listed.values()), since, statuses["threads"])
            if not statuses["threads"].spec.options.filtered:
                self._compare_members(held, listed, moved["threads"].messages)
        self._compare_samples([one for one in samples if one.table in moved], moved)

    def _list(self, options: TableOptions, *labels: str) -> dict[str, str]:
        """Messages that match the options and have the labels: thread id by id."""
        every = tuple(dict.fromkeys([*options.label_ids, *labels]))
        asked = options.model_copy(update={"label_ids": every})
        key = asked.listing_key
        if key not in self._listed:
            self._listed[key] = list_message_ids(self._api, asked, on_progress=self._progress.messages(asked))
        return self._listed[key]

    def _from_start(self, target: MessagesSync | ThreadsSync, listed: Mapping[str, str]) -> dict[str, str]:
        """Those of the listed messages that are not before `startDate`, which is listed with a margin.

        Stored messages have a date. Others count if Gmail's search finds them without the margin.
        """
        options = target.options
        if options.start_date is None:
            return dict(listed)
        exact = self._list(options.model_copy(update={"start_date": options.start_date + MARGIN}))
        dates = target.dates()
        unsure = exact.keys() - dates.keys()
        if len(unsure) <= _MOST_DATES:
            answers = self._api.get_many([self._api.message_call(item, "minimal") for item in sorted(unsure)])
            dates |= {
                answer.call.key: int(answer.json.get("internalDate") or 0)
                for answer in answers
                if answer.json is not None
            }
        return {
            message_id: thread_id
            for message_id, thread_id in listed.items()
            if (options.matches_date(dates[message_id]) if message_id in dates else message_id in exact)
        }

    def _changes(self, statuses: Mapping[str, PartitionStatus]) -> Changes | None:
        """The history since the earliest cursor that it reaches; a table with another one can't be verified."""
        changes = None
        for start in sorted({status.cursor or 0 for status in statuses.values()}):
            try:
                changes = changes or read_changes(self._api, start)
                expired = False
            except HistoryExpiredError:
                expired = start <= self._head
            head = self._head if changes is None else max(self._head, changes.head)
            for name, status in statuses.items():
                if status.cursor == start and expired:
                    self._verdict.tables[
                        name
                    ].unfinished = "Gmail's history no longer reaches back to its last sync"
                elif status.cursor == start and start > head:
                    self._verdict.tables[
                        name
                    ].unfinished = f"its cursor {start} is past the mailbox's current history id {head}"
        return changes

    # Ids

    def _compare(
        self,
        name: str,
        stored: Collection[str],
        wanted: Collection[str],
        moved: Set[str],
        status: PartitionStatus,
    ) -> None:
        table = self._verdict.tables[name]
        stored, wanted = set(stored), set(wanted)
        table.rows = len(stored)
        table.left_out = max(table.in_gmail - len(wanted), 0)
        missing, extra = wanted - stored, stored - wanted
        self._whole[name] |= missing | extra
        table.since_sync = len((missing | extra) & moved)
        missing -= moved
        extra -= moved
        unfetched = self._unfetched.of_table(self._verdict.address, name)
        known = set(unfetched) if name == "messages" else {entry.thread_id for entry in unfetched.values()}
        table.not_fetched = len(missing & known)
        missing -= known
        if extra and status.spec.options.q:
            aged = self._aged(status.spec.options)
            kept = extra & set(aged if name == "messages" else aged.values())
            table.kept = len(kept)
            extra -= kept
        there: set[str] = set()
        if extra:
            present = list_message_ids(
                self._api, status.spec.options, everything=True, on_progress=self._progress.messages()
            )
            there = extra & set(present if name == "messages" else present.values())
        table.missing, table.extra = len(missing), len(extra)
        self._examples(name, missing, "is in the mailbox and not in the table")
        self._examples(name, extra - there, "is in the table and not in the mailbox")
        self._examples(name, extra & there, "is in the table and does not match its options")

    def _aged(self, options: TableOptions) -> dict[str, str]:
        """Messages whose rows are kept although the search no longer finds them: time alone deletes no row."""
        lasting = without_dates(options.q)
        if has_dates(lasting):
            return list_message_ids(
                self._api, options, everything=True, on_progress=self._progress.messages()
            )
        return self._list(options.model_copy(update={"q": lasting}))

    def _compare_members(
        self, held: Mapping[str, set[str]], listed: Mapping[str, str], moved: Set[str]
    ) -> None:
        """Check that each thread's row has the messages that the listing has in the thread."""
        members: dict[str, set[str]] = {}
        for message_id, thread_id in listed.items():
            members.setdefault(thread_id, set()).add(message_id)
        known = set(self._unfetched.of_table(self._verdict.address, "threads"))
        wrong = [
            thread_id
            for thread_id, stored in held.items()
            if thread_id in members and (stored ^ members[thread_id]) - moved - known
        ]
        self._whole["threads"].update(wrong)
        self._verdict.tables["threads"].differing += len(wrong)
        self._examples("threads", wrong, "has other messages than the mailbox")

    def _examples(self, table: str, ids: Iterable[str], what: str) -> None:
        for item in sorted(ids)[:_EXAMPLES]:
            self._verdict.examples.append(Difference(table, item, what))

    def _hidden_remark(self, table: TableVerdict, options: TableOptions) -> None:
        """Check that an unfiltered table excludes as many messages as spam and trash hold."""
        if options.filtered:
            return
        counts = {label.id: label.in_gmail for label in self._verdict.labels}
        if not counts.keys() >= HIDDEN_LABELS:
            return
        hidden = 0 if options.include_spam_trash else sum(counts.get(label, 0) for label in HIDDEN_LABELS)
        if table.left_out != hidden:
            self._verdict.remarks.append(
                f"Gmail counts {table.in_gmail:,} messages, of which {hidden:,} are in spam and trash"
                f"{' (included)' if options.include_spam_trash else ''}, and lists "
                f"{table.in_gmail - table.left_out:,}: these counts contradict each other, so the listing is used."
            )

    # Labels

    def _label_differences(self, messages: MessagesSync) -> list[tuple[dict[str, Any], int, set[str] | None]]:
        """Compare each label's counts, and its ids if the counts differ."""
        with_label: dict[str, set[str]] = {}
        for message_id, row in messages.stored.items():
            for label_id in row.labels:
                with_label.setdefault(label_id, set()).add(message_id)
        found: list[tuple[dict[str, Any], int, set[str] | None]] = []
        named = [str(label["id"]) for label in self._api.labels()]
        options = messages.options
        margin, stored = options.start_date, messages.stored.keys()
        for answer in self._api.get_many((self._api.label_call(item) for item in named), ordered=True):
            if answer.json is None:
                if answer.error is not None and not isinstance(answer.error, NotFoundError):
                    self._verdict.remarks.append(
                        f"The label {answer.call.key} is not compared: {answer.error.what}"
                    )
                continue
            label = answer.json
            rows = with_label.get(label["id"], set())
            if len(rows) == int(label.get("messagesTotal") or 0) and not self._thorough:
                found.append((label, len(rows), None))
            elif label["id"] in HIDDEN_LABELS and not options.include_spam_trash:
                found.append((label, len(rows), rows))
            else:
                listed = self._list(options, label["id"]).keys()
                # Listed with a margin: missing messages are known already.
                found.append((label, len(rows), rows ^ (listed if margin is None else listed & stored)))
        ghosts = sorted(with_label.keys() - set(named))
        if ghosts:
            self._verdict.remarks.append(
                f"Labels on messages that labels.list does not return (this occurs in Gmail): {', '.join(ghosts[:10])}."
            )
        return found

    def _compare_labels(
        self, found: Iterable[tuple[dict[str, Any], int, set[str] | None]], moved: Set[str]
    ) -> None:
        # A stored message is in the retry queue if Gmail refused its labels.
        queued = self._unfetched.of_table(self._verdict.address, "messages").keys()
        outdated: set[str] = set()
        for label, rows, differing in found:
            total = int(label.get("messagesTotal") or 0)
            unexplained = (differing or set()) - moved
            since = len(differing or ()) - len(unexplained)
            # Missing and surplus messages are counted once, as messages.
            left = unexplained - self._whole["messages"]
            outdated |= left & queued
            left -= queued
            self._verdict.labels.append(
                LabelVerdict(label["id"], str(label.get("name", "")), rows, total, since, len(left))
            )
            self._examples("messages", left, f"has the label {label['id']} on one side only")
        if outdated:
            self._verdict.remarks.append(
                f"Gmail refused the labels of {len(outdated)} stored messages; every run retries them."
            )

    # Samples

    def _compare_samples(self, samples: Sequence[SampledRow], moved: Mapping[str, _Moved]) -> None:
        errors = []
        for one in samples:
            table = self._verdict.tables[one.table]
            if one.error is not None:
                errors.append(one.error)
                continue
            table.sampled += 1
            since = moved[one.table]
            explained = since.messages if one.table == "messages" else since.threads
            queued = self._unfetched.of_table(self._verdict.address, one.table)
            waiting = queued.keys() | {entry.thread_id for entry in queued.values()}
            if one.id in explained | waiting or one.id in self._whole[one.table]:
                continue
            differing = sorted(one.differing())
            if one.absent or differing:
                table.differing += 1
                what = (
                    f"is in the table; {one.absent}" if one.absent else f"differs in {', '.join(differing)}"
                )
                self._verdict.examples.append(Difference(one.table, one.id, what))
        if errors:
            self._verdict.remarks.append(
                f"{len(errors)} sampled rows could not be fetched and are not compared: {errors[0].what}"
            )
