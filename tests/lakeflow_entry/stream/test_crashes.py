"""A stream loses nothing, wherever its process is killed and whichever history has expired at the restart."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples
from support.matrix import slow_except
from support.memory_gmail import MemoryGmail
from support.streams import FILTERS, FLOWS, READERS, Streams

EXPIRIES = ("nothing", "everything", "start of the last batch", "start of the one before", "half")

MATRIX = [(table, reader) for table in ("messages", "threads") for reader in READERS]
DURABLE = [(table, reader) for table, reader in MATRIX if reader != "simple reader"]

pytestmark = pytest.mark.usefixtures("gmail_in_memory")


def write(gmail: MemoryGmail, seed: int, count: int) -> None:
    """Make `count` random changes of the mailbox."""
    chance = random.Random(seed)
    for _ in range(count):
        ids = list(gmail.messages)
        some = chance.sample(ids, min(len(ids), chance.choice((1, 2, 6))))
        kind = chance.randrange(7) if len(ids) > 4 else 0
        if kind == 0:
            labels = chance.choice([("INBOX",), (), ("INBOX", "STARRED"), ("STARRED",)])
            gmail.insert(labels, age_days=chance.choice([0, 0, 9]))
        elif kind == 1:
            gmail.insert(("INBOX",), gmail.messages[some[0]]["threadId"])
        elif kind == 2:
            gmail.modify(some, add=["INBOX", "STARRED"], remove=["UNREAD"])
        elif kind == 3:
            gmail.modify(some, remove=["INBOX"])
        elif kind == 4:
            gmail.modify(some[:1], add=["TRASH"], remove=["INBOX"])
        elif kind == 5:
            gmail.modify(some[:1], add=["INBOX"], remove=["TRASH"])
        else:
            gmail.delete(some)


@dataclass(frozen=True)
class FlowRun:
    """One run of both flows, with the events before it.

    Attributes:
        seed: Seed of the changes in the mailbox.
        writes: Number of changes before the run.
        expires: The position before which the history expires.
        of_flow: The flow of this position.
        changes_die: Step at which the process of the changes is killed; None for never.
        deletes_die: The same for the deletes.
        limit: Rows per batch.
    """

    seed: int
    writes: int
    expires: str
    of_flow: str
    changes_die: int | None
    deletes_die: int | None
    limit: int


STEPS = st.none() | st.integers(0, 22)
RUNS = st.lists(
    st.builds(
        FlowRun,
        st.integers(0, 999),
        st.integers(0, 4),
        st.sampled_from(["nothing", *EXPIRIES]),
        st.sampled_from(FLOWS),
        STEPS,
        STEPS,
        st.sampled_from([1, 3, 8, 1_000]),
    ),
    min_size=1,
    max_size=5,
)


@pytest.mark.parametrize(
    ("table", "reader"), slow_except(MATRIX, [("messages", "simple reader"), ("threads", "stream reader")])
)
@examples(60)
@given(filters=st.sampled_from(sorted(FILTERS)), several=RUNS)
def test_the_target_equals_the_mailbox_after_random_kills(
    table: str, reader: str, filters: str, several: list[FlowRun]
) -> None:
    gmail = MemoryGmail(14)
    streams = Streams(gmail, reader, table, filters)
    streams.deletes.run()  # both flows start with the pipeline's first run
    for one in several:
        write(gmail, one.seed, one.writes)
        streams.expire(one.expires, one.of_flow)
        streams.limit = one.limit
        streams.run(one.changes_die, one.deletes_die)
    streams.run()
    streams.run()
    streams.assert_equal()


@pytest.mark.parametrize(
    ("table", "reader"), slow_except(MATRIX, [("messages", "framework"), ("threads", "stream reader")])
)
def test_the_target_equals_the_mailbox_after_a_kill_at_every_step_of_a_load(table: str, reader: str) -> None:
    for limit, arrivals, reloads in itertools.product((5, 1_000), (0, 6), (False, True)):
        for step in range(100):
            gmail = MemoryGmail(14)
            streams = Streams(gmail, reader, table)
            streams.deletes.run()
            if reloads:
                streams.run()
                gmail.expire()
            streams.limit = limit
            streams.run(step)
            died = streams.changes.died
            for _ in range(arrivals):
                gmail.insert(("INBOX",))
            gmail.delete(list(gmail.messages)[-4:-2])
            streams.limit = 3
            streams.run()
            streams.assert_equal()
            if not died:
                break
        else:
            raise AssertionError("the load has more steps than were tried")


@pytest.mark.parametrize(("table", "reader"), slow_except(DURABLE, [("messages", "framework")]))
@pytest.mark.parametrize("flow", FLOWS)
def test_the_target_equals_the_mailbox_after_a_kill_at_every_step_of_a_run(
    table: str, reader: str, flow: str
) -> None:
    for seed, expires in itertools.product(range(2), EXPIRIES):
        for step in range(100):
            gmail = MemoryGmail(14)
            streams = Streams(gmail, reader, table)
            streams.run()
            write(gmail, seed, 4)
            gmail.delete(list(gmail.messages)[:3])
            streams.limit = 3
            streams.run(*((step, None) if flow == "changes" else (None, step)))
            died = streams.changes.died or streams.deletes.died
            write(gmail, seed + 10, 1)
            streams.expire(expires, flow)
            streams.run()
            streams.run()
            streams.assert_equal()
            if not died:
                break
        else:
            raise AssertionError("the run has more steps than were tried")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("table", ["messages", "threads"])
@pytest.mark.parametrize("expires", [False, True])
def test_new_mail_that_the_search_finds_late_is_delivered_with_the_next_changes(
    table: str, reader: str, expires: bool
) -> None:
    for dies in (None, *range(12)):
        gmail = MemoryGmail(6)
        streams = Streams(gmail, reader, table, "search")
        streams.run()
        late = [gmail.insert(("STARRED",)) for _ in range(2)]
        gmail.unindexed.update(late)
        known = gmail.insert(("STARRED",))
        streams.run(changes_die=dies)
        streams.run()
        assert known in streams.target.rows
        gmail.unindexed.clear()
        gmail.insert(("INBOX",))
        streams.run(changes_die=dies)
        if expires:
            gmail.expire()
        gmail.insert(("STARRED",))
        streams.run()
        streams.assert_equal()


def test_delivered_messages_are_not_fetched_again_with_late_mail() -> None:
    gmail = MemoryGmail(6)
    streams = Streams(gmail, "stream reader", "messages", "search")
    streams.run()
    late, known = gmail.insert(("STARRED",)), gmail.insert(("STARRED",))
    gmail.unindexed.add(late)
    streams.run()
    gmail.unindexed.clear()
    gmail.insert(("INBOX",))
    gmail.calls.clear()
    streams.run()
    assert gmail.calls.count("messages.get") == 1
    assert {late, known} <= streams.target.rows.keys()
