"""Folders for their owner only."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gmail_client.errors import ConfigurationError
from gmail_client.private_files import make_private_folder, open_to_others, planted, refuse_planted

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


def test_existing_folders_keep_their_mode(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o770)
    make_private_folder(tmp_path / "shared" / "lake")
    make_private_folder(tmp_path / "shared")
    assert mode(tmp_path / "shared") == 0o770
    assert mode(tmp_path / "shared" / "lake") == 0o700


def test_an_existing_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "lake"):
        with pytest.raises(OSError, match="directory"):
            make_private_folder(path)


@pytest.mark.parametrize(
    ("given", "shown"), [(0o755, "0755"), (0o710, "0710"), (0o704, "0704"), (0o700, None)]
)
def test_files_that_others_can_read_are_found(tmp_path: Path, given: int, shown: str | None) -> None:
    tmp_path.chmod(0o755)
    folder = tmp_path / "lake"
    folder.mkdir()
    folder.chmod(given)
    reachable = all(mode(parent) & 0o011 for parent in folder.parents)
    assert open_to_others(folder) == (shown if reachable else None)
    tmp_path.chmod(0o700)
    assert open_to_others(folder) is None
    assert open_to_others(tmp_path / "nothing") is None


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, next to a folder of another user."""
    (tmp_path / "work").mkdir()
    (tmp_path / "evil").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


LINKS = ("lake", "lake/messages", "lake/messages/_delta_log", "lake/messages/mailbox=ada%40gmail.test")


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("target", ["evil", "not/there"])
def test_a_symbolic_link_out_of_the_working_directory_is_planted(work: Path, link: str, target: str) -> None:
    outside = work.parent / target
    (work / link).parent.mkdir(parents=True, exist_ok=True)
    (work / link).symlink_to(outside)
    assert planted("lake") == f"leads to {outside} by the symbolic link {link}"
    with pytest.raises(ConfigurationError, match="no mail is written there"):
        refuse_planted("lake")


@pytest.mark.parametrize("link", LINKS)
def test_a_link_within_the_working_directory_is_the_user_s_business(work: Path, link: str) -> None:
    (work / "data").mkdir()
    (work / link).parent.mkdir(parents=True, exist_ok=True)
    (work / link).symlink_to(work / "data")
    assert planted("lake") is None


@pytest.mark.parametrize("path", ["lake", "lake/messages"])
def test_a_folder_of_another_user_is_planted_but_not_root_s(
    work: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "lake" / "messages").mkdir(parents=True)
    own = os.geteuid()
    found = Path.stat

    def stat_of(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        result = found(self, follow_symlinks=follow_symlinks)
        return os.stat_result((*result[:4], owner, *result[5:])) if self == Path(path) else result

    monkeypatch.setattr(Path, "stat", stat_of)
    owner = own + 1
    assert "belongs to another user" in str(planted("lake"))
    owner = 0
    assert planted("lake") is None
    owner = own
    assert planted("lake") is None


def test_no_folder_and_an_object_store_are_planted_by_nobody(work: Path) -> None:
    assert planted("lake") is None
    refuse_planted("s3://bucket/lake")
