"""Ids in an offset."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeflow_entry.stream.packed_ids import MOST, pack, unpack


@given(st.sets(st.integers(0, 2**64 - 1).map(lambda number: f"{number:x}"), max_size=200))
def test_what_is_packed_comes_out(ids: set[str]) -> None:
    packed = pack(ids)
    assert packed is not None
    assert unpack(packed) == ids


def test_ids_take_some_bytes_each() -> None:
    chance = random.Random(1)
    ids = {f"{chance.randrange(2**60):x}" for _ in range(MOST)}
    packed = pack(ids)
    assert packed is not None
    assert len(packed) < 9 * MOST


def test_too_many_or_strange_ids_are_not_packed() -> None:
    assert pack(f"{number:x}" for number in range(MOST + 1)) is None
    assert pack(["r-77"]) is None
    assert pack(["00a1"]) is None


@pytest.mark.parametrize("text", ["", "nothing", "eJw="])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not packed"):
        unpack(text)
