"""The collector's thresholds while mail is loaded."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from gmail_assets.syncing.gc_tuning import collected_seldom


@pytest.fixture(autouse=True)
def threshold() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield (700, 10, 10)
    gc.set_threshold(*before)


def test_it_looks_less_often_until_the_block_is_left(threshold: tuple[int, int, int]) -> None:
    with collected_seldom():
        assert gc.get_threshold() == (100_000, 10, 10)
    assert gc.get_threshold() == threshold


def test_an_error_leaves_it_as_it_was(threshold: tuple[int, int, int]) -> None:
    with pytest.raises(ZeroDivisionError), collected_seldom():
        1 / 0  # noqa: B018
    assert gc.get_threshold() == threshold


def test_blocks_of_threads_that_overlap_leave_it_as_it_was(threshold: tuple[int, int, int]) -> None:
    entered, leave = threading.Event(), threading.Event()

    def load() -> None:
        with collected_seldom():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=load)
    with collected_seldom():
        thread.start()
        assert entered.wait(10)
    assert gc.get_threshold() == (100_000, 10, 10)
    leave.set()
    thread.join()
    assert gc.get_threshold() == threshold


def test_one_that_is_off_stays_off() -> None:
    gc.set_threshold(0, 10, 10)
    with collected_seldom():
        assert gc.get_threshold()[0] == 0
    assert gc.get_threshold()[0] == 0


def test_one_that_looks_still_less_often_is_left_alone() -> None:
    gc.set_threshold(500_000, 5, 5)
    with collected_seldom():
        assert gc.get_threshold() == (500_000, 5, 5)
