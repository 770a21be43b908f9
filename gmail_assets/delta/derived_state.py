"""Whether derived tables are up to date with their sources, from the log alone: `are_up_to_date`.

The last derived table of a mailbox records the state of its sources in a transaction, once all of them are computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gmail_assets.delta.app_ids import StateReader
from gmail_assets.delta.lake import LakeTable
from gmail_assets.delta.sync_state import number_of
from gmail_client.views import formula

__all__ = ["FORMULA_FIELD", "SOURCES_FIELD", "are_up_to_date", "source_state", "sources_mark"]

FORMULA_FIELD = "formula"
"""Transaction of each derived table: the version of the formula that computed the mailbox's rows."""
SOURCES_FIELD = "sources"
"""Transaction of the last derived table: the state of the sources that the mailbox's rows were computed from."""


def are_up_to_date(
    messages: LakeTable, labels: LakeTable | None, views: Mapping[str, LakeTable], address: str
) -> bool:
    """Whether derived tables of a mailbox are known to be up to date; false also if it is unknown.

    Args:
        messages: The table of messages.
        labels: The table of labels, if it is in use.
        views: The derived tables, by name, in the order of `gmail_client.views.VIEWS`.
        address: The mailbox's real address.
    """
    mark = None
    for name, table in views.items():
        read = StateReader(table.delta, address, table.source, table.transactions)
        if read(f"{read.base}/{FORMULA_FIELD}") != formula(name):
            return False
        if table.restores(read(f"{read.base}/writer") or 0):
            return False
        mark = read(f"{read.base}/{SOURCES_FIELD}")
    return not views or mark == sources_mark(source_state(messages, labels, address), views)


def source_state(messages: LakeTable, labels: LakeTable | None, address: str) -> str:
    """A text that changes with each commit to the mailbox's partition of a source."""
    fences = []
    for table in (messages, labels):
        if table is not None:
            read = StateReader(table.delta, address, table.source, table.transactions)
            fence = read(f"{read.base}/writer")
            fences.append(f"{table.source}={fence}")
    return " ".join(fences)


def sources_mark(state: str, views: Iterable[str]) -> int:
    """The number to record once the views are computed from sources in this state."""
    return number_of(" ".join([state, *views]))
