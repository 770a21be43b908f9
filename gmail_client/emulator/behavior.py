"""Every behaviour of Gmail that its documentation leaves open, each as a field with its values: `Behavior`.

The defaults are what captured answers or long practice suggest. A client that is right has to be right
both ways, so tests turn them. The last group are oddities that real mailboxes show.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

__all__ = ["Behavior"]


@dataclass(frozen=True, slots=True)
class Behavior:
    """How this Gmail behaves where Google does not say.

    Attributes:
        threads_get_includes_trash: threads.get returns members that are in trash or spam, or leaves them out.
        threads_get_snippet: threads.get answers with `snippet`, or without.
        thread_history_moves_with_labels: A thread's historyId follows label changes, or only members that
            come and go.
        record_split_across_pages: A history record with several messages may end one page and go on, under
            the same id, on the next; or a record is always whole.
        history_groups: A write to several messages leaves one record per "message" or one per "operation".
        history_labels_of_deleted: messagesDeleted carries the labels that the message had, or only its ids.
        empty_label_ids: What a message without labels shows: the key is "absent" or the array is "empty".
        history_id_runs_ahead: Now and then message.historyId is higher than its last visible record.
        listing_order: Order of messages.list, threads.list and drafts.list.
        label_ids_reach_spam_trash: `labelIds=SPAM` or `TRASH` finds mail without includeSpamTrash, or not.
        max_results_above: A maxResults above 500 is taken as 500 ("clamp") or is a 400 ("refuse").
        future_history_start: A startHistoryId above the head answers 404, or an empty page.
        directory_extras: The Directory also lists a suspended, an archived and a mailbox-less user.
        ghost_label: Some messages carry a label that labels.list does not name and labels.get answers 404.
        label_vanishes_after_list: One user label is deleted right after labels.list has named it.
        empty_pages: Every n-th page of a listing is empty and carries a token; 0 for never.
        history_near_rollover: The seeded head lies just below a power of ten, so ids soon gain a digit.
    """

    threads_get_includes_trash: bool = True
    threads_get_snippet: bool = False
    thread_history_moves_with_labels: bool = True
    record_split_across_pages: bool = False
    history_groups: Literal["message", "operation"] = "operation"
    history_labels_of_deleted: bool = True
    empty_label_ids: Literal["absent", "empty"] = "absent"
    history_id_runs_ahead: bool = True
    listing_order: Literal["newest", "oldest", "shuffled"] = "newest"
    label_ids_reach_spam_trash: bool = True
    max_results_above: Literal["clamp", "refuse"] = "clamp"
    future_history_start: Literal["not-found", "empty"] = "not-found"
    directory_extras: bool = True
    ghost_label: bool = False
    label_vanishes_after_list: bool = False
    empty_pages: int = 0
    history_near_rollover: bool = False

    @classmethod
    def parse(cls, assignments: list[str]) -> Behavior:
        """Behavior from `name=value` words, as the command line and another process pass them.

        Raises:
            ValueError: An unknown name, or a value of the wrong kind; the message names both.
        """
        known = {field.name: field for field in fields(cls)}
        values: dict[str, Any] = {}
        for assignment in assignments:
            name, _, text = assignment.partition("=")
            if name not in known:
                raise ValueError(f"unknown behavior {name!r}; known are {', '.join(sorted(known))}")
            default = known[name].default
            if isinstance(default, bool):
                if text not in ("true", "false"):
                    raise ValueError(f"behavior {name} is true or false, not {text!r}")
                values[name] = text == "true"
            elif isinstance(default, int):
                values[name] = int(text)
            else:
                values[name] = text
        return cls(**values)

    def words(self) -> list[str]:
        """The behavior that differ from the defaults, as `parse` takes them."""
        standard = type(self)()
        found = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != getattr(standard, field.name):
                text = str(value).lower() if isinstance(value, bool) else str(value)
                found.append(f"{field.name}={text}")
        return found
