"""Asset checks of the derived tables: unique keys, and the expected number of rows. They only read the lake."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from gmail_assets.check_outcomes import NOTHING_STORED, CheckKey, CheckSubject, Outcome
from gmail_assets.delta.errors import WriterConflictError
from gmail_assets.views import ViewSources
from gmail_assets.views.verification import ViewCounts, compare_next_time, count_views
from gmail_client.spec import Spec

__all__ = ["DerivedChecks"]


def primary_key_unique(counts: ViewCounts) -> Outcome:
    """No two rows of the mailbox share a key."""
    message = f"{counts.rows:,} rows, {counts.doubled:,} of them duplicates"
    return Outcome(counts.doubled == 0, message, {"doubled": counts.doubled})


def rows_match_messages(counts: ViewCounts) -> Outcome:
    """The number of rows equals the number that the current rows of messages give."""
    numbers = {"rows": counts.rows, "expected": counts.expected}
    message = f"{counts.rows:,} rows where messages give {counts.expected:,}"
    return Outcome(counts.rows == counts.expected, message, numbers)


_CHECKS: tuple[Callable[[ViewCounts], Outcome], ...] = (primary_key_unique, rows_match_messages)


class DerivedChecks:
    """The checks of the derived tables, for one mailbox at a time.

    Args:
        spec: Which tables.

    Attributes:
        functions: Table and function of each check.
    """

    description = "Unique keys, and the number of rows that messages give."

    def __init__(self, spec: Spec) -> None:
        self._sources = ViewSources.of(spec)
        self.functions: dict[CheckKey, tuple[str, Callable[[ViewCounts], Outcome]]] = {
            CheckKey(entry.source_table, function.__name__): (entry.source_table, function)
            for entry in spec.views
            for function in _CHECKS
        }

    def evaluate(self, subject: CheckSubject, selected: Iterable[CheckKey]) -> dict[CheckKey, Outcome]:
        """Run checks. If one fails, the next sync compares all rows with `messages`.

        Raises:
            GmailError: The lake can't be read.
        """
        lake, counts = subject.lake, {}
        if lake.opened(self._sources.messages.table_name) is not None:
            messages = subject.messages(self._sources.open_messages(lake))
            counts = count_views(lake, subject.stored_address, self._sources, messages)
        outcomes = {}
        for key in sorted(selected):
            table, function = self.functions[key]
            outcomes[key] = function(counts[table]) if table in counts else NOTHING_STORED
        if not all(outcome.passed for outcome in outcomes.values()):
            with suppress(WriterConflictError):  # a sync is writing the table, and checks it afterwards
                compare_next_time(subject.lake, subject.stored_address, self._sources)
        return outcomes
