"""Whatever happens to a sync, after the last one both tables hold what they must."""

from __future__ import annotations

import contextlib
import random
import tempfile
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from support.chaos import Chaos, Killed, client_of, random_write
from support.lake import assert_lake_holds
from support.refusing import refusing

from gmail_assets.lake import Lake
from gmail_assets.sync import sync
from gmail_assets.upkeep import Upkeep
from gmail_client.client import GmailClient
from gmail_client.emulator import Emulator, Fault, Switches
from gmail_client.errors import GmailError
from gmail_client.options import SpecTable

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
]

# For messages and for threads: mostly alike, as most people have them.
ASKED = st.one_of(
    st.just((0, 0)),
    st.sampled_from(range(len(FILTERS))).map(lambda index: (index, index)),
    st.tuples(st.sampled_from(range(len(FILTERS))), st.sampled_from(range(len(FILTERS)))),
)
DELETES = st.sampled_from(["remove", "remove", "keep"])

SWITCHES = st.builds(
    Switches,
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


@dataclass(frozen=True)
class Write:
    """Some changes of the mailbox."""

    count: int


@dataclass(frozen=True)
class Expire:
    """The history up to now is gone."""


@dataclass(frozen=True)
class Restore:
    """Someone restores an older version of a table."""

    table: str
    back: int


@dataclass(frozen=True)
class Run:
    """A sync, with what befalls it."""

    die_at: int | None = None
    busy: float = 0.0  # share of steps at which the mailbox changes
    fault: str | None = None
    refused: float = 0.0  # share of messages that Gmail will not give
    rival_at: int | None = None  # the step at which another run does all of its work
    asked: tuple[int, int] = (0, 0)
    deletes: str = "remove"
    tables: tuple[str, ...] = ("messages", "threads")
    compare: bool = False
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
                rival_at=st.none() | st.none() | st.integers(1, 60),
                asked=ASKED,
                deletes=DELETES,
                tables=st.sampled_from(
                    [("messages", "threads"), ("messages", "threads"), ("messages",), ("threads",)]
                ),
                compare=st.sampled_from([False, False, False, True]),
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


def specs(asked: tuple[int, int], tables: tuple[str, ...], deletes: str) -> list[SpecTable]:
    filters = dict(zip(("messages", "threads"), asked, strict=True))
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


def one_run(gmail: Emulator, client: GmailClient, lake: Lake, step: Run, rng: random.Random) -> None:
    mailbox = gmail.mailbox()
    rivals = 0

    def meanwhile() -> None:
        nonlocal rivals
        if rng.random() < step.busy:
            note("   meanwhile " + random_write(mailbox, rng))
        if step.rival_at is not None and chaos.steps >= step.rival_at and not rivals:
            rivals += 1
            note("   a rival runs")
            tables = specs(step.asked, step.tables, step.deletes)
            with contextlib.suppress(GmailError):
                sync(client_of(gmail).mailbox(), lake, tables, allow_mass_delete=True, sample=rng)

    chaos = Chaos(step.die_at, meanwhile, page_size=rng.choice([None, 1, 3]))
    lost = {message_id for message_id in mailbox.message_ids() if rng.random() < step.refused}
    if step.fault:
        gmail.faults.add(FAULTS[step.fault])
    try:
        with chaos.commits():
            sync(
                chaos.mailbox(refusing(client.mailbox(), lost)),
                lake,
                specs(step.asked, step.tables, step.deletes),
                compare=step.compare,
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
        gmail.faults.clear()


def live_through(
    gmail: Emulator, client: GmailClient, lake: Lake, steps: list[Any], rng: random.Random
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
        else:
            one_run(gmail, client, lake, step, rng)


def check_a_life(
    seed: int,
    switches: Switches,
    steps: list[Any],
    asked: tuple[int, int],
    deletes: str,
    messages: int,
) -> None:
    rng = random.Random(seed)
    # Small pieces, so that little mail makes many chunks, merges and slices.
    pieces = {"messages": rng.choice([3, 1000]), "size": 2**24}
    with (
        mock.patch.dict("gmail_client.fetch.chunks.__kwdefaults__", pieces),
        mock.patch("gmail_assets.part._MERGE_GROUP_BYTES", rng.choice([1, 2**26])),
        mock.patch("gmail_assets.thread_target._EDIT_SLICE", rng.choice([1, 500])),
        mock.patch("gmail_assets.mailbox_run._LABELS_AT_ONCE", rng.choice([1, 2, 500])),
        Emulator(messages=messages, seed=seed, switches=switches) as gmail,
        tempfile.TemporaryDirectory() as folder,
    ):
        client = client_of(gmail)
        lake = Lake(folder)
        live_through(gmail, client, lake, steps, rng)
        last = specs(asked, ("messages", "threads"), deletes)
        results = sync(client.mailbox(), lake, last, allow_mass_delete=True, sample=rng)
        note(f"{results}")
        assert all(result.complete for result in results.values())
        assert_lake_holds(lake, gmail, last)
        again = sync(client.mailbox(), lake, last)
        assert all(result.how == "replay" for result in again.values())
        assert not sum(r.rows_written + r.rows_updated + r.rows_deleted for r in again.values())


LIFE = {
    "seed": st.integers(0, 2**16),
    "switches": SWITCHES,
    "steps": STEPS,
    "asked": ASKED,
    "deletes": DELETES,
    "messages": st.integers(0, 25),
}


@settings(deadline=None, max_examples=20, suppress_health_check=list(HealthCheck))
@given(**LIFE)
def test_tables_hold_what_they_must_after_the_last_sync(**life: Any) -> None:
    check_a_life(**life)


@pytest.mark.slow
@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(**LIFE)
def test_tables_hold_what_they_must_after_hundreds_of_lives(**life: Any) -> None:
    check_a_life(**life)
