"""Asset checks of messages and threads: consistency, completeness, lag.

They run after each sync and on demand, for one mailbox at a time. All of them together cost about six quota units and
fetch no content. Differences that Gmail itself can cause are warnings, not errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gmail_assets.check_outcomes import NOTHING_STORED, CheckKey, CheckSubject, Outcome, Severity
from gmail_assets.delta.partition_status import PartitionStatus, partition_statuses
from gmail_assets.delta.scan import read_present
from gmail_assets.delta.unfetched import UnfetchedMessages
from gmail_assets.operations.completeness import combine_findings, record_findings
from gmail_assets.syncing.identity import stored_address
from gmail_client.errors import HistoryExpiredError
from gmail_client.spec import SpecTable

__all__ = ["DEFAULT_MAX_LAG", "SYNCED", "MailChecks"]

DEFAULT_MAX_LAG = timedelta(hours=1)
"""Age of the oldest unsynced message at which `up_to_date` fails."""

_MAX_EXAMPLES = 10
_FULL_PAGE = 500
_THREAD_MEMBERS = pa.schema([("id", pa.string()), ("messages", pa.list_(pa.struct([("id", pa.string())])))])


class CheckContext:
    """The data that the checks of one run share; each item is read at first use, and once.

    Args:
        subject: The mailbox whose tables are checked.
        statuses: Status of its partition of each table.
        max_lag: See `build_checks`.
        now: Current time.
        unfetched: Returns how many messages of a table Gmail has refused so far.
    """

    def __init__(
        self,
        subject: CheckSubject,
        statuses: Mapping[str, PartitionStatus],
        max_lag: timedelta,
        now: datetime,
        unfetched: Callable[[str], int] = lambda table: 0,
    ) -> None:
        self.mailbox = subject.mailbox()
        self._subject = subject
        self.unfetched = unfetched
        self.statuses = statuses
        self.max_lag = max_lag
        self.now = now
        self._members: dict[str, pa.Table] = {}

    @cached_property
    def profile(self) -> dict[str, Any]:
        """The profile: Gmail's counts and current history id."""
        return self.mailbox.api.profile()

    @cached_property
    def hidden(self) -> dict[str, int]:
        """Gmail's counts of messages and threads in spam and trash."""
        return self.mailbox.api.hidden_totals()

    @cached_property
    def pending(self) -> list[dict[str, Any]] | None:
        """History records that are not synced yet, at most one page; None if the history has expired."""
        cursors = [status.cursor for status in self.statuses.values() if status.cursor is not None]
        if not cursors or min(cursors) >= int(self.profile["historyId"]):
            return []
        try:
            return next(iter(self.mailbox.api.history(str(min(cursors)), page_size=_FULL_PAGE))).records
        except HistoryExpiredError:
            return None

    @property
    def known_labels(self) -> Set[str]:
        """Ids of the labels that this run has read; none if it has not."""
        return self._subject.keys_read.get("labels") or frozenset()

    def members(self, table: str) -> pa.Table:
        """The rows without soft-deleted ones: `id`; of messages `threadId`, `labelIds`; of threads `messages` (ids)."""
        if table not in self._members:
            partition = self.statuses[table].partition
            if table == "messages":
                rows = self._subject.messages(partition.table)
            else:
                leaves = ["id", "messages.list.element.id"]
                rows = read_present(partition.table, partition.address, leaves, _THREAD_MEMBERS)
            self._members[table] = rows
        return self._members[table]


def primary_key_unique(data: CheckContext, table: str) -> Outcome:
    """No two rows of the mailbox have the same id."""
    ids = data.members(table)["id"]
    duplicates = len(ids) - pc.count_distinct(ids).as_py()
    return Outcome(
        duplicates == 0, f"{len(ids):,} rows, {duplicates:,} of them duplicates", {"duplicates": duplicates}
    )


def row_count(data: CheckContext, table: str) -> Outcome:
    """The row count equals Gmail's count, except for spam, trash, filters and changes since the last sync."""
    options = data.statuses[table].spec.options
    rows = data.members(table).num_rows
    total = int(data.profile[f"{table}Total"])
    numbers = {"rows": rows, "gmail_total": total}
    if options.filtered:
        return Outcome(True, f"{rows:,} of Gmail's {total:,} {table} match the filters", numbers)
    hidden = 0 if options.include_spam_trash else data.hidden[table]
    pending = _FULL_PAGE if data.pending is None else len(data.pending)
    slack = total if pending >= _FULL_PAGE else pending
    # The number of threads that are entirely in spam or trash is unknown, so any number in this range is accepted.
    refused = data.unfetched(table)
    lowest = total - hidden - slack - refused
    highest = total - (hidden if table == "messages" else 0) + slack
    passed = lowest <= rows <= highest
    explained = f"{hidden:,} in spam and trash, {pending:,} changes since the last sync"
    if refused:
        explained += f", {refused:,} not fetched"
    unexplained = 0 if passed else rows - highest if rows > highest else rows - lowest
    difference = f"; {unexplained:+,} unexplained" if unexplained else ""
    message = f"{rows:,} rows; Gmail counts {total:,} ({explained}){difference}"
    return Outcome(
        passed,
        message,
        {**numbers, "in_spam_and_trash": hidden, "pending_changes": pending},
        unexplained={table: unexplained},
    )


def labels_known(data: CheckContext, table: str) -> Outcome:
    """Every label of a message is in Gmail's list of labels."""
    used = pc.unique(pc.list_flatten(data.members(table)["labelIds"])).to_pylist()
    unknown = sorted(set(used) - data.known_labels)
    if unknown:  # or created since this run read the labels
        unknown = sorted(set(used) - {label["id"] for label in data.mailbox.api.labels()})
    message = f"{len(used):,} labels in use, {len(unknown):,} of them not in labels.list"
    if unknown:
        message += f" ({', '.join(unknown[:_MAX_EXAMPLES])}); real mailboxes can have such labels"
    return Outcome(not unknown, message, {"unknown_labels": len(unknown)}, Severity.WARN)


def threads_and_messages_agree(data: CheckContext, table: str) -> Outcome:
    """The thread of every message is in `threads`, and every message of a thread is in `messages`."""
    if len(data.statuses) < 2:
        return Outcome(True, "not applicable: only one of the two tables is stored")
    messages, threads = (data.statuses[name].spec.options for name in ("messages", "threads"))
    if messages.fingerprint != threads.fingerprint or messages.filtered:
        return Outcome(True, "not applicable: the tables have filters, or different options")
    cursors = {status.cursor for status in data.statuses.values()}
    if len(cursors) > 1 or None in cursors:
        return Outcome(True, "not applicable: the tables are not synced through the same history id")
    rows = data.members("messages")
    missing_threads = _missing_from(rows["threadId"], data.members("threads")["id"])
    inner = pc.struct_field(pc.list_flatten(data.members("threads")["messages"]), "id")
    missing_messages = _missing_from(inner, rows["id"])
    message = f"{len(missing_threads):,} threads and {len(missing_messages):,} messages are missing in the other table"
    examples = [*missing_threads, *missing_messages][:_MAX_EXAMPLES]
    return Outcome(
        not examples,
        f"{message}: {', '.join(examples)}" if examples else message,
        {"missing_threads": len(missing_threads), "missing_messages": len(missing_messages)},
        unexplained={"threads": -len(missing_threads), "messages": -len(missing_messages)},
    )


def up_to_date(data: CheckContext, table: str) -> Outcome:
    """No new message waits longer than the allowed lag, and the history reaches back to the cursor."""
    status = data.statuses[table]
    head = int(data.profile["historyId"])
    if status.cursor is None:
        return Outcome(
            False,
            "the first load is not finished; the next run continues it",
            severity=Severity.WARN,
        )
    behind = max(head - status.cursor, 0)
    numbers = {"history_ids_behind": behind, "pending_changes": 0, "lag_minutes": 0}
    if not behind:
        return Outcome(True, f"synced through Gmail's current history id, {head}", numbers)
    if data.pending is None:
        del numbers["pending_changes"], numbers["lag_minutes"]
        message = f"{behind:,} history ids behind, and the history has expired: the next sync reconciles"
        return Outcome(False, message, numbers)
    numbers["pending_changes"] = len(data.pending)
    arrived = next((event for record in data.pending for event in record.get("messagesAdded", ())), None)
    if arrived is None:
        return Outcome(True, f"{len(data.pending):,} label changes behind", numbers)
    call = data.mailbox.api.message_call(arrived["message"]["id"], "minimal")
    answer = next(iter(data.mailbox.api.get_many([call])))
    if answer.json is None:
        return Outcome(True, f"{len(data.pending):,} changes behind", numbers)
    waiting = data.now - datetime.fromtimestamp(int(answer.json["internalDate"]) / 1000, UTC)
    numbers["lag_minutes"] = max(int(waiting.total_seconds() // 60), 0)
    message = f"{len(data.pending):,} changes behind; the oldest new message is {numbers['lag_minutes']:,} minutes old"
    return Outcome(waiting <= data.max_lag, message, numbers)


def _missing_from(values: pa.ChunkedArray, among: pa.ChunkedArray) -> list[str]:
    distinct = pc.unique(values)
    missing: list[str] = distinct.filter(pc.invert(pc.is_in(distinct, among.combine_chunks()))).to_pylist()
    return missing


def synced(data: CheckContext, table: str) -> Outcome:
    """The last run that synced the mailbox succeeded; otherwise, why not and what to do."""
    return Outcome(True, "synced")


ASKS_GMAIL = frozenset(check.__name__ for check in (row_count, up_to_date, labels_known))
"""The checks that cost quota units: 4 together."""

SYNCED = synced.__name__
"""A run over several mailboxes reports the failure of one by this check."""

Check = Callable[[CheckContext, str], Outcome]

_CHECKS_OF_BOTH: tuple[Check, ...] = (primary_key_unique, row_count, up_to_date)
_CHECKS_OF_MESSAGES: tuple[Check, ...] = (labels_known, threads_and_messages_agree)


class MailChecks:
    """The checks of messages and threads, for one mailbox at a time.

    Args:
        tables: `messages` and `threads`, if they are in the spec.
        max_lag: Age of the oldest unsynced message at which `up_to_date` fails.

    Attributes:
        functions: Table and function of each check.
    """

    description = "Consistency, completeness and lag."

    def __init__(
        self,
        tables: Sequence[SpecTable],
        max_lag: timedelta = DEFAULT_MAX_LAG,
    ) -> None:
        self._tables = list(tables)
        self._max_lag = max_lag
        first = tables[0].source_table
        self.functions: dict[CheckKey, tuple[str, Check]] = {CheckKey(first, SYNCED): (first, synced)}
        self.functions |= {
            CheckKey(entry.source_table, check.__name__): (entry.source_table, check)
            for entry in tables
            for check in (
                *_CHECKS_OF_BOTH,
                *(_CHECKS_OF_MESSAGES if entry.source_table == "messages" else ()),
            )
        }

    def evaluate(self, subject: CheckSubject, selected: Iterable[CheckKey]) -> dict[CheckKey, Outcome]:
        """Run checks; tables with missing or surplus rows are reconciled by their next sync.

        Raises:
            GmailError: A request failed, or the lake can't be read.
        """
        address = stored_address(subject.mailbox(), subject.lake)
        statuses = partition_statuses(subject.lake, address, self._tables)
        unfetched = UnfetchedMessages(subject.lake)
        data = CheckContext(
            subject,
            statuses,
            self._max_lag,
            datetime.now(UTC),
            lambda table: len(unfetched.of_table(address, table)),
        )
        outcomes = {}
        for key in sorted(selected):
            table, check = self.functions[key]
            outcomes[key] = check(data, table) if table in statuses else NOTHING_STORED
        record_findings(statuses, combine_findings(outcome.unexplained for outcome in outcomes.values()))
        return outcomes
