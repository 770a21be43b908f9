"""What a batch read tells besides its rows: `Report`.

A read with the option `report` has the column `_report` after the others, and each of its partitions ends with one row
more, in which everything but `_report` is null. It holds, as JSON, whose mailbox it was, what the read cost, what
the reader warned of, and the error that ended it, if one did: an error that Spark would wrap into its own, with the
stacks of two languages, comes back as what it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gmail_client.errors import GmailError
from gmail_client.http.calls import UsageSnapshot

__all__ = ["REPORT", "Report"]

REPORT = "_report"
"""The column that holds reports."""

_TOLD = ("what", "fix", "status", "reason", "method", "retry_at", "limit", "per_project")


@dataclass(slots=True)
class Report:
    """What became of one partition.

    Attributes:
        mailbox: The mailbox's real address; None when the read did not come so far as to know it.
        calls: API calls made.
        units: Quota units spent.
        bytes: Bytes of JSON received.
        warnings: What a reader of the table should know.
        error: What ended the read; None for nothing.
    """

    mailbox: str | None = None
    calls: int = 0
    units: int = 0
    bytes: int = 0
    warnings: list[str] = field(default_factory=list)
    error: GmailError | None = None

    def count(self, usage: UsageSnapshot) -> None:
        """Note what the read cost."""
        self.calls, self.units, self.bytes = usage.total_calls, usage.total_units, usage.total_bytes

    def to_json(self) -> str:
        """The report as text, an error by its class's name and its fields."""
        said = {name: getattr(self, name) for name in ("mailbox", "calls", "units", "bytes", "warnings")}
        if self.error is not None:
            told = {name: getattr(self.error, name) for name in _TOLD if hasattr(self.error, name)}
            said["error"] = {"kind": type(self.error).__name__, **told}
        return json.dumps(said)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """The report that `to_json` wrote; an error of a class that is not known here is a plain `GmailError`."""
        said: dict[str, Any] = json.loads(text)
        told = said.pop("error", None)
        return cls(**said, error=_error(told) if told else None)


def _error(told: dict[str, Any]) -> GmailError:
    kind = told.pop("kind")
    found = next((one for one in _kinds(GmailError) if one.__name__ == kind), GmailError)
    return found(told.pop("what"), **told)


def _kinds(kind: type[GmailError]) -> Iterator[type[GmailError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)
