"""Ids in an offset."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeflow_entry.stream.packed_ids import MOST_CHARACTERS, pack, unpack

GMAILS = st.integers(0, 2**64 - 1).map(lambda number: f"{number:x}")
OTHERS = st.text(max_size=12) | st.sampled_from(["00a1", "-5", "A1", "r-77", "1_0", ""])


@given(st.sets(GMAILS, max_size=200) | st.sets(GMAILS | OTHERS, max_size=50))
def test_packed_ids_are_unpacked(ids: set[str]) -> None:
    packed = pack(ids)
    assert packed is not None
    assert unpack(packed) == ids


def test_twenty_thousand_of_gmails_ids_fit() -> None:
    chance = random.Random(1)
    packed = pack(f"{chance.randrange(2**60, 2**61):x}" for _ in range(20_000))
    assert packed is not None
    assert 8 * 20_000 < len(packed) <= MOST_CHARACTERS


def test_more_than_the_bound_are_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    assert pack(f"{chance.randrange(2**60, 2**61):x}" for _ in range(22_000)) is None
    assert pack(f"message-{chance.randrange(2**60)}" for _ in range(22_000)) is None


@pytest.mark.parametrize("text", ["", "nothing", "eJw=", "text:eJw="])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not packed"):
        unpack(text)
