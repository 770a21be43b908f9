"""Folders that only their owner can read: `make_private_folder`, and `open_to_others`, which finds those that are not.

A folder keeps others out of all that is in it, whatever modes the files in it have: other libraries write most of them.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["make_private_folder", "open_to_others"]

_PRIVATE = 0o700
_OTHERS = 0o077


def make_private_folder(folder: str | Path) -> None:
    """Create a folder and its missing parents, each for its owner only. What is there stays as it is.

    Raises:
        OSError: One of them can't be created, or is a file.
    """
    folder = Path(folder).absolute()
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        # Path.mkdir(parents=True) would create the parents with whatever the umask leaves of 0777.
        path.mkdir(_PRIVATE, exist_ok=True)
    if not folder.is_dir():
        raise NotADirectoryError(20, "Not a directory", str(folder))


def open_to_others(path: str | Path) -> str | None:
    """The mode of a file or folder that its group or everybody has rights to; None if nobody else has any.

    A folder above it that keeps others out counts. Windows has no such modes, and a path that is not there none either.
    """
    if os.name != "posix":
        return None
    path = Path(path).expanduser().absolute()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        return f"{mode:04o}" if mode & _OTHERS and _reachable(path) else None
    except OSError:
        return None


def _reachable(path: Path) -> bool:
    """Whether others may pass every folder above."""
    return all(parent.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH) for parent in path.parents)
