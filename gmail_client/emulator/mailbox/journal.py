"""The writes to the mailboxes in a file, so that the mailboxes survive a restart: `Journal`.

The first line has the origin that the writes apply to; each other line is a write with its arguments and its time, as
JSON. Replayed in order on the same origin, they give the same mailboxes with the same ids. An incomplete last line,
left by a crash, is dropped. Message bytes are base64 under the key "raw".
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Journal", "JournalEntry", "decode_arguments", "encode_arguments"]


class JournalEntry(NamedTuple):
    """One write: the mailbox, the Python method, the time, the arguments."""

    address: str
    operation: str
    at_ms: int
    arguments: dict[str, Any]


def encode_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a write as JSON: bytes and message contents become `{"raw": base64}`."""
    return {name: _encode(value) for name, value in arguments.items()}


def _encode(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"raw": base64.b64encode(value).decode()}
    raw = getattr(value, "raw", None)
    if callable(raw):
        return {"raw": base64.b64encode(raw()).decode()}
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    return value


def decode_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """The reverse of `encode_arguments`; contents come back as bytes."""
    return {
        name: base64.b64decode(value["raw"]) if isinstance(value, dict) and set(value) == {"raw"} else value
        for name, value in arguments.items()
    }


class Journal:
    """An append-only file of writes.

    Args:
        path: The file; created when absent.
        origin: The initial content that the writes apply to (seed, mailboxes, messages ...), a JSON object.

    Raises:
        ValueError: The file has another origin, or is not a journal; the message says which.
    """

    def __init__(self, path: Path, origin: dict[str, Any]) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._entries: list[JournalEntry] = []
        kept = self._read(origin)
        with path.open("ab") as file:
            file.truncate(kept)
        self._file = path.open("ab")
        if kept == 0:
            self._line({"origin": origin})

    def _read(self, origin: dict[str, Any]) -> int:
        if not self.path.exists():
            return 0
        kept = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file):
                try:
                    entry = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    entry = None
                if entry is None:
                    if file.read(1):
                        raise ValueError(f"journal {self.path}: line {number + 1} is damaged")
                    break
                if number == 0:
                    if not isinstance(entry, dict) or "origin" not in entry:
                        raise ValueError(f"{self.path} is not a journal of the emulator")
                    if entry["origin"] != origin:
                        raise ValueError(
                            f"journal {self.path} belongs to an emulator with {entry['origin']}, not {origin}: "
                            "use the same arguments or another file"
                        )
                else:
                    self._entries.append(JournalEntry(*entry))
                kept += len(line)
        return kept

    def replay(self) -> Iterator[JournalEntry]:
        """The writes that were in the file when it was opened, in order, once."""
        entries, self._entries = self._entries, []
        for entry in entries:
            yield entry._replace(arguments=decode_arguments(entry.arguments))

    def append(self, entry: JournalEntry) -> None:
        """Append a write and flush it to the operating system."""
        self._line(list(entry._replace(arguments=encode_arguments(entry.arguments))))

    def _line(self, value: Any) -> None:
        line = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
