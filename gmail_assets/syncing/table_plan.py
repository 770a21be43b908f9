"""One table's share of a plan: `TablePlan`."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from gmail_client.changes import ListedThread

__all__ = ["MessageIds", "TablePlan"]

MessageIds = dict[str, set[str]]
"""Message ids by their thread's id."""


@dataclass(slots=True)
class TablePlan:
    """One table's share of a plan.

    Attributes:
        matches: Ids of messages that match `q`, as far as a listing shows.
        threads: Entries of threads.list, by thread id.
        requested: Messages that the plan adds to this table.
        in_lake: Those of them that another table of the lake stores, by thread.
        labels_through: History id through which the labels of `in_lake` are correct; None if it is empty.
        obsolete: Keys of rows that no longer match, because the options changed after they were written.
        misplaced: Stored messages that the listing shows in another thread than their row's, by the row's thread.
        unlisted: Keys of rows that are not in the listing, if the listing decides.
        lasting: Messages that match `q` without its top-level date terms, if rows whose labels changed are compared
            with them; else None.
        undecided: Requested messages whose dates decide whether they match.
        awaiting: Undecided messages by the key of a stored row that is deleted unless one of them matches.
        arrivals_rejected: There are new messages that do not match `q`.
        narrowed: Rows may be stored that these options exclude.
    """

    matches: set[str] = field(default_factory=set)
    threads: Mapping[str, ListedThread] = field(default_factory=dict)
    requested: set[str] = field(default_factory=set)
    in_lake: MessageIds = field(default_factory=dict)
    labels_through: int | None = None
    obsolete: set[str] = field(default_factory=set)
    misplaced: MessageIds = field(default_factory=dict)
    unlisted: set[str] = field(default_factory=set)
    lasting: Set[str] | None = None
    undecided: set[str] = field(default_factory=set)
    awaiting: MessageIds = field(default_factory=dict)
    arrivals_rejected: bool = False
    narrowed: bool = False
