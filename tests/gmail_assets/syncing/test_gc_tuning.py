"""The thresholds of the garbage collector during a load."""

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


def test_collections_are_less_frequent_until_the_block_ends(threshold: tuple[int, int, int]) -> None:
    with collected_seldom():
        assert gc.get_threshold() == (100_000, 10, 10)
    assert gc.get_threshold() == threshold


def test_an_error_restores_the_thresholds(threshold: tuple[int, int, int]) -> None:
    with pytest.raises(ZeroDivisionError), collected_seldom():
        1 / 0  # noqa: B018
    assert gc.get_threshold() == threshold


def test_overlapping_blocks_of_threads_restore_the_thresholds(threshold: tuple[int, int, int]) -> None:
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


def test_a_disabled_collector_stays_disabled() -> None:
    gc.set_threshold(0, 10, 10)
    with collected_seldom():
        assert gc.get_threshold()[0] == 0
    assert gc.get_threshold()[0] == 0


def test_a_higher_threshold_is_kept() -> None:
    gc.set_threshold(500_000, 5, 5)
    with collected_seldom():
        assert gc.get_threshold() == (500_000, 5, 5)


def test_earlier_objects_are_frozen_until_the_block_ends() -> None:
    assert gc.get_freeze_count() == 0
    with collected_seldom():
        assert gc.get_freeze_count() > 1_000
        with collected_seldom():
            pass
        assert gc.get_freeze_count() > 1_000
    assert gc.get_freeze_count() == 0


def test_what_the_program_froze_stays_frozen() -> None:
    gc.freeze()
    try:
        with collected_seldom():
            pass
        assert gc.get_freeze_count() > 1_000
    finally:
        gc.unfreeze()
