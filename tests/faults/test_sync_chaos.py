"""Whatever happens to a sync, after the last one both tables equal the mailbox."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from support.chaos import Chaos, Killed, client_of, random_write
from support.lake import assert_lake_is_true

from gmail_assets.lake import Lake
from gmail_assets.sync import sync
from gmail_client.client import GmailClient
from gmail_client.emulator import Emulator, Fault, Switches
from gmail_client.errors import GmailError
from gmail_client.options import SpecTable

FILTERS: list[dict[str, Any]] = [
    {},
    {"labelIds": "INBOX"},
    {"includeSpamTrash": True},
    {"labelIds": "UNREAD", "includeSpamTrash": True},
]

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
class Run:
    """A sync, with what befalls it."""

    die_at: int | None = None
    busy: float = 0.0  # share of steps at which the mailbox changes
    fault: str | None = None
    filters: int = 0
    tables: tuple[str, ...] = ("messages", "threads")
    compare: bool = False
    full_refresh: bool = False


STEPS = st.lists(
    st.one_of(
        st.builds(Write, st.integers(1, 12)),
        st.builds(Expire),
        st.builds(
            Run,
            die_at=st.none() | st.integers(1, 60),
            busy=st.sampled_from([0.0, 0.0, 0.1, 0.4]),
            fault=st.sampled_from([None, None, "rate", "server", "truncate", "batch"]),
            filters=st.sampled_from([0, 0, 0, 1, 2, 3]),
            tables=st.sampled_from(
                [("messages", "threads"), ("messages", "threads"), ("messages",), ("threads",)]
            ),
            compare=st.sampled_from([False, False, False, True]),
            full_refresh=st.sampled_from([False] * 7 + [True]),
        ),
    ),
    max_size=8,
)

FAULTS = {
    "rate": Fault(method="*", status=403, reason="rateLimitExceeded", share=0.3, times=10),
    "server": Fault(method="*", status=503, share=0.3, times=10),
    "truncate": Fault(method="*", kind="truncate", share=0.3, times=5),
    "batch": Fault(method="batch", status=503),
}


def specs(filters: dict[str, Any], tables: tuple[str, ...], deletes: str) -> list[SpecTable]:
    return [
        SpecTable.parse({"source_table": name, "table_configuration": {**filters, "deletes": deletes}})
        for name in tables
    ]


def live_through(
    gmail: Emulator, client: GmailClient, lake: Lake, steps: list[Any], rng: random.Random, deletes: str
) -> None:
    mailbox = gmail.mailbox()
    for step in steps:
        note(f"{step}")
        if isinstance(step, Write):
            for _ in range(step.count):
                note("   " + random_write(mailbox, rng))
        elif isinstance(step, Expire):
            gmail.expire_history()
        else:

            def write(busy: float = step.busy) -> None:
                if rng.random() < busy:
                    note("   meanwhile " + random_write(mailbox, rng))

            chaos = Chaos(step.die_at, write, page_size=rng.choice([None, 1, 3]))
            if step.fault:
                gmail.faults.add(FAULTS[step.fault])
            try:
                with chaos.commits():
                    sync(
                        chaos.mailbox(client.mailbox()),
                        lake,
                        specs(FILTERS[step.filters], step.tables, deletes),
                        compare=step.compare,
                        full_refresh=step.full_refresh,
                        allow_mass_delete=True,
                        sample=rng,
                    )
            except Killed:
                note(f"   killed at step {chaos.steps}")
            except GmailError as error:
                note(f"   {type(error).__name__}: {error}")
            finally:
                gmail.faults.clear()


@pytest.mark.parametrize("deletes", ["remove", "keep"])
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**16),
    switches=SWITCHES,
    steps=STEPS,
    filters=st.sampled_from([0, 0, 1, 2, 3]),
    messages=st.integers(0, 25),
)
def test_tables_equal_the_mailbox_after_the_last_sync(
    deletes: str, seed: int, switches: Switches, steps: list[Any], filters: int, messages: int
) -> None:
    rng = random.Random(seed)
    # Small pieces, so that little mail makes many chunks, merges and slices.
    pieces = {"messages": rng.choice([3, 1000]), "size": 2**24}
    with (
        mock.patch.dict("gmail_client.fetch.chunks.__kwdefaults__", pieces),
        mock.patch("gmail_assets.part._MERGE_GROUP_BYTES", rng.choice([1, 2**26])),
        mock.patch("gmail_assets.thread_target._EDIT_SLICE", rng.choice([1, 500])),
        Emulator(messages=messages, seed=seed, switches=switches) as gmail,
        tempfile.TemporaryDirectory() as folder,
    ):
        client = client_of(gmail)
        lake = Lake(folder)
        live_through(gmail, client, lake, steps, rng, deletes)
        last = specs(FILTERS[filters], ("messages", "threads"), deletes)
        results = sync(client.mailbox(), lake, last, allow_mass_delete=True, sample=rng)
        note(f"{results}")
        assert all(result.complete for result in results.values())
        assert_lake_is_true(lake, gmail, last)
        again = sync(client.mailbox(), lake, last)
        assert all(result.how == "replay" for result in again.values())
        assert not sum(r.rows_written + r.rows_updated + r.rows_deleted for r in again.values())
