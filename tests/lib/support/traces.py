"""Searches a folder for a text, in names and contents, to find what is left after an erasure."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pyarrow.parquet as pq

__all__ = ["files_naming"]


def files_naming(folder: Path, text: str) -> list[str]:
    """Files and folders below a folder with a text in their name or content; Parquet files are decoded."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        content = ""
        if path.suffix == ".parquet":
            content = str(pq.ParquetFile(path).read().to_pylist())
        elif path.is_file():
            content = path.read_text("utf-8", errors="replace")
        # Delta encodes paths once on disk and twice in the log.
        if any(text in form or text in unquote(unquote(form)) for form in (name, content)):
            found.append(name)
    return found
