"""The order and the batches of a load, for any mailbox and any limit."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from lakeflow_entry.stream.load_plan import LoadPlan
from lakeflow_entry.stream.offsets import LoadPosition

IDS = st.integers(1, 2**40).map(lambda number: f"{number:x}")
MESSAGES = st.dictionaries(IDS, st.integers(1, 9).map(lambda number: f"{number:x}"), max_size=60)


def drain(plan: LoadPlan, limit: int) -> list[list[str]]:
    batches = []
    load: LoadPosition | None = plan.start(limit)
    while load is not None:
        batches.append(plan.batch(load))
        load = plan.next(load, limit)
    return batches


@settings(deadline=None)
@given(MESSAGES, st.integers(1, 30))
def test_every_message_is_delivered_once_in_batches_within_the_limit(
    threads: dict[str, str], limit: int
) -> None:
    batches = drain(LoadPlan.of_messages(threads), limit)
    delivered = [position.partition("/")[2] for batch in batches for position in batch]
    assert sorted(delivered) == sorted(threads)
    assert all(len(batch) <= limit for batch in batches)
    order = [position.partition("/")[0] for batch in batches for position in batch]
    ranks = [(len(thread), thread) for thread in order]
    assert ranks == sorted(ranks, reverse=True)


@settings(deadline=None)
@given(MESSAGES, st.integers(1, 30))
def test_a_thread_is_split_only_if_it_is_larger_than_a_batch(threads: dict[str, str], limit: int) -> None:
    batches = drain(LoadPlan.of_messages(threads), limit)
    for before, after in itertools.pairwise(batches):
        if before[-1].partition("/")[0] == after[0].partition("/")[0]:
            assert len({position.partition("/")[0] for position in before}) == 1


@settings(deadline=None)
@given(MESSAGES, MESSAGES, st.sets(IDS), st.integers(1, 30))
def test_a_batch_covers_the_same_range_after_later_changes(
    before: dict[str, str], arrived: dict[str, str], deleted: set[str], limit: int
) -> None:
    newest = max((int(message, 16) for message in before), default=0)
    later = {f"{newest + int(message, 16):x}": thread for message, thread in arrived.items()}
    old = LoadPlan.of_messages(before)
    new = LoadPlan.of_messages({**{m: t for m, t in before.items() if m not in deleted}, **later})
    load: LoadPosition | None = old.start(limit)
    while load is not None and before:
        kept = [position for position in old.batch(load) if position.partition("/")[2] not in deleted]
        assert new.batch(load) == kept
        load = old.next(load, limit)


def test_the_second_batch_of_version_1_starts_at_the_possible_end_of_the_first() -> None:
    plan = LoadPlan.of_threads(f"{number:x}" for number in range(16, 26))
    assert plan.batch(LoadPosition("14", "12", "19", taken=3)) == ["16", "15", "14", "13", "12"]
