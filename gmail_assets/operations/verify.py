"""Compares the tables with the mailbox: `verify_mailbox` reports differences and what explains them.

Ids are compared with a listing under the table's filters, labels where the counts differ, and a random sample of rows
is read again and compared field by field. The history since the last sync is read last and explains later changes, so
changes during the comparison do not count as differences.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gmail_assets.delta.lake import DELETED_AT, MAILBOX, Lake
from gmail_assets.delta.partition_status import PartitionStatus, partition_statuses
from gmail_assets.delta.registry import MailboxRegistry
from gmail_assets.operations.snapshot_drift import snapshot_drift
from gmail_assets.syncing.listing import ListingProgress
from gmail_assets.syncing.messages import MessagesSync
from gmail_assets.syncing.results import Progress
from gmail_assets.syncing.threads import ThreadsSync
from gmail_assets.views import ViewSources
from gmail_assets.views.verification import ViewVerdict, verify_views
from gmail_client.api import GmailApi
from gmail_client.changes import Changes, list_message_ids, read_changes
from gmail_client.client import Mailbox
from gmail_client.errors import GmailError, HistoryExpiredError, NotFoundError
from gmail_client.labels import HIDDEN_LABELS
from gmail_client.options import TableOptions
from gmail_client.schema import to_batch
from gmail_client.search import MARGIN, has_dates, without_dates
from gmail_client.spec import Spec
from gmail_client.tables import CHANGE_TABLES

__all__ = ["Difference", "LabelVerdict", "MailboxVerdict", "TableVerdict", "verify_mailbox"]

_EXAMPLES = 5
_MOST_DATES = 100
"""Messages near `startDate` whose dates are read."""
_UNSTABLE = {"historyId", "historySequence", MAILBOX, DELETED_AT}
"""Fields that a row may have different from a new read, or that Gmail does not know."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that differs from Gmail: its table, its id, and the difference."""

    table: str
    id: str
    what: str


@dataclass(slots=True)
class TableVerdict:
    """Result for `messages` or `threads`.

    Attributes:
        rows: Rows of the mailbox, without soft-deleted ones.
        in_gmail: Gmail's own count of the mailbox.
        left_out: Of these, those that the table's options exclude: spam, trash, or not matching the filters.
        missing: In Gmail, not stored, and not explained.
        extra: Stored, not in Gmail, and not explained.
        since_sync: Differences that the history since the last sync explains.
        not_fetched: Messages that could not be fetched; every run tries them again.
        kept: Rows that `q` no longer finds by time alone (`newer_than:`): they stay by design.
        sampled: Rows compared field by field.
        differing: Rows of the sample that differ.
        unfinished: Why the table can't be compared yet; empty if it can.
    """

    rows: int = 0
    in_gmail: int = 0
    left_out: int = 0
    missing: int = 0
    extra: int = 0
    since_sync: int = 0
    not_fetched: int = 0
    kept: int = 0
    sampled: int = 0
    differing: int = 0
    unfinished: str = ""

    @property
    def unexplained(self) -> int:
        """Number of unexplained differences."""
        return self.missing + self.extra + self.differing


@dataclass(frozen=True, slots=True)
class LabelVerdict:
    """Result for one label.

    Attributes:
        id: The label.
        name: Its display name.
        rows: Rows of `messages` with it.
        in_gmail: Gmail's count of messages with it.
        since_sync: Messages whose labels changed since the last sync.
        unexplained: Messages that have it on one side only, and are not explained.
    """

    id: str
    name: str
    rows: int
    in_gmail: int
    since_sync: int = 0
    unexplained: int = 0


@dataclass(slots=True)
class MailboxVerdict:
    """Result for one mailbox.

    Attributes:
        name: Configured name of the mailbox.
        address: Its real address.
        tables: Results for messages and threads, if they are in the spec.
        labels: Results for labels, if `messages` is in the spec.
        views: Results for the derived tables of the spec, compared with messages and labels in the lake.
        examples: Some of the unexplained differences.
        remarks: Further notes.
        units: Quota units that it cost.
        error: Why there is no result.
    """

    name: str
    address: str = ""
    tables: dict[str, TableVerdict] = field(default_factory=dict)
    labels: list[LabelVerdict] = field(default_factory=list)
    views: dict[str, ViewVerdict] = field(default_factory=dict)
    examples: list[Difference] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    units: int = 0
    error: GmailError | None = None

    @property
    def unexplained(self) -> int:
        """Number of unexplained differences."""
        return (
            sum(table.unexplained for table in self.tables.values())
            + sum(label.unexplained for label in self.labels)
            + sum(view.differing for view in self.views.values())
        )

    @property
    def unfinished(self) -> bool:
        """Whether a table can't be compared before its next sync."""
        return any(table.unfinished for table in self.tables.values()) or any(
            view.outdated for view in self.views.values()
        )


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
    verdict = MailboxVerdict(mailbox.user_id, mailbox.address)
    MailboxRegistry(lake).refuse_other(mailbox.user_id, verdict.address)
    entries = [entry for entry in spec.tables if entry.source_table in CHANGE_TABLES]
    statuses = partition_statuses(lake, verdict.address, entries)
    chance = chance or random.Random()  # noqa: S311 - no secret hangs on it
    for entry in entries:
        table = verdict.tables[entry.source_table] = TableVerdict()
        status = statuses.get(entry.source_table)
        if status is None:
            table.unfinished = "nothing of it is stored yet"
        elif status.cursor is None:
            table.unfinished = "its load or comparison is not finished"
    judged = {name: status for name, status in statuses.items() if not verdict.tables[name].unfinished}
    if judged:
        work = _Verification(mailbox.api, verdict, lake, chance, thorough, progress)
        work.judge(judged, sample)
    verdict.remarks += snapshot_drift(mailbox.api, lake, verdict.address, spec.tables)
    if spec.views:
        verdict.views = verify_views(lake, verdict.address, ViewSources.of(spec), sample=sample, rng=chance)
    verdict.units = mailbox.api.usage.snapshot().total_units - before
    return verdict


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
        self._whole: set[str] = set()
        self._verdict = verdict
        self._ledger = MailboxRegistry(lake)
        self._chance = chance
        self._listed: dict[tuple[object, ...], dict[str, str]] = {}

    def judge(self, statuses: Mapping[str, PartitionStatus], sample: int) -> None:
        """Compare everything."""
        wanted = {name: self._list(status.spec.options) for name, status in statuses.items()}
        messages = threads = None
        samples: list[_Sampled] = []
        if "messages" in statuses:
            status = statuses["messages"]
            messages = MessagesSync(status.spec, status.partition)
            messages.read_stored(None)
            wanted["messages"] = self._from_start(messages, wanted["messages"])
            samples += self._sample_messages(status, messages, sample)
        if "threads" in statuses:
            status = statuses["threads"]
            threads = ThreadsSync(status.spec, status.partition)
            threads.read_stored(None)
            wanted["threads"] = self._from_start(threads, wanted["threads"])
            samples += self._sample_threads(status, threads, max(1, sample // 4) if sample else 0)
        label_ids = self._label_differences(messages) if messages is not None else []
        changes = self._changes(statuses)
        if changes is None:
            for name in statuses:
                self._verdict.tables[
                    name
                ].unfinished = "Gmail's history no longer reaches back to its last sync"
            return
        moved = set(changes.messages)
        moved_threads = {change.thread_id for change in changes.messages.values()}
        if messages is not None:
            stored = set(messages.stored)
            table = self._verdict.tables["messages"]
            table.in_gmail = int(self._profile.get("messagesTotal") or 0)
            self._compare("messages", stored, wanted["messages"].keys(), moved, statuses["messages"])
            self._judge_labels(label_ids, moved)
            self._hidden_remark(table, statuses["messages"].spec.options)
        if threads is not None:
            held = threads.stored_messages()
            table = self._verdict.tables["threads"]
            table.in_gmail = int(self._profile.get("threadsTotal") or 0)
            listed = wanted["threads"]
            self._compare("threads", held.keys(), set(listed.values()), moved_threads, statuses["threads"])
            if not statuses["threads"].spec.options.filtered:
                self._compare_members(held, listed, moved)
        for one in samples:
            self._judge_sample(one, moved | moved_threads)

    def _list(self, options: TableOptions, *labels: str) -> dict[str, str]:
        """Messages that match the options and have the labels: id to thread id."""
        every = tuple(dict.fromkeys([*options.label_ids, *labels]))
        asked = options.model_copy(update={"label_ids": every})
        key = asked.listing_key
        if key not in self._listed:
            self._listed[key] = list_message_ids(self._api, asked, on_progress=self._progress.messages(asked))
        return self._listed[key]

    def _from_start(self, target: MessagesSync | ThreadsSync, listed: Mapping[str, str]) -> dict[str, str]:
        """Those of the listed messages that are not before `startDate`, which is listed with a margin.

        Stored messages have a date. Of the others, those count that Gmail's search finds without the margin.
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
        start = min(status.cursor or 0 for status in statuses.values())
        try:
            return read_changes(self._api, start)
        except HistoryExpiredError:
            return None

    # Ids

    def _compare(
        self,
        name: str,
        stored: Collection[str],
        wanted: Collection[str],
        moved: set[str],
        status: PartitionStatus,
    ) -> None:
        table = self._verdict.tables[name]
        stored, wanted = set(stored), set(wanted)
        table.rows = len(stored)
        table.left_out = max(table.in_gmail - len(wanted), 0)
        missing, extra = wanted - stored, stored - wanted
        self._whole |= missing | extra
        table.since_sync = len((missing | extra) & moved)
        missing -= moved
        extra -= moved
        unfetched = self._ledger.unfetched(self._verdict.address, name)
        known = set(unfetched) if name == "messages" else {entry.thread_id for entry in unfetched.values()}
        table.not_fetched = len(missing & known)
        missing -= known
        if extra and status.spec.options.q:
            aged = self._aged(status.spec.options)
            there = set(aged if name == "messages" else aged.values())
            table.kept = len(extra & there)
            extra -= there
        table.missing, table.extra = len(missing), len(extra)
        self._examples(name, missing, "is in the mailbox and not in the table")
        self._examples(name, extra, "is in the table and not in the mailbox")

    def _aged(self, options: TableOptions) -> dict[str, str]:
        """Messages that rows may be kept of although the search no longer finds them: by time alone none leaves."""
        lasting = without_dates(options.q)
        if has_dates(lasting):
            return list_message_ids(
                self._api, options, everything=True, on_progress=self._progress.messages()
            )
        return self._list(options.model_copy(update={"q": lasting}))

    def _compare_members(
        self, held: Mapping[str, set[str]], listed: Mapping[str, str], moved: set[str]
    ) -> None:
        """Check that each thread's row holds the messages that the listing has in the thread."""
        members: dict[str, set[str]] = {}
        for message_id, thread_id in listed.items():
            members.setdefault(thread_id, set()).add(message_id)
        known = set(self._ledger.unfetched(self._verdict.address, "threads"))
        wrong = [
            thread_id
            for thread_id, stored in held.items()
            if thread_id in members and (stored ^ members[thread_id]) - moved - known
        ]
        self._verdict.tables["threads"].differing += len(wrong)
        self._examples("threads", wrong, "holds other messages than the mailbox")

    def _examples(self, table: str, ids: Iterable[str], what: str) -> None:
        for item in sorted(ids)[:_EXAMPLES]:
            self._verdict.examples.append(Difference(table, item, what))

    def _hidden_remark(self, table: TableVerdict, options: TableOptions) -> None:
        """Check that an unfiltered table excludes as many messages as spam and trash hold."""
        if options.filtered:
            return
        counts = {label.id: label.in_gmail for label in self._verdict.labels}
        hidden = 0 if options.include_spam_trash else sum(counts.get(label, 0) for label in HIDDEN_LABELS)
        if table.left_out != hidden:
            self._verdict.remarks.append(
                f"Gmail counts {table.in_gmail:,} messages, of which {hidden:,} are in spam and trash"
                f"{' (included)' if options.include_spam_trash else ''}, and lists "
                f"{table.in_gmail - table.left_out:,}: its own numbers differ, the listing decides."
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
            if isinstance(answer.error, NotFoundError) or answer.json is None:
                if answer.error is not None and not isinstance(answer.error, NotFoundError):
                    raise answer.error
                continue
            label = answer.json
            rows = with_label.get(label["id"], set())
            if len(rows) == int(label.get("messagesTotal") or 0) and not self._thorough:
                found.append((label, len(rows), None))
            elif label["id"] in HIDDEN_LABELS and not options.include_spam_trash:
                found.append((label, len(rows), rows))
            else:
                listed = self._list(options, label["id"]).keys()
                # Listed with a margin: what is missing is known already.
                found.append((label, len(rows), rows ^ (listed if margin is None else listed & stored)))
        ghosts = sorted(with_label.keys() - set(named))
        if ghosts:
            self._verdict.remarks.append(
                f"Labels on messages that labels.list does not name (such exist in Gmail): {', '.join(ghosts[:10])}."
            )
        return found

    def _judge_labels(
        self, found: Iterable[tuple[dict[str, Any], int, set[str] | None]], moved: set[str]
    ) -> None:
        for label, rows, differing in found:
            total = int(label.get("messagesTotal") or 0)
            unexplained = (differing or set()) - moved
            since = len(differing or ()) - len(unexplained)
            # Missing and surplus messages are counted once, as messages.
            left = unexplained - self._whole
            self._verdict.labels.append(
                LabelVerdict(label["id"], str(label.get("name", "")), rows, total, since, len(left))
            )
            self._examples("messages", left, f"has the label {label['id']} on one side only")

    # Samples

    def _sample_messages(
        self, status: PartitionStatus, target: MessagesSync, sample: int
    ) -> Iterator[_Sampled]:
        ids = sorted(target.stored)
        chosen = self._chance.sample(ids, min(sample, len(ids)))
        rows = {row["id"]: row for row in status.partition.rows(chosen).to_pylist()}
        calls = [self._api.message_call(item, status.spec.options.format) for item in chosen]
        for answer in self._api.get_many(calls):
            if answer.error is not None and not isinstance(answer.error, NotFoundError):
                raise answer.error
            resource, policy = answer.json, status.spec.options.policy
            if resource is not None and policy is not None:
                resource = policy.message(resource)
            theirs = None if resource is None else to_batch("messages", [resource]).to_pylist()[0]
            yield _Sampled("messages", answer.call.key, rows[answer.call.key], theirs)

    def _sample_threads(
        self, status: PartitionStatus, target: ThreadsSync, sample: int
    ) -> Iterator[_Sampled]:
        chosen = self._chance.sample(
            sorted(target.stored_messages()), min(sample, len(target.stored_messages()))
        )
        rows = {row["id"]: row for row in status.partition.rows(chosen).to_pylist()}
        options = status.spec.options
        for answer in self._api.get_many([self._api.thread_call(item, options.format) for item in chosen]):
            if answer.error is not None and not isinstance(answer.error, NotFoundError):
                raise answer.error
            theirs = None
            if answer.json is not None:
                theirs = to_batch("threads", [_visible_thread(answer.json, options)]).to_pylist()[0]
            yield _Sampled("threads", answer.call.key, rows[answer.call.key], theirs)

    def _judge_sample(self, one: _Sampled, moved: set[str]) -> None:
        table = self._verdict.tables[one.table]
        table.sampled += 1
        if one.id in moved:
            return
        differing = one.differing()
        if differing:
            table.differing += 1
            self._verdict.examples.append(Difference(one.table, one.id, f"differs in {', '.join(differing)}"))


def _visible_thread(thread: Row, options: TableOptions) -> Row:
    """A thread as its row has it: visible messages, with what the options leave of them."""
    messages = [m for m in thread.get("messages") or () if options.is_visible(m.get("labelIds") or ())]
    policy = options.policy
    if policy is None:
        return {**thread, "messages": messages}
    messages = [left for left in map(policy.message, messages) if left is not None]
    newest: Row = max(messages, key=lambda message: int(message.get("internalDate") or 0), default={})
    return {**thread, "messages": messages, "snippet": newest.get("snippet")}


@dataclass(frozen=True, slots=True)
class _Sampled:
    """A stored row and its present state in Gmail; None if Gmail no longer has it."""

    table: str
    id: str
    ours: Row
    theirs: Row | None

    def differing(self) -> list[str]:
        """The fields that differ."""
        if self.theirs is None:
            return ["existence: Gmail has it no more"]
        if self.table == "messages":
            return _differing_fields(self.ours, self.theirs)
        # Which messages belong to the thread was compared with the listing; threads.get may hide some.
        ours = {message["id"]: message for message in self.ours["messages"]}
        found: dict[str, None] = {}
        for message in self.theirs["messages"]:
            mine = ours.get(message["id"])
            names = ["messages"] if mine is None else _differing_fields(mine, message)
            found.update(dict.fromkeys(f"messages.{name}" if mine else name for name in names))
        return list(found)


def _differing_fields(ours: Row, theirs: Row) -> list[str]:
    return [
        name
        for name in theirs
        if name not in _UNSTABLE and _comparable(name, ours.get(name)) != _comparable(name, theirs[name])
    ]


def _comparable(name: str, value: Any) -> Any:
    """The row without values that differ between two reads: the order of labels, and attachment ids."""
    if name == "labelIds":
        return Counter(value or ())
    if isinstance(value, dict):
        return {key: _comparable(key, item) for key, item in value.items() if key != "attachmentId"}
    if isinstance(value, list):
        return [_comparable("", item) for item in value]
    return value
