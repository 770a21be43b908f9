"""Runs over many mailboxes hold a limited number of bytes together."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from gmail_assets.syncing.memory import ByteBudget, ByteShare
from gmail_client.fetch import FetchedThread, chunks

LIMIT, LEAST = 1_000, 50


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 200)), max_size=60))
@example([(run, 200) for _ in range(10) for run in range(4)])
def test_runs_together_hold_at_most_the_limit_plus_their_minimum(arrivals: list[tuple[int, int]]) -> None:
    budget = ByteBudget(LIMIT)
    shares = [ByteShare(budget, LEAST) for _ in range(4)]
    for run, size in arrivals:
        shares[run].take(size)
        if shares[run].must_write():
            assert shares[run].held >= LEAST
            shares[run].release()
        assert sum(share.held for share in shares) <= LIMIT + len(shares) * LEAST + 200
    for share in shares:
        share.release()
    assert not budget.is_exceeded


def test_a_chunk_ends_early_if_all_runs_together_exceed_the_limit() -> None:
    budget = ByteBudget(LIMIT)
    other, own = ByteShare(budget, LEAST), ByteShare(budget, LEAST)
    threads = [FetchedThread(str(number), size=30) for number in range(8)]

    def arriving():
        for thread in threads:
            own.take(thread.size)
            yield thread

    other.take(LIMIT)
    lengths = []
    for chunk in chunks(arriving(), is_full=own.must_write):
        lengths.append(len(chunk))
        own.release()
    assert lengths == [2, 2, 2, 2]
    assert [len(chunk) for chunk in chunks(threads)] == [8]
