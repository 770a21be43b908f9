"""Searches for planted secrets in everything that was written: files of any kind, plain, encoded or compressed."""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

__all__ = ["forms", "leaks", "leaks_in_folder"]


def forms(secret: str) -> Iterator[bytes]:
    """The forms in which a text can contain a secret: plain, quoted, escaped, in base64 at each offset."""
    plain = secret.encode()
    yield plain
    yield quote(secret, safe="").encode()
    yield secret.replace("/", "\\/").encode()
    yield secret.encode("utf-16-le")
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + plain).rstrip(b"=")
        # The characters at both ends depend on the text around the secret.
        core = encoded[4 if shift else 0 : -2]
        yield core
        yield core.replace(b"+", b"-").replace(b"/", b"_")


def leaks(secrets: Mapping[str, str], texts: Mapping[str, bytes]) -> list[str]:
    """Which text contains which secret, by names only.

    Args:
        secrets: Secrets by name.
        texts: The written texts by name.
    """
    found = []
    for where, text in texts.items():
        for layer in _layers(text):
            found += [
                f"{name} in {where}"
                for name, secret in secrets.items()
                if any(form in layer for form in forms(secret))
            ]
    return sorted(set(found))


def leaks_in_folder(secrets: Mapping[str, str], folders: Iterable[Path]) -> list[str]:
    """The same for every file below some folders."""
    texts = {
        str(path): path.read_bytes()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    assert texts, "nothing was written: what is searched has to be the right place"
    return leaks(secrets, texts)


def _layers(text: bytes) -> Iterator[bytes]:
    yield text
    for unpack in (gzip.decompress, zlib.decompress):
        try:
            yield unpack(text)
        except (OSError, EOFError, zlib.error):
            continue
