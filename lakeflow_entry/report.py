"""`Report`: outcome and cost of a batch read, passed from a worker in a separate row.

A read with the option `report` has `_report` as the last column. Each of its partitions ends with one additional row,
in which all other columns are null. `_report` contains JSON with the mailbox, the cost of the read, its warnings, and
the error that ended it, if any. Otherwise Spark would wrap the error into its own, with stack traces of two languages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gmail_client.errors import GmailError
from gmail_client.http.calls import UsageSnapshot

__all__ = ["REPORT", "Report", "error_of"]

REPORT = "_report"
"""The column that holds reports."""

_TOLD = ("what", "fix", "status", "reason", "method", "retry_at", "limit", "per_project")


@dataclass(slots=True)
class Report:
    """Outcome of one partition.

    Attributes:
        mailbox: The mailbox's real address; None if the read failed before it was known.
        calls: API calls made.
        units: Quota units spent.
        bytes: Bytes of JSON received.
        warnings: Warnings for users of the table.
        error: The error that ended the read, or None.
    """

    mailbox: str | None = None
    calls: int = 0
    units: int = 0
    bytes: int = 0
    warnings: list[str] = field(default_factory=list)
    error: GmailError | None = None

    def count(self, usage: UsageSnapshot) -> None:
        """Set the cost of the read."""
        self.calls, self.units, self.bytes = usage.total_calls, usage.total_units, usage.total_bytes

    def to_json(self) -> str:
        """The report as JSON, the error with its class name and fields."""
        document = {name: getattr(self, name) for name in ("mailbox", "calls", "units", "bytes", "warnings")}
        if self.error is not None:
            fields = {name: getattr(self.error, name) for name in _TOLD if hasattr(self.error, name)}
            document["error"] = {"kind": type(self.error).__name__, **fields}
        return json.dumps(document)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """The report that `to_json` wrote; an error of an unknown class becomes a plain `GmailError`."""
        document: dict[str, Any] = json.loads(text)
        fields = document.pop("error", None)
        return cls(**document, error=error_of(fields) if fields else None)


def error_of(fields: dict[str, Any]) -> GmailError:
    """The error with the class name `kind` and these fields; one of an unknown class becomes a plain `GmailError`."""
    kind = fields.pop("kind")
    found = next((one for one in _kinds(GmailError) if one.__name__ == kind), GmailError)
    return found(fields.pop("what"), **fields)


def _kinds(kind: type[GmailError]) -> Iterator[type[GmailError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)
