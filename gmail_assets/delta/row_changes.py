"""`RowChanges`: which rows of a mailbox's partition a run has written, for what is computed from them afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["RowChanges"]

_MOST_KEYS = 5_000
"""With more, the rows computed from them are found by comparing all rows, as cheaply."""


@dataclass(slots=True)
class RowChanges:
    """Rows that were written between two commits of a partition.

    Attributes:
        since: Fence of the partition before the first commit; None if there was none.
        through: Fence of the last commit; equal to `since` if there was none.
        keys: Keys of new, changed and deleted rows; None if they are unknown or too many.
    """

    since: int | None
    through: int | None
    keys: set[str] | None = field(default_factory=set)

    def add(self, keys: Iterable[str]) -> None:
        """Note further rows."""
        if self.keys is not None:
            self.keys.update(keys)
            if len(self.keys) > _MOST_KEYS:
                self.keys = None

    def set_unknown(self) -> None:
        """Note that any row may have changed."""
        self.keys = None
