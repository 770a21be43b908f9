"""Folders for their owner only."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gmail_client.private_files import make_private_folder, open_to_others

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX modes")


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_a_new_folder_and_its_new_parents_are_private(tmp_path: Path) -> None:
    make_private_folder(tmp_path / "a" / "b" / "c")
    assert [mode(tmp_path / part) for part in ("a", "a/b", "a/b/c")] == [0o700] * 3


def test_what_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o770)
    make_private_folder(tmp_path / "shared" / "lake")
    make_private_folder(tmp_path / "shared")
    assert mode(tmp_path / "shared") == 0o770
    assert mode(tmp_path / "shared" / "lake") == 0o700


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "lake"):
        with pytest.raises(OSError, match="directory"):
            make_private_folder(path)


@pytest.mark.parametrize(
    ("given", "shown"), [(0o755, "0755"), (0o710, "0710"), (0o704, "0704"), (0o700, None)]
)
def test_what_others_can_reach_is_found(tmp_path: Path, given: int, shown: str | None) -> None:
    tmp_path.chmod(0o755)
    folder = tmp_path / "lake"
    folder.mkdir()
    folder.chmod(given)
    reachable = all(mode(parent) & 0o011 for parent in folder.parents)
    assert open_to_others(folder) == (shown if reachable else None)
    tmp_path.chmod(0o700)
    assert open_to_others(folder) is None
    assert open_to_others(tmp_path / "nothing") is None
