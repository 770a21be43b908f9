"""How fetched threads are grouped into chunks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gmail_client.fetch import FetchedThread, chunks


def fetched(messages: int, size: int) -> FetchedThread:
    return FetchedThread("t", messages=[{"id": str(number)} for number in range(messages)], size=size)


@given(
    st.lists(st.builds(fetched, st.integers(0, 5), st.integers(0, 40))),
    st.integers(1, 8),
    st.integers(1, 100),
    st.none() | st.integers(1, 8),
)
def test_chunks_end_at_the_first_bound_and_lose_nothing(
    items: list[FetchedThread], messages: int, size: int, first: int | None
) -> None:
    pieces = list(chunks(items, messages=messages, size=size, first=first))
    assert [item for piece in pieces for item in piece] == items
    for number, piece in enumerate(pieces):
        most = min(messages, first) if first is not None and number == 0 else messages
        held = [len(item.messages) for item in piece]
        ended = sum(held) >= most or sum(item.size for item in piece) >= size
        assert ended or number == len(pieces) - 1
        assert sum(held[:-1]) < most
