"""What `verify` finds: verdicts on a mailbox, its tables and its labels."""

from __future__ import annotations

from dataclasses import dataclass, field

from gmail_assets.views.verification import ViewVerdict
from gmail_client.errors import GmailError

__all__ = ["Difference", "LabelVerdict", "MailboxVerdict", "TableVerdict"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that differs from Gmail: its table, its id, and the difference."""

    table: str
    id: str
    what: str


@dataclass(slots=True)
class TableVerdict:
    """Result for `messages` or `threads`.

    Attributes:
        rows: Rows of the mailbox, without soft-deleted ones.
        in_gmail: Gmail's own count of the mailbox.
        left_out: Of these, those that the table's options exclude: spam, trash, or not matching the filters.
        missing: In Gmail, not stored, and not explained.
        extra: Stored, not in Gmail, and not explained.
        since_sync: Differences that the history since the last sync explains.
        not_fetched: Messages that could not be fetched; every run tries them again.
        kept: Rows that `q` no longer finds by time alone (`newer_than:`): they stay by design.
        sampled: Rows compared field by field.
        differing: Rows of the sample that differ.
        unfinished: Why the table can't be compared yet; empty if it can.
    """

    rows: int = 0
    in_gmail: int = 0
    left_out: int = 0
    missing: int = 0
    extra: int = 0
    since_sync: int = 0
    not_fetched: int = 0
    kept: int = 0
    sampled: int = 0
    differing: int = 0
    unfinished: str = ""

    @property
    def unexplained(self) -> int:
        """Number of unexplained differences."""
        return self.missing + self.extra + self.differing


@dataclass(frozen=True, slots=True)
class LabelVerdict:
    """Result for one label.

    Attributes:
        id: The label.
        name: Its display name.
        rows: Rows of `messages` with it.
        in_gmail: Gmail's count of messages with it.
        since_sync: Messages whose labels changed since the last sync.
        unexplained: Messages that have it on one side only, and are not explained.
    """

    id: str
    name: str
    rows: int
    in_gmail: int
    since_sync: int = 0
    unexplained: int = 0


@dataclass(slots=True)
class MailboxVerdict:
    """Result for one mailbox.

    Attributes:
        name: Configured name of the mailbox.
        address: Its real address.
        tables: Results for messages and threads, if they are in the spec.
        labels: Results for labels, if `messages` is in the spec.
        views: Results for the derived tables of the spec, compared with messages and labels in the lake.
        examples: Some of the unexplained differences.
        remarks: Further notes.
        units: Quota units that it cost.
        error: Why there is no result.
    """

    name: str
    address: str = ""
    tables: dict[str, TableVerdict] = field(default_factory=dict)
    labels: list[LabelVerdict] = field(default_factory=list)
    views: dict[str, ViewVerdict] = field(default_factory=dict)
    examples: list[Difference] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    units: int = 0
    error: GmailError | None = None

    @property
    def unexplained(self) -> int:
        """Number of unexplained differences."""
        return (
            sum(table.unexplained for table in self.tables.values())
            + sum(label.unexplained for label in self.labels)
            + sum(view.differing for view in self.views.values())
        )

    @property
    def unfinished(self) -> bool:
        """Whether a table can't be compared before its next sync."""
        return any(table.unfinished for table in self.tables.values()) or any(
            view.outdated for view in self.views.values()
        )

    @property
    def incomplete(self) -> bool:
        """Whether a table lacks messages that Gmail refused."""
        return any(table.not_fetched for table in self.tables.values())
