"""Filters applied to arriving mail: `labels_on_arrival`."""

from __future__ import annotations

from typing import Any, NamedTuple

from gmail_client.emulator.mail.content import MessageContent
from gmail_client.emulator.mailbox.labels import LabelStore
from gmail_client.emulator.mailbox.search import Query, compile_query
from gmail_client.emulator.mailbox.search_operators import MessageView
from gmail_client.emulator.mailbox.settings import SettingsStore

__all__ = ["labels_on_arrival", "query_of_criteria"]


class _Arriving(NamedTuple):
    """A message that is not in the mailbox yet, in the form that a query needs."""

    id: str
    content: MessageContent
    label_ids: tuple[str, ...]
    internal_date_ms: int


def query_of_criteria(criteria: dict[str, Any]) -> str:
    """The criteria of a filter as a query."""
    words = [f"{field}:({criteria[field]})" for field in ("from", "to", "subject") if criteria.get(field)]
    if criteria.get("query"):
        words.append(f"({criteria['query']})")
    if criteria.get("negatedQuery"):
        words.append(f"-({criteria['negatedQuery']})")
    if criteria.get("hasAttachment"):
        words.append("has:attachment")
    if criteria.get("excludeChats"):
        words.append("-in:chats")
    if criteria.get("size") and criteria.get("sizeComparison") in ("larger", "smaller"):
        words.append(f"{criteria['sizeComparison']}:{criteria['size']}")
    return " ".join(words)


def labels_on_arrival(
    content: MessageContent,
    label_ids: tuple[str, ...],
    date_ms: int,
    settings: SettingsStore,
    labels: LabelStore,
) -> tuple[str, ...]:
    """The labels of a message after all matching filters.

    Every filter is matched against the message as it arrived, not against the result of another filter.
    """
    arriving = MessageView(_Arriving("", content, label_ids, date_ms))
    result = dict.fromkeys(label_ids)
    for entry in settings.filters.values():
        query: Query = compile_query(
            query_of_criteria(entry["criteria"]),
            now=lambda: date_ms / 1000,
            labels=labels.ids_by_name(),
            me=settings.send_as.keys(),
        )
        if not query.matches(arriving):
            continue
        action = entry["action"]
        for label in action.get("removeLabelIds", ()):
            result.pop(label, None)
        for label in action.get("addLabelIds", ()):
            if label in labels:
                result[label] = None
            if label == "TRASH":
                result.pop("INBOX", None)
    return tuple(result)
