"""With any edits of the sensor's cursor and any failures of its runs, the tables converge to the mailbox."""

from __future__ import annotations

import json
import random
import tempfile
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from support.chaos import Chaos, Killed, client_of, random_write
from support.examples import examples
from support.lake import assert_lake_equals_mailbox

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.partition_status import partition_statuses
from gmail_assets.sensor_cursor import RECONCILE, Observation, RunOutcome, decide, dump_cursor, parse_cursor
from gmail_assets.syncing import sync
from gmail_assets.syncing.stopping import RunStop, TimeUpError
from gmail_client.emulator import Emulator
from gmail_client.spec import SpecTable

BOTH = [SpecTable(source_table="messages"), SpecTable(source_table="threads")]

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 5)),
        st.tuples(st.just("expire"), st.just(0)),
        st.tuples(st.just("restore"), st.integers(1, 4)),
        st.tuples(
            st.just("edit"), st.sampled_from(["back", "null", "forward", "remove", "nonsense", "tables"])
        ),
        st.tuples(st.just("tick"), st.none() | st.integers(1, 40)),
        st.tuples(st.just("tick"), st.none() | st.integers(1, 40)),
        st.tuples(st.just("tick"), st.just(-1)),
    ),
    max_size=12,
)


@dataclass
class Sensor:
    """The sensor's cursor and clock, and the runs that it requests, without Dagster."""

    gmail: Emulator
    lake: Lake
    rng: random.Random
    cursor: str = ""
    now: float = 1_000_000.0
    runs: dict[float, RunOutcome] = field(default_factory=dict)

    def edit(self, how: str) -> None:
        """Edit the cursor, as a user could."""
        if how in ("remove", "nonsense"):
            self.cursor = "" if how == "remove" else '{"me": {"synced_through": "soon"}}'
            return
        given = json.loads(self.cursor or "{}").get("me")
        if given is None or given["synced_through"] == "soon":
            return
        synced_through = int(given["synced_through"] or 0)
        given["tables_synced_through" if how == "tables" else "synced_through"] = (
            None
            if how in ("null", "tables")
            else str(max(synced_through - self.rng.randint(1, 300), 1))
            if how == "back"
            else str(synced_through + self.rng.randint(1, 300))
        )
        self.cursor = json.dumps({"me": given})

    def tick(self, die_at: int | None = None, wait: float = 30.0) -> bool:
        """Evaluate the sensor and execute the run that it requests; returns whether it requested one."""
        self.now += wait
        entry = parse_cursor(self.cursor)[0].get("me")
        address = self.gmail.addresses[0]
        cursors = [status.cursor for status in partition_statuses(self.lake, address, BOTH).values()]
        known = [cursor for cursor in cursors if cursor is not None]
        last = self.runs.get(entry.requested.at, "none") if entry and entry.requested else "none"
        observation = Observation(
            observed=int(self.gmail.mailbox().head),
            tables=min(known) if known and len(known) == len(cursors) else None,
            begun=bool(cursors),
            last_run=last,
        )
        decision = decide(entry, observation, now=self.now, initial_load=True)
        self.cursor = dump_cursor({"me": decision.entry})
        note(f"   {decision.reason}")
        if decision.request is None or decision.entry.requested is None:
            return False
        start = decision.request.start
        chaos = Chaos(die_at if die_at != -1 else None)
        out_of_time = mock.patch.object(RunStop, "check", side_effect=TimeUpError)
        self.runs[decision.entry.requested.at] = "failed"
        try:
            with chaos.commits(), out_of_time if die_at == -1 else mock.MagicMock():
                sync(
                    chaos.mailbox(client_of(self.gmail).mailbox()),
                    self.lake,
                    BOTH,
                    reconcile=start == RECONCILE,
                    replay_from=start if isinstance(start, int) else None,
                    allow_mass_delete=True,
                    sample=self.rng,
                )
            self.runs[decision.entry.requested.at] = "succeeded"
        except Killed:
            note("   killed")
        return True


def check_scenario(seed: int, messages: int, steps: list[tuple[str, Any]]) -> None:
    rng = random.Random(seed)
    with Emulator(messages=messages, seed=seed) as gmail, tempfile.TemporaryDirectory() as folder:
        sensor = Sensor(gmail, Lake(folder), rng)
        for step, how in steps:
            note(f"{step} {how}")
            if step == "write":
                for _ in range(how):
                    random_write(gmail.mailbox(), rng)
            elif step == "expire":
                gmail.expire_history()
            elif step == "restore":
                delta = sensor.lake.find(rng.choice(["messages", "threads"]))
                if delta is not None and delta.version():
                    delta.restore(max(delta.version() - how, 0))
            elif step == "edit":
                sensor.edit(how)
            else:
                sensor.tick(how)
        # The longest delay between two attempts is an hour; a failed attempt and an edit take at most two runs.
        assert any(not sensor.tick(wait=4000.0) for _ in range(4)), "it never comes to rest"
        assert_lake_equals_mailbox(sensor.lake, gmail, BOTH)
        assert parse_cursor(sensor.cursor)[0]["me"].synced_through == int(gmail.mailbox().head)


LIFE = {"seed": st.integers(0, 2**16), "messages": st.integers(0, 15), "steps": STEPS}


@examples(12)
@given(**LIFE)
def test_the_sensor_converges_to_the_mailbox(**scenario: Any) -> None:
    check_scenario(**scenario)


@pytest.mark.slow
@examples(150)
@given(**LIFE)
def test_the_sensor_converges_to_the_mailbox_in_hundreds_of_runs(**scenario: Any) -> None:
    check_scenario(**scenario)
