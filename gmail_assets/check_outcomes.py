"""What all checks share: their result (`Outcome`), their mailbox (`CheckSubject`), their interface. Without Dagster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from gmail_assets.delta.lake import Lake
from gmail_assets.delta.lake_table import LakeTable
from gmail_assets.delta.registry import MailboxRegistry
from gmail_assets.delta.scan import read_present
from gmail_client.client import Mailbox

__all__ = ["NOTHING_STORED", "CheckKey", "CheckSubject", "MailboxChecks", "Outcome", "Severity"]


class CheckKey(NamedTuple):
    """A check: the source table, and the name of the function that checks it."""

    table: str
    name: str


class Severity(Enum):
    """Severity of a failed check, as Dagster names it."""

    WARN = "WARN"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a check: passed or not, a message, and numbers to plot.

    `unexplained` counts, by table, rows that are too many or (negative) too few: the next sync reconciles such a table.
    """

    passed: bool
    message: str
    numbers: Mapping[str, int] = field(default_factory=dict)
    severity: Severity = Severity.ERROR
    unexplained: Mapping[str, int] = field(default_factory=dict)


NOTHING_STORED = Outcome(False, "the table has no rows of this mailbox", severity=Severity.WARN)


@dataclass
class CheckSubject:
    """The mailbox whose tables are checked.

    Attributes:
        name: Its partition key.
        lake: The lake.
        open_mailbox: Opens a mailbox by its partition key.
        last_read: Returns the time of a table's last materialization for this mailbox; None if there is none.
        keys_read: Primary keys of the snapshot tables that this run has read, so that they are not requested again;
            None for a table that this account is not allowed to read.
    """

    name: str
    lake: Lake
    open_mailbox: Callable[[str], Mailbox]
    last_read: Callable[[str], datetime | None]
    keys_read: Mapping[str, Set[str] | None] = field(default_factory=dict)
    _messages: pa.Table | None = None

    def mailbox(self) -> Mailbox:
        """The mailbox in Gmail.

        Raises:
            GmailError: It can't be read.
        """
        return self.open_mailbox(self.name)

    def messages(self, table: LakeTable) -> pa.Table:
        """`id`, `threadId` and `labelIds` of the stored messages; read once, because several checks need them.

        Args:
            table: The table of messages.

        Raises:
            LakeError: It can't be read.
        """
        if self._messages is None:
            schema = pa.schema([table.schema.field(name) for name in ("id", "threadId", "labelIds")])
            self._messages = read_present(table, self.stored_address, schema.names, schema)
        return self._messages

    @cached_property
    def stored_address(self) -> str:
        """Its address, if the lake knows it."""
        return MailboxRegistry(self.lake).address_of(self.name) or self.name


class MailboxChecks(Protocol):
    """Checks of some tables, for one mailbox at a time."""

    @property
    def description(self) -> str:
        """What they check."""
        ...

    @property
    def functions(self) -> Mapping[CheckKey, tuple[Any, Callable[..., Outcome]]]:
        """What is checked, and the function that checks it; its docstring describes the check."""
        ...

    def evaluate(self, subject: CheckSubject, selected: Iterable[CheckKey]) -> dict[CheckKey, Outcome]:
        """Run the selected checks.

        Raises:
            GmailError: A request failed, or the lake can't be read.
        """
        ...
