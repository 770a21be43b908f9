"""The order and the cuts of a first load, against any mailbox and any cap."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lakeflow_entry.stream.load_plan import LoadPlan
from lakeflow_entry.stream.offsets import LoadPosition, Offset

IDS = st.integers(1, 2**40).map(lambda number: f"{number:x}")
MAILBOXES = st.dictionaries(IDS, IDS, max_size=60)


def drain(threads: dict[str, str], cap: int) -> list[list[str]]:
    plan = LoadPlan.of_messages(threads)
    place = plan.first(cap)
    batches = [plan.between(None, place)]
    while place is not None:
        after = plan.after(place, cap)
        batches.append(plan.between(place, after))
        place = after
    return batches


@settings(deadline=None)
@given(MAILBOXES, st.integers(1, 30))
def test_every_message_comes_once_in_batches_no_larger_than_the_cap(
    threads: dict[str, str], cap: int
) -> None:
    batches = drain(threads, cap)
    came = [position.partition("/")[2] for batch in batches for position in batch]
    assert sorted(came) == sorted(threads)
    assert all(len(batch) <= cap for batch in batches)
    order = [position.partition("/")[0] for batch in batches for position in batch]
    ranks = [(len(thread), thread) for thread in order]
    assert ranks == sorted(ranks, reverse=True)


@settings(deadline=None)
@given(MAILBOXES, MAILBOXES, st.sets(IDS), st.integers(1, 30), st.integers(0, 10))
def test_a_replayed_batch_loses_nothing_whatever_arrived_meanwhile(
    before: dict[str, str], arrived: dict[str, str], deleted: set[str], cap: int, crash_at: int
) -> None:
    """One batch is delivered from another listing than the one its end was planned with."""
    newest = max((int(message, 16) for message in before), default=0)
    later = {f"{newest + int(message, 16):x}": thread for message, thread in arrived.items()}
    after = {**{m: t for m, t in before.items() if m not in deleted}, **later}
    old, new = LoadPlan.of_messages(before), LoadPlan.of_messages(after)
    came: set[str] = set()
    start: LoadPosition | None = None
    for number in range(200):
        plan = old if number <= crash_at else new
        end = plan.first(cap) if start is None else plan.after(start, cap)
        if number == crash_at:
            # Spark calls again from the same start, on the changed mailbox, and ignores that end.
            again = new.first(cap) if start is None else new.after(start, cap)
            delivered = new.between(start, again)
            if end is None and again is not None:
                return  # more arrived than the room that a load in one batch leaves
        else:
            delivered = plan.between(start, end)
        came.update(position.partition("/")[2] for position in delivered)
        if end is None:
            break
        start = end
    assert came >= set(before) - deleted


@given(
    st.integers(0, 10**18),
    st.integers(0, 10**6),
    st.none() | st.builds(LoadPosition, IDS, IDS | st.just(""), IDS, st.integers(0, 99)),
    st.none() | st.integers(1, 10**18),
)
def test_offsets_survive_their_json(
    history_id: int, seen: int, load: LoadPosition | None, reloaded: int | None
) -> None:
    offset = Offset(history_id, seen, load, reloaded)
    assert Offset.parse(offset.to_json()) == offset
    assert list(Offset.parse(offset.to_json()).to_json()) == list(offset.to_json())
