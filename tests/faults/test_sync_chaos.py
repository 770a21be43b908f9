"""With any faults during earlier syncs, both tables equal the mailbox after the last sync."""

from __future__ import annotations

import contextlib
import random
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from support.chaos import Chaos, InstantClock, Killed, client_of, random_write
from support.examples import examples
from support.faulty_mailbox import map_results, refuse_messages
from support.lake import assert_lake_holds, stored_rows

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.maintenance import Upkeep
from gmail_assets.delta.partition import MailboxPartition
from gmail_assets.syncing import sync
from gmail_assets.syncing.stopping import RunStop, TimeUpError
from gmail_client.client import GmailClient, Mailbox
from gmail_client.emulator import Behavior, Emulator, Fault, Quota
from gmail_client.errors import GmailError
from gmail_client.http.calls import ApiResult
from gmail_client.quota import preset
from gmail_client.spec import SpecTable

FILTERS: list[dict[str, Any]] = [
    {},
    {"labelIds": "INBOX"},
    {"includeSpamTrash": True},
    {"labelIds": "UNREAD", "includeSpamTrash": True},
    {"q": "has:attachment"},
    {"q": "is:unread", "includeSpamTrash": True},
    {"q": "larger:5k", "labelIds": "INBOX"},
    {"labelIds": "TRASH"},
    {"format": "minimal"},
    {"format": "metadata", "q": "is:unread"},
    {"q": "{is:starred is:unread} -in:inbox"},
    {"startDate": "2024-06-01"},
    {"startDate": "2025-06-01", "labelIds": "INBOX"},
    {"startDate": 1700000000, "q": "is:unread OR has:attachment"},
    {"excludeLabels": "STARRED"},
    {"excludeLabels": "UNREAD", "labelIds": "INBOX", "excludeColumns": "snippet,payload.body"},
]

# For messages and for threads: mostly the same, as in most deployments.
ASKED = st.one_of(
    st.just((0, 0)),
    st.sampled_from(range(len(FILTERS))).map(lambda index: (index, index)),
    st.tuples(st.sampled_from(range(len(FILTERS))), st.sampled_from(range(len(FILTERS)))),
)
DELETES = st.sampled_from(["remove", "remove", "keep"])

BEHAVIORS = st.builds(
    Behavior,
    threads_get_includes_trash=st.booleans(),
    threads_get_snippet=st.booleans(),
    thread_history_moves_with_labels=st.booleans(),
    record_split_across_pages=st.booleans(),
    history_groups=st.sampled_from(["message", "operation"]),
    history_labels_of_deleted=st.booleans(),
    empty_label_ids=st.sampled_from(["absent", "empty"]),
    history_id_runs_ahead=st.booleans(),
    listing_order=st.sampled_from(["newest", "oldest", "shuffled"]),
    label_ids_reach_spam_trash=st.booleans(),
    max_results_above=st.sampled_from(["clamp", "refuse"]),
    future_history_start=st.sampled_from(["not-found", "empty"]),
    ghost_label=st.booleans(),
    empty_pages=st.sampled_from([0, 2]),
    history_near_rollover=st.booleans(),
)

QUOTAS = st.builds(
    Quota,
    per_user=st.sampled_from([None, None, 6_000, 15_000]),
    per_project=st.none(),
    legacy_prices=st.booleans(),
    burst=st.none(),
    in_flight=st.none() | st.integers(1, 50),
    batch_in_flight=st.none() | st.integers(1, 50),
)


@dataclass(frozen=True)
class Service:
    """Limits of Gmail, and settings of the client.

    Attributes:
        quota: The quota of Gmail.
        plan: The quota that the client is configured with; it learns the limit from refusals.
        workers: Threads of the client.
        mean_json_kb: Approximate mean size of messages.
    """

    quota: Quota
    plan: str | int
    workers: int
    mean_json_kb: float


SERVICES = st.builds(
    Service,
    quota=QUOTAS,
    plan=st.sampled_from(["current", "legacy", 1_200_000]),
    workers=st.integers(1, 20),
    mean_json_kb=st.sampled_from([2.0, 2.0, 15.0, 60.0]),
)


@dataclass(frozen=True)
class Write:
    """Changes of the mailbox."""

    count: int


@dataclass(frozen=True)
class Expire:
    """The history up to now expires."""


@dataclass(frozen=True)
class Restore:
    """An older version of a table is restored."""

    table: str
    back: int


@dataclass(frozen=True)
class Run:
    """A sync, with the faults during it."""

    die_at: int | None = None
    busy: float = 0.0  # share of steps at which the mailbox changes
    fault: str | None = None
    refused: float = 0.0  # share of messages that Gmail refuses
    other_run_at: int | None = None  # the step at which another complete run takes place
    other_mailbox_at: int | None = None  # the step at which another mailbox is loaded into the same tables
    other_mailbox_concurrent: bool = False  # the other mailbox is synced in another thread meanwhile
    time_up: float = 0.0  # probability that a check of the deadline finds it passed
    options: tuple[int, int] = (0, 0)
    deletes: str = "remove"
    tables: tuple[str, ...] = ("messages", "threads")
    reconcile: bool = False
    full_refresh: bool = False


STEPS = st.lists(
    st.one_of(
        st.builds(Write, st.integers(1, 12)),
        st.builds(Expire),
        st.builds(Restore, st.sampled_from(["messages", "threads"]), st.integers(1, 6)),
        *[
            st.builds(
                Run,
                die_at=st.none() | st.integers(1, 60),
                busy=st.sampled_from([0.0, 0.0, 0.1, 0.4]),
                fault=st.sampled_from([None, None, "rate", "server", "truncate", "batch"]),
                refused=st.sampled_from([0.0, 0.0, 0.0, 0.2]),
                other_run_at=st.none() | st.none() | st.integers(1, 60),
                other_mailbox_at=st.none() | st.none() | st.integers(1, 60),
                other_mailbox_concurrent=st.sampled_from([False, False, False, True]),
                time_up=st.sampled_from([0.0, 0.0, 0.0, 0.2, 1.0]),
                options=ASKED,
                deletes=DELETES,
                tables=st.sampled_from(
                    [("messages", "threads"), ("messages", "threads"), ("messages",), ("threads",)]
                ),
                reconcile=st.sampled_from([False, False, False, True]),
                full_refresh=st.sampled_from([False] * 7 + [True]),
            )
        ]
        * 2,
    ),
    max_size=8,
)

FAULTS = {
    "rate": Fault(method="*", status=403, reason="rateLimitExceeded", share=0.3, times=10),
    "server": Fault(method="*", status=503, share=0.3, times=10),
    "truncate": Fault(method="*", kind="truncate", share=0.3, times=5),
    "batch": Fault(method="batch", status=503),
}


UPKEEP = Upkeep(small_files=3, retention=None)


def specs(options: tuple[int, int], tables: tuple[str, ...], deletes: str) -> list[SpecTable]:
    filters = dict(zip(("messages", "threads"), options, strict=True))
    return [
        SpecTable.parse(
            {"source_table": name, "table_configuration": {**FILTERS[filters[name]], "deletes": deletes}}
        )
        for name in tables
    ]


def restore(lake: Lake, step: Restore) -> None:
    delta = lake.find(step.table)
    if delta is not None and delta.version():
        delta.restore(max(delta.version() - step.back, 0))


class Invariants:
    """Invariants of a scenario: soft-deleted rows are kept, and stored content is not fetched again."""

    def __init__(self, gmail: Emulator, lake: Lake) -> None:
        self._address = gmail.addresses[0]
        self._hides = not gmail.behavior.threads_get_includes_trash
        self._lake = lake
        self._kept: dict[str, set[str]] = {}

    def _ids(self, table: str, *, soft_deleted: bool) -> set[str]:
        """Ids of the messages in the table; with `soft_deleted`, the keys of all rows, including soft-deleted ones."""
        if soft_deleted:
            delta = self._lake.find(table)
            rows = delta.to_pyarrow_table(columns=["mailbox", "id"]).to_pylist() if delta else []
            return {row["id"] for row in rows if row["mailbox"] == self._address}
        rows = stored_rows(self._lake, table, self._address)
        return {message["id"] for row in rows for message in row.get("messages") or [row]}

    def _other_format(self, spec: SpecTable) -> bool:
        if self._lake.find(spec.source_table) is None:
            return False
        table = self._lake.table(spec.source_table)
        return MailboxPartition(
            table, self._address, spec.options.fingerprint, spec.options.content_format
        ).changed_format

    def forget(self) -> None:
        """From now on, rows may be deleted."""
        self._kept.clear()

    def ran(self, step: Run) -> None:
        """Check after a run, however it ended, that kept rows still exist."""
        for table in step.tables:
            if step.deletes != "keep":
                self._kept.pop(table, None)
                continue
            ids = self._ids(table, soft_deleted=True)
            gone = self._kept.get(table, set()) - ids
            assert not gone, f"{table} kept no row of {sorted(gone)}"
            self._kept[table] = ids

    @contextlib.contextmanager
    def assert_no_repeated_fetches(self, tables: list[SpecTable], mailbox: Mailbox) -> Iterator[Mailbox]:
        """Check that every full fetch in the block returns content that no table had.

        Exception: if threads.get omits trashed messages, a thread may be fetched for its new message and the labels of
        the others, and return only labels.
        """
        full = [spec.source_table for spec in tables if spec.options.format != "raw"]
        before = {table: self._ids(table, soft_deleted=False) for table in full}
        for spec in tables:
            if spec.source_table in full and self._other_format(spec):
                before[spec.source_table] = set()
        read: list[tuple[str, set[str]]] = []

        def record_fetch(answer: ApiResult) -> ApiResult:
            partial = self._hides and answer.call.method == "threads.get"
            if answer.call.params.get("format") == "full" and answer.json is not None and not partial:
                messages = answer.json.get("messages") or [answer.json]
                read.append((answer.call.key, {message["id"] for message in messages}))
            return answer

        yield map_results(mailbox, record_fetch)
        new = set[str]().union(*(self._ids(table, soft_deleted=False) - before[table] for table in full))
        for key, ids in read:
            assert ids & new, f"{key} was read unnecessarily: {sorted(ids)}"


def run_with_faults(
    gmail: Emulator, client: GmailClient, lake: Lake, step: Run, rng: random.Random, invariants: Invariants
) -> None:
    mailbox = gmail.mailbox()
    other_runs = other_mailboxes = 0

    def meanwhile() -> None:
        nonlocal other_runs, other_mailboxes
        if rng.random() < step.busy:
            note("   meanwhile " + random_write(mailbox, rng))
        if step.other_run_at is not None and chaos.steps >= step.other_run_at and not other_runs:
            other_runs += 1
            note("   another run takes place")
            tables = specs(step.options, step.tables, step.deletes)
            with contextlib.suppress(GmailError):
                sync(client_of(gmail).mailbox(), lake, tables, allow_mass_delete=True, sample=rng)
        if step.other_mailbox_at is not None and chaos.steps >= step.other_mailbox_at and not other_mailboxes:
            other_mailboxes += 1
            note("   another mailbox is loaded")
            other_mailbox = gmail.addresses[1]
            gmail.mailbox(other_mailbox).receive(mailbox.random_mail())
            own = client_of(gmail, other_mailbox).mailbox(other_mailbox)
            sync(own, lake, specs((0, 0), step.tables, step.deletes), sample=rng)

    def sync_other_mailbox() -> None:
        other = gmail.addresses[1]
        with contextlib.suppress(GmailError):
            sync(client_of(gmail, other).mailbox(other), lake, specs((0, 0), step.tables, "remove"))

    chaos = Chaos(step.die_at, meanwhile, page_size=rng.choice([None, 1, 3]))
    lost = {message_id for message_id in mailbox.message_ids() if rng.random() < step.refused}
    if step.fault:
        gmail.faults.add(FAULTS[step.fault])
    thread = threading.Thread(target=sync_other_mailbox)
    if step.other_mailbox_concurrent:
        thread.start()
    try:
        with (
            chaos.commits(),
            mock.patch.object(RunStop, "check", random_deadline(rng, step.time_up)),
        ):
            sync(
                chaos.mailbox(refuse_messages(client.mailbox(), lost)),
                lake,
                specs(step.options, step.tables, step.deletes),
                reconcile=step.reconcile,
                full_refresh=step.full_refresh,
                allow_mass_delete=True,
                sample=rng,
                upkeep=UPKEEP,
            )
    except Killed:
        note(f"   killed at step {chaos.steps}")
    except GmailError as error:
        note(f"   {type(error).__name__}: {error}")
    finally:
        if step.other_mailbox_concurrent:
            thread.join()
        gmail.faults.clear()


def random_deadline(rng: random.Random, share: float) -> Callable[[RunStop], None]:
    """Replaces the check of the deadline: finds it passed with this probability."""

    def look(stop: RunStop) -> None:
        if rng.random() < share:
            raise TimeUpError

    return look


def run_steps(
    gmail: Emulator,
    client: GmailClient,
    lake: Lake,
    steps: list[Any],
    rng: random.Random,
    invariants: Invariants,
) -> None:
    for step in steps:
        note(f"{step}")
        if isinstance(step, Write):
            for _ in range(step.count):
                note("   " + random_write(gmail.mailbox(), rng))
        elif isinstance(step, Expire):
            gmail.expire_history()
        elif isinstance(step, Restore):
            restore(lake, step)
            invariants.forget()
        else:
            run_with_faults(gmail, client, lake, step, rng, invariants)
            invariants.ran(step)


def check_scenario(
    seed: int,
    behavior: Behavior,
    steps: list[Any],
    options: tuple[int, int],
    deletes: str,
    messages: int,
    service: Service,
) -> None:
    rng = random.Random(seed)
    clock = InstantClock()
    # Small limits, so that a small mailbox gives many chunks, merges and slices.
    pieces = {"messages": rng.choice([3, 1000]), "size": 2**24}
    with (
        mock.patch.dict("gmail_client.fetch.chunks.__kwdefaults__", pieces),
        mock.patch("gmail_assets.delta.parquet_files._BATCH_ROWS", rng.choice([1, 3, 500])),
        mock.patch("gmail_assets.delta.rewrite._SMALL_BYTES", rng.choice([1, 2**20])),
        mock.patch("gmail_assets.delta.rewrite._SPLIT_BYTES", rng.choice([2**10, 2**23])),
        mock.patch("gmail_assets.syncing.labels._LABELS_AT_ONCE", rng.choice([1, 2, 500])),
        # If history ids ignore label changes, a sample of threads detects it; here all threads are sampled.
        mock.patch(
            "gmail_assets.syncing.labels._SAMPLE", 20 if behavior.thread_history_moves_with_labels else 500
        ),
        Emulator(
            mailboxes=2,
            messages=messages,
            seed=seed,
            behavior=behavior,
            quota=service.quota,
            clock=clock,
            mean_json_kb=service.mean_json_kb,
        ) as gmail,
        tempfile.TemporaryDirectory() as folder,
    ):
        client = client_of(gmail, quota=preset(service.plan), workers=service.workers)
        lake = Lake(folder)
        invariants = Invariants(gmail, lake)
        run_steps(gmail, client, lake, steps, rng, invariants)
        last = specs(options, ("messages", "threads"), deletes)
        with contextlib.ExitStack() as watched:
            mailbox = client.mailbox()
            if (
                behavior.empty_label_ids == "empty"
            ):  # otherwise a message may have to be fetched for its labels
                mailbox = watched.enter_context(invariants.assert_no_repeated_fetches(last, mailbox))
            results = sync(mailbox, lake, last, allow_mass_delete=True, sample=rng)
        note(f"{results}")
        assert all(result.complete for result in results.values())
        assert_lake_holds(lake, gmail, last, gmail.addresses[0])
        if any(
            isinstance(step, Run) and (step.other_mailbox_at or step.other_mailbox_concurrent)
            for step in steps
        ):
            other_mailbox = gmail.addresses[1]
            own = client_of(gmail, other_mailbox).mailbox(other_mailbox)
            sync(own, lake, last, allow_mass_delete=True, sample=rng)
            assert_lake_holds(lake, gmail, last, other_mailbox)
            assert_lake_holds(lake, gmail, last, gmail.addresses[0])
        invariants.ran(Run(deletes=deletes))
        again = sync(client.mailbox(), lake, last)
        assert all(result.mode == "incremental" for result in again.values())
        assert not sum(r.rows_written + r.rows_updated + r.rows_deleted for r in again.values())


LIFE = {
    "seed": st.integers(0, 2**16),
    "behavior": BEHAVIORS,
    "steps": STEPS,
    "options": ASKED,
    "deletes": DELETES,
    "messages": st.integers(0, 25),
    "service": SERVICES,
}


@examples(8)
@given(**LIFE)
def test_tables_equal_the_mailbox_after_the_last_sync(**scenario: Any) -> None:
    check_scenario(**scenario)


@pytest.mark.slow
@examples(150)
@given(**LIFE)
def test_tables_equal_the_mailbox_in_hundreds_of_runs(**scenario: Any) -> None:
    check_scenario(**scenario)
