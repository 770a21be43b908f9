"""Folders and files that only their owner can read: `make_private_folder` and `write_private_json`; `open_to_others`,
which finds those that are not; and `planted`, which finds a folder that belongs to another user or leads out of the
working directory.

The mode of a folder protects everything in it, with any mode of its files: other libraries write most of them.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gmail_client.errors import ConfigurationError

__all__ = [
    "make_private_folder",
    "open_to_others",
    "owned_by_another",
    "planted",
    "refuse_planted",
    "write_private_json",
]

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
        # Path.mkdir(parents=True) would create the parents with the mode 0777 minus the umask.
        path.mkdir(_PRIVATE, exist_ok=True)
    if not folder.is_dir():
        raise NotADirectoryError(20, "Not a directory", str(folder))


def write_private_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON file that only its owner can read. An existing one is replaced atomically; its folder is created.

    Raises:
        OSError: It can't be written.
    """
    make_private_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def open_to_others(path: str | Path) -> str | None:
    """The mode of a file or folder to which its group or others have access; None if only its owner has.

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


def owned_by_another(path: str | Path) -> bool:
    """Whether a file or folder is there and belongs to another user than this one and root."""
    if os.name != "posix":
        return False
    try:
        return Path(path).stat().st_uid not in (os.geteuid(), 0)
    except OSError:
        return False


def planted(folder: str | Path) -> str | None:
    """Why files in a folder below the working directory would be accessible to another user; None if they would not.

    A person from whom the user gets the working directory can put a symbolic link or the folder itself in it. The
    folder and two levels of subfolders are examined: a lake, its tables and their partitions.

    Returns:
        Words that follow the name of the folder: `leads to /srv/mail by the symbolic link lake/messages`.
    """
    here = Path.cwd().resolve()
    for path in _two_levels(Path(folder)):
        if path.is_symlink() and not path.resolve().is_relative_to(here):
            return f"leads to {path.resolve()} by the symbolic link {path}"
        if owned_by_another(path):
            return (
                "belongs to another user"
                if path == Path(folder)
                else f"has {path}, which belongs to another user"
            )
    return None


def refuse_planted(folder: str) -> None:
    """Refuse a default folder for mail that another person can access.

    Raises:
        ConfigurationError: See `planted`.
    """
    problem = None if "://" in folder else planted(folder)
    if problem:
        raise ConfigurationError(
            f"The default lake {folder!r} {problem}: no mail is written there unless you name it.",
            fix="If it is yours, set GMAIL_LAKE in the environment to its path.",
        )


def _two_levels(folder: Path) -> Iterator[Path]:
    yield folder
    for depth in ("*", "*/*"):
        # A partition's files are not among them. Other files at these levels hold no rows.
        yield from (path for path in folder.glob(depth) if path.is_symlink() or path.is_dir())


def _reachable(path: Path) -> bool:
    """Whether others may pass every folder above."""
    return all(parent.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH) for parent in path.parents)
