"""Gmail's undocumented behavior in one place: `Behavior` has a field for each, with its possible values.

The defaults follow captured responses and experience. A correct client works with every value, so tests try the others.
The fields of the last group are oddities of real mailboxes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from gmail_client.emulator.mail.snippet import SnippetStyle

__all__ = ["Behavior"]


@dataclass(frozen=True, slots=True)
class Behavior:
    """How the emulator behaves where Google's documentation is silent.

    Attributes:
        threads_get_includes_trash: threads.get returns messages in trash and spam, or leaves them out.
        threads_get_snippet: threads.get returns `snippet`, or omits it.
        thread_history_moves_with_labels: A thread's historyId rises with label changes, or only with messages
            added and deleted.
        record_split_across_pages: A history record of several messages may end one page and continue, under
            the same id, on the next; or a record is always on one page.
        history_groups: A write to several messages leaves one record per "message" or one per "operation".
        history_message_fields: The fields of a message in a history record: "all" is id, threadId and the
            resulting labelIds (captured), "ids" is id and threadId (the form that the reference describes),
            "id" is the id alone.
        history_record_ids_repeat: A change of several messages comes as several records with the same id, one
            per message; a page may end between them.
        history_records_without_events: About one record in four lists its messages in `messages` and has no
            messagesAdded, messagesDeleted, labelsAdded or labelsRemoved.
        history_labels_of_deleted: messagesDeleted has the labels of the message, or omits them.
        empty_label_ids: For a message without labels the key labelIds is "absent" or the array is "empty".
        history_id_runs_ahead: Occasionally message.historyId is higher than the message's last record.
        listing_order: Order of messages.list, threads.list and drafts.list.
        snippet_source: The snippet of a multipart/alternative message comes from its "html" or its "plain" part.
        snippet_cut: A long snippet ends after a "word", or after the 200th "character".
        label_ids_reach_spam_trash: `labelIds=SPAM` or `TRASH` finds messages without includeSpamTrash, or not.
        max_results_above: A maxResults above 500 counts as 500 ("clamp") or is a 400 ("refuse").
        future_history_start: A startHistoryId above the head is a 404, or an empty page.
        directory_extras: The Directory also lists users who are suspended, archived or without a mailbox.
        ghost_label: Some messages carry a label that labels.list does not list and labels.get answers with 404.
        label_vanishes_after_list: One user label is deleted right after labels.list returned it.
        empty_pages: Every n-th page of a listing is empty but for a token; 0 for never.
        history_near_rollover: The first history id is just below a power of ten, so ids soon gain a digit.
    """

    threads_get_includes_trash: bool = True
    threads_get_snippet: bool = False
    thread_history_moves_with_labels: bool = True
    record_split_across_pages: bool = False
    history_groups: Literal["message", "operation"] = "operation"
    history_message_fields: Literal["all", "ids", "id"] = "all"
    history_record_ids_repeat: bool = False
    history_records_without_events: bool = False
    history_labels_of_deleted: bool = True
    empty_label_ids: Literal["absent", "empty"] = "absent"
    history_id_runs_ahead: bool = True
    listing_order: Literal["newest", "oldest", "shuffled"] = "newest"
    snippet_source: Literal["html", "plain"] = "html"
    snippet_cut: Literal["word", "character"] = "word"
    label_ids_reach_spam_trash: bool = True
    max_results_above: Literal["clamp", "refuse"] = "clamp"
    future_history_start: Literal["not-found", "empty"] = "not-found"
    directory_extras: bool = True
    ghost_label: bool = False
    label_vanishes_after_list: bool = False
    empty_pages: int = 0
    history_near_rollover: bool = False

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value, choices = getattr(self, name), get_args(kind)
            if choices and value not in choices:
                raise ValueError(f"behavior {name} is one of {', '.join(choices)}, not {value!r}")

    @property
    def snippet_style(self) -> SnippetStyle:
        """How snippets are made."""
        return SnippetStyle(self.snippet_source, self.snippet_cut)

    @classmethod
    def parse(cls, assignments: list[str]) -> Behavior:
        """A behavior from words of the form `name=value`, as the command line passes them.

        Raises:
            ValueError: An unknown name or a bad value; the message names both.
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
                if not text.isdecimal():
                    raise ValueError(f"behavior {name} is a number from 0, not {text!r}")
                values[name] = int(text)
            else:
                values[name] = text
        return cls(**values)

    def words(self) -> list[str]:
        """The fields that differ from the defaults, as `parse` expects them."""
        found = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                text = str(value).lower() if isinstance(value, bool) else str(value)
                found.append(f"{field.name}={text}")
        return found
