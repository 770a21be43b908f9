"""Asset checks of messages and threads: consistent in themselves, complete, up to date.

They run after a sync and on demand, each for one mailbox; all together cost half a dozen quota units and read no
content. What may differ for reasons of Gmail's own is a warning, not an error.
"""

# No `from __future__ import annotations` here: Dagster reads the annotations as objects.
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from gmail_assets.delta.partition_status import PartitionStatus, partition_statuses
from gmail_assets.failures import dagster_failures
from gmail_assets.resources import ResourceKeys
from gmail_client.client import Mailbox
from gmail_client.errors import HistoryExpiredError
from gmail_client.labels import HIDDEN_LABELS
from gmail_client.spec import SpecTable

__all__ = ["DEFAULT_MAX_LAG", "build_checks"]

DEFAULT_MAX_LAG = timedelta(hours=1)
"""How long a change may wait before `up_to_date` fails."""

_MOST_EXAMPLES = 10
_FULL_PAGE = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found: passed or not, in words, with numbers to plot."""

    passed: bool
    says: str
    numbers: Mapping[str, int] = field(default_factory=dict)
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR


class View:
    """What the checks of one run look at; each thing is read or asked once, when first needed.

    Args:
        mailbox: The mailbox.
        statuses: Where its tables stand.
        max_lag: See `build_checks`.
        now: The present.
    """

    def __init__(
        self, mailbox: Mailbox, statuses: Mapping[str, PartitionStatus], max_lag: timedelta, now: datetime
    ) -> None:
        self.mailbox = mailbox
        self.statuses = statuses
        self.max_lag = max_lag
        self.now = now
        self._members: dict[str, pa.Table] = {}

    @cached_property
    def profile(self) -> dict[str, Any]:
        """Gmail's own counts and head."""
        return self.mailbox.api.profile()

    @cached_property
    def missed(self) -> list[dict[str, Any]] | None:
        """History records that the tables have not seen, one page at most; None when the history is gone."""
        cursors = [status.cursor for status in self.statuses.values() if status.cursor is not None]
        if not cursors or min(cursors) >= int(self.profile["historyId"]):
            return []
        try:
            return next(iter(self.mailbox.api.history(str(min(cursors)), page_size=_FULL_PAGE))).records
        except HistoryExpiredError:
            return None

    def members(self, table: str) -> pa.Table:
        """Ids, threads and labels of the mailbox's present rows (see `MailboxPartition.members`)."""
        if table not in self._members:
            rows = self.statuses[table].part.members()
            self._members[table] = rows.filter(pc.invert(rows["marked"]))
        return self._members[table]


def primary_key_unique(view: View, table: str) -> Verdict:
    """No two rows of the mailbox share an id."""
    ids = view.members(table)["id"]
    doubled = len(ids) - pc.count_distinct(ids).as_py()
    return Verdict(doubled == 0, f"{len(ids):,} rows, {doubled:,} of them doubled", {"doubled": doubled})


def row_count(view: View, table: str) -> Verdict:
    """As many rows as Gmail counts, but for what spam, trash, filters and mail since the last sync explain."""
    options = view.statuses[table].spec.options
    rows = view.members(table).num_rows
    total = int(view.profile[f"{table}Total"])
    numbers = {"rows": rows, "gmail_total": total}
    if options.filtered:
        return Verdict(True, f"{rows:,} of Gmail's {total:,} {table} match the filters", numbers)
    hidden = 0
    if not options.include_spam_trash:
        hidden = sum(
            int(view.mailbox.api.label(label).get(f"{table}Total") or 0) for label in sorted(HIDDEN_LABELS)
        )
    missed = _FULL_PAGE if view.missed is None else len(view.missed)
    slack = total if missed >= _FULL_PAGE else missed
    # Of threads it isn't known how many lie in spam or trash with all their messages: a range explains them.
    lowest, highest = total - hidden - slack, total - (hidden if table == "messages" else 0) + slack
    passed = lowest <= rows <= highest
    explained = f"{hidden:,} in spam and trash, {missed:,} changes since the last sync"
    difference = "" if passed else f"; {rows - highest if rows > highest else rows - lowest:+,} unexplained"
    says = f"{rows:,} rows where Gmail counts {total:,} ({explained}){difference}"
    return Verdict(passed, says, {**numbers, "in_spam_and_trash": hidden, "changes_since": missed})


def labels_known(view: View, table: str) -> Verdict:
    """Every label on a message is one that Gmail names."""
    used = pc.unique(pc.list_flatten(view.members(table)["labelIds"])).to_pylist()
    known = {label["id"] for label in view.mailbox.api.labels()}
    ghosts = sorted(label for label in used if label not in known)
    says = f"{len(used):,} labels in use, {len(ghosts):,} of them unknown to labels.list"
    if ghosts:
        says += f" ({', '.join(ghosts[:_MOST_EXAMPLES])}); such ghosts exist in real mailboxes"
    return Verdict(not ghosts, says, {"unknown_labels": len(ghosts)}, dg.AssetCheckSeverity.WARN)


def threads_and_messages_agree(view: View, table: str) -> Verdict:
    """Every message's thread is in `threads`, and every message of a thread is in `messages`."""
    if len(view.statuses) < 2:
        return Verdict(True, "only one of the two tables is in use")
    messages, threads = (view.statuses[name].spec.options for name in ("messages", "threads"))
    if messages.fingerprint != threads.fingerprint or messages.filtered:
        return Verdict(True, "filters differ from table to table or narrow them: nothing to compare")
    rows = view.members("messages")
    threadless = _outside(rows["threadId"], view.members("threads")["id"])
    inner = pc.struct_field(pc.list_flatten(view.members("threads")["messages"]), "id")
    rowless = _outside(inner, rows["id"])
    says = f"{len(threadless):,} threads of messages are missing, {len(rowless):,} messages of threads are missing"
    examples = ", ".join([*threadless, *rowless][:_MOST_EXAMPLES])
    numbers = {"missing_threads": len(threadless), "missing_messages": len(rowless)}
    return Verdict(not threadless and not rowless, says + (f": {examples}" if examples else ""), numbers)


def up_to_date(view: View, table: str) -> Verdict:
    """No change waits longer than the allowed lag, and the history still reaches back to the cursor."""
    status = view.statuses[table]
    head = int(view.profile["historyId"])
    if status.cursor is None:
        return Verdict(
            False, "the load is not finished; the next run goes on", severity=dg.AssetCheckSeverity.WARN
        )
    behind = max(head - status.cursor, 0)
    if not behind:
        return Verdict(True, f"at Gmail's head, {head}", {"history_ids_behind": 0})
    if view.missed is None:
        says = (
            f"{behind:,} history ids behind, and the history is gone: the next sync compares with a listing"
        )
        return Verdict(False, says, {"history_ids_behind": behind})
    numbers = {"history_ids_behind": behind, "changes_since": len(view.missed)}
    arrived = next((event for record in view.missed for event in record.get("messagesAdded", ())), None)
    if arrived is None:
        return Verdict(True, f"{len(view.missed):,} changes of labels behind", numbers)
    call = view.mailbox.api.message_call(arrived["message"]["id"], "minimal")
    answer = next(iter(view.mailbox.api.get_many([call])))
    if answer.json is None:
        return Verdict(True, f"{len(view.missed):,} changes behind", numbers)
    waiting = view.now - datetime.fromtimestamp(int(answer.json["internalDate"]) / 1000, UTC)
    minutes = max(int(waiting.total_seconds() // 60), 0)
    says = f"{len(view.missed):,} changes behind; the oldest new mail waits for {minutes:,} minutes"
    return Verdict(waiting <= view.max_lag, says, {**numbers, "minutes_behind": minutes})


def _outside(values: pa.ChunkedArray, among: pa.ChunkedArray) -> list[str]:
    distinct = pc.unique(values)
    outside: list[str] = distinct.filter(pc.invert(pc.is_in(distinct, among.combine_chunks()))).to_pylist()
    return outside


Judge = Callable[[View, str], Verdict]

_OF_BOTH: tuple[Judge, ...] = (primary_key_unique, row_count, up_to_date)
_OF_MESSAGES: tuple[Judge, ...] = (labels_known, threads_and_messages_agree)


def build_checks(
    name: str,
    tables: Sequence[SpecTable],
    keys: Mapping[str, dg.AssetKey],
    partitions: dg.PartitionsDefinition[str],
    *,
    max_lag: timedelta = DEFAULT_MAX_LAG,
    resources: ResourceKeys | None = None,
) -> dg.AssetChecksDefinition:
    """The checks of messages and threads, as one step that shares what it reads.

    Args:
        name: Name of the step.
        tables: Messages and threads as far as they are in the spec.
        keys: Their asset keys, by Gmail name.
        partitions: The mailboxes.
        max_lag: How long new mail may wait before `up_to_date` fails.
        resources: Names of the resources.
    """
    resources = resources or ResourceKeys()
    judges: dict[dg.AssetCheckKey, tuple[str, Judge]] = {}
    specs = []
    for entry in tables:
        table = entry.source_table
        for judge in (*_OF_BOTH, *(_OF_MESSAGES if table == "messages" else ())):
            judge_name = judge.__name__
            with warnings.catch_warnings():
                # Checks by partition are a preview in Dagster; without them one mailbox's pass hides another's failure.
                warnings.simplefilter("ignore")
                spec = dg.AssetCheckSpec(
                    judge_name,
                    asset=keys[table],
                    description=" ".join((judge.__doc__ or "").split()),
                    partitions_def=partitions,
                )
            specs.append(spec)
            judges[spec.key] = (table, judge)

    @dg.multi_asset_check(
        name=name,
        specs=specs,
        can_subset=True,
        description="Consistent in themselves, complete, up to date?",
        required_resource_keys=resources.required,
    )
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        gmail, gmail_lake = resources.of_run(context.resources)
        if not context.has_partition_key:
            raise dg.Failure(
                "The checks look at one mailbox, and this run names none.\n"
                "Fix: materialize the asset for a mailbox, which runs its checks too; or launch the checks' job with "
                "the tag dagster/partition = the mailbox.",
                allow_retries=False,
            )
        with dagster_failures():
            mailbox = gmail.mailbox(context.partition_key)
            statuses = partition_statuses(gmail_lake.lake(), mailbox.address, tables)
            view = View(mailbox, statuses, max_lag, datetime.now(UTC))
            for key in sorted(context.selected_asset_check_keys):
                table, judge = judges[key]
                verdict = _judged(judge, view, table)
                yield dg.AssetCheckResult(
                    passed=verdict.passed,
                    asset_key=key.asset_key,
                    check_name=key.name,
                    severity=verdict.severity,
                    description=verdict.says,
                    metadata=dict(verdict.numbers),
                )

    return checks


def _judged(judge: Judge, view: View, table: str) -> Verdict:
    if table not in view.statuses:
        says = "nothing of this mailbox is in the table"
        return Verdict(False, says, severity=dg.AssetCheckSeverity.WARN)
    return judge(view, table)
